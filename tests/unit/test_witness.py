"""The witness's rules, event by event, without any cluster."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, cast

import aiohttp
import pytest

from graph.resource import ObjectKey
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.witness import (
    CLUSTER_PAUSE,
    HOST_PAUSE,
    Expectations,
    Rule,
    Side,
    Suspicion,
    Witness,
    WitnessLog,
    is_paused,
    key_of,
)

SOURCE, TARGET = Side.SOURCE, Side.TARGET
API_VERSIONS = {
    "BareMetalHost": "metal3.io/v1alpha1",
    "Cluster": "cluster.x-k8s.io/v1beta2",
    "ClusterClass": "cluster.x-k8s.io/v1beta2",
    "ConfigMap": "v1",
    "Machine": "cluster.x-k8s.io/v1beta2",
}
_versions = iter(range(1, 10_000))


def body(kind: str, *, paused: bool = False, uid: str = "1", **metadata: Any) -> dict[str, Any]:
    """Returns an object named "x"; paused the way its kind is paused."""
    annotations = {HOST_PAUSE: ""} if kind == "BareMetalHost" and paused else {}
    if kind == "ClusterClass" and paused:
        annotations = {CLUSTER_PAUSE: ""}
    head = {"namespace": "n", "name": "x", "uid": uid, "resourceVersion": str(next(_versions))}
    spec = {"paused": True} if kind == "Cluster" and paused else {}
    meta = {**head, "annotations": annotations, **metadata}
    return {"apiVersion": API_VERSIONS[kind], "kind": kind, "metadata": meta, "spec": spec}


def key(kind: str) -> ObjectKey:
    return key_of(body(kind))


def rules(log: WitnessLog) -> list[Rule]:
    return [violation.rule for violation in log.violations]


def one(suspicions: tuple[Suspicion, ...]) -> Suspicion:
    (suspicion,) = suspicions
    return suspicion


DYING: Mapping[str, Any] = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["f"]}


def test_dying_with_finalizers_is_logged_once_for_each_object() -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("Machine", finalizers=["f"]))
    log.observe(SOURCE, "MODIFIED", body("Machine", **DYING))
    log.observe(SOURCE, "MODIFIED", body("Machine", **DYING))
    log.observe(SOURCE, "DELETED", body("Machine", **DYING))
    assert rules(log) == [Rule.DYING_WITH_FINALIZERS]


def test_dying_with_finalizers_is_logged_again_for_the_next_object_of_that_name() -> None:
    log = WitnessLog()
    log.observe(SOURCE, "MODIFIED", body("Machine", **DYING))
    log.observe(SOURCE, "MODIFIED", body("Machine", uid="2", **DYING))
    assert rules(log) == [Rule.DYING_WITH_FINALIZERS] * 2


def test_dying_with_finalizers_shows_in_the_last_state_alone() -> None:
    log = WitnessLog()
    log.observe(TARGET, "ADDED", body("Machine"))
    log.observe(SOURCE, "DELETED", body("Machine", **DYING))
    assert rules(log) == [Rule.DYING_WITH_FINALIZERS]


@pytest.mark.parametrize("metadata", [{"finalizers": ["f"]}, {**DYING, "finalizers": []}])
def test_dying_with_finalizers_needs_both(metadata: dict[str, Any]) -> None:
    log = WitnessLog()
    log.observe(SOURCE, "MODIFIED", body("Machine", **metadata))
    assert not log.violations


def test_dying_with_finalizers_is_not_looked_for_on_the_target() -> None:
    log = WitnessLog()
    log.observe(TARGET, "MODIFIED", body("Machine", **DYING))
    assert not log.violations


def test_pause_lost_of_a_host_is_a_violation_at_once() -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("BareMetalHost", paused=True))
    assert log.observe(SOURCE, "MODIFIED", body("BareMetalHost")) == ()
    assert rules(log) == [Rule.PAUSE_LOST]
    assert log.violations[0].key == key("BareMetalHost")


def test_pause_lost_is_not_said_of_a_host_that_was_never_paused() -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("BareMetalHost"))
    log.observe(SOURCE, "MODIFIED", body("BareMetalHost"))
    assert not log.violations


def test_pause_lost_is_not_said_of_a_new_host_of_that_name() -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("BareMetalHost", paused=True))
    log.observe(SOURCE, "MODIFIED", body("BareMetalHost", uid="2"))
    assert not log.violations


@pytest.mark.parametrize(("copy", "expected"), [(None, []), ({}, [Rule.PAUSE_LOST])])
def test_pause_lost_in_a_rollback_of_a_host_counts_while_its_copy_is_there(
    copy: dict[str, Any] | None, expected: list[Rule]
) -> None:
    log = WitnessLog(Expectations(rollback=True))
    log.observe(SOURCE, "ADDED", body("BareMetalHost", paused=True))
    log.settle(one(log.observe(SOURCE, "MODIFIED", body("BareMetalHost"))), copy)
    assert rules(log) == expected


@pytest.mark.parametrize(("copy", "expected"), [(None, []), (body("Cluster", paused=True), [Rule.PAUSE_LOST])])
def test_pause_lost_of_a_cluster_counts_while_its_copy_is_there(
    copy: dict[str, Any] | None, expected: list[Rule]
) -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("Cluster", paused=True))
    suspicion = one(log.observe(SOURCE, "MODIFIED", body("Cluster")))
    assert suspicion.ask is TARGET
    log.settle(suspicion, copy)
    assert rules(log) == expected


PAUSABLE = pytest.mark.parametrize("kind", ["BareMetalHost", "Cluster", "ClusterClass"])


@PAUSABLE
def test_unpaused_on_both_is_confirmed_by_the_source(kind: str) -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body(kind))
    log.observe(TARGET, "ADDED", body(kind, paused=True))
    suspicion = one(log.observe(TARGET, "MODIFIED", body(kind)))
    assert (suspicion.ask, log.violations) == (SOURCE, [])
    log.settle(suspicion, body(kind))
    assert rules(log) == [Rule.UNPAUSED_ON_BOTH]


@PAUSABLE
@pytest.mark.parametrize("gone", [True, False])
def test_unpaused_on_both_is_cleared_by_a_source_that_is_gone_or_paused(kind: str, gone: bool) -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body(kind))
    log.observe(TARGET, "ADDED", body(kind, paused=True))
    suspicion = one(log.observe(TARGET, "MODIFIED", body(kind)))
    log.settle(suspicion, None if gone else body(kind, paused=True))
    log.observe(SOURCE, "DELETED", body(kind))
    assert not log.violations


@pytest.mark.parametrize("late", [True, False], ids=["read-first", "event-first"])
@pytest.mark.parametrize(("paused", "expected"), [(True, []), (False, [Rule.UNPAUSED_ON_BOTH])])
def test_unpaused_on_both_of_a_copy_created_unpaused_is_judged_by_the_last_state_of_a_gone_source(
    late: bool, paused: bool, expected: list[Rule]
) -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("BareMetalHost"))
    suspicion = one(log.observe(TARGET, "ADDED", body("BareMetalHost")))
    if late:
        log.settle(suspicion, None)
    log.observe(SOURCE, "DELETED", body("BareMetalHost", paused=paused))
    if not late:
        log.settle(suspicion, None)
    assert rules(log) == expected


@PAUSABLE
def test_unpaused_on_both_is_found_when_the_source_is_resumed_last(kind: str) -> None:
    log = WitnessLog(Expectations(rollback=True))
    log.observe(SOURCE, "ADDED", body(kind, paused=True))
    log.observe(TARGET, "ADDED", body(kind))
    for suspicion in log.observe(SOURCE, "MODIFIED", body(kind)):
        assert suspicion.ask is TARGET
        log.settle(suspicion, body(kind))
    assert Rule.UNPAUSED_ON_BOTH in rules(log)


@PAUSABLE
@pytest.mark.parametrize("as_predicate", [True, False])
def test_unpaused_on_both_is_allowed_to_what_is_kept(kind: str, as_predicate: bool) -> None:
    kept = (lambda k: k == key(kind)) if as_predicate else {key(kind)}
    log = WitnessLog(Expectations(kept=kept))
    log.observe(SOURCE, "ADDED", body(kind))
    assert log.observe(TARGET, "ADDED", body(kind)) == ()


def test_unpaused_on_both_is_asked_once_while_nothing_changes() -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("Cluster"))
    one(log.observe(TARGET, "ADDED", body("Cluster")))
    assert log.observe(TARGET, "MODIFIED", body("Cluster")) == ()


def test_unpaused_on_both_is_not_asked_of_kinds_without_a_pause() -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("Machine"))
    assert log.observe(TARGET, "ADDED", body("Machine")) == ()


@pytest.mark.parametrize(("copy", "expected"), [(None, [Rule.LOST]), (body("Machine"), [])])
def test_lost_is_settled_by_the_target(copy: dict[str, Any] | None, expected: list[Rule]) -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("Machine"))
    suspicion = one(log.observe(SOURCE, "DELETED", body("Machine")))
    assert suspicion.ask is TARGET
    log.settle(suspicion, copy)
    assert rules(log) == expected


def test_lost_is_not_said_of_what_was_on_the_target() -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("Machine"))
    log.observe(TARGET, "ADDED", body("Machine"))
    assert log.observe(SOURCE, "DELETED", body("Machine")) == ()


def test_lost_is_not_said_of_what_was_expected() -> None:
    log = WitnessLog(Expectations(expected_losses={key("Machine")}))
    assert log.observe(SOURCE, "DELETED", body("Machine")) == ()


@pytest.mark.parametrize(("rollback", "expected"), [(False, [Rule.COLLECTED]), (True, [])])
def test_collected_on_the_target_is_allowed_in_a_rollback(rollback: bool, expected: list[Rule]) -> None:
    log = WitnessLog(Expectations(rollback=rollback))
    log.observe(TARGET, "ADDED", body("Machine"))
    log.observe(TARGET, "DELETED", body("Machine"))
    assert rules(log) == expected


def test_collected_on_the_source_is_said_of_what_was_to_be_kept() -> None:
    log = WitnessLog(Expectations(kept={key("ClusterClass")}))
    log.observe(TARGET, "ADDED", body("ClusterClass"))
    log.observe(SOURCE, "DELETED", body("ClusterClass"))
    assert rules(log) == [Rule.COLLECTED]


@pytest.mark.parametrize(("paused", "expected"), [(True, []), (False, [Rule.STRIPPED_UNPAUSED])])
def test_stripped_unpaused_is_said_of_a_host_without_its_pause(paused: bool, expected: list[Rule]) -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("BareMetalHost", finalizers=["f"], paused=paused))
    log.observe(SOURCE, "MODIFIED", body("BareMetalHost", paused=paused))
    assert rules(log) == expected


def test_stripped_unpaused_shows_as_the_deletion_when_the_host_was_dying() -> None:
    log = WitnessLog()
    log.observe(TARGET, "ADDED", body("BareMetalHost", paused=True))
    log.observe(SOURCE, "ADDED", body("BareMetalHost", finalizers=["f"]))
    log.observe(SOURCE, "MODIFIED", body("BareMetalHost", **DYING))
    log.observe(SOURCE, "DELETED", body("BareMetalHost", **DYING))
    assert rules(log) == [Rule.DYING_WITH_FINALIZERS, Rule.STRIPPED_UNPAUSED]


def test_stripped_unpaused_is_not_said_of_a_host_that_never_had_finalizers() -> None:
    log = WitnessLog()
    log.observe(TARGET, "ADDED", body("BareMetalHost", paused=True))
    log.observe(SOURCE, "ADDED", body("BareMetalHost"))
    log.observe(SOURCE, "DELETED", body("BareMetalHost"))
    assert not log.violations


def test_a_relist_logs_the_span_that_was_lost() -> None:
    log = WitnessLog()
    assert log.relist(SOURCE, ("cluster.x-k8s.io", "Machine"), [], (5, 9)) == ()
    assert rules(log) == [Rule.BLIND]
    assert "between resourceVersions 5 and 9" in str(log.violations[0])


def test_a_relist_takes_what_is_not_listed_for_deleted_in_its_own_type_only() -> None:
    log = WitnessLog()
    log.observe(TARGET, "ADDED", body("Machine"))
    log.observe(TARGET, "ADDED", body("ConfigMap"))
    log.relist(TARGET, ("cluster.x-k8s.io", "Machine"), [], (5, 9))
    assert rules(log) == [Rule.BLIND, Rule.COLLECTED]


def test_a_relist_sees_what_changed_meanwhile() -> None:
    log = WitnessLog()
    log.observe(SOURCE, "ADDED", body("BareMetalHost", paused=True))
    log.relist(SOURCE, ("metal3.io", "BareMetalHost"), [body("BareMetalHost")], (5, 9))
    assert rules(log) == [Rule.BLIND, Rule.PAUSE_LOST]


def test_what_is_ignored_is_counted_and_nothing_else() -> None:
    log = WitnessLog(Expectations(ignored={key("ConfigMap")}))
    log.observe(TARGET, "ADDED", body("ConfigMap"))
    log.observe(TARGET, "DELETED", body("ConfigMap"))
    assert not log.violations
    assert log.stats[TARGET, "ConfigMap", "DELETED"] == 1


def test_the_ca_of_every_namespace_is_nobodys() -> None:
    log = WitnessLog()
    log.observe(TARGET, "DELETED", body("ConfigMap", name="kube-root-ca.crt"))
    assert not log.violations


@pytest.mark.parametrize("annotation", [{}, {CLUSTER_PAUSE: "true"}])
def test_a_cluster_is_paused_by_its_annotation_too(annotation: dict[str, str]) -> None:
    assert is_paused(body("Cluster", annotations=annotation)) is bool(annotation)


def test_check_refuses_a_witness_that_has_not_stopped() -> None:
    with pytest.raises(RuntimeError, match="after"):
        Witness(None, None).check()  # type: ignore[arg-type]


def test_check_lists_every_violation() -> None:
    witness = Witness(None, None)  # type: ignore[arg-type]
    witness._stopped = True
    witness._log.observe(TARGET, "DELETED", body("Machine"))
    witness._log.observe(TARGET, "DELETED", body("ConfigMap"))
    with pytest.raises(AssertionError, match=r"(?s)2 violations.*Machine n/x.*ConfigMap n/x"):
        witness.check()


def test_check_refuses_a_witness_that_saw_nothing() -> None:
    witness = Witness(None, None)  # type: ignore[arg-type]
    witness._stopped = True
    with pytest.raises(AssertionError, match="proves nothing"):
        witness.check()


class Server:
    """A cluster with one ConfigMap, whose watches say what they are told to.

    Each watch of ConfigMaps takes the next of `watches`: events that it yields, or an error that it raises; with
    none left it stays silent, as every watch of Secrets does. The watch at the end (with a timeout) yields `last`.
    """

    def __init__(
        self, *watches: list[dict[str, Any]] | Exception, last: tuple[dict[str, Any], ...] = (), now: str = "7"
    ) -> None:
        self.asked: list[str] = []
        self.filled = True
        self._watches = list(watches)
        self._last = last
        self._now = now
        self._silent = asyncio.Event()

    async def get(self, path: str) -> Any:
        """Says, not at once, that there is no such object."""
        await asyncio.sleep(0.02)
        raise AdminError(404, "NotFound", path)

    async def list(self, path: str, **params: str) -> Any:
        """Returns the ConfigMap at version 5; a list with a limit is the one that asks for the version of now."""
        here = path.endswith("configmaps")
        items = [{"metadata": body("ConfigMap")["metadata"]}] if here and self.filled else []
        return {"items": items, "metadata": {"resourceVersion": self._now if here and params else "5"}}

    async def list_metadata(self, path: str) -> tuple[Any, ...]:
        """Says that there are no CRDs."""
        assert path.endswith("customresourcedefinitions")
        return ()

    async def watch(self, path: str, after: str) -> AsyncGenerator[dict[str, Any]]:
        """Yields the next events."""
        if "timeoutSeconds" in path:
            for event in self._last:
                yield event
        elif "configmaps" in path and self._watches:
            self.asked.append(after)
            answer = self._watches.pop(0)
            if isinstance(answer, Exception):
                raise answer
            for event in answer:
                yield event
            return
        elif "configmaps" in path:
            self._silent.set()
        await asyncio.Event().wait()

    async def silence(self) -> None:
        """Returns when all of `watches` were taken."""
        await asyncio.wait_for(self._silent.wait(), 5)


def witness_of(target: Server, timeout_s: float = 5) -> Witness:
    source = cast("AdminClient", Server(now="5"))
    return Witness(source, cast("AdminClient", target), timeout_s=timeout_s)


def deleted(version: str) -> dict[str, Any]:
    return {"type": "DELETED", "object": body("ConfigMap", resourceVersion=version)}


def bookmark(version: str) -> dict[str, Any]:
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}}


def failed(code: int) -> dict[str, Any]:
    return {"type": "ERROR", "object": {"code": code, "reason": "R", "message": "m"}}


async def test_the_end_waits_for_events_that_the_watch_has_not_brought() -> None:
    target = Server(last=(deleted("6"), bookmark("7")))
    async with witness_of(target) as witness:
        await target.silence()
    assert rules(witness._log) == [Rule.COLLECTED]


async def test_the_end_says_what_it_could_not_see_in_time() -> None:
    async with witness_of(Server(), timeout_s=0.05) as witness:
        pass
    (violation,) = witness.violations
    assert (violation.rule, violation.cluster, violation.key.kind) == (Rule.BLIND, TARGET, "ConfigMap")
    assert "between resourceVersions 5 and 7" in violation.explanation


async def test_a_lost_connection_goes_on_where_it_was() -> None:
    target = Server([bookmark("6")], aiohttp.ClientError(), AdminError(503, "", ""), [deleted("7")])
    async with witness_of(target) as witness:
        await target.silence()
    assert target.asked == ["5", "6", "6", "6"]
    assert rules(witness._log) == [Rule.COLLECTED]


async def test_lost_events_are_logged_as_blind_and_listed_again() -> None:
    target = Server([failed(410)], [bookmark("7")])
    async with witness_of(target) as witness:
        await target.silence()
    assert rules(witness._log) == [Rule.BLIND]


async def test_a_watch_that_is_refused_is_raised_at_the_end() -> None:
    target = Server([failed(403)], now="5")
    with pytest.raises(ExceptionGroup) as raised:
        async with witness_of(target):
            await asyncio.sleep(0.01)
    assert raised.group_contains(AdminError, match="403")


async def test_the_end_waits_for_the_reads_that_settle_suspicions() -> None:
    source, target = Server(last=(deleted("7"),)), Server(now="5")
    target.filled = False
    async with Witness(cast("AdminClient", source), cast("AdminClient", target)) as witness:
        pass
    assert rules(witness._log) == [Rule.LOST]
