"""The witness and the pause reporter on real API servers: each rule fires when it is broken, and only then."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from graph.resource import ObjectKey
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.pair import Pair, Planes, opened
from tests.testbed.pause_reporter import PauseReporter, with_paused
from tests.testbed.witness import (
    CLUSTER_PAUSE,
    HOST_PAUSE,
    RELISTED,
    Body,
    Expectations,
    Rule,
    Side,
    Stream,
    Witness,
    events,
    watched_types,
)

DELETE_FOR_MOVE = "clusterctl.cluster.x-k8s.io/delete-for-move"
REFERENCE = {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "Metal3Machine", "name": "m"}
TEMPLATE = {"templateRef": {"apiVersion": "a.cluster.x-k8s.io/v1", "kind": "ATemplate", "name": "t"}}
KINDS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "BareMetalHost": ("metal3.io/v1alpha1", "baremetalhosts", {"online": True}),
    "Cluster": ("cluster.x-k8s.io/v1beta2", "clusters", {"clusterNetwork": {"serviceDomain": "a.b"}}),
    "ClusterClass": (
        "cluster.x-k8s.io/v1beta2",
        "clusterclasses",
        {"infrastructure": TEMPLATE, "controlPlane": TEMPLATE},
    ),
    "Machine": (
        "cluster.x-k8s.io/v1beta2",
        "machines",
        {"clusterName": "x", "bootstrap": {"dataSecretName": "d"}, "infrastructureRef": REFERENCE},
    ),
    "Metal3Machine": ("infrastructure.cluster.x-k8s.io/v1beta2", "metal3machines", {}),
    "Metal3Cluster": ("infrastructure.cluster.x-k8s.io/v1beta2", "metal3clusters", {}),
    "ConfigMap": ("v1", "configmaps", {}),
}
_numbers = count(1)


@dataclass(frozen=True)
class Bed:
    """A namespace on two clusters, with a client for what is done and one for who watches, on each."""

    namespace: str
    source: AdminClient
    target: AdminClient
    eyes: tuple[AdminClient, AdminClient]

    def witness(self, expectations: Expectations | None = None) -> Witness:
        """Returns a witness of the namespace."""
        return Witness(*self.eyes, expectations, namespaces=[self.namespace])

    def key(self, kind: str) -> ObjectKey:
        """Returns the key of the object "x" of a kind."""
        return ObjectKey(KINDS[kind][0].rpartition("/")[0], kind, self.namespace, "x")

    def path(self, kind: str, name: str = "x") -> str:
        """Returns the path of an object."""
        api_version, plural, _ = KINDS[kind]
        root = "/apis" if "/" in api_version else "/api"
        return f"{root}/{api_version}/namespaces/{self.namespace}/{plural}/{name}".rstrip("/")

    async def add(self, client: AdminClient, kind: str, *, paused: bool = False, **metadata: Any) -> Any:
        """Creates the object "x" of a kind."""
        meta = {"name": "x", "namespace": self.namespace, **metadata}
        body = {"apiVersion": KINDS[kind][0], "kind": kind, "metadata": meta}
        if kind != "ConfigMap":
            body["spec"] = KINDS[kind][2]
        body = merged(body, pause_patch(kind)) if paused else body
        return await client.create(self.path(kind, ""), body)

    async def pause(self, client: AdminClient, kind: str, *, paused: bool = True) -> Any:
        """Pauses or resumes the object."""
        return await client.patch_merge(self.path(kind), pause_patch(kind, paused=paused))

    async def remove(self, client: AdminClient, kind: str) -> None:
        """Removes the object as a move must: stripped in one patch that leaves its pause, then exactly that."""
        strip = {"metadata": {"finalizers": None, "annotations": {DELETE_FOR_MOVE: ""}}}
        body = await client.patch_merge(self.path(kind), strip)
        exact = {name: body["metadata"][name] for name in ("uid", "resourceVersion")}
        await client.delete(self.path(kind), {"preconditions": exact})

    async def remove_as_clusterctl(self, client: AdminClient, kind: str) -> None:
        """Removes the object in clusterctl's order: annotations replaced, deleted, finalizers emptied."""
        replace = {"op": "add", "path": "/metadata/annotations", "value": {DELETE_FOR_MOVE: ""}}
        await client.patch_json(self.path(kind), [replace])
        await client.delete(self.path(kind))
        try:
            await client.patch_merge(self.path(kind), {"metadata": {"finalizers": None}})
        except AdminError as error:
            if error.status != 404:
                raise


def pause_patch(kind: str, *, paused: bool = True) -> dict[str, Any]:
    """Returns the merge patch that pauses or resumes an object of a kind."""
    if kind == "Cluster":
        return {"spec": {"paused": True if paused else None}}
    annotation = HOST_PAUSE if kind == "BareMetalHost" else CLUSTER_PAUSE
    return {"metadata": {"annotations": {annotation: "" if paused else None}}}


def merged(body: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `body` with the keys of `patch`, one level deep."""
    return {**body, **{key: {**body.get(key, {}), **value} for key, value in patch.items()}}


@pytest.fixture(scope="module")
async def clients(pair: Pair) -> AsyncIterator[tuple[AdminClient, ...]]:
    async with opened((pair.source, pair.target)) as eyes:
        yield pair.on_source, pair.on_target, eyes.on_source, eyes.on_target


@pytest.fixture
async def bed(clients: tuple[AdminClient, ...]) -> Bed:
    source, target, *eyes = clients
    name = f"n{next(_numbers)}"
    for client in (source, target):
        await client.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return Bed(name, source, target, (eyes[0], eyes[1]))


def rules(witness: Witness) -> set[Rule]:
    return {violation.rule for violation in witness.violations}


async def test_a_right_move_leaves_no_trace(bed: Bed) -> None:
    kinds = ("ConfigMap", "Machine", "BareMetalHost", "Cluster", "ClusterClass")
    pausable = ("ClusterClass", "BareMetalHost", "Cluster")
    for kind in kinds:
        await bed.add(bed.source, kind, finalizers=["example.org/held"])
    async with bed.witness() as witness:
        for kind in pausable:
            await bed.pause(bed.source, kind)
        for kind in kinds:
            await bed.add(bed.target, kind, paused=kind in pausable)
        for kind in kinds:
            await bed.remove(bed.source, kind)
        for kind in pausable:
            await bed.pause(bed.target, kind, paused=False)
    witness.check()
    for kind in kinds:
        resource = ".".join(filter(None, (kind, bed.key(kind).group)))
        assert witness.stats[Side.SOURCE, resource, "DELETED"] == 1, kind
        assert witness.stats[Side.TARGET, resource, "ADDED"] == 1, kind


async def test_a_resume_right_after_the_last_delete_is_no_overlap(bed: Bed) -> None:
    async with bed.witness() as witness:
        for _ in range(20):
            await bed.add(bed.source, "BareMetalHost", paused=True)
            await bed.add(bed.target, "BareMetalHost", paused=True)
            await bed.remove(bed.source, "BareMetalHost")
            await bed.pause(bed.target, "BareMetalHost", paused=False)
            await bed.target.delete(bed.path("BareMetalHost"))
    assert rules(witness) == {Rule.COLLECTED}  # ours, to have the name again


async def test_clusterctls_order_of_deletion_is_seen_on_a_host(bed: Bed) -> None:
    await bed.add(bed.source, "BareMetalHost", paused=True, finalizers=["example.org/held"])
    async with bed.witness() as witness:
        await bed.add(bed.target, "BareMetalHost", paused=True)
        await bed.remove_as_clusterctl(bed.source, "BareMetalHost")
    assert [violation.rule for violation in witness.violations] == [
        Rule.PAUSE_LOST,
        Rule.DYING_WITH_FINALIZERS,
        Rule.STRIPPED_UNPAUSED,
    ]
    assert {violation.key for violation in witness.violations} == {bed.key("BareMetalHost")}
    with pytest.raises(AssertionError, match="3 violations"):
        witness.check()


async def test_clusterctls_order_of_deletion_is_seen_on_a_machine(bed: Bed) -> None:
    await bed.add(bed.source, "Machine", finalizers=["example.org/held"])
    async with bed.witness() as witness:
        await bed.add(bed.target, "Machine")
        await bed.remove_as_clusterctl(bed.source, "Machine")
    assert rules(witness) == {Rule.DYING_WITH_FINALIZERS}


async def test_a_host_stripped_of_its_finalizers_without_a_pause_is_seen(bed: Bed) -> None:
    await bed.add(bed.source, "BareMetalHost", finalizers=["example.org/held"])
    async with bed.witness() as witness:
        await bed.add(bed.target, "BareMetalHost", paused=True)
        await bed.remove(bed.source, "BareMetalHost")
    assert rules(witness) == {Rule.STRIPPED_UNPAUSED}


@pytest.mark.parametrize(("copied", "expected"), [(True, {Rule.PAUSE_LOST}), (False, set())])
async def test_a_cluster_resumed_on_the_source_is_seen_while_its_copy_exists(
    bed: Bed, copied: bool, expected: set[Rule]
) -> None:
    await bed.add(bed.source, "Cluster")
    async with bed.witness() as witness:
        await bed.pause(bed.source, "Cluster")
        if copied:
            await bed.add(bed.target, "Cluster", paused=True)
        await bed.pause(bed.source, "Cluster", paused=False)
    assert rules(witness) == expected


@pytest.mark.parametrize("kind", ["BareMetalHost", "Cluster", "ClusterClass"])
@pytest.mark.parametrize("kept", [False, True])
async def test_what_is_unpaused_on_both_is_seen_unless_it_is_kept(bed: Bed, kind: str, kept: bool) -> None:
    await bed.add(bed.source, kind)
    async with bed.witness(Expectations(kept={bed.key(kind)} if kept else ())) as witness:
        await bed.add(bed.target, kind, paused=True)
        await bed.pause(bed.target, kind, paused=False)
    assert rules(witness) == (set() if kept else {Rule.UNPAUSED_ON_BOTH})


async def test_a_host_copied_unpaused_is_seen_though_the_source_goes_at_once(bed: Bed) -> None:
    await bed.add(bed.source, "BareMetalHost")
    async with bed.witness() as witness:
        await bed.add(bed.target, "BareMetalHost")
        await bed.source.delete(bed.path("BareMetalHost"))
    assert rules(witness) == {Rule.UNPAUSED_ON_BOTH}


@pytest.mark.parametrize("expected", [False, True])
async def test_what_vanishes_before_it_was_copied_is_seen_unless_expected(bed: Bed, expected: bool) -> None:
    await bed.add(bed.source, "ConfigMap")
    losses = {bed.key("ConfigMap")} if expected else ()
    async with bed.witness(Expectations(expected_losses=losses)) as witness:
        await bed.remove(bed.source, "ConfigMap")
        await bed.add(bed.target, "Machine")
    assert rules(witness) == (set() if expected else {Rule.LOST})


async def test_what_was_to_be_kept_is_seen_to_go_from_the_source(bed: Bed) -> None:
    await bed.add(bed.source, "ClusterClass")
    async with bed.witness(Expectations(kept={bed.key("ClusterClass")})) as witness:
        await bed.add(bed.target, "ClusterClass")
        await bed.remove(bed.source, "ClusterClass")
    assert rules(witness) == {Rule.COLLECTED}


@pytest.mark.parametrize("kind", ["BareMetalHost", "Cluster", "ConfigMap"])
async def test_the_last_event_before_the_end_is_seen(bed: Bed, kind: str) -> None:
    await bed.add(bed.target, kind)
    async with bed.witness() as witness:
        await bed.target.delete(bed.path(kind))
    assert [(v.rule, v.key) for v in witness.violations] == [(Rule.COLLECTED, bed.key(kind))]


async def test_a_right_rollback_leaves_no_trace(bed: Bed) -> None:
    kinds = ("BareMetalHost", "Cluster")
    for kind in kinds:
        await bed.add(bed.source, kind)
    async with bed.witness(Expectations(rollback=True)) as witness:
        for kind in kinds:
            await bed.pause(bed.source, kind)
            await bed.add(bed.target, kind, paused=True)
        for kind in kinds:
            await bed.remove(bed.target, kind)
            await bed.pause(bed.source, kind, paused=False)
    witness.check()


async def test_a_rollback_that_resumes_before_the_copy_is_gone_is_seen(bed: Bed) -> None:
    await bed.add(bed.source, "BareMetalHost", paused=True)
    async with bed.witness(Expectations(rollback=True)) as witness:
        await bed.add(bed.target, "BareMetalHost", paused=True)
        await bed.pause(bed.source, "BareMetalHost", paused=False)
    assert rules(witness) == {Rule.PAUSE_LOST}


async def test_other_namespaces_are_not_looked_at(bed: Bed) -> None:
    elsewhere = Witness(*bed.eyes, namespaces=["nowhere"])
    async with elsewhere:
        await bed.add(bed.target, "ConfigMap")
        await bed.target.delete(bed.path("ConfigMap"))
    assert not elsewhere.violations
    with pytest.raises(AssertionError, match="proves nothing"):
        elsewhere.check()


async def test_a_watch_from_a_forgotten_version_lists_again(bed: Bed) -> None:
    await bed.add(bed.source, "Cluster")
    taken: asyncio.Queue[tuple[str, Body]] = asyncio.Queue()
    types = await watched_types(bed.source)
    cluster = next(t for t in types if t.kind == "Cluster")
    stream = Stream(bed.source, cluster, lambda _, event, body: taken.put_nowait((event, body)))
    stream.seen = 1
    task = asyncio.create_task(stream.follow())
    event, answer = await asyncio.wait_for(taken.get(), 10)
    task.cancel()
    await asyncio.wait([task])
    assert event == RELISTED
    assert bed.namespace in {item["metadata"]["namespace"] for item in answer["items"]}


async def test_a_restart_of_the_api_server_hides_nothing_silently(bed: Bed, planes: Planes) -> None:
    await bed.add(bed.target, "ConfigMap")
    await bed.add(bed.target, "Machine")
    async with bed.witness() as witness:
        await bed.target.delete(bed.path("ConfigMap"))
        await asyncio.to_thread(planes[1].restart_apiserver)
        await bed.target.delete(bed.path("Machine"))
    collected = {v.key for v in witness.violations if v.rule is Rule.COLLECTED}
    assert collected == {bed.key("ConfigMap"), bed.key("Machine")}


async def conditions(bed: Bed, kind: str) -> dict[str, dict[str, Any]]:
    """Returns the conditions of the object by type."""
    body = await bed.source.get(bed.path(kind))
    return {item["type"]: item for item in body.get("status", {}).get("conditions", ())}


async def until_reported(bed: Bed, kind: str, status: str) -> dict[str, Any]:
    """Returns the condition Paused as soon as it has the status."""
    collection = bed.path(kind, "")
    async with asyncio.timeout(20):
        version = (await bed.source.list(collection))["metadata"]["resourceVersion"]
        paused = (await conditions(bed, kind)).get("Paused", {})
        async with aclosing(events(bed.source, collection, version)) as changes:
            while paused.get("status") != status:
                await anext(changes)
                paused = (await conditions(bed, kind)).get("Paused", {})
    return paused


@pytest.fixture
async def labelled(bed: Bed) -> Bed:
    labels = {"cluster.x-k8s.io/cluster-name": "x"}
    await bed.add(bed.source, "Cluster")
    for kind in ("Machine", "Metal3Machine", "Metal3Cluster"):
        await bed.add(bed.source, kind, labels=labels)
    return bed


async def test_a_pause_is_reported_by_the_cluster_and_its_dependents(labelled: Bed) -> None:
    bed = labelled
    async with PauseReporter(bed.source, latency_s=0.01):
        await until_reported(bed, "Metal3Machine", "False")
        await bed.pause(bed.source, "Cluster")
        cluster = await until_reported(bed, "Cluster", "True")
        machine = await until_reported(bed, "Machine", "True")
        metal3 = await until_reported(bed, "Metal3Machine", "True")
        await bed.pause(bed.source, "Cluster", paused=False)
        resumed = await until_reported(bed, "Machine", "False")
    assert (cluster["reason"], cluster["observedGeneration"]) == ("Paused", 2)
    assert (machine["reason"], machine["observedGeneration"]) == ("Paused", 1)
    assert "observedGeneration" not in metal3
    assert resumed["reason"] == "NotPaused"
    assert await conditions(bed, "Metal3Cluster") == {}


async def test_a_class_reports_the_annotation_of_its_own(bed: Bed) -> None:
    await bed.add(bed.source, "ClusterClass")
    async with PauseReporter(bed.source):
        await bed.pause(bed.source, "ClusterClass")
        paused = await until_reported(bed, "ClusterClass", "True")
    assert paused["message"] == f"ClusterClass has the {CLUSTER_PAUSE} annotation"


async def test_other_conditions_stay_and_a_reported_pause_needs_no_write(bed: Bed) -> None:
    await bed.add(bed.source, "Cluster", paused=True)
    now = "2026-01-01T00:00:00Z"
    other = {"type": "A", "status": "True", "reason": "B", "message": "", "lastTransitionTime": now}
    await bed.source.patch_status(bed.path("Cluster"), {"conditions": [other]})
    async with PauseReporter(bed.source):
        await until_reported(bed, "Cluster", "True")
    assert (await conditions(bed, "Cluster"))["A"] == other
    body = await bed.source.get(bed.path("Cluster"))
    assert with_paused(body, by_cluster=True) is None
    assert with_paused(body, by_cluster=False) is not None


async def test_a_failure_of_the_reporter_is_raised_at_its_end(bed: Bed, planes: Planes) -> None:
    await bed.add(bed.source, "Cluster")
    await allow_reading(bed.source, "reader")
    async with AdminClient(planes[0].kubeconfig_for("reader")) as client:
        with pytest.raises(ExceptionGroup) as raised:
            await report_to_the_end(PauseReporter(client))
    assert raised.group_contains(AdminError, match="403")


async def report_to_the_end(reporter: PauseReporter) -> None:
    """Runs a reporter until it fails by itself."""
    async with reporter:
        assert reporter._task is not None
        await asyncio.wait([reporter._task], timeout=10)


async def allow_reading(client: AdminClient, user: str) -> None:
    """Gives a user the right to read everything, and no other."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
    await client.create(f"{rbac}/clusterroles", {"metadata": {"name": user}, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]
    binding = {"metadata": {"name": user}, "roleRef": role, "subjects": subjects}
    await client.create(f"{rbac}/clusterrolebindings", binding)
