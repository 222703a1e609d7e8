"""The Job of deploy/job as its pod would run it: the service account's token, the manifests' rights and flags."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import yaml

from graph import rules
from mover.permissions import Permission
from tests.integration.manifests import ACCOUNT, NAMESPACE, applied, kustomized, path_of, with_namespaces
from tests.integration.movers import Mover, mover
from tests.testbed import inspect, rights
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.kind import wants_kind
from tests.testbed.pair import Pair
from tests.testbed.witness import collection_path

pytestmark = pytest.mark.skipif(wants_kind(), reason="runs beside the cluster, with a token of its own")

MOVED = "metal3"
CREDENTIALS = "capm3-system"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
_TOKEN = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"


@dataclass(frozen=True)
class Place:
    """Two clusters with the manifests of deploy/, and what is mounted into the pod.

    Attributes:
        source: An administrator of the cluster that the Job runs in.
        target: An administrator of the other one.
        folder: Where the service account and the target's kubeconfig are.
        arguments: Those of the container.
        service: Host and port of the source, as the kubelet gives them to each container.
    """

    source: AdminClient
    target: AdminClient
    folder: Path
    arguments: tuple[str, ...]
    service: tuple[str, str]

    def run(self, *more: str) -> Any:
        """Runs what the container would; see `movers.mover`."""
        env = dict(zip(("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"), self.service, strict=True))
        return mover(*self.arguments, *more, account=self.folder / "serviceaccount", env=env)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("in-cluster")
    url = urlsplit(pair.source.server)
    job = await _installed(pair.on_source, "job", "source")
    await _installed(pair.on_target, "target", "target")
    mounted = folder / "serviceaccount"
    mounted.mkdir()
    (mounted / "token").write_text(await _token(pair.on_source))
    (mounted / "ca.crt").write_bytes(pair.source.ca_pem)
    (mounted / "namespace").write_text(NAMESPACE)
    kubeconfig = folder / "target.kubeconfig"
    kubeconfig.write_text(_with_token(pair.target.kubeconfig, await _token(pair.on_target)))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    known = {"--to-kubeconfig=/etc/capi-mover/target/kubeconfig": f"--to-kubeconfig={kubeconfig}"}
    assert set(known) <= set(container["args"])
    arguments = tuple(known.get(text, text) for text in container["args"])
    yield Place(pair.on_source, pair.on_target, folder, arguments, (str(url.hostname), str(url.port)))
    for client, manifests in ((pair.on_source, "job"), (pair.on_target, "target")):
        await _clear(client)
        # Other tests of these clusters grant other users roles of the same names.
        for manifest in await kustomized(manifests):
            if manifest["apiVersion"].startswith("rbac."):
                await client.delete(path_of(manifest))


async def _installed(client: AdminClient, folder: str, side: Any) -> Any:
    """Applies the manifests of a folder; returns its Job once the server grants what the roles say."""
    manifests = await kustomized(folder)
    spaces = {manifest["metadata"].get("namespace") for manifest in manifests} - {None}
    await with_namespaces(client, *sorted({*spaces, CREDENTIALS}))
    for manifest in manifests:
        if manifest["kind"] != "Job":
            await applied(client, manifest)
    for permission in rights.granted(manifests, side):
        await rights.until(client, permission, USER, allowed=True)
    return next((manifest for manifest in manifests if manifest["kind"] == "Job"), None)


async def _token(client: AdminClient) -> str:
    """Returns a token as the kubelet asks for it."""
    spec = {"spec": {"expirationSeconds": 3600, "audiences": []}}
    answer = await client.create(_TOKEN, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", **spec})
    return str(answer["status"]["token"])


def _with_token(kubeconfig: Path, token: str) -> str:
    content = yaml.safe_load(kubeconfig.read_text())
    content["users"][0]["user"] = {"token": token}
    return yaml.safe_dump(content)


async def _fleet(place: Place, name: str) -> Fleet:
    """Builds a fleet; what the one before it has left on both sides is taken away first."""
    for client in (place.source, place.target):
        await _clear(client)
    spec = FleetSpec(
        namespace=MOVED,
        cluster_name=name,
        host_name=f"{name}-h",
        control_planes=1,
        workers=1,
        spare_hosts=1,
        paused_conditions=False,
    )
    return await build(place.source, spec)


async def _clear(client: AdminClient) -> None:
    """Deletes what is in the namespace, whatever holds on to it."""
    for key, obj in (await inspect.objects(client, MOVED)).items():
        if key.name != "kube-root-ca.crt":
            with suppress(AdminError):  # The collector may be quicker.
                path = f"{collection_path(obj.type, MOVED)}/{key.name}"
                await client.patch_merge(path, {"metadata": {"finalizers": None}})
                await client.delete(path)
    assert {key.name for key in await inspect.objects(client, MOVED)} <= {"kube-root-ca.crt"}


async def _clusters(client: AdminClient, fleet: Fleet) -> list[tuple[str, str]]:
    """Returns name and UID of the Clusters of a fleet."""
    there = await inspect.objects(client, MOVED)
    names = {key.name for key in fleet.movable if (key.group, key.kind) == rules.CLUSTER}
    found = [obj for obj in there.values() if obj.type.group_kind == rules.CLUSTER and obj.key.name in names]
    return sorted((obj.key.name, obj.uid) for obj in found)


async def _told_of(client: AdminClient, clusters: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Returns reason, name and UID of the events of a cluster about these Clusters."""
    found = await client.list_all(f"/apis/events.k8s.io/v1/namespaces/{MOVED}/events")
    regarding = [(event["reason"], event["regarding"]) for event in found]
    told = sorted((reason, about["name"], about["uid"]) for reason, about in regarding)
    return [event for event in told if event[1:] in clusters]


async def _moved(place: Place, fleet: Fleet) -> None:
    source = await inspect.objects(place.source, MOVED)
    target = await inspect.objects(place.target, MOVED)
    assert set(fleet.movable) <= set(target)
    assert not set(fleet.movable) & set(source)


async def test_the_job_moves_its_namespace_and_says_so_on_the_cluster_on_both_sides(place: Place) -> None:
    fleet = await _fleet(place, "one")
    before = await _clusters(place.source, fleet)
    async with place.run() as program:
        assert await program.ended() == 0, program.output
    assert "in-cluster" in program.output
    await _moved(place, fleet)
    assert await _told_of(place.source, before) == [("MovedOut", name, uid) for name, uid in before]
    after = await _clusters(place.target, fleet)
    assert await _told_of(place.target, after) == [("MovedIn", name, uid) for name, uid in after]


@pytest.mark.parametrize(("name", "line"), [("two", "Verifying the copies"), ("three", "  deleted ")])
async def test_a_pod_that_was_killed_is_followed_by_one_that_finishes_the_move(
    place: Place, name: str, line: str
) -> None:
    fleet = await _fleet(place, name)
    before = await _clusters(place.source, fleet)
    first: Mover
    async with place.run("-v", "1") as first:
        await first.until(line)
        await first.killed()
    async with place.run() as second:
        assert await second.ended() == 0, second.output
    assert "was interrupted in the phase" in second.output
    await _moved(place, fleet)
    assert await _told_of(place.source, before) == [("MovedOut", *cluster) for cluster in before]


async def test_a_pod_that_is_stopped_before_the_commit_undoes_the_move_and_the_next_one_moves(place: Place) -> None:
    fleet = await _fleet(place, "four")
    clusters = await _clusters(place.source, fleet)
    before = await inspect.objects(place.source, MOVED)
    async with place.run("-v", "1") as first:
        await first.until("  created ")
        first.process.terminate()
        assert await first.ended() == 4, first.output
    assert "rolled back" in first.output
    assert set(await inspect.objects(place.source, MOVED)) == set(before)
    assert await _told_of(place.source, clusters) == [("MoveRolledBack", *cluster) for cluster in clusters]
    async with place.run() as second:
        assert await second.ended() == 0, second.output
    await _moved(place, fleet)


@pytest.mark.parametrize("side", ["source", "target"])
async def test_the_service_account_may_do_nothing_else(place: Place, side: Any) -> None:
    client = place.source if side == "source" else place.target
    others = [
        ("get", "", "secrets", "kube-system"),
        ("get", "", "secrets", NAMESPACE),
        ("create", "", "pods", NAMESPACE),
        ("create", "", "pods", MOVED),
        ("delete", "", "namespaces", ""),
        ("list", "", "secrets", ""),
        ("create", "rbac.authorization.k8s.io", "clusterrolebindings", ""),
        ("escalate", "rbac.authorization.k8s.io", "roles", MOVED),
        ("impersonate", "", "users", ""),
        ("delete", rules.CAPI_GROUP, "clusters", "default"),
        ("delete", "events.k8s.io", "events", MOVED),
    ]
    if side == "source":
        others.append(("create", rules.CAPI_GROUP, "clusters", MOVED))
    for verb, group, resource, space in others:
        permission = Permission(side, verb, group, resource, space)
        assert not await rights._is_allowed(client, permission, USER), str(permission)
