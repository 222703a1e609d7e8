"""Tests of the read-only checks: what each finds, and what it lets pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from graph import rules
from graph.resource import Object
from mover.checks import Findings, check_move
from mover.checks.pauses import check_not_paused
from mover.checks.progress import check_not_deleting, check_provisioned
from mover.checks.ties import check_left_dependents
from mover.choices import ExistingPolicy, PausedPolicy
from mover.discovery import CRDS, NAMESPACES, Provider
from mover.models import MoveOptions
from mover.namespace import namespace_mutator
from mover.planning import Plan, Rules, make_plan
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.graph_builders import unseen
from tests.unit.mover_builders import inventory, make, plan_of, typed
from tests.unit.scripted_server import failure

INITIALIZED = {"type": "ControlPlaneInitialized", "status": "True"}
PROVISIONED: dict[str, Any] = {
    "initialization": {"infrastructureProvisioned": True, "controlPlaneInitialized": True},
    "conditions": [INITIALIZED],
}
CLUSTER = make(rules.CLUSTER, "c", status=PROVISIONED)
METAL3 = Provider("InfrastructureProvider", "metal3", "v1.14.2", "capm3-system")


def provider_body(provider: Provider) -> Object:
    kind = replace(typed(rules.PROVIDER), version="v1alpha3", plural="providers")
    more: dict[str, Any] = {"type": provider.type, "providerName": provider.name, "version": provider.version}
    return make(kind, provider.name, namespace=provider.namespace, **more)


CONTRACT = make(CRDS, rules.CLUSTERS_CRD, metadata={"labels": {rules.CONTRACT_LABEL: "v1beta2"}}, spec={"versions": []})


class Pair:
    """A source that is only asked who it is, and a target with some objects."""

    def __init__(self, *on_target: Object) -> None:
        self.source, self.target = FakeApiServer("source"), FakeApiServer("target")
        self.source.put(make(NAMESPACES, "kube-system", metadata={"uid": "one"}), CONTRACT)
        self.target.put(make(NAMESPACES, "kube-system", metadata={"uid": "other"}), CONTRACT, *on_target)

    async def check(self, plan: Plan, **options: Any) -> Findings:
        """Checks a move; nothing may be written."""
        async with self.source.cluster() as origin, self.target.cluster() as goal:
            result = await check_move(origin, goal, plan, MoveOptions(**options))
        assert not self.source.writes()
        assert not self.target.writes()
        return result


async def findings(plan: Plan, *on_target: Object, **options: Any) -> Findings:
    return await Pair(*on_target).check(plan, **options)


def told(found: Findings) -> list[tuple[str, str]]:
    return [(problem.check, problem.subject) for problem in found.problems]


async def problems(plan: Plan, *on_target: Object, **options: Any) -> list[tuple[str, str]]:
    return told(await findings(plan, *on_target, **options))


def test_a_provisioned_cluster_with_nodes_can_move() -> None:
    machine = make(rules.MACHINE, "m", owners=[CLUSTER], status={"nodeRef": {"name": "n"}})
    assert check_provisioned(plan_of(CLUSTER, machine)) == []


@pytest.mark.parametrize(
    ("status", "what"),
    [
        ({}, "infrastructure"),
        ({"initialization": {"infrastructureProvisioned": False}, "conditions": [INITIALIZED]}, "infrastructure"),
        ({"infrastructureReady": True}, "condition ControlPlaneInitialized"),
        (
            {"infrastructureReady": True, "conditions": [{**INITIALIZED, "status": "False"}]},
            "condition ControlPlaneInitialized",
        ),
        (
            {"infrastructureReady": True, "conditions": [INITIALIZED]},
            "status.initialization.controlPlaneInitialized",
        ),
    ],
)
def test_a_cluster_that_is_not_provisioned_is_told_why(status: dict[str, Any], what: str) -> None:
    cluster = make(rules.CLUSTER, "c", spec={"controlPlaneRef": {"name": "kcp"}}, status=status)
    (problem,) = check_provisioned(plan_of(cluster))
    assert (problem.check, problem.cluster, problem.subject) == ("provisioned", "source", "Cluster ns/c")
    assert what in problem.what


@pytest.mark.parametrize(
    "status",
    [
        PROVISIONED,
        {"infrastructureReady": True, "controlPlaneReady": True, "conditions": [INITIALIZED]},
    ],
    ids=["v1beta2", "v1beta1"],
)
def test_both_api_versions_tell_that_a_cluster_is_provisioned(status: dict[str, Any]) -> None:
    cluster = make(rules.CLUSTER, "c", spec={"controlPlaneRef": {"name": "kcp"}}, status=status)
    assert check_provisioned(plan_of(cluster)) == []


def test_a_cluster_without_a_control_plane_of_its_own_needs_only_the_condition() -> None:
    status = {"infrastructureReady": True, "conditions": [INITIALIZED]}
    assert check_provisioned(plan_of(make(rules.CLUSTER, "c", status=status))) == []


@pytest.mark.parametrize("status", [{}, {"nodeRef": {}}, {"nodeRef": {"name": ""}}])
def test_a_machine_without_a_node_is_a_problem(status: dict[str, Any]) -> None:
    machine = make(rules.MACHINE, "m", owners=[CLUSTER], status=status)
    (problem,) = check_provisioned(plan_of(CLUSTER, machine))
    assert problem.subject == "Machine ns/m"


def test_a_machine_that_stays_is_not_asked_for_its_node() -> None:
    assert check_provisioned(plan_of(make(rules.MACHINE, "m"))) == []


@pytest.mark.parametrize(
    "paused",
    [
        make(rules.CLUSTER, "c", spec={"paused": True}),
        make(rules.CLUSTER, "c", metadata={"annotations": {rules.PAUSED_ANNOTATION: ""}}),
        make(rules.CLUSTER_CLASS, "c", metadata={"annotations": {rules.PAUSED_ANNOTATION: ""}}),
    ],
)
def test_a_paused_cluster_or_class_is_a_problem(paused: Object) -> None:
    (problem,) = check_not_paused(plan_of(paused))
    assert (problem.check, problem.subject) == ("paused", str(paused.key))


def test_a_host_that_its_user_has_paused_is_no_problem() -> None:
    host = make(rules.BARE_METAL_HOST, "h", metadata={"annotations": {rules.HOST_PAUSED_ANNOTATION: ""}})
    assert check_not_paused(plan_of(host, CLUSTER)) == []


def test_a_moving_object_that_is_being_deleted_is_a_problem() -> None:
    dying = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    (problem,) = check_not_deleting(plan_of(make(rules.CLUSTER, "c", metadata=dying)))
    assert problem.check == "deleting"
    identity = make(typed(("example.org", "Identity"), namespaced=False, move=True), "i", metadata=dying)
    assert check_not_deleting(plan_of(make(rules.SECRET, "left", metadata=dying), identity)) == []


MOVING = make(typed(("example.org", "Thing"), move=True), "moving")
STAYING = make(rules.CONFIG_MAP, "staying")


@pytest.mark.parametrize(
    ("owners", "lost"),
    [([MOVING], True), ([MOVING, STAYING], False), ([MOVING, unseen()], False), ([STAYING], False), ([], False)],
)
def test_what_stays_is_lost_only_if_all_its_owners_move_away(owners: list[Object | dict[str, Any]], lost: bool) -> None:
    left = make(rules.SECRET, "left", owners=owners)
    found = check_left_dependents(plan_of(MOVING, STAYING, left))
    assert [(problem.check, problem.subject) for problem in found] == (
        [("left-dependents", "Secret ns/left")] if lost else []
    )


def test_what_stays_below_an_owner_that_is_kept_is_not_lost() -> None:
    identity = make(typed(("example.org", "Identity"), namespaced=False, move=True), "i")
    assert check_left_dependents(plan_of(identity, make(rules.SECRET, "left", owners=[identity]))) == []


async def test_a_move_that_nothing_stands_against_has_no_problems() -> None:
    plan = plan_of(CLUSTER)
    found = await findings(plan)
    assert (found.plan, found.problems, found.warnings, found.used, found.overwritten) == (plan, (), (), {}, {})


async def test_source_and_target_must_be_two_clusters() -> None:
    pair = Pair()
    pair.target.put(make(NAMESPACES, "kube-system", metadata={"uid": "one"}))
    assert told(await pair.check(plan_of(CLUSTER))) == [("identity", "cluster")]


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("crd", [None, make(CRDS, rules.CLUSTERS_CRD, spec={"versions": []})])
async def test_both_clusters_must_serve_the_contract_of_cluster_api(side: str, crd: Object | None) -> None:
    pair = Pair()
    server: FakeApiServer = getattr(pair, side)
    server.bodies = {path: body for path, body in server.bodies.items() if "customresource" not in path}
    if crd is not None:
        server.put(crd)
    (problem,) = (await pair.check(plan_of(CLUSTER))).problems
    assert (problem.check, problem.cluster, problem.subject) == ("contract", side, rules.CLUSTERS_CRD)


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        ("v1.14.2", True),
        ("1.14.2", True),
        ("v1.14.10", True),
        ("v2.0.0", True),
        ("v1.14.1", False),
        ("v1.14.2-rc.0", False),
        ("main", False),
    ],
)
async def test_each_provider_must_be_there_in_the_same_or_a_newer_version(version: str, accepted: bool) -> None:
    there = provider_body(replace(METAL3, version=version, namespace="elsewhere"))
    found = await problems(plan_of(CLUSTER, providers=(METAL3,)), there)
    assert found == ([] if accepted else [("providers", "InfrastructureProvider metal3")])


async def test_of_several_installations_of_a_provider_the_newest_counts() -> None:
    there = [provider_body(replace(METAL3, version=version, namespace=version)) for version in ("v1.0.0", "v1.15.0")]
    assert await problems(plan_of(CLUSTER, providers=(METAL3,)), *there) == []


@pytest.mark.parametrize("other", [replace(METAL3, name="aws"), replace(METAL3, type="CoreProvider")])
async def test_a_provider_of_another_name_or_type_does_not_stand_in(other: Provider) -> None:
    result = await findings(plan_of(CLUSTER, providers=(METAL3,)), provider_body(other))
    assert [problem.what for problem in result.problems] == ["the provider is not installed"]


async def test_a_type_that_the_target_does_not_serve_is_one_problem_with_its_number_of_objects() -> None:
    machines = [make(rules.MACHINE, f"m{n}", owners=[CLUSTER], status={"nodeRef": {"name": "n"}}) for n in range(2)]
    pair, missing = Pair(), failure(404, "NotFound")
    pair.target.before = lambda request: missing if request.path.endswith("/machines") else None
    (problem,) = (await pair.check(plan_of(CLUSTER, *machines))).problems
    assert (problem.check, problem.subject) == ("served", "Machine.cluster.x-k8s.io")
    assert "2 objects need it" in problem.what


async def test_an_object_that_is_on_the_target_already_is_a_problem() -> None:
    assert await problems(plan_of(CLUSTER), make(rules.CLUSTER, "c")) == [("collisions", "Cluster ns/c")]
    assert await problems(plan_of(CLUSTER), make(rules.CLUSTER, "other")) == []
    assert await problems(plan_of(CLUSTER), make(rules.CLUSTER, "c", namespace="other")) == []


async def test_a_cluster_scoped_object_that_is_on_the_target_is_used_with_all_below_it() -> None:
    root = make(typed(("example.org", "Root"), namespaced=False, move_hierarchy=True), "r")
    below = make(typed(), "below", owners=[root])
    there = [
        make(root.type, "r", metadata={"uid": "root-there"}),
        make(typed(), "below", metadata={"uid": "below-there"}),
    ]
    result = await findings(plan_of(root, below), *there)
    assert (result.problems, result.overwritten) == ((), {})
    assert result.used == {root.uid: "root-there", below.uid: "below-there"}


async def test_an_owner_outside_of_the_move_must_be_on_the_target_under_its_name() -> None:
    outside = make(rules.CONFIG_MAP, "outside")
    owned = make(rules.CLUSTER, "c", owners=[outside], status=PROVISIONED)
    result = await findings(plan_of(owned, outside), make(rules.CONFIG_MAP, "outside", metadata={"uid": "there"}))
    assert (result.problems, result.used) == ((), {outside.uid: "there"})
    (problem,) = (await findings(plan_of(owned, outside))).problems
    assert (problem.check, problem.subject) == ("outside-owners", "Cluster ns/c")
    assert "ConfigMap outside" in problem.what


async def test_an_owner_of_a_type_that_is_not_served_is_not_there() -> None:
    unseen = {"apiVersion": "gone.example/v1", "kind": "Gone", "name": "g", "uid": "uid-g"}
    owned = make(rules.CLUSTER, "c", owners=[unseen], status=PROVISIONED)
    assert await problems(plan_of(owned)) == [("outside-owners", "Cluster ns/c")]


async def test_all_problems_are_told_at_once_each_with_a_remedy() -> None:
    bad = make(rules.CLUSTER, "c", spec={"paused": True}, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    pair = Pair(make(rules.CLUSTER, "c"))
    pair.target.put(make(NAMESPACES, "kube-system", metadata={"uid": "one"}))
    result = await pair.check(plan_of(bad, providers=(METAL3,)))
    assert [problem.check for problem in result.problems] == [
        "identity",
        "providers",
        "collisions",
        "provisioned",
        "deleting",
        "paused",
    ]
    assert all(problem.remedy for problem in result.problems)


async def test_paused_clusters_are_no_problem_if_they_are_to_stay_paused() -> None:
    paused = plan_of(make(rules.CLUSTER, "c", spec={"paused": True}, status=PROVISIONED))
    assert await problems(paused) == [("paused", "Cluster ns/c")]
    other = next(policy for policy in PausedPolicy if policy is not PausedPolicy.REFUSE)
    assert await problems(paused, paused=other) == []


@pytest.mark.parametrize(
    ("policy", "equal", "overwritten"),
    [
        (ExistingPolicy.REFUSE, True, False),
        (ExistingPolicy.ADOPT, True, True),
        (ExistingPolicy.ADOPT, False, False),
        (ExistingPolicy.OVERWRITE, False, True),
    ],
)
async def test_what_is_there_already_is_taken_over_only_as_asked_for(
    policy: ExistingPolicy, equal: bool, overwritten: bool
) -> None:
    spec = {} if equal else {"a": 1}
    there = make(rules.CLUSTER, "c", metadata={"uid": "there", "resourceVersion": "9"}, spec=spec)
    result = await findings(plan_of(CLUSTER), there, existing=policy)
    assert dict(result.overwritten) == ({CLUSTER.uid: "there"} if overwritten else {})
    assert told(result) == ([] if overwritten else [("collisions", "Cluster ns/c")])


@pytest.mark.parametrize("equal", [True, False])
async def test_a_class_that_an_earlier_move_has_brought_is_used_if_it_is_equal(equal: bool) -> None:
    kept = make(rules.CLUSTER_CLASS, "class", namespace="elsewhere", spec={"a": 1})
    there = make(
        rules.CLUSTER_CLASS, "class", namespace="elsewhere", spec={"a": 1 if equal else 2}, metadata={"uid": "there"}
    )
    result = await findings(plan_of(CLUSTER, kept), there)
    assert dict(result.used) == ({kept.uid: "there"} if equal else {})
    assert told(result) == ([] if equal else [("collisions", "ClusterClass elsewhere/class")])


async def test_what_has_no_owner_on_the_target_is_left_behind_on_request_with_all_below_it() -> None:
    outside = make(rules.CONFIG_MAP, "outside")
    owned = make(rules.CLUSTER, "c", owners=[outside], status=PROVISIONED)
    below = make(rules.MACHINE, "m", owners=[owned])
    other = make(rules.CLUSTER, "other", status=PROVISIONED)
    result = await findings(plan_of(outside, owned, below, other), leave_behind=True)
    assert told(result) == []
    assert [obj.key.name for obj in result.plan.selection.selected] == ["other"]


async def test_what_cannot_be_renamed_is_called_as_it_is_on_the_source() -> None:
    cluster = make(rules.CLUSTER, "c", status=PROVISIONED, metadata={"annotations": {"saved-as": "ns/c"}})
    plan = make_plan(inventory(cluster), Rules(mutators=(namespace_mutator("ns", "new"),)))
    assert await problems(plan, to_namespace="new") == [("to-namespace", "Cluster ns/c")]


@pytest.mark.parametrize(("kind", "taken"), [(rules.SECRET, True), (rules.IP_POOL, False)])
async def test_what_is_named_is_included_on_request_unless_two_of_it_would_hand_out_the_same(
    kind: tuple[str, str], taken: bool
) -> None:
    named = make(kind, "named")
    reference = {"kind": kind[1], "name": "named"}
    cluster = make(rules.CLUSTER, "c", status=PROVISIONED, spec={"reference": reference})
    (problem,) = (await findings(plan_of(cluster, named))).problems
    assert (problem.check, problem.subject) == ("references", str(named))
    assert ("--include-referenced" in problem.remedy) is taken
    result = await findings(plan_of(cluster, named), include_referenced=True)
    assert [obj.key for obj in result.plan.selection.kept] == ([named.key] if taken else [])
    assert told(result) == ([] if taken else [("references", str(named))])
