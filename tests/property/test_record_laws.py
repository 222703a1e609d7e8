"""Whatever stands in a record that others have written, it is read as a record or refused as none."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.resource import ObjectKey, ResourceType
from mover.errors import InvalidNameError
from mover.kube.cluster import object_path
from mover.names import is_segment
from mover.record import Record, RecordError, decode, encode, read_head
from mover.scope import is_scope, overlap
from tests.unit.test_record import FULL

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [name for name in Record.model_fields if name not in ("phase", "holder")]
CONTENT: dict[str, Any] = orjson.loads(FULL.model_dump_json(exclude={"phase", "holder"}))


def planted(content: Any, **data: str) -> dict[str, Any]:
    """Returns the head of FULL with another payload, and with other data."""
    payload = zlib.compress(json.dumps(content).encode())
    head: dict[str, Any] = orjson.loads(orjson.dumps(encode(FULL).head))
    head["data"] |= {"digest": hashlib.sha256(payload).hexdigest(), "parts": "1", **data}
    head["binaryData"] = {"payload": base64.b64encode(payload).decode()}
    return head


def read(head: dict[str, Any]) -> Record | None:
    """Returns the record, None if it is refused as none."""
    try:
        return decode(head, [])
    except RecordError as error:
        told = str(error)
    assert len(told) < 2000
    assert told.isprintable()
    return None


@pytest.mark.parametrize("field", FIELDS)
@given(wrong=TREES)
def test_each_field_of_a_record_is_right_or_the_record_is_refused(field: str, wrong: Any) -> None:
    found = read(planted({**CONTENT, field: wrong}))
    if found is not None:
        # It was right by chance: it says of itself what was read.
        assert Record.model_validate_json(found.model_dump_json()) == found
        assert (found.id, found.scope) == (FULL.id, FULL.scope)


@pytest.mark.parametrize("field", [name for name in FIELDS if isinstance(CONTENT[name], list) and CONTENT[name]])
@given(wrong=TREES)
def test_each_entry_of_a_record_is_right_or_the_record_is_refused(field: str, wrong: Any) -> None:
    read(planted({**CONTENT, field: [*CONTENT[field], wrong]}))


@given(name=st.text(min_size=1, max_size=10))
def test_a_field_that_no_record_has_is_refused(name: str) -> None:
    if name not in Record.model_fields:
        assert read(planted({**CONTENT, name: 1})) is None


@given(
    data=st.dictionaries(st.sampled_from(["format", "id", "phase", "holder", "parts", "digest"]), st.text(max_size=20))
)
def test_whatever_its_data_says_it_is_read_or_refused(data: dict[str, str]) -> None:
    read(planted(CONTENT, **data))


@given(
    name=st.text(max_size=30),
    annotations=st.none() | st.dictionaries(st.just("capi-mover.io/scope"), st.text(max_size=20)),
    data=st.none() | st.dictionaries(st.sampled_from(["format", "id", "phase", "parts"]), st.text(max_size=9)),
)
def test_whatever_a_config_map_holds_its_head_is_read_or_refused(name: str, annotations: Any, data: Any) -> None:
    try:
        head = read_head({"metadata": {"name": name, "annotations": annotations}, "data": data})
    except RecordError:
        return
    assert is_scope(head.scope)


@given(one=st.text(max_size=20), other=st.sampled_from(["", "ns", "ns/a", "*/0/4", "*/1/4"]))
def test_whether_moves_overlap_is_known_of_every_scope(one: str, other: str) -> None:
    if is_scope(one):
        assert overlap(one, other) is overlap(other, one)


@given(namespace=st.text(max_size=12), name=st.text(max_size=12), plural=st.text(max_size=12))
def test_a_path_has_the_parts_that_it_was_made_of_and_no_others(namespace: str, name: str, plural: str) -> None:
    resource = ResourceType("g.example", "v1", "Kind", plural)
    try:
        path = object_path(resource, ObjectKey("g.example", "Kind", namespace, name))
    except InvalidNameError:
        assert not all(map(is_segment, [name, plural, namespace or "x"]))
        return
    assert path.count("/") == (7 if namespace else 5)
    assert not {"..", "."} & set(path.split("/"))
    assert path.isascii()
