"""Tests of discovery on a small API server: types from CRDs, objects, classes of other namespaces, webhooks."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType
from graph.rules import GroupKind
from mover.discovery import (
    CONFIG_MAPS,
    NAMESPACES,
    SECRETS,
    Provider,
    again,
    deletion_webhooks,
    discover,
    find_type,
    list_providers,
    movable_types,
    resolve_type,
    template_references,
)
from mover.errors import ForbiddenError, NotFoundError, UsageError
from mover.kube.cluster import object_path
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make, typed
from tests.unit.scripted_server import Reply, failure

LABELLED = {rules.CLUSTERCTL_LABEL: ""}
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/"


def plural_of(kind: GroupKind) -> str:
    return f"{kind[1].lower()}s"


def crd(
    kind: GroupKind,
    labels: dict[str, str] | None = None,
    *,
    scope: str = "Namespaced",
    status: bool = True,
    versions: list[dict[str, Any]] | None = None,
) -> Object:
    made = ResourceType(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
    )
    one = {"name": "v1", "storage": True, **({"subresources": {"status": {}}} if status else {})}
    spec = {
        "group": kind[0],
        "scope": scope,
        "names": {"kind": kind[1], "plural": plural_of(kind)},
        "versions": versions or [one],
    }
    metadata = {"labels": LABELLED if labels is None else labels}
    return make(made, f"{plural_of(kind)}.{kind[0]}", metadata=metadata, spec=spec)


def management_cluster(*objects: Object) -> FakeApiServer:
    """Returns a server that obeys the label selector of the CRD list, with the namespace "ns"."""
    server = FakeApiServer()
    server.put(make(NAMESPACES, "ns"), *objects)

    def select_labelled(request: web.Request) -> Reply | None:
        if "labelSelector" not in request.query:
            return None
        assert request.query["labelSelector"] == rules.CLUSTERCTL_LABEL

        async def labelled(sent: web.Request) -> web.StreamResponse:
            bodies = [body for path, body in server.bodies.items() if path.startswith(sent.path)]
            items = [body for body in bodies if rules.CLUSTERCTL_LABEL in body["metadata"].get("labels", {})]
            return web.json_response({"metadata": {}, "items": items})

        return labelled

    server.before = select_labelled
    return server


async def types_of(*crds: Object) -> dict[str, ResourceType]:
    async with management_cluster(*crds).cluster() as cluster:
        found = await movable_types(cluster)
    assert list(found) == sorted(found)
    return {str(one): one for one in found}


async def test_the_types_are_those_of_labelled_crds_and_secrets_and_config_maps() -> None:
    found = await types_of(crd(rules.MACHINE), crd(("example.org", "Other"), {}))
    assert sorted(found) == ["ConfigMap", "Machine.cluster.x-k8s.io", "Secret"]
    assert found["Secret"] == SECRETS
    assert found["ConfigMap"] == CONFIG_MAPS


async def test_a_cluster_without_labelled_crds_is_no_management_cluster() -> None:
    with pytest.raises(UsageError, match="source cluster has no CRDs of Cluster API providers"):
        await types_of(crd(rules.BARE_METAL_HOST, {}))


async def test_objects_are_read_in_the_storage_version() -> None:
    versions = [
        {"name": "v1alpha1", "served": True, "storage": False, "subresources": {"status": {}}},
        {"name": "v1beta2", "served": True, "storage": True},
    ]
    found = (await types_of(crd(rules.MACHINE, versions=versions)))["Machine.cluster.x-k8s.io"]
    assert (found.version, found.has_status) == ("v1beta2", False)


async def test_scope_plural_and_status_subresource_are_those_of_the_crd() -> None:
    found = await types_of(crd(("example.org", "Wide"), scope="Cluster", status=False), crd(("example.org", "Narrow")))
    wide, narrow = found["Wide.example.org"], found["Narrow.example.org"]
    assert (wide.namespaced, wide.has_status, wide.plural) == (False, False, "wides")
    assert (narrow.namespaced, narrow.has_status, narrow.plural) == (True, True, "narrows")


@pytest.mark.parametrize(
    ("kind", "label", "flags"),
    [
        (rules.MACHINE, None, (False, False)),
        (rules.MACHINE, rules.MOVE_LABEL, (True, False)),
        (rules.MACHINE, rules.MOVE_HIERARCHY_LABEL, (True, True)),
        (rules.CLUSTER, None, (True, True)),
        (rules.CLUSTER_CLASS, None, (True, True)),
        (rules.CLUSTER_RESOURCE_SET, None, (True, True)),
        (rules.BARE_METAL_HOST, None, (True, True)),
        (rules.HARDWARE_DATA, None, (True, False)),
        (rules.METAL3_MACHINE, None, (False, False)),
    ],
)
async def test_labels_and_known_kinds_say_what_moves_by_itself(
    kind: GroupKind, label: str | None, flags: tuple[bool, bool]
) -> None:
    found = await types_of(crd(kind, {**LABELLED, **({label: ""} if label else {})}))
    one = find_type(found.values(), kind)
    assert one is not None
    assert (one.move, one.move_hierarchy) == flags


async def test_metal3s_own_kinds_need_no_label_but_others_of_its_groups_do() -> None:
    found = await types_of(
        crd(rules.MACHINE),
        crd(rules.BARE_METAL_HOST, {}),
        crd(rules.IP_POOL, {}),
        crd((rules.METAL3_GROUP, "Unknown"), {}),
        crd((rules.INFRA_GROUP, "AWSCluster"), {}),
    )
    assert sorted(found) == [
        "BareMetalHost.metal3.io",
        "ConfigMap",
        "IPPool.ipam.metal3.io",
        "Machine.cluster.x-k8s.io",
        "Secret",
    ]


async def test_a_labelled_metal3_kind_is_there_once() -> None:
    async with management_cluster(crd(rules.BARE_METAL_HOST)).cluster() as cluster:
        found = await movable_types(cluster)
    assert [one.kind for one in found].count("BareMetalHost") == 1


def provider(name: str, kind: str, namespace: str) -> Object:
    made = ResourceType(*rules.PROVIDER[:1], "v1alpha3", "Provider", "providers")
    return make(made, f"{kind}-{name}", namespace=namespace, type=kind, providerName=name, version="v1.0.0")


INFRA = provider("metal3", "InfrastructureProvider", "capm3-system")
CORE = provider("cluster-api", "CoreProvider", "capi-system")


async def test_providers_are_listed_over_all_namespaces() -> None:
    async with management_cluster(INFRA, CORE).cluster() as cluster:
        assert await list_providers(cluster) == (
            Provider("CoreProvider", "cluster-api", "v1.0.0", "capi-system"),
            Provider("InfrastructureProvider", "metal3", "v1.0.0", "capm3-system"),
        )


async def test_a_cluster_without_clusterctls_inventory_has_no_providers() -> None:
    server = FakeApiServer()
    server.before = lambda _: failure(404, "NotFound")
    async with server.cluster() as cluster:
        assert await list_providers(cluster) == ()


async def names_in(server: FakeApiServer, namespace: str = "ns") -> list[str]:
    async with server.cluster() as cluster:
        inventory = await discover(cluster, namespace)
    assert inventory.namespace == namespace
    return [f"{obj.key.kind} {obj.key.namespace}/{obj.key.name}" for obj in inventory.objects]


async def test_an_inventory_holds_the_namespace_and_what_is_cluster_scoped() -> None:
    wide = typed(("example.org", "Wide"), namespaced=False)
    server = management_cluster(
        crd(rules.MACHINE),
        crd(wide.group_kind, scope="Cluster"),
        make(rules.MACHINE, "here"),
        make(rules.MACHINE, "there", namespace="other"),
        make(wide, "w"),
    )
    assert await names_in(server) == ["Machine ns/here", "Wide /w"]
    assert await names_in(server, "") == ["Machine ns/here", "Machine other/there", "Wide /w"]


async def test_what_has_not_changed_is_held_once_by_two_inventories() -> None:
    changing, staying = make(rules.MACHINE, "changing"), make(rules.MACHINE, "staying")
    server = management_cluster(crd(rules.MACHINE), changing, staying, make(rules.MACHINE, "going"))
    async with server.cluster() as cluster:
        first = await discover(cluster, "ns")
        server.change(changing, spec={"new": True})
        del server.bodies[object_path(first.objects[1].type, first.objects[1].key)]
        second = await again(cluster, first)
    assert [obj.key.name for obj in first.objects] == ["changing", "going", "staying"]
    assert [obj.key.name for obj in second.objects] == ["changing", "staying"]
    assert second.objects[0].body()["spec"] == {"new": True}
    assert second.objects[1] is first.objects[2]


async def test_secrets_of_infrastructure_providers_are_in_the_inventory_and_of_others_not() -> None:
    secrets = [make(rules.SECRET, "s", namespace=space) for space in ("capm3-system", "capi-system", "ns")]
    server = management_cluster(crd(rules.MACHINE), INFRA, CORE, *secrets)
    assert await names_in(server) == ["Secret capm3-system/s", "Secret ns/s"]


async def test_secrets_of_a_providers_namespace_that_moves_itself_are_read_once() -> None:
    server = management_cluster(crd(rules.MACHINE), INFRA, make(NAMESPACES, "capm3-system"))
    await names_in(server, "capm3-system")
    assert [entry for entry in server.log if entry.endswith("/secrets")] == [
        "GET /api/v1/namespaces/capm3-system/secrets"
    ]


async def test_a_namespace_that_does_not_exist_is_a_usage_error_with_the_flag() -> None:
    with pytest.raises(UsageError, match=r'no namespace "nowhere"\. Choose another one with --namespace'):
        await names_in(management_cluster(crd(rules.MACHINE)), "nowhere")


async def test_a_list_that_is_forbidden_is_not_taken_for_an_empty_one() -> None:
    server = management_cluster(crd(rules.MACHINE))
    server.before = lambda request: failure(403, "Forbidden") if request.path.endswith("/secrets") else None
    async with server.cluster() as cluster:
        with pytest.raises(ForbiddenError):
            await discover(cluster, "ns")


def template(name: str, namespace: str = "classes") -> Object:
    return make(("example.org", "Template"), name, namespace=namespace)


def class_using(name: str) -> Object:
    reference = {"apiVersion": "example.org/v1", "kind": "Template", "name": name}
    return make(rules.CLUSTER_CLASS, "class", namespace="classes", spec={"infrastructure": {"templateRef": reference}})


TOPOLOGY = {"topology": {"classRef": {"name": "class", "namespace": "classes"}}}


def class_crds() -> list[Object]:
    cluster_class = crd(rules.CLUSTER_CLASS)
    return [crd(rules.CLUSTER), cluster_class, crd(("example.org", "Template"))]


async def test_a_class_of_another_namespace_comes_with_the_templates_it_refers_to() -> None:
    server = management_cluster(
        *class_crds(),
        make(rules.CLUSTER, "c", spec=TOPOLOGY),
        class_using("used"),
        template("used"),
        template("unused"),
    )
    assert await names_in(server) == ["Cluster ns/c", "ClusterClass classes/class", "Template classes/used"]


async def test_a_template_of_a_type_that_does_not_move_is_found_by_the_servers_discovery() -> None:
    server = management_cluster(
        *class_crds()[:2], make(rules.CLUSTER, "c", spec=TOPOLOGY), class_using("used"), template("used")
    )
    entry = {"name": "templates", "kind": "Template", "namespaced": True}
    status = {"name": "templates/status", "kind": "Template", "namespaced": True}
    server.bodies["/apis/example.org/v1"] = {"metadata": {"name": ""}, "resources": [status, entry]}
    async with server.cluster() as cluster:
        inventory = await discover(cluster, "ns")
    (found,) = [obj.type for obj in inventory.objects if obj.key.kind == "Template"]
    assert (found.plural, found.has_status, found.move) == ("templates", True, False)


async def test_a_class_that_is_used_from_other_namespaces_is_shared() -> None:
    server = management_cluster(
        *class_crds(),
        make(NAMESPACES, "classes"),
        make(rules.CLUSTER, "c", namespace="user", spec=TOPOLOGY),
        class_using("used"),
        template("used"),
    )
    async with server.cluster() as cluster:
        assert (await discover(cluster, "classes")).shared_classes == {
            ObjectKey(*rules.CLUSTER_CLASS, "classes", "class")
        }
        assert (await discover(cluster, "")).shared_classes == frozenset()


@pytest.mark.parametrize(
    "workers",
    [
        {"infrastructure": {"templateRef": {"name": "mi"}}, "bootstrap": {"templateRef": {"name": "mb"}}},
        {"template": {"infrastructure": {"ref": {"name": "mi"}}, "bootstrap": {"ref": {"name": "mb"}}}},
    ],
    ids=["v1beta2", "v1beta1"],
)
def test_a_class_refers_to_the_templates_of_all_its_parts(workers: dict[str, Any]) -> None:
    spec = {
        "infrastructure": {"templateRef": {"name": "i"}},
        "controlPlane": {
            "templateRef": {"name": "cp"},
            "machineInfrastructure": {"ref": {"name": "cpi"}},
        },
        "workers": {"machineDeployments": [workers], "machinePools": [workers]},
    }
    assert [ref["name"] for ref in template_references(spec)] == ["i", "cp", "cpi", "mi", "mb", "mi", "mb"]


@pytest.mark.parametrize("spec", [{}, {"controlPlane": None, "workers": None}, {"workers": {"machinePools": [{}]}}])
def test_a_class_without_templates_refers_to_none(spec: dict[str, Any]) -> None:
    assert template_references(spec) == []


async def test_a_movable_type_is_resolved_without_asking() -> None:
    server = FakeApiServer()
    async with server.cluster() as cluster:
        assert await resolve_type(cluster, [typed()], "example.org/v1beta9", "Widget") == typed()
    assert server.log == []


@pytest.mark.parametrize("resources", [None, [], [{"name": "widgets/status", "kind": "Widget", "namespaced": True}]])
async def test_a_type_that_is_not_served_is_a_usage_error(resources: list[Any] | None) -> None:
    server = FakeApiServer()
    if resources is not None:
        server.bodies["/apis/example.org/v1"] = {"resources": resources}
    async with server.cluster() as cluster:
        with pytest.raises(UsageError, match=r"does not serve example\.org/v1, kind Widget"):
            await resolve_type(cluster, [], "example.org/v1", "Widget")


async def test_a_core_type_is_looked_up_under_api() -> None:
    server = FakeApiServer()
    server.bodies["/api/v1"] = {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True}]}
    async with server.cluster() as cluster:
        assert await resolve_type(cluster, [], "v1", "Pod") == ResourceType("", "v1", "Pod", "pods")


def webhook(configuration: str, name: str, *rule: list[str]) -> Object:
    made = ResourceType("admissionregistration.k8s.io", "v1", "X", f"{configuration}webhookconfigurations", False)
    operations, groups, resources = rule
    rules_of = [{"operations": operations, "apiGroups": groups, "resources": resources}]
    return make(made, name, webhooks=[{"rules": rules_of}, {"rules": None}])


async def test_types_whose_deletion_is_admitted_come_from_both_kinds_of_webhooks() -> None:
    server = FakeApiServer()
    server.put(
        webhook("validating", "a", ["CREATE", "DELETE"], ["g"], ["ones", "twos"]),
        webhook("mutating", "b", ["*"], ["h"], ["threes"]),
        webhook("validating", "c", ["CREATE", "UPDATE"], ["g"], ["fours"]),
    )
    async with server.cluster() as cluster:
        assert await deletion_webhooks(cluster) == {("g", "ones"), ("g", "twos"), ("h", "threes")}


async def test_whoever_may_not_read_webhooks_takes_every_deletion_for_admitted() -> None:
    server = FakeApiServer()
    server.before = lambda _: failure(403, "Forbidden")
    async with server.cluster() as cluster:
        assert await deletion_webhooks(cluster) == {("*", "*")}


async def test_other_failures_to_read_webhooks_are_not_swallowed() -> None:
    server = FakeApiServer()
    server.before = lambda _: failure(404, "NotFound")
    async with server.cluster() as cluster:
        with pytest.raises(NotFoundError):
            await deletion_webhooks(cluster)
