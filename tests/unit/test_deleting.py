"""Tests of taking originals off the source, in exactly the state that was copied."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from mover.errors import BlockedError
from mover.execute.copying import Copier
from mover.execute.deleting import CopyAgain, Remover, settle_nothing
from mover.models import MANAGER, MoveOptions
from mover.stripping import is_stripped, stripping_patch
from tests.unit.fake_apiserver import FakeApiServer, merge
from tests.unit.mover_builders import make, plan_of, typed
from tests.unit.scripted_server import Reply

HOST_PAUSED = {rules.HOST_PAUSED_ANNOTATION: "user"}
ROOT = make(rules.CLUSTER, "c", spec={"paused": True})


class Stage:
    """A source and a target, with what was copied from one to the other."""

    def __init__(self, *objects: Object, guarded: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.source, self.target = FakeApiServer("source"), FakeApiServer("target")
        self.source.put(*objects)
        self.plan = plan_of(*objects)
        self.guarded = guarded
        self.done: list[str] = []

    async def remove(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Copies everything, lets something happen, then removes everything."""
        async with self.source.cluster() as origin, self.target.cluster() as goal:
            copier = Copier(goal, self.plan, MoveOptions(), {})
            await copier.copy_all(lambda _: None)
            meanwhile()
            remover = Remover(origin, self.guarded, CopyAgain(copier))
            order = self.plan.deletion
            objects = {uid: self.plan.object(uid) for uid in order.sequence}
            await remover.remove_all(objects, order, lambda obj: self.done.append(obj.key.name))

    def calls(self, obj: Object) -> list[str]:
        """Returns the methods of the writes to an object of the source."""
        return [entry.split()[0] for entry in self.source.writes() if entry.endswith(f"/{obj.key.name}")]


async def test_dependents_are_gone_before_their_owners() -> None:
    machine = make(rules.MACHINE, "m", owners=[ROOT])
    stage = Stage(ROOT, machine)
    await stage.remove()
    assert stage.done == ["m", "c"]
    assert not stage.source.bodies
    assert stage.target.has(machine)


async def test_an_object_without_finalizers_costs_one_call_and_one_with_them_two() -> None:
    plain, held = make(rules.MACHINE, "p", owners=[ROOT]), make(rules.MACHINE, "h", owners=[ROOT])
    held = make(rules.MACHINE, "h", owners=[ROOT], metadata={"finalizers": ["f"]})
    stage = Stage(ROOT, plain, held)
    await stage.remove()
    assert stage.calls(plain) == ["DELETE"]
    assert stage.calls(held) == ["PATCH", "DELETE"]
    assert not stage.source.has(held)


@pytest.mark.parametrize(
    "rule",
    [
        ("cluster.x-k8s.io", "clusters"),
        ("*", "*"),
        ("cluster.x-k8s.io", "*"),
        ("*", "clusters"),
        ("cluster.x-k8s.io", "*/*"),
        ("*", "*/*"),
    ],
)
async def test_an_object_whose_deletion_passes_a_webhook_is_marked_for_it(rule: tuple[str, str]) -> None:
    """Groups and resources of webhook rules may be wildcards (admissionregistration.k8s.io/v1, Rule)."""
    stage = Stage(ROOT, guarded=frozenset({rule}))
    await stage.remove()
    assert stage.calls(ROOT) == ["PATCH", "DELETE"]


@pytest.mark.parametrize("rule", [("cluster.x-k8s.io", "machines"), ("other", "clusters"), ("other", "*")])
async def test_a_webhook_of_other_types_does_not_matter(rule: tuple[str, str]) -> None:
    stage = Stage(ROOT, guarded=frozenset({rule}))
    await stage.remove()
    assert stage.calls(ROOT) == ["DELETE"]


async def test_a_host_is_never_seen_dying_or_unpaused_while_it_has_a_finalizer() -> None:
    host = make(rules.BARE_METAL_HOST, "h", metadata={"finalizers": ["bmo"], "annotations": {**HOST_PAUSED, "a": "b"}})
    stage, seen = Stage(host), []

    def look(request: web.Request) -> Reply | None:
        if request.method == "DELETE":
            seen.append(stage.source.now(host))
        return None

    stage.source.before = look
    await stage.remove()
    (before,) = seen
    assert (before.finalizers, before.deleting) == ((), False)
    assert before.annotations == {**HOST_PAUSED, "a": "b", rules.DELETE_FOR_MOVE_ANNOTATION: ""}
    assert not stage.source.has(host)


def test_stripping_touches_nothing_but_finalizers_and_its_own_annotation() -> None:
    obj = make(typed(), metadata={"annotations": {"a": "b"}, "finalizers": ["f"], "labels": {"l": ""}})
    after = merge(obj.body(), stripping_patch(obj))
    assert after["metadata"] == {
        **obj.body()["metadata"],
        "finalizers": [],
        "annotations": {"a": "b", rules.DELETE_FOR_MOVE_ANNOTATION: ""},
    }
    assert stripping_patch(obj)["metadata"]["resourceVersion"] == "1"


@pytest.mark.parametrize(("annotations", "value"), [(HOST_PAUSED, "user"), ({}, MANAGER)])
def test_stripping_a_host_sets_its_pause_again_with_the_value_it_has(annotations: dict[str, str], value: str) -> None:
    host = make(rules.BARE_METAL_HOST, "h", metadata={"annotations": annotations})
    assert stripping_patch(host)["metadata"]["annotations"][rules.HOST_PAUSED_ANNOTATION] == value


@pytest.mark.parametrize(
    ("marked", "finalizers", "stripped"), [(True, [], True), (True, ["f"], False), (False, [], False)]
)
def test_an_object_is_stripped_if_it_is_marked_and_has_no_finalizer(
    marked: bool, finalizers: list[str], stripped: bool
) -> None:
    annotations = {rules.DELETE_FOR_MOVE_ANNOTATION: ""} if marked else {}
    obj = make(typed(), metadata={"annotations": annotations, "finalizers": finalizers})
    assert is_stripped(obj) is stripped


async def test_an_object_that_changed_since_is_copied_again_before_it_goes() -> None:
    stage = Stage(ROOT)
    await stage.remove(lambda: stage.source.change(ROOT, spec={"paused": True, "late": 1}))
    assert stage.target.now(ROOT).body()["spec"] == {"paused": True, "late": 1}
    assert not stage.source.bodies


async def test_a_change_between_patch_and_delete_is_copied_too_without_the_marks_of_our_patch() -> None:
    obj = make(rules.CLUSTER, "c", metadata={"finalizers": ["f"]}, spec={"paused": True})
    stage, armed = Stage(obj), [True]

    def interfere(request: web.Request) -> Reply | None:
        if request.method == "DELETE" and armed:
            armed.clear()
            stage.source.change(obj, spec={"late": 1})
        return None

    stage.source.before = interfere
    await stage.remove()
    copy = stage.target.now(obj)
    assert copy.body()["spec"] == {"paused": True, "late": 1}
    assert copy.finalizers == ("f",)
    assert copy.annotations == {}
    assert not stage.source.bodies


async def test_a_late_status_is_not_copied() -> None:
    stage = Stage(ROOT)
    await stage.remove(lambda: stage.source.change(ROOT, status={"phase": "Deleting?"}))
    assert "status" not in stage.target.now(ROOT).body()
    assert not stage.source.bodies


async def test_a_finalizer_that_is_put_back_is_taken_off_again() -> None:
    obj = make(rules.CLUSTER, "c", metadata={"finalizers": ["f"]}, spec={"paused": True})
    stage, times = Stage(obj), [1, 2]

    def put_back(request: web.Request) -> Reply | None:
        if request.method == "DELETE" and times:
            times.pop()
            stage.source.change(obj, metadata={"finalizers": ["f"]})
        return None

    stage.source.before = put_back
    await stage.remove()
    assert not stage.source.bodies
    assert not times


async def test_an_object_that_never_settles_stops_the_move_with_its_copy_complete() -> None:
    stage = Stage(ROOT)

    def keep_changing(request: web.Request) -> Reply | None:
        if request.method == "DELETE":
            stage.source.change(ROOT, status={"n": len(stage.source.log)})
        return None

    stage.source.before = keep_changing
    with pytest.raises(BlockedError, match=r"Cluster ns/c on the source cluster changed each time .* \(6 tries\)"):
        await stage.remove()
    assert stage.source.has(ROOT)
    assert stage.target.has(ROOT)
    assert stage.done == []


async def test_an_object_that_is_gone_already_is_done() -> None:
    stage = Stage(ROOT)
    await stage.remove(stage.source.bodies.clear)
    assert stage.done == ["c"]


async def test_an_object_that_vanishes_after_a_conflict_is_done() -> None:
    stage = Stage(ROOT)

    def vanish(request: web.Request) -> Reply | None:
        if request.method == "DELETE":
            stage.source.change(ROOT, spec={"late": 1})
        if request.method == "GET":
            stage.source.bodies.clear()
        return None

    stage.source.before = vanish
    await stage.remove()
    assert stage.done == ["c"]
    assert "late" not in stage.target.now(ROOT).body()["spec"]


async def test_another_object_of_the_same_name_is_not_deleted() -> None:
    stage = Stage(ROOT)
    stranger = make(rules.CLUSTER, "c", metadata={"uid": "stranger", "resourceVersion": "50"})
    with pytest.raises(BlockedError, match="was deleted and created anew by somebody else"):
        await stage.remove(lambda: stage.source.put(stranger))
    assert stage.source.now(ROOT).uid == "stranger"


async def test_an_object_that_is_dying_with_a_finalizer_goes_with_the_patch() -> None:
    obj = make(
        rules.CLUSTER,
        "c",
        metadata={"finalizers": ["f"], "deletionTimestamp": "2026-01-01T00:00:00Z"},
        spec={"paused": True},
    )
    stage = Stage(obj)
    await stage.remove()
    assert not stage.source.bodies
    assert stage.done == ["c"]


async def test_nothing_to_delete_is_done_at_once() -> None:
    stage = Stage(make(typed(("example.org", "Identity"), namespaced=False, move=True), "i"))
    await stage.remove()
    assert stage.source.log == []


async def test_a_copy_that_changed_is_removed_as_it_is_when_its_original_is_complete() -> None:
    server, plan = FakeApiServer("target"), plan_of(ROOT)
    server.put(ROOT)
    server.change(ROOT, spec={"somebody": "else"})
    async with server.cluster() as cluster:
        order = plan.creation.backwards()
        await Remover(cluster, frozenset(), settle_nothing).remove_all({ROOT.uid: ROOT}, order, lambda _: None)
    assert not server.bodies
