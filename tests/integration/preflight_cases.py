"""Objects that a move must not take as they are, one for each check that looks at objects, and how they come to be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from graph import rules
from mover.models import MoveOptions
from tests.faults import policies
from tests.faults.scene import missing
from tests.integration.preflight_scene import Case, Scene, Spoil
from tests.testbed.client import AdminClient
from tests.testbed.crds import CLUSTERCTL_LABEL, CRDS_PATH, Crd, install
from tests.testbed.metal3_crds import MOVE_HIERARCHY_LABEL
from tests.testbed.providers import ensure_namespace

Body = Mapping[str, Any]


def _patched(kind: str, patch: Body, *, of: str = "", manager: str = "") -> Spoil:
    """Returns what patches the object of a kind whose name ends with `of`; a status through its subresource."""

    @asynccontextmanager
    async def spoil(scene: Scene) -> AsyncIterator[Scene]:
        part = "status" if "status" in patch else ""
        await scene.pair.on_source.patch_merge(scene.path(kind, of), patch, manager=manager, subresource=part)
        yield scene

    return spoil


def _annotations(**values: str) -> Body:
    return {"metadata": {"annotations": values}}


def _owner(body: Body) -> dict[str, Any]:
    metadata = body["metadata"]
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


async def _config_map(client: AdminClient, namespace: str, name: str, **metadata: Any) -> Any:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return await client.create(f"/api/v1/namespaces/{namespace}/configmaps", body)


_MOVED: Body = {"labels": {rules.MOVE_LABEL: ""}}


@asynccontextmanager
async def _there_already(scene: Scene) -> AsyncIterator[Scene]:
    client, name = scene.pair.on_target, scene.key("Secret", "-0002-bmc-secret").name
    await ensure_namespace(client, scene.namespace)
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    await client.create(f"/api/v1/namespaces/{scene.namespace}/secrets", body)
    yield scene


@asynccontextmanager
async def _owner_that_stays(scene: Scene) -> AsyncIterator[Scene]:
    owner = await _config_map(scene.pair.on_source, scene.namespace, "owner")
    await _config_map(scene.pair.on_source, scene.namespace, "owned", ownerReferences=[_owner(owner)], **_MOVED)
    yield scene


@asynccontextmanager
async def _class_of_others(scene: Scene) -> AsyncIterator[Scene]:
    client, other = scene.pair.on_source, f"{scene.namespace}-other"
    await ensure_namespace(client, other)
    group, cluster = f"{rules.CAPI_GROUP}/v1beta2", await client.get(scene.path("Cluster"))
    template = {"templateRef": {"apiVersion": "any.of/v1", "kind": "AnyTemplate", "name": "any"}}
    owned = {"name": "shared", "ownerReferences": [_owner(cluster)]}
    spec: Body = {"infrastructure": template, "controlPlane": template}
    blueprint = {"apiVersion": group, "kind": "ClusterClass", "metadata": owned, "spec": spec}
    await client.create(f"/apis/{group}/namespaces/{scene.namespace}/clusterclasses", blueprint)
    topology = {"classRef": {"name": "shared", "namespace": scene.namespace}, "version": "v1.34.0"}
    user = {"apiVersion": group, "kind": "Cluster", "metadata": {"name": "user"}, "spec": {"topology": topology}}
    await client.create(f"/apis/{group}/namespaces/{other}/clusters", user)
    yield scene


_REALM: Crd = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "realms.tests.io", "labels": {CLUSTERCTL_LABEL: "", MOVE_HIERARCHY_LABEL: ""}},
    "spec": {
        "group": "tests.io",
        "names": {"kind": "Realm", "listKind": "RealmList", "plural": "realms", "singular": "realm"},
        "scope": "Cluster",
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}


@asynccontextmanager
async def _installed(client: AdminClient, crd: Crd) -> AsyncIterator[None]:
    await install(client, [crd])
    path = f"{CRDS_PATH}/{crd['metadata']['name']}"
    try:
        yield
    finally:
        await client.delete(path)
        await policies.until(lambda: missing(client, path))


@asynccontextmanager
async def _owner_of_the_whole_cluster(scene: Scene) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        for client in (scene.pair.on_source, scene.pair.on_target):
            await stack.enter_async_context(_installed(client, _REALM))
        realm = {"apiVersion": "tests.io/v1", "kind": "Realm", "metadata": {"name": scene.namespace}}
        owner = _owner(await scene.pair.on_source.create("/apis/tests.io/v1/realms", realm))
        await scene.pair.on_source.patch_merge(scene.path("Cluster"), {"metadata": {"ownerReferences": [owner]}})
        try:
            yield scene
        finally:
            await scene.pair.on_source.patch_merge(scene.path("Cluster"), {"metadata": {"ownerReferences": None}})


@asynccontextmanager
async def _pool_of_two(scene: Scene) -> AsyncIterator[Scene]:
    """Lets the machines of the Cluster that stays take their addresses from the pool of the one that moves."""
    template = scene.path("Metal3DataTemplate", "-c-2-controlplane-template")
    pool = f"{scene.namespace}-c-1-pool"
    change = {"op": "replace", "path": "/spec/networkData/networks/ipv4/0/fromPoolRef/name", "value": pool}
    await scene.pair.on_source.patch_json(template, [change])
    yield scene


@asynccontextmanager
async def _circle(scene: Scene) -> AsyncIterator[Scene]:
    client, namespace = scene.pair.on_source, scene.namespace
    one = await _config_map(client, namespace, "one", **_MOVED)
    other = await _config_map(client, namespace, "other", ownerReferences=[_owner(one)], **_MOVED)
    path = f"/api/v1/namespaces/{namespace}/configmaps/one"
    await client.patch_merge(path, {"metadata": {"ownerReferences": [_owner(other)]}})
    yield scene


@asynccontextmanager
async def _mention_of_the_namespace(scene: Scene) -> AsyncIterator[Scene]:
    seen = _annotations(**{"tests.io/backed-up-as": f"{scene.namespace}/{scene.key('Machine').name}"})
    await scene.pair.on_source.patch_merge(scene.path("Machine"), seen)
    yield scene


@asynccontextmanager
async def _dying_machine(scene: Scene) -> AsyncIterator[Scene]:
    await scene.pair.on_source.delete(scene.path("Machine"))  # its finalizer holds it
    yield scene


@asynccontextmanager
async def _rolled_out(scene: Scene) -> AsyncIterator[Scene]:
    path = scene.path("KubeadmControlPlane")
    conditions = (await scene.pair.on_source.get(path))["status"]["conditions"]
    rolling = [{**one, "status": "True"} if one["type"] == "RollingOut" else one for one in conditions]
    await scene.pair.on_source.patch_status(path, {"conditions": rolling})
    yield scene


@asynccontextmanager
async def _remediated(scene: Scene) -> AsyncIterator[Scene]:
    machine = await scene.pair.on_source.get(scene.path("Machine"))
    version = f"{rules.INFRA_GROUP}/v1beta2"
    metadata = {"name": "remediation", "ownerReferences": [_owner(machine)]}
    body = {"apiVersion": version, "kind": "Metal3Remediation", "metadata": metadata, "spec": {}}
    await scene.pair.on_source.create(f"/apis/{version}/namespaces/{scene.namespace}/metal3remediations", body)
    yield scene


def _running(image: str, *sides: str) -> Spoil:
    """Returns what makes a Deployment of an image on these sides, and deletes it."""

    @asynccontextmanager
    async def spoil(scene: Scene) -> AsyncIterator[Scene]:
        clients = {"source": scene.pair.on_source, "target": scene.pair.on_target}
        labels = {"name": "runs"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "runs"}, "spec": spec}
        path = f"/apis/apps/v1/namespaces/{scene.namespace}/deployments"
        for side in sides:
            await ensure_namespace(clients[side], scene.namespace)
            await clients[side].create(path, body)
        try:
            yield scene
        finally:
            for side in sides:
                await clients[side].delete(f"{path}/runs")

    return spoil


def _renamed(namespace: str) -> MoveOptions:
    return MoveOptions(namespace=namespace, to_namespace=f"{namespace}-new", keep_provider_ids=True)


def _first_cluster(namespace: str) -> MoveOptions:
    return MoveOptions(namespace=namespace, clusters=(f"{namespace}-c-1",))


def _naming(secret: str) -> Body:
    source = {"secret": {"name": secret, "key": "token"}}
    files = [{"path": "/etc/token", "contentFrom": source}]
    return {"spec": {"template": {"spec": {"files": files}}}}


SECRET_NOBODY_OWNS = "unrelated-1"
NAMED = _patched("KubeadmConfigTemplate", _naming(SECRET_NOBODY_OWNS))
ROLLING = _rolled_out
COLLIDING = _there_already

CASES: tuple[Case, ...] = (
    Case("collisions", "a Secret of that name is there", _there_already, "{bmc}", "target"),
    Case(
        "outside-owners",
        "the owner is a ConfigMap that stays",
        _owner_that_stays,
        "ConfigMap {namespace}/owned",
        "target",
        says="its owner ConfigMap owner does not move",
    ),
    Case(
        "left-dependents",
        "the Cluster owns a class that others use",
        _class_of_others,
        "ClusterClass {namespace}/shared",
        says="used by Clusters of other namespaces",
    ),
    Case("one-owner", "the Cluster is below a cluster-scoped object", _owner_of_the_whole_cluster, "{cluster}"),
    Case(
        "split",
        "a pool is used by two Clusters",
        _pool_of_two,
        "IPPool {namespace}/{namespace}-c-1-pool",
        # It stays, so its owner goes without it, what it owns without its owner, and what names it without it.
        others=frozenset({"left-dependents", "outside-owners", "references"}),
        fleet={"clusters": 2},
        options=_first_cluster,
    ),
    Case(
        "cycles",
        "two ConfigMaps own each other",
        _circle,
        "ConfigMap {namespace}/one, ConfigMap {namespace}/other",
        is_warning=True,
    ),
    Case("references", "a template names a Secret that stays", NAMED, f"Secret {{namespace}}/{SECRET_NOBODY_OWNS}"),
    Case(
        "references",
        "a host names a Secret that is nowhere",
        _patched("BareMetalHost", {"spec": {"bmc": {"credentialsName": "nowhere"}}}, of="-0002"),
        "Secret {namespace}/nowhere",
        is_warning=True,
        says="on neither cluster",
    ),
    Case(
        "to-namespace",
        "an annotation names the old namespace",
        _mention_of_the_namespace,
        "{machine}",
        says="tests.io/backed-up-as",
        options=_renamed,
    ),
    Case(
        "provisioned",
        "a Machine has no node",
        _patched("Machine", {"status": {"nodeRef": None}}),
        "{machine}",
        says="nodeRef",
    ),
    Case(
        "provisioned",
        "a Cluster has no infrastructure",
        _patched("Cluster", {"status": {"initialization": {"infrastructureProvisioned": False}}}),
        "{cluster}",
    ),
    Case("deleting", "a Machine is being deleted", _dying_machine, "{machine}"),
    Case("rollout", "the condition RollingOut", _rolled_out, "{control_plane}", says="RollingOut"),
    Case(
        "rollout",
        "more replicas wanted than there are",
        _patched("KubeadmControlPlane", {"spec": {"replicas": 3}}),
        "{control_plane}",
        says="spec.replicas 3, status.replicas 1",
    ),
    Case("rollout", "a Metal3Remediation", _remediated, "Metal3Remediation {namespace}/remediation"),
    Case(
        "hosts",
        "a host is being provisioned",
        _patched("BareMetalHost", {"status": {"provisioning": {"state": "provisioning"}}}, of="-0002"),
        "{spare}",
        says="it is provisioning",
    ),
    Case(
        "operators",
        "the operator runs on both sides",
        _running("quay.io/metal3-io/baremetal-operator:v1", "source", "target"),
        "baremetal-operator",
        is_warning=True,
        says="on both sides",
    ),
    Case(
        "operators",
        "the operator runs on the source only",
        _running("quay.io/metal3-io/baremetal-operator:v1", "source"),
        "baremetal-operator",
        "target",
        is_warning=True,
    ),
    Case(
        "operators",
        "Ironic runs on both sides",
        _running("quay.io/metal3-io/ironic@sha256:0", "source", "target"),
        "ironic",
        is_warning=True,
        says="answer the same machines",
    ),
    Case(
        "paused",
        "somebody has paused the Cluster",
        _patched("Cluster", {"spec": {"paused": True}}, manager="kubectl-edit"),
        "{cluster}",
        says="by kubectl-edit at 2",
    ),
    Case(
        "paused-objects",
        "somebody has paused a Machine",
        _patched("Machine", _annotations(**{rules.PAUSED_ANNOTATION: ""}), manager="kubectl-annotate"),
        "{machine}",
        is_warning=True,
        says="by kubectl-annotate at 2",
    ),
    Case(
        "paused-objects",
        "somebody has paused a host",
        _patched("BareMetalHost", _annotations(**{rules.HOST_PAUSED_ANNOTATION: "me"}), of="-0001"),
        "{host}",
        is_warning=True,
    ),
    Case(
        "block-move",
        "a spare host waits for nobody",
        _patched("BareMetalHost", _annotations(**{rules.BLOCK_MOVE_ANNOTATION: ""}), of="-0002"),
        "{spare}",
        says="no consumer",
    ),
    Case(
        "block-move",
        "a claimed host waits for its provider",
        _patched("BareMetalHost", _annotations(**{rules.BLOCK_MOVE_ANNOTATION: ""}), of="-0001"),
        "{host}",
        is_warning=True,
    ),
)
