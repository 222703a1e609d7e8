"""Laws of the mover's pure parts, for all objects: a copy equals its source, nothing else does; order is obeyed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph.resource import Object, parse_object
from mover import transform
from mover.differences import differences, names_of, normalised
from mover.execute.ready import run_ready
from tests.unit.mover_builders import typed

laws = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

KIND = typed()
names = st.text("abcxyz", min_size=1, max_size=4)
scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab"\\{}: é', max_size=4)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)
trees = st.dictionaries(names, values, max_size=3)
generations = st.integers(1, 5)


@st.composite
def managers(draw: st.DrawFn, owners: Sequence[str]) -> list[dict[str, Any]]:
    """Returns managedFields; some managers own owner references, of known and of unknown UIDs."""
    entries = []
    for name in draw(st.lists(names, max_size=3, unique=True)):
        fields = draw(trees)
        uids = draw(st.lists(st.sampled_from([*owners, "unknown"]), max_size=3, unique=True))
        if uids:
            keys: dict[str, Any] = {f"k:{orjson.dumps({'uid': uid}).decode()}": {} for uid in uids}
            fields["f:metadata"] = {"f:labels": {}, "f:ownerReferences": {".": {}, **keys}}
        operation = draw(st.sampled_from(["Update", "Apply"]))
        entries.append({"manager": name, "operation": operation, "fieldsV1": fields, "time": draw(names)})
    return entries


@st.composite
def statuses(draw: st.DrawFn) -> dict[str, Any]:
    """Returns a status with observedGenerations at the places where controllers put them."""
    observed = st.fixed_dictionaries({}, optional={"observedGeneration": st.integers(0, 6), "type": names})
    status: dict[str, Any] = draw(trees)
    return status | draw(observed) | {"conditions": draw(st.lists(observed, max_size=3))}


@st.composite
def objects(draw: st.DrawFn) -> tuple[Object, tuple[Object, ...]]:
    """Returns an object as a server would hold it, and its owners."""
    count = draw(st.integers(0, 3))
    owners = tuple(_bare(f"owner{number}", f"old-{number}") for number in range(count))
    metadata = {
        "name": "x",
        "namespace": "ns",
        "uid": "old-x",
        "resourceVersion": "5",
        "generation": draw(generations),
        "labels": draw(st.dictionaries(names, names, min_size=1, max_size=2)),
        "finalizers": draw(st.lists(names, min_size=1, max_size=2)),
        "ownerReferences": [_reference(owner) for owner in owners],
        "managedFields": draw(managers([owner.uid for owner in owners])),
    }
    body = {**draw(trees), "metadata": metadata, "spec": draw(trees), "status": draw(statuses())}
    return parse_object(KIND, body), owners


def _bare(name: str, uid: str) -> Object:
    return parse_object(KIND, {"metadata": {"name": name, "namespace": "ns", "uid": uid}})


def _reference(owner: Object) -> dict[str, Any]:
    return {"apiVersion": "example.org/v1", "kind": "Widget", "name": owner.key.name, "uid": owner.uid}


def copy_of(obj: Object, owners: Sequence[Object]) -> tuple[Object, tuple[Object, ...]]:
    """Returns what the mover would make of an object on another cluster, and the owners there."""
    there = tuple(_bare(owner.key.name, owner.uid.replace("old", "new")) for owner in owners)
    uids = {owner.uid: new.uid for owner, new in zip(owners, there, strict=True)}
    source, body = obj.body(), transform.target_body(obj, uids)
    body["status"] = transform.target_status(source["status"], source["metadata"]["generation"], 1)
    body["metadata"] |= {
        "uid": "new-x",
        "resourceVersion": "900",
        "generation": 1,
        "managedFields": transform.managed_fields(source["metadata"]["managedFields"], uids),
    }
    return parse_object(KIND, body), there


@laws
@given(objects())
def test_a_copy_equals_its_source_and_shares_no_uid_with_it(made: tuple[Object, tuple[Object, ...]]) -> None:
    obj, owners = made
    copy, there = copy_of(obj, owners)
    source, target = normalised(obj, names_of(owners)), normalised(copy, names_of(there))
    assert source == target
    assert differences(obj.key, source, target) == []
    assert b'"old-' not in copy.raw
    assert b'\\"old-' not in copy.raw


@laws
@given(objects(), st.data())
def test_whatever_is_changed_in_a_copy_is_found_at_its_place(
    made: tuple[Object, tuple[Object, ...]], data: st.DataObject
) -> None:
    obj, owners = made
    copy, there = copy_of(obj, owners)
    source, target = normalised(obj, names_of(owners)), normalised(copy, names_of(there))
    place = data.draw(st.sampled_from(sorted(target)))
    target[place] = {"changed": "beyond recognition"}
    found = differences(obj.key, source, target)
    assert found
    assert {one.path.partition(".")[0] for one in found} == {place}


@laws
@given(values, values)
def test_two_trees_have_no_difference_if_and_only_if_they_are_equal(one: Any, other: Any) -> None:
    key = _bare("x", "u").key
    assert (differences(key, {"spec": one}, {"spec": other}) == []) is (one == other)
    assert differences(key, {"spec": one}, {"spec": one}) == []


@laws
@given(statuses(), generations)
def test_no_copy_claims_to_have_seen_a_generation_that_it_does_not_have(
    status: dict[str, Any], generation: int
) -> None:
    restored = transform.target_status(status, generation, 1)
    for one in (restored, *restored["conditions"]):
        assert one.get("observedGeneration", 1) == 1
    assert {**restored, "observedGeneration": 0, "conditions": 0} == {
        **status,
        "observedGeneration": 0,
        "conditions": 0,
    }


@laws
@given(managers(["old-1", "old-2"]))
def test_renaming_uids_in_field_managers_and_back_changes_nothing(entries: list[dict[str, Any]]) -> None:
    there = transform.managed_fields(entries, {"old-1": "new-1", "old-2": "new-2"})
    assert transform.managed_fields(there, {"new-1": "old-1", "new-2": "old-2"}) == entries
    assert b"old-" not in orjson.dumps(there)
    assert transform.same_managers(entries, list(reversed(entries)))


@st.composite
def orders(draw: st.DrawFn) -> tuple[list[int], dict[int, tuple[int, ...]]]:
    """Returns items in an order, and for each some earlier ones that it waits for."""
    size = draw(st.integers(0, 12))
    waits = {
        item: tuple(sorted(draw(st.sets(st.integers(0, item - 1), max_size=3)))) if item else () for item in range(size)
    }
    return list(range(size)), waits


class Recorder:
    """Work that takes a varying number of turns of the loop, and what was under way while it ran."""

    def __init__(self, turns: Sequence[int], failing: int = -1) -> None:
        self.turns, self.failing = turns, failing
        self.done: list[int] = []
        self.started: list[int] = []
        self.most = 0
        self.broken = False

    def check(self, item: int, waits: Mapping[int, Sequence[int]]) -> None:
        """Fails if the item should not be started now."""
        assert not self.broken, "something was started after a failure"
        assert set(waits[item]) <= set(self.done), "it was started before what it waits for was done"

    async def run(self, item: int) -> None:
        """Works on the item."""
        self.started.append(item)
        self.most = max(self.most, len(self.started) - len(self.done))
        for _ in range(self.turns[item % len(self.turns)]):
            await asyncio.sleep(0)
        if item == self.failing:
            self.broken = True
            raise RuntimeError("failed")
        self.done.append(item)


turns = st.lists(st.integers(0, 3), min_size=1, max_size=5)


@laws
@given(orders(), turns, st.integers(1, 5))
def test_everything_is_done_once_after_what_it_waits_for_by_no_more_workers_than_allowed(
    order: tuple[list[int], dict[int, tuple[int, ...]]], turns: list[int], workers: int
) -> None:
    sequence, waits = order
    recorder = Recorder(turns)

    async def work(item: int) -> None:
        recorder.check(item, waits)
        await recorder.run(item)

    asyncio.run(asyncio.wait_for(run_ready(sequence, waits, work, workers=workers), 5))
    assert sorted(recorder.done) == sequence
    assert recorder.most <= workers


@laws
@given(orders(), turns, st.integers(1, 5), st.data())
def test_after_a_failure_nothing_new_is_started_and_what_was_begun_is_finished(
    order: tuple[list[int], dict[int, tuple[int, ...]]], turns: list[int], workers: int, data: st.DataObject
) -> None:
    sequence, waits = order
    failing = data.draw(st.sampled_from(sequence)) if sequence else -1
    recorder = Recorder(turns, failing)

    async def work(item: int) -> None:
        recorder.check(item, waits)
        await recorder.run(item)

    async def run() -> bool:
        try:
            await asyncio.wait_for(run_ready(sequence, waits, work, workers=workers), 5)
        except RuntimeError as error:
            return str(error) == "failed"
        return False

    assert asyncio.run(run()) is bool(sequence)
    assert {*recorder.started} - {*recorder.done} == ({failing} if sequence else set())
