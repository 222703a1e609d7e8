"""Tests of records that somebody else has written: nothing is done by them, and nobody else is stopped by them."""

from __future__ import annotations

import base64
import hashlib
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from graph import rules
from graph.resource import Object, ResourceType
from mover import api
from mover.api.own import OtherMoveError
from mover.choices import OnFailure
from mover.discovery import CONFIG_MAPS, NAMESPACES
from mover.errors import MoverError, UsageError
from mover.events import MoveFound, Noted
from mover.execute.journal import read_record
from mover.execute.run import InterruptedMoveError
from mover.kube import Cluster
from mover.models import MoveOptions, Phase
from mover.pause import PAUSED_FIELD
from mover.record import (
    LABEL,
    SCOPE_ANNOTATION,
    UNPACKED_LIMIT,
    CopyEntry,
    PauseEntry,
    Record,
    RecordError,
    decode,
    digest_of,
    encode,
)
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import CLUSTER, HOST, MACHINE, SMALL, Stage, lets_connect, make, refuse, write_record

HERE, THERE = api.ClusterRef(context="source"), api.ClusterRef(context="target")
ROLES = ResourceType("rbac.authorization.k8s.io", "v1", "Role", "roles")
POLICIES = ResourceType("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")


class Scene:
    """Two clusters with the small move between them, and what others have written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = Stage(make(NAMESPACES, "victim"), make(rules.CLUSTER, "v", namespace="victim", spec={"n": 1}))
        self.options = self.stage.options.model_copy(update={"on_failure": OnFailure.KEEP})

        async def connect(name: str, _: object, context: str, __: object = None) -> Cluster:
            return (self.stage.source if context == "source" else self.stage.target).direct()

        lets_connect(monkeypatch, connect)

    @property
    def servers(self) -> tuple[FakeApiServer, FakeApiServer]:
        """Returns the source and the target."""
        return self.stage.source, self.stage.target

    async def move(self, options: MoveOptions | None = None) -> Any:
        """Moves as an administrator does."""
        return await api.move_async(HERE, THERE, options or self.options, self.stage.events.append)

    async def interrupted(self) -> Record:
        """Returns the record of a move that was interrupted while the copies were made."""
        refuse(self.stage.target, "POST", "/machines")
        with pytest.raises(InterruptedMoveError):
            await self.move()
        self.stage.target.before = lambda _: None
        record = await read_record(self.stage.source.direct(), "ns")
        assert record is not None
        return record

    async def plant(self, record: Record, *, sides: tuple[int, ...] = (0, 1), **changed: Any) -> None:
        """Writes a record with some fields changed to both clusters, or to some."""
        for side in sides:
            encoded = encode(record.model_copy(update=changed))
            write_record(self.servers[side], encoded)

    def forget(self) -> None:
        """Takes what the move has recorded off both clusters."""
        for server in self.servers:
            for path in [path for path in server.bodies if "/namespaces/capi-mover/" in path]:
                del server.bodies[path]

    def writes(self) -> list[str]:
        """Returns what was changed on both clusters, but for leases."""
        return [entry for server in self.servers for entry in server.writes() if "/leases" not in entry]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


async def refused(scene: Scene, act: Callable[[], Any], match: str) -> None:
    """Expects that an act is refused, and that nothing was changed by it."""
    before, writes = scene.stage.everything(), len(scene.writes())
    with pytest.raises(MoverError, match=match):
        await act()
    assert scene.writes()[writes:] == []
    assert scene.stage.everything() == before


async def test_a_plain_move_does_not_go_on_with_a_record_of_other_options(scene: Scene) -> None:
    record = await scene.interrupted()
    to = record.options.model_copy(update={"to_namespace": "evil"})
    await scene.plant(record, options=to, phase=Phase.CLAIMED, copies=(), namespaces=(), pauses=(), target_pauses=())
    await refused(scene, scene.move, r"to_namespace 'evil', and this is with None(?s:.*)Nothing was changed")


async def test_what_resume_and_rollback_would_do_is_told(scene: Scene) -> None:
    record = await scene.interrupted()
    with pytest.raises(OtherMoveError) as caught:
        await scene.move(scene.options.model_copy(update={"warn_only": True}))
    text = str(caught.value)
    assert f"begun {record.started}, last worked on by {record.holder}" in text
    assert "phase creating" in text
    assert "resume: it pauses the source" in text
    assert f"rollback: it deletes up to {len(SMALL)} copies" in text


@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
async def test_a_plain_move_does_not_go_on_with_a_record_of_one_side(scene: Scene, side: int) -> None:
    record = await scene.interrupted()
    scene.forget()
    await scene.plant(record, sides=(side,))
    await refused(scene, scene.move, f"only the {('source', 'target')[side]} has a record of it")


async def test_records_that_do_not_agree_are_gone_on_with_by_nobody(scene: Scene) -> None:
    record = await scene.interrupted()
    await scene.plant(record, sides=(1,), id="other")
    await refused(scene, scene.move, "the source has a record of the move")
    await refused(scene, lambda: api.resume_async(HERE, THERE, "ns"), "the source has a record of the move")
    await refused(scene, lambda: api.rollback_async(HERE, THERE, "ns"), "the source has a record of the move")


@pytest.mark.parametrize("phase", [Phase.CLAIMED, Phase.VERIFYING, Phase.DELETING])
async def test_the_target_alone_has_no_record_before_the_end(scene: Scene, phase: Phase) -> None:
    record = await scene.interrupted()
    scene.forget()
    await scene.plant(record, sides=(1,), phase=phase)
    await refused(scene, lambda: api.resume_async(HERE, THERE, "ns"), "only the target has a record, which cannot be")


async def test_the_same_move_again_goes_on_with_its_record_and_says_what_it_does(scene: Scene) -> None:
    record = await scene.interrupted()
    await scene.move()
    (told,) = (event for event in scene.stage.events if isinstance(event, MoveFound))
    assert (told.command, told.id, told.phase, told.holder) == ("resume", record.id, Phase.CREATING, record.holder)
    assert not scene.stage.source.has(CLUSTER)


async def test_a_rollback_says_what_it_does_before_it_does_it(scene: Scene) -> None:
    await scene.interrupted()
    seen: list[int] = []

    def listener(event: object) -> None:
        if isinstance(event, MoveFound):
            seen.append(len(scene.writes()))
            assert "it deletes up to" in event.text

    writes = len(scene.writes())
    await api.rollback_async(HERE, THERE, "ns", listener)
    assert seen == [writes]


def pause_of(obj: Object, field: str, before: str | None = None, **changed: str) -> PauseEntry:
    kind, key = obj.type, obj.key
    known: dict[str, Any] = {"group": kind.group, "version": kind.version, "kind": kind.kind, "plural": kind.plural}
    fields: dict[str, Any] = {
        **known,
        "namespace": key.namespace,
        "name": key.name,
        "field": field,
        "before": before,
        **changed,
    }
    return PauseEntry.model_construct(**fields)


VICTIM = make(rules.CLUSTER, "v", namespace="victim")
INVENTED = {obj.uid: f"invented-{number}" for number, obj in enumerate(SMALL)}
SAID: Mapping[str, tuple[dict[str, Any], str]] = {
    "used and nothing stands for it": ({"used": INVENTED, "copies": ()}, "said to need no copy"),
    "all gone and the originals are there": ({"phase": Phase.RESUMING}, "says that all originals are gone"),
    "all gone and nothing was copied": (
        {"phase": Phase.RESUMING, "copies": (), "target_pauses": (), "namespaces": ()},
        "says that all originals are gone",
    ),
    "resumed and not to be deleted": (
        {"phase": Phase.DELETING, "target_pauses": (pause_of(CLUSTER, PAUSED_FIELD),)},
        "would stay on the source",
    ),
    "deleted elsewhere": ({"phase": Phase.DELETING, "moving": (VICTIM.uid,)}, ""),
    "a Cluster of others on the source": ({"pauses": (pause_of(VICTIM, PAUSED_FIELD),)}, "is no part of the move"),
    "a Cluster of others on the target": ({"target_pauses": (pause_of(VICTIM, PAUSED_FIELD),)}, "is no copy"),
    "a copy elsewhere": (
        {"copies": (CopyEntry(group="", kind="Secret", namespace="victim", name="s", digests=("0" * 12,)),)},
        "nothing of the move would be copied there",
    ),
    "a namespace of others": ({"namespaces": ("victim",)}, "no copies for the namespace victim"),
    "a name that is a path": ({"target_pauses": (pause_of(HOST, "x", name="x/../../y"),)}, "is no name of an object"),
    "a reboot": ({"pauses": (pause_of(HOST, "reboot.metal3.io", "{}"),)}, "no pause that capi-mover sets"),
    "any kind": (
        {"pauses": (pause_of(CLUSTER, "a", kind="ClusterRole", plural="clusterroles"),)},
        "no pause that capi-mover sets",
    ),
    "left behind unasked": ({"left_behind": (("", "Secret", "ns", "s"),)}, "left behind, and that was not asked for"),
    "overwritten unasked": ({"overwritten": {CLUSTER.uid: "x"}}, "overwritten, and that was not asked for"),
}


@pytest.mark.parametrize(("changed", "match"), SAID.values(), ids=SAID)
async def test_a_record_that_says_what_no_move_says_is_followed_by_nobody(
    scene: Scene, changed: dict[str, Any], match: str
) -> None:
    record = await scene.interrupted()
    await scene.plant(record, **changed)
    for server in scene.servers:
        server.put(make(NAMESPACES, "victim"))
    if not match:
        # Nothing of it is in the scope, so nothing is deleted by it.
        with pytest.raises(MoverError):
            await api.resume_async(HERE, THERE, "ns")
        assert scene.stage.source.has(VICTIM)
        assert scene.stage.source.has(MACHINE)
        return
    await refused(scene, lambda: api.resume_async(HERE, THERE, "ns"), match)
    await refused(scene, scene.move, match)
    if record.model_copy(update=changed).phase is Phase.CREATING:
        await refused(scene, lambda: api.rollback_async(HERE, THERE, "ns"), match)


@pytest.mark.parametrize("kind", [ROLES, POLICIES])
async def test_a_rollback_leaves_a_namespace_in_which_there_is_anything(scene: Scene, kind: ResourceType) -> None:
    await scene.interrupted()
    found = make(kind, "x")
    scene.stage.target.put(found)
    await api.rollback_async(HERE, THERE, "ns", scene.stage.events.append)
    assert scene.stage.target.has(found)
    assert scene.stage.target.has(make(NAMESPACES, "ns"))
    notes = [event.text for event in scene.stage.events if isinstance(event, Noted)]
    assert f"The namespace ns of the target stays: others have put something into it ({kind.kind} x)" in notes


async def test_a_rollback_leaves_a_namespace_that_it_may_not_look_into(scene: Scene) -> None:
    await scene.interrupted()
    refuse(scene.stage.target, "GET", "/namespaces/ns/roles")
    await api.rollback_async(HERE, THERE, "ns", scene.stage.events.append)
    assert scene.stage.target.has(make(NAMESPACES, "ns"))
    notes = [event.text for event in scene.stage.events if isinstance(event, Noted)]
    assert any("it may not be looked whether it is empty" in note for note in notes)


def head(scope: str = "other", **changed: Any) -> Object:
    """Returns a ConfigMap that looks like the head of a record."""
    data = {"format": "2", "id": "abc", "phase": "claimed", "digest": "0" * 64, "parts": "1"}
    metadata = {"labels": {LABEL: "head"}, "annotations": {SCOPE_ANNOTATION: scope}, **changed.pop("metadata", {})}
    body = {"data": data, "binaryData": {"payload": "AAAA"}, **changed}
    return make(CONFIG_MAPS, f"capi-mover.{scope}", namespace="capi-mover", metadata=metadata, **body)


MALFORMED = {
    "no annotation": head(metadata={"annotations": {}}),
    "no data": head(data={}),
    "parts that are no number": head(data={"format": "2", "id": "a", "phase": "p", "digest": "0" * 64, "parts": "abc"}),
    "many parts": head(data={"format": "2", "id": "a", "phase": "p", "digest": "0" * 64, "parts": "9" * 9}),
    "a scope that is none": head(metadata={"annotations": {SCOPE_ANNOTATION: "*/x"}}),
    "a scope of another name": head(metadata={"annotations": {SCOPE_ANNOTATION: ""}}),
    "a payload that is none": head(binaryData={"payload": "§"}),
    "no payload": head(binaryData={}),
    "another payload": head(),
}


@pytest.mark.parametrize("planted", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_record_is_named_and_stops_nobody_else(scene: Scene, planted: Object) -> None:
    await scene.interrupted()
    for server in scene.servers:
        server.put(planted)
    found = await api.status_async(HERE)
    assert [record.scope for record in found.readable] == ["ns"]
    (error,) = found.unreadable
    assert planted.key.name in error.paragraph()
    assert "of the source cluster" in error.paragraph()
    assert error.remedy in error.paragraph()
    await api.resume_async(HERE, THERE, "ns")
    assert scene.stage.target.has(MACHINE)
    assert all(server.has(planted) for server in scene.servers)


@pytest.mark.parametrize("planted", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_record_is_in_the_way_of_no_preflight_and_no_move(scene: Scene, planted: Object) -> None:
    for server in scene.servers:
        server.put(planted)
    assert (await api.preflight_async(HERE, THERE, scene.options)).problems == ()
    await scene.move()
    assert scene.stage.target.has(MACHINE)


async def test_a_record_that_is_left_in_the_namespace_default_is_named_and_not_followed(scene: Scene) -> None:
    old = make(
        CONFIG_MAPS,
        "capi-mover.ns",
        namespace="default",
        metadata=head().body()["metadata"]
        | {"name": "capi-mover.ns", "namespace": "default", "annotations": {SCOPE_ANNOTATION: "ns"}},
        data={"format": "1", "id": "abc", "phase": "claimed"},
    )
    for server in scene.servers:
        server.put(old)
    (error,) = (await api.status_async(THERE)).unreadable
    assert "default/capi-mover.ns of the target cluster" in str(error)
    assert "finish it with the version that began it" in error.paragraph()
    with pytest.raises(UsageError, match="finish it with the version that began it"):
        await api.resume_async(HERE, THERE, "ns")
    await scene.move()
    assert scene.stage.target.has(MACHINE)


def bomb(unpacked: int) -> Object:
    """Returns the head of a record whose payload unpacks to so many bytes."""
    packing = zlib.compressobj(9)
    block = b"0" * (1 << 20)
    payload = b"".join([*(packing.compress(block) for _ in range(unpacked >> 20)), packing.flush()])
    digest = hashlib.sha256(payload).hexdigest()
    data = {"format": "2", "id": "abc", "phase": "claimed", "digest": digest, "parts": "1"}
    return head(data=data, binaryData={"payload": base64.b64encode(payload).decode()})


def test_what_would_unpack_to_more_than_a_record_is_refused_before_it_has_done_so() -> None:
    body = bomb(10 * UNPACKED_LIMIT).body()
    started = time.process_time()
    with pytest.raises(RecordError, match="too large"):
        decode(body, [])
    assert time.process_time() - started < 1.0


def test_what_is_nested_too_deeply_is_no_record() -> None:
    payload = zlib.compress(b"[" * 100_000)
    digest = hashlib.sha256(payload).hexdigest()
    data = {"format": "2", "id": "abc", "phase": "claimed", "digest": digest, "parts": "1"}
    with pytest.raises(RecordError, match="damaged"):
        decode(head(data=data, binaryData={"payload": base64.b64encode(payload).decode()}).body(), [])


async def test_nothing_of_a_secret_is_in_a_record(scene: Scene) -> None:
    record = await scene.interrupted()
    secrets = {obj.key.name: obj for obj in SMALL if obj.type.kind == "Secret"}
    entries = {entry.name: entry for entry in record.copies if entry.kind == "Secret"}
    assert entries.keys() == secrets.keys()
    for obj in secrets.values():
        scene.stage.source.change(obj, data=dict.fromkeys(obj.body()["data"], "b3RoZXI="))
    now = {name: digest_of(scene.stage.source.now(obj)) for name, obj in secrets.items()}
    assert {name: entry.digests for name, entry in entries.items()} == {name: (one,) for name, one in now.items()}
    assert orjson.dumps(record.model_dump(mode="json")).find(b"a2V5") == -1
