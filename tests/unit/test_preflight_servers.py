"""Tests of the checks that ask the servers about themselves: rights, clocks, versions, quotas, space, operators."""

from __future__ import annotations

from typing import Any

import pytest

from graph import rules
from graph.resource import Object, ResourceType
from mover.checks.access import check_access, denied
from mover.checks.admission import read_admission
from mover.checks.clusters import check_clocks, check_connection, check_versions
from mover.checks.namespaces import check_quota, read_namespaces
from mover.checks.operators import check_operators
from mover.checks.sizes import LARGEST_BYTES, check_sizes, check_space
from mover.discovery import NAMESPACES
from mover.errors import Problem
from mover.models import MoveOptions
from mover.namespace import namespace_mutator
from mover.permissions import Permission
from mover.planning import Rules, make_plan
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make, plan_of, typed
from tests.unit.scripted_server import answer, failure

CLUSTER = make(rules.CLUSTER, "c")
MACHINES = [make(rules.MACHINE, name, owners=[CLUSTER]) for name in ("a", "b", "d")]
HOST = make(rules.BARE_METAL_HOST, "h")
DEPLOYMENT = ResourceType("apps", "v1", "Deployment", "deployments")
QUOTA = ResourceType("", "v1", "ResourceQuota", "resourcequotas")
READ = Permission("source", "list", "", "secrets", "ns")


async def test_an_administrator_is_asked_one_question() -> None:
    server = FakeApiServer()
    assert await denied(server.direct(), [READ]) == []
    assert len(server.log) == 1


@pytest.mark.parametrize(
    ("rule", "questions"),
    [
        ({"verbs": ["list"], "apiGroups": [""], "resources": ["secrets"]}, 2),
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, 2),
        ({"verbs": ["list"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"]}, 3),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}, 3),
        ({"verbs": ["list"], "apiGroups": ["x"], "resources": ["secrets"]}, 3),
        ({"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}, 3),
    ],
)
async def test_what_the_rules_of_a_namespace_grant_is_not_asked_for(rule: dict[str, Any], questions: int) -> None:
    server = FakeApiServer()
    server.denied = {("list", "secrets")}

    def before(request: Any) -> Any:
        if request.path.endswith("selfsubjectrulesreviews"):
            return answer(201, {"status": {"resourceRules": [rule]}})
        return None

    server.before = before
    assert await denied(server.direct(), [READ]) == ([] if questions == 2 else [READ])
    assert len(server.log) == questions


async def test_a_right_to_a_subresource_is_one_of_its_own() -> None:
    server = FakeApiServer()
    server.denied = {("patch", "machines/status")}
    asked = [Permission("target", "patch", rules.CAPI_GROUP, name, "ns") for name in ("machines", "machines/status")]
    assert await denied(server.direct(), asked) == asked[1:]


async def test_missing_rights_are_told_by_resource_with_all_verbs() -> None:
    source, target = FakeApiServer("source"), FakeApiServer("target")
    target.denied = {("create", "machines"), ("patch", "machines"), ("create", "namespaces")}
    found = await check_access(
        source.direct(), target.direct(), plan_of(CLUSTER, *MACHINES), MoveOptions(), creates_namespace=True
    )
    assert [(problem.cluster, problem.subject) for problem in found] == [
        ("target", "namespaces in the whole cluster"),
        ("target", "machines.cluster.x-k8s.io in the namespace ns"),
    ]
    assert "create, patch" in found[1].what
    assert "capi-mover rbac --side target -n ns" in found[1].remedy


async def test_what_does_not_move_needs_no_right_to_be_made() -> None:
    source, target = FakeApiServer("source"), FakeApiServer("target")
    target.denied = {("create", "machines")}
    assert (
        await check_access(source.direct(), target.direct(), plan_of(CLUSTER), MoveOptions(), creates_namespace=True)
        == []
    )


async def test_rights_are_asked_for_where_the_copies_go() -> None:
    source, target = FakeApiServer("source"), FakeApiServer("target")
    elsewhere = make(rules.CLUSTER_CLASS, "k", namespace="classes")
    target.denied = {("create", elsewhere.type.plural), ("create", "machines")}
    plan = plan_of(CLUSTER, *MACHINES, elsewhere)
    found = await check_access(source.direct(), target.direct(), plan, MoveOptions(), creates_namespace=False)
    assert [problem.subject for problem in found] == [
        f"{elsewhere.type.resource_name} in the namespace classes",
        "machines.cluster.x-k8s.io in the namespace ns",
    ]
    plan = make_plan(plan_of(CLUSTER, *MACHINES).inventory, Rules(mutators=(namespace_mutator("ns", "new"),)))
    renamed = await check_access(
        source.direct(), target.direct(), plan, MoveOptions(to_namespace="new"), creates_namespace=False
    )
    assert [problem.subject for problem in renamed] == ["machines.cluster.x-k8s.io in the namespace new"]


@pytest.mark.parametrize(("here", "there", "is_told"), [("v1.36.3", "v1.35.9", True), ("v1.35.9", "v1.35.1", False)])
async def test_a_target_of_an_older_minor_version_is_told(here: str, there: str, is_told: bool) -> None:
    source, target = FakeApiServer("source"), FakeApiServer("target")
    source.kubernetes, target.kubernetes = here, there
    found = await check_versions(source.direct(), target.direct())
    assert [problem.is_warning for problem in found] == ([True] if is_told else [])


@pytest.mark.parametrize(
    ("date", "is_told"), [("Thu, 01 Jan 2026 00:00:00 GMT", True), (None, False), ("nonsense", False)]
)
async def test_clocks_that_differ_are_told(date: str | None, is_told: bool) -> None:
    source, target = FakeApiServer("source"), FakeApiServer("target")

    def before(_: Any) -> Any:
        return answer(200, {"gitVersion": "v1.36.3"}, {"Date": date}) if date else None

    target.before = before
    async with source.cluster() as origin, target.cluster() as goal:
        found = await check_clocks(origin, goal)
    assert bool(found) is is_told
    if is_told:
        assert found[0].is_warning
        assert "ahead of target" in found[0].what


async def test_a_cluster_that_does_not_take_the_credentials_is_told() -> None:
    server = FakeApiServer("target")
    server.before = lambda _: failure(403, "Forbidden", "who are you?")
    (problem,) = await check_connection(server.direct())
    assert (problem.check, problem.cluster) == ("connection", "target")
    assert "who are you?" in problem.what


async def quota(hard: dict[str, str], used: dict[str, str], *there: Object) -> list[Problem]:
    target = FakeApiServer("target")
    target.put(make(NAMESPACES, "ns"), make(QUOTA, "tight", status={"hard": hard, "used": used}))
    plan, cluster = plan_of(CLUSTER, *MACHINES, make(rules.SECRET, "c-ca", owners=[CLUSTER])), target.direct()
    return await check_quota(cluster, plan, await read_namespaces(cluster, plan), [obj.key for obj in there])


COUNT = "count/machines.cluster.x-k8s.io"


@pytest.mark.parametrize(
    ("hard", "used", "told"),
    [
        ({COUNT: "3"}, {COUNT: "0"}, []),
        ({COUNT: "3"}, {COUNT: "1"}, ["leaves room for 2"]),
        ({COUNT: "3"}, {COUNT: "9"}, ["leaves room for 0"]),
        ({COUNT: "1k"}, {COUNT: "997"}, []),
        ({COUNT: "1k"}, {COUNT: "998"}, ["leaves room for 2"]),
        ({"secrets": "0"}, {}, ["1 secrets"]),
        ({"count/secrets": "0"}, {}, ["1 secrets"]),
        ({"pods": "0", "limits.cpu": "10"}, {}, []),
    ],
)
async def test_a_quota_has_to_have_room_for_what_is_new(
    hard: dict[str, str], used: dict[str, str], told: list[str]
) -> None:
    found = await quota(hard, used)
    assert len(found) == len(told)
    assert all(text in problem.what for text, problem in zip(told, found, strict=True))


async def test_what_is_there_already_needs_no_room() -> None:
    assert await quota({COUNT: "3"}, {COUNT: "3"}, *MACHINES) == []


def deployment(name: str, image: str, **spec: Any) -> Object:
    pod = {"spec": {"containers": [{"image": image}]}}
    return make(DEPLOYMENT, name, namespace="system", spec={"template": pod, **spec})


BMO = deployment("bmo", "quay.io/metal3-io/baremetal-operator:v0.11")
IRONIC = deployment("ironic", "quay.io/metal3-io/ironic@sha256:abc")
IRSO = deployment("irso", "quay.io/metal3-io/ironic-standalone-operator:v0.6")
STOPPED = deployment("bmo", "quay.io/metal3-io/baremetal-operator:v0.11", replicas=0)


@pytest.mark.parametrize(
    ("here", "there", "told"),
    [
        ((), (), []),
        ((BMO,), (BMO,), [("source", "baremetal-operator")]),
        ((BMO, IRONIC), (BMO, IRONIC), [("source", "baremetal-operator"), ("source", "ironic")]),
        ((STOPPED,), (BMO,), []),
        ((BMO,), (STOPPED,), [("target", "baremetal-operator")]),
        ((BMO,), (), [("target", "baremetal-operator")]),
        ((IRSO,), (IRSO,), []),
    ],
)
async def test_operators_on_both_sides_or_none_on_the_target_are_told(
    here: tuple[Object, ...], there: tuple[Object, ...], told: list[tuple[str, str]]
) -> None:
    source, target = FakeApiServer("source"), FakeApiServer("target")
    source.put(*here)
    target.put(*there)
    found = await check_operators(source.direct(), target.direct(), plan_of(HOST))
    assert [(problem.cluster, problem.subject) for problem in found] == told
    assert all(problem.is_warning for problem in found)


async def test_without_hosts_nobody_asks_who_looks_after_them() -> None:
    source = FakeApiServer("source")
    assert await check_operators(source.direct(), source.direct(), plan_of(CLUSTER)) == []
    assert source.log == []


def test_an_object_that_is_too_large_for_etcd_is_told_with_its_size() -> None:
    big = make(rules.METAL3_MACHINE, "big", owners=[CLUSTER], spec={"a": "x" * LARGEST_BYTES})
    (problem,) = check_sizes(plan_of(CLUSTER, big))
    assert problem.subject == "Metal3Machine ns/big"
    assert "1.5 MiB" in problem.what


@pytest.mark.parametrize(
    ("metrics", "is_told"),
    [
        ('apiserver_storage_size_bytes{storage_cluster_id="etcd-0"} 2.1e+09', True),
        ('apiserver_storage_db_total_size_in_bytes{endpoint="x"} 2.1e+09', True),
        ('apiserver_storage_size_bytes{storage_cluster_id="etcd-0"} 1.9e+07', False),
        ("something_else{} 9e+12", False),
        ("", False),
    ],
)
async def test_an_etcd_that_gets_full_is_told_where_it_can_be_known(metrics: str, is_told: bool) -> None:
    target = FakeApiServer("target")
    target.metrics = metrics
    found = await check_space(target.direct(), plan_of(CLUSTER))
    assert [problem.is_warning for problem in found] == ([True] if is_told else [])


@pytest.mark.parametrize(
    ("operations", "groups", "resources", "is_asked"),
    [
        (["CREATE"], [rules.CAPI_GROUP], ["machines"], True),
        (["*"], ["*"], ["*"], True),
        (["*"], ["*"], ["*/*"], True),
        (["CREATE"], [rules.CAPI_GROUP], ["machines/*"], True),
        (["UPDATE"], [rules.CAPI_GROUP], ["machines"], False),
        (["CREATE"], ["other"], ["machines"], False),
        (["CREATE"], [rules.CAPI_GROUP], ["clusters"], False),
    ],
)
async def test_webhooks_and_policies_are_asked_about_what_their_rules_say(
    operations: list[str], groups: list[str], resources: list[str], is_asked: bool
) -> None:
    api = "admissionregistration.k8s.io"
    rule = {"operations": operations, "apiGroups": groups, "resources": resources}
    hook = ResourceType(api, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", namespaced=False)
    policy = ResourceType(api, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", namespaced=False)
    server = FakeApiServer()
    server.put(
        make(hook, "hook", webhooks=[{"name": "h.example.org", "rules": [rule]}]),
        make(policy, "policy", spec={"matchConstraints": {"resourceRules": [rule]}}),
    )
    asked = (await read_admission(server.direct())).asked("CREATE", typed(rules.MACHINE))
    wanted = ["mutatingwebhookconfiguration/hook", "validatingadmissionpolicy/policy"]
    assert [one.configuration for one in asked] == (wanted if is_asked else [])
