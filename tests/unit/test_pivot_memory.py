"""The Secret that a pivot keeps: others can write it, too."""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson
import pytest

from mover.discovery import SECRETS
from mover.errors import StoppedError
from mover.models import MoveOptions
from mover.pivot.choices import Step
from mover.pivot.memory import (
    NAME,
    Memory,
    Recalled,
    decode,
    encode,
    forget,
    new_memory,
    place_of_memory,
    recall,
    remember,
    require_same,
)
from mover.pivot.models import PivotOptions
from mover.pivot.states import states_of
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.graph_builders import NAMESPACE
from tests.unit.mover_builders import HOST, INLINE_KUBECONFIG, make

BEGUN = new_memory(NAMESPACE, "uid-of-source", "uid-of-target", PivotOptions())
MEMORY = BEGUN.model_copy(update={"cluster": "c", "kubeconfig": INLINE_KUBECONFIG}).with_states(states_of([HOST], None))


def secret(content: bytes, **more: Any) -> dict[str, Any]:
    """Returns the Secret with some content."""
    body = encode(MEMORY)
    return {**body, "data": {"pivot": base64.b64encode(content).decode()}, **more}


def changed(**fields: object) -> bytes:
    """Returns a memory with other fields."""
    return orjson.dumps({**MEMORY.model_dump(mode="json"), **fields})


async def test_a_memory_is_kept_until_it_is_forgotten() -> None:
    cluster = FakeApiServer().direct()
    assert await recall(cluster, NAMESPACE) is None
    await remember(cluster, BEGUN, None)
    found = await recall(cluster, NAMESPACE)
    await remember(cluster, MEMORY, found)
    found = await recall(cluster, NAMESPACE)
    assert found is not None
    assert found.memory == MEMORY
    assert MEMORY.state_map() == states_of([HOST], None)
    await forget(cluster, NAMESPACE)
    await forget(cluster, NAMESPACE)
    assert await recall(cluster, NAMESPACE) is None


async def test_a_memory_that_somebody_else_has_written_meanwhile_is_not_overwritten() -> None:
    server = FakeApiServer()
    cluster = server.direct()
    await remember(cluster, BEGUN, None)
    await remember(cluster, BEGUN, None)
    with pytest.raises(StoppedError, match="was written by somebody else meanwhile"):
        await remember(cluster, MEMORY, None)
    found = await recall(cluster, NAMESPACE)
    server.change(make(SECRETS, NAME), metadata={"labels": {"a": "b"}})
    with pytest.raises(StoppedError, match="was written by somebody else meanwhile"):
        await remember(cluster, MEMORY, found)


def test_the_memory_of_all_namespaces_is_in_the_default_one() -> None:
    assert encode(BEGUN.model_copy(update={"scope": ""}))["metadata"]["namespace"] == "default"


def test_a_namespace_of_its_own_would_tell_pivots_apart_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mover.pivot.memory.home_of", lambda _: "records")
    assert [place_of_memory(scope).name for scope in ("a", "b", "")] == [f"{NAME}.a", f"{NAME}.b", NAME]


WRONG: dict[str, list[object]] = {
    "format": [1, "2", 2.5, True, None, 3],
    "began": ["yesterday", 5, "", "2026-01-01T00:00:00Z\x1b[2J", None],
    "scope": ["", "other", 5, None],
    "source_uid": ["", 5, "a b", "\x1b"],
    "target_uid": ["", 5, "uid-of-source", "a b", "x" * 200],
    "asked": [{}, [], None, {"back": "false"}, {**MEMORY.asked, "more": "1"}, {**MEMORY.asked, "back": "{"}],
    "cluster": ["../c", "c/d", 5, "c" * 300],
    "kubeconfig": ["", 5, None, {}],
    "states": [
        None,
        {},
        [["metal3.io", "BareMetalHost", NAMESPACE, "h"]],
        [["", "Secret", NAMESPACE, "h", "ready"]],
        [["metal3.io", "BareMetalHost", "kube-system", "h", "provisioned"]],
        [["metal3.io", "BareMetalHost", NAMESPACE, "../h", "provisioned"]],
        [["metal3.io", "BareMetalHost", NAMESPACE, "h", "x\x1b[2J"]],
        [["metal3.io", "BareMetalHost", NAMESPACE, "h", 5]],
        [["metal3.io", "BareMetalHost", NAMESPACE, "h", "a"], ["metal3.io", "BareMetalHost", NAMESPACE, "h", "b"]],
    ],
}


def test_each_field_has_wrong_values_here() -> None:
    assert set(WRONG) == set(Memory.model_fields)


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_memory_with_a_wrong_field_is_not_used(field: str, value: object) -> None:
    assert decode(secret(changed()), NAMESPACE) == MEMORY
    with pytest.raises(StoppedError, match=r"the Secret ns/capi-mover.pivot on the source, is not used") as caught:
        decode(secret(changed(**{field: value})), NAMESPACE)
    assert field in str(caught.value) or field == "format"
    assert "kubectl -n ns delete secret capi-mover.pivot" in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        secret(b"{}"),
        secret(b"[]"),
        secret(b"\xff"),
        secret(b"[" * 100_000),
        secret(changed()[:-1] + b',"format":2}'),
        secret(changed(more="x")),
        secret(changed(), type="Opaque"),
        secret(changed(), data={}),
        secret(changed(), data=None),
        secret(changed(), data={"pivot": "%"}),
        secret(changed(), data={"pivot": "A" * 3_000_000}),
        {**encode(MEMORY), "data": {**encode(MEMORY)["data"], "more": ""}},
    ],
)
def test_a_damaged_memory_is_not_used(body: dict[str, Any]) -> None:
    with pytest.raises(StoppedError, match="is not used"):
        decode(body, NAMESPACE)


def test_a_pivot_that_is_asked_for_otherwise_does_not_go_on() -> None:
    recalled = Recalled(MEMORY, make(SECRETS, NAME))
    require_same(recalled, PivotOptions(dry_run=True, timeout_s=5, move=MoveOptions(namespace="x", wait_hosts_s=3)))
    require_same(recalled, PivotOptions(skip=frozenset({Step.VERIFY})))
    require_same(recalled, PivotOptions(cluster="c"))
    for other in (
        PivotOptions(back=True),
        PivotOptions(cluster="d"),
        PivotOptions(operator="a/b"),
        PivotOptions(move=MoveOptions(strict_labels=True)),
    ):
        with pytest.raises(StoppedError, match=rf"since {re.escape(MEMORY.began)}.* This pivot is asked for otherwise"):
            require_same(recalled, other)
    skipped = Recalled(
        new_memory(NAMESPACE, "a", "b", PivotOptions(skip=frozenset({Step.STABLE}))), make(SECRETS, NAME)
    )
    with pytest.raises(StoppedError, match="otherwise: skip"):
        require_same(skipped, PivotOptions())
