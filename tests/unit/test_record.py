"""Tests of the record as ConfigMaps: whole, in parts, damaged, of another version."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from typing import Any

import orjson
import pytest

from graph import rules
from mover.choices import ExistingPolicy
from mover.models import MoveOptions, Phase
from mover.pause import PAUSED_FIELD, Pause
from mover.record import (
    CHUNK_BYTES,
    LABEL,
    SCOPE_ANNOTATION,
    Identity,
    PauseEntry,
    Record,
    RecordError,
    chunk_name,
    decode,
    encode,
    name_of,
)
from mover.scope import clusters_of, namespace_of
from tests.unit.mover_builders import make

STARTED = "2026-01-01T00:00:00+00:00"
RECORDED = [
    phase for phase in Phase if phase not in (Phase.PREFLIGHT, Phase.DONE, Phase.SAVING, Phase.RELEASING, Phase.LOADING)
]
ONE, OTHER = Identity(uid="one", context="a"), Identity(uid="other", context="b")


def record(**known: Any) -> Record:
    scope = known.get("scope", "ns")
    fields = {"id": "abc", "phase": Phase.PAUSING, "scope": scope, "source": ONE, "target": OTHER, "started": STARTED}
    options = MoveOptions(namespace=namespace_of(scope), clusters=clusters_of(scope))
    return Record(**{**fields, "options": options, **known})


def large(parts: float = 2.5, seed: int = 1) -> Record:
    """Returns a record whose payload fills so many chunks: random UIDs cannot be compressed to less than half."""
    chance = random.Random(seed)
    count = int(parts * CHUNK_BYTES / 32)
    return record(used={chance.randbytes(16).hex(): chance.randbytes(16).hex() for _ in range(count)})


def whole(head: Any) -> dict[str, Any]:
    """Returns a body as it comes back from a server."""
    body: dict[str, Any] = orjson.loads(orjson.dumps(head))
    return body


FULL = record(
    pauses=[
        PauseEntry.of(Pause(make(rules.CLUSTER, "c").type, make(rules.CLUSTER, "c").key, "spec.paused", before=False))
    ],
    used={"a": "b"},
    overwritten={"c": "d"},
    namespaces=["ns"],
    options=MoveOptions(namespace="ns", leave_behind=True, existing=ExistingPolicy.OVERWRITE),
    phase=Phase.DELETING,
    left_behind=[("g", "k", "ns", "n")],
    foreign=[("g", "k", "ns", "f")],
    moving=["u"],
    holder="host/1/2",
    objects=7,
)


@pytest.mark.parametrize("known", [record(), FULL, record(scope="")], ids=["bare", "full", "all namespaces"])
def test_a_record_is_read_as_it_was_written(known: Record) -> None:
    encoded = encode(known)
    assert encoded.chunks == ()
    assert decode(whole(encoded.head), []) == known


@pytest.mark.parametrize("phase", RECORDED)
def test_each_phase_can_be_read_from_the_data_by_people_and_by_us(phase: Phase) -> None:
    head = encode(record(phase=phase)).head
    assert head["data"]["phase"] == phase.value
    assert decode(head, []).phase is phase


def test_what_people_read_says_who_moves_what_from_where_to_where() -> None:
    head = encode(FULL).head
    assert head["metadata"]["name"] == "capi-mover.ns"
    assert head["metadata"]["labels"] == {LABEL: "head"}
    assert head["metadata"]["annotations"] == {SCOPE_ANNOTATION: "ns"}
    told = {name: head["data"][name] for name in ("id", "holder", "source", "target", "started", "objects")}
    assert told == {
        "id": "abc",
        "holder": "host/1/2",
        "source": "a (one)",
        "target": "b (other)",
        "started": STARTED,
        "objects": "7",
    }


def test_another_phase_or_holder_leaves_the_payload_as_it_is() -> None:
    one, other = encode(large()), encode(large().model_copy(update={"phase": Phase.CREATING, "holder": "me"}))
    assert other.chunks == one.chunks
    assert other.head["data"]["digest"] == one.head["data"]["digest"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_large_record_is_split_into_parts_that_a_config_map_can_hold(seed: int) -> None:
    known = large(seed=seed)
    encoded = encode(known)
    maps = [encoded.head, *encoded.chunks]
    assert len(maps) >= 3
    assert max(len(orjson.dumps(body)) for body in maps) < 1024 * 1024
    assert len({body["metadata"]["name"] for body in maps}) == len(maps)
    assert {body["metadata"]["labels"][LABEL] for body in encoded.chunks} == {"part"}
    assert decode(whole(encoded.head), list(map(whole, encoded.chunks))) == known


def test_parts_of_other_contents_have_other_names() -> None:
    one, other = encode(large(seed=1)), encode(large(seed=2))
    assert not {body["metadata"]["name"] for body in one.chunks} & {body["metadata"]["name"] for body in other.chunks}


def test_names_are_those_of_what_is_moved() -> None:
    assert (name_of("ns"), name_of("")) == ("capi-mover.ns", "capi-mover")
    assert chunk_name("ns", "0123456789abcdef", 2) == "capi-mover.ns.0123456789.2"


def test_parts_that_are_missing_swapped_or_of_another_record_are_damage() -> None:
    one, other = encode(large(parts=3.5, seed=1)), encode(large(parts=3.5, seed=2))
    for chunks in (one.chunks[:-1], one.chunks[::-1], other.chunks):
        with pytest.raises(RecordError, match=r"capi-mover\.ns is not followed: it is damaged"):
            decode(one.head, chunks)


def test_a_payload_that_was_changed_is_damage() -> None:
    head = whole(encode(record()).head)
    head["binaryData"]["payload"] = base64.b64encode(b"something else").decode()
    with pytest.raises(RecordError, match="damaged"):
        decode(head, [])


def test_a_record_of_another_format_is_refused_by_its_number() -> None:
    head = whole(encode(record()).head)
    head["data"]["format"] = "99"
    with pytest.raises(RecordError, match="of format 99; this version knows 2"):
        decode(head, [])


def test_a_phase_that_nobody_knows_cannot_be_read() -> None:
    head = whole(encode(record()).head)
    head["data"]["phase"] = "dancing"
    with pytest.raises(RecordError, match=r"capi-mover\.ns is not followed: phase"):
        decode(head, [])


@pytest.mark.parametrize("before", [None, False, "user"])
def test_a_pause_is_read_with_the_value_that_was_there_before(before: bool | str | None) -> None:
    is_saved = isinstance(before, str)
    field = rules.HOST_STATUS_ANNOTATION if is_saved else PAUSED_FIELD
    obj = make(rules.BARE_METAL_HOST if is_saved else rules.CLUSTER, "h")
    pause = Pause(replace(obj.type, has_status=False, move=False, move_hierarchy=False), obj.key, field, before)
    entry = PauseEntry.model_validate_json(PauseEntry.of(pause).model_dump_json())
    assert entry.pause() == pause
    assert type(entry.pause().before) is type(before)


@pytest.mark.parametrize(
    ("phase", "committed", "rolling_back"),
    [
        (Phase.CLAIMED, False, False),
        (Phase.PAUSING, False, False),
        (Phase.CREATING, False, False),
        (Phase.VERIFYING, False, False),
        (Phase.DELETING, True, False),
        (Phase.RESUMING, True, False),
        (Phase.ROLLING_BACK, False, True),
    ],
)
def test_only_forward_is_safe_from_the_phase_deleting_on(phase: Phase, committed: bool, rolling_back: bool) -> None:
    assert record(phase=phase).is_committed is committed
    assert record(phase=phase).is_rolling_back is rolling_back
