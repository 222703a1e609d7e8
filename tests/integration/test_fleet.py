"""The fleet on a real API server: accepted by CAPI's schemas, owned and managed as its controllers would."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from graph.resource import ObjectKey
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.crds import CRDS_PATH
from tests.testbed.fleet import Fleet, FleetSpec, build, drafts, model
from tests.testbed.pair import Pair

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLAIN = FleetSpec(namespace="plain")
CLASSY = FleetSpec(namespace="classy", clusters=2, topology=True, host_owners=True)
COLLECTOR_TIMEOUT_S = 180.0

Bodies = dict[ObjectKey, Any]


@dataclass(frozen=True)
class Made:
    """A fleet, and all objects of its types in its namespace as they were read back."""

    client: AdminClient
    fleet: Fleet
    bodies: Bodies

    def of_kind(self, kind: str) -> list[Any]:
        """Returns the bodies of one kind."""
        return [body for key, body in self.bodies.items() if key.kind == kind]


@pytest.fixture
def client(pair: Pair) -> AdminClient:
    return pair.on_source


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=[PLAIN, CLASSY], ids=["plain", "classy"])
async def made(pair: Pair, request: pytest.FixtureRequest) -> Made:
    fleet = await build(pair.on_source, request.param)
    return Made(pair.on_source, fleet, await read(pair.on_source, request.param))


async def read(client: AdminClient, spec: FleetSpec) -> Bodies:
    types = {(draft.type, draft.collection_path) for draft in drafts(spec)}
    found: Bodies = {}
    for resource, path in sorted(types):
        for body in await client.list_all(path, page=50):
            name = body["metadata"]["name"]
            found[ObjectKey(resource.group, resource.kind, spec.namespace, name)] = body
    return found


def managers(body: Any, operation: str, subresource: str = "") -> set[str]:
    return {
        entry["manager"]
        for entry in body["metadata"]["managedFields"]
        if (entry["operation"], entry.get("subresource", "")) == (operation, subresource)
    }


async def test_everything_that_was_asked_for_is_there(made: Made) -> None:
    fleet = made.fleet
    assert set(fleet.movable).isdisjoint(fleet.unrelated)
    assert set(fleet.left_by_clusterctl) < set(fleet.movable)
    expected = {*fleet.movable, *fleet.unrelated}
    published = ObjectKey("", "ConfigMap", fleet.spec.namespace, "kube-root-ca.crt")
    assert set(made.bodies) - {published} == expected


async def test_every_owner_is_an_object_of_the_fleet_with_that_very_uid(made: Made) -> None:
    uids = {body["metadata"]["uid"]: key for key, body in made.bodies.items()}
    for key, body in made.bodies.items():
        for owner in body["metadata"].get("ownerReferences", ()):
            assert uids[owner["uid"]].kind == owner["kind"], key
            assert uids[owner["uid"]].name == owner["name"], key


async def test_every_object_has_the_owners_that_its_draft_has(made: Made) -> None:
    for draft in drafts(made.fleet.spec):
        references = made.bodies[draft.key]["metadata"].get("ownerReferences", ())
        assert [(reference["kind"], reference["name"]) for reference in references] == [
            (owner.type.kind, owner.name) for owner in draft.owners
        ]


async def test_statuses_are_kept_and_observed_the_true_generation(made: Made) -> None:
    for draft in drafts(made.fleet.spec):
        body = made.bodies[draft.key]
        if draft.status is None:
            assert "status" not in body
            continue
        assert set(body["status"]) == set(draft.status)
        if "observedGeneration" in body["status"]:
            assert body["status"]["observedGeneration"] == body["metadata"]["generation"]


async def test_machines_were_applied_by_their_controllers(made: Made) -> None:
    applied: Counter[str] = Counter()
    for kind in ("Machine", "Metal3Machine", "KubeadmConfig"):
        for body in made.of_kind(kind):
            applied.update(managers(body, "Apply"))
    spec = made.fleet.spec
    assert applied[model.KCP_APPLY] == 3 * spec.clusters * spec.control_planes
    assert applied[model.MACHINE_SET_APPLY] == 3 * spec.clusters * spec.workers


async def test_a_host_was_written_by_its_user_by_capm3_and_by_bmo(made: Made) -> None:
    claimed = [body for body in made.of_kind("BareMetalHost") if "consumerRef" in body["spec"]]
    assert len(claimed) == made.fleet.spec.machines
    for body in claimed:
        writers = {model.USER_MANAGER, model.CAPI_MANAGER, model.BMO_MANAGER}
        assert managers(body, "Update") == writers
        assert managers(body, "Update", "status") == {model.BMO_MANAGER}


async def test_a_host_its_machine_and_its_provider_id_name_each_other(made: Made) -> None:
    hosts = {body["metadata"]["name"]: body for body in made.of_kind("BareMetalHost")}
    for body in made.of_kind("Metal3Machine"):
        namespace, name = body["metadata"]["annotations"]["metal3.io/BareMetalHost"].split("/")
        consumer = hosts[name]["spec"]["consumerRef"]
        assert (consumer["namespace"], consumer["name"]) == (namespace, body["metadata"]["name"])
        assert body["spec"]["providerID"] == f"metal3://{namespace}/{name}/{consumer['name']}"


async def test_every_secret_that_is_referred_to_exists(made: Made) -> None:
    secrets = {body["metadata"]["name"] for body in made.of_kind("Secret")}
    for body in made.of_kind("BareMetalHost"):
        named = [body["spec"][key]["name"] for key in ("userData", "metaData", "networkData") if key in body["spec"]]
        assert secrets.issuperset([body["spec"]["bmc"]["credentialsName"], *named])


async def test_the_garbage_collector_takes_nothing_of_the_fleet(made: Made) -> None:
    """An object of each of two types whose owner never existed shows that the collector has caught up."""
    for body in (stray_secret(), stray_address()):
        await collected(made, body)
    left = await read(made.client, made.fleet.spec)
    assert set(made.bodies) <= set(left)
    assert not any("deletionTimestamp" in body["metadata"] for body in left.values())


def stray_secret() -> tuple[str, dict[str, Any]]:
    return "/api/v1", {"apiVersion": "v1", "kind": "Secret", "metadata": stray_metadata()}


def stray_address() -> tuple[str, dict[str, Any]]:
    spec = {"address": "10.0.0.1", "claim": {"name": "none"}, "pool": {"name": "none"}}
    body = {"apiVersion": "ipam.metal3.io/v1alpha1", "kind": "IPAddress", "metadata": stray_metadata()}
    return "/apis/ipam.metal3.io/v1alpha1", {**body, "spec": spec}


def stray_metadata() -> dict[str, Any]:
    owner = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "never-was",
        "uid": "0b0b0b0b-0000-4000-8000-000000000000",
    }
    return {"name": "stray", "ownerReferences": [owner]}


async def collected(made: Made, stray: tuple[str, dict[str, Any]]) -> None:
    root, body = stray
    plural = {"Secret": "secrets", "IPAddress": "ipaddresses"}[body["kind"]]
    path = f"{root}/namespaces/{made.fleet.spec.namespace}/{plural}"
    written = await made.client.create(path, body)
    version = written["metadata"]["resourceVersion"]
    async with asyncio.timeout(COLLECTOR_TIMEOUT_S):
        async for event in made.client.watch(path, version):
            if event["type"] == "DELETED" and event["object"]["metadata"]["name"] == "stray":
                return
    raise AssertionError(f"{path}/stray: the watch ended before it was collected")


async def test_clusterctl_finds_the_contract_and_the_providers(client: AdminClient) -> None:
    crd = await client.get(f"{CRDS_PATH}/clusters.cluster.x-k8s.io")
    assert [version["name"] for version in crd["spec"]["versions"] if version["storage"]] == ["v1beta2"]
    providers = await client.list_all("/apis/clusterctl.cluster.x-k8s.io/v1alpha3/providers")
    assert sorted(provider["type"] for provider in providers) == [
        "BootstrapProvider",
        "ControlPlaneProvider",
        "CoreProvider",
        "IPAMProvider",
        "InfrastructureProvider",
    ]


async def test_the_client_tells_status_reason_and_message_of_a_refusal(client: AdminClient) -> None:
    with pytest.raises(AdminError) as caught:
        await client.get("/api/v1/namespaces/nowhere")
    assert (caught.value.status, caught.value.reason) == (404, "NotFound")
    assert "nowhere" in caught.value.message


async def test_the_client_applies_patches_and_deletes(client: AdminClient) -> None:
    collection = "/api/v1/namespaces/default/configmaps"
    path = f"{collection}/client"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "client"}, "data": {"a": "1"}}
    applied = await client.apply(path, body, manager="applier")
    assert managers(applied, "Apply") == {"applier"}
    operations = [{"op": "add", "path": "/data/b", "value": "2"}]
    patched = await client.patch_json(path, operations, manager="patcher")
    assert patched["data"] == {"a": "1", "b": "2"}
    assert managers(patched, "Update") == {"patcher"}
    await client.delete(path, {"preconditions": {"uid": patched["metadata"]["uid"]}})
    assert (await client.list(collection, fieldSelector="metadata.name=client"))["items"] == []
