"""Tests of the bytes of the files: what clusterctl, a YAML reader, makes of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from graph import rules
from mover.directory import SavedNamespace
from mover.directory.encoding import from_comment, to_comment, to_json
from mover.directory.manifest import decode, encode, encode_marker
from mover.pause import PAUSED_FIELD, Pause
from tests.unit.directory_builders import cluster, fleet, manifest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
HOST = fleet()[3]
FULL = manifest(
    pauses=(
        Pause(cluster().type, cluster().key, PAUSED_FIELD, before=False),
        Pause(cluster("d").type, cluster("d").key, PAUSED_FIELD, None),
        Pause(HOST.type, HOST.key, rules.HOST_STATUS_ANNOTATION, "{}"),
    ),
    namespaces=(SavedNamespace(name="ns", labels={"a": "b"}, annotations={"break": "\u2028apiVersion: v1\x85"}),),
)


def test_an_object_is_one_line_of_json_with_sorted_keys() -> None:
    assert to_json({"b": "ü", "a": {"d": 1, "c": [True, None]}}) == '{"a":{"c":[true,null],"d":1},"b":"ü"}\n'.encode()


@pytest.mark.parametrize("text", ["\x7f", "\x80", "\x85", "\x9f", "\u2028", "\u2029", "\ufeff", "\uffff", "😀", "a\tb"])
def test_characters_that_yaml_refuses_or_folds_are_read_as_they_were(text: str) -> None:
    content = to_json({"a": f"x {text} y", text: 1})
    assert yaml.safe_load(content.decode()) == orjson.loads(content) == {"a": f"x {text} y", text: 1}


@given(JSON)
def test_yaml_and_json_readers_find_the_same_value(value: Any) -> None:
    content = to_json({"value": value})
    assert orjson.loads(content) == {"value": value}
    assert yaml.safe_load(content.decode()) == {"value": value}


@given(JSON)
def test_a_comment_is_nothing_to_yaml_and_the_value_to_us(value: Any) -> None:
    content = to_comment("title", value)
    assert yaml.safe_load(content.decode()) is None
    assert from_comment(content) == value


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert decode(encode(FULL)) == FULL
    assert decode(encode_marker(FULL)) == FULL


def test_a_manifest_is_an_empty_document_and_a_marker_a_sentence() -> None:
    """The one is passed over by clusterctl; on the other it fails, showing it."""
    assert yaml.safe_load(encode(FULL).decode()) is None
    assert yaml.safe_load(encode_marker(FULL).decode()).startswith("This backup is not finished and must not")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: raw.replace(b"source-ctx", b"source-cty"), "checksum"),
        (lambda raw: raw[:-40], "checksum"),
        (lambda raw: raw.replace(b"sha256", b"sha512"), "no header"),
        (lambda _: b"", "no header"),
        (lambda _: b"\xff", "decode"),
        (lambda _: to_comment("Manifest", {"format": 2}), "format 2, and this version knows only 1"),
        (lambda _: to_comment("Manifest", {"format": 1}), "fields are not as expected"),
        (lambda _: to_comment("Manifest", []), "format None"),
    ],
)
def test_a_damaged_or_unknown_manifest_is_told(change: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(change(encode(FULL)))
