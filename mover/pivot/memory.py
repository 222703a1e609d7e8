"""What a pivot must know to its end and loses on the way: a Secret on the source, until the pivot is done.

The move takes the Secret with the target's kubeconfig to the target, and the hosts with their states: a pivot that
is interrupted after that could neither find the target nor tell how the hosts were. The Secret is in the namespace
that moves, where whoever can read it can read the original, too; nothing owns it and its name is none of Cluster
API's, so that it does not move.

Others can write Secrets there. So all of it is checked against what this very pivot would have written, it is said
before anything is done, and the kubeconfig in it is used only where the original may have moved.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from graph.resource import Object, ObjectKey
from mover.discovery import SECRETS
from mover.errors import AlreadyExistsError, ConflictError, NotFoundError, StoppedError
from mover.kube import Cluster
from mover.models import MANAGER
from mover.names import is_label, is_shown, shown
from mover.pivot.choices import Step
from mover.pivot.models import PivotOptions
from mover.pivot.states import STATEFUL, States
from mover.untrusted import UntrustedError, is_name, is_time, is_uid, parse_json

NAME: Final = "capi-mover.pivot"
NAMESPACE: Final = "default"
FORMAT: Final = 2
LONGEST: Final = 1024 * 1024
"""A Secret holds no more (bytes)."""
_FIELD = "pivot"
_TYPE = "capi-mover.io/pivot"
_STATE = re.compile(r"[A-Za-z][A-Za-z -]{0,63}")
_NOT_ASKED: Final = frozenset({"dry_run", "stable_s", "timeout_s", "cluster", "move"})
_NOT_ASKED_OF_THE_MOVE: Final = frozenset({"namespace", "wait_hosts_s", "pause_timeout_s", "timeout_s", "quiet_s"})
"""What may be another thing in the run that goes on: how long to wait, and what is compared by itself."""


class Memory(BaseModel):
    """What a pivot remembers.

    Attributes:
        format: The version of this description.
        began: When it was written first (RFC 3339, the clock of who wrote it).
        scope: The namespace that moves, "" for all.
        source_uid: The UID of the source's kube-system namespace.
        target_uid: The same of the target.
        asked: What was asked for: name of the option -> its value as JSON.
        cluster: The Cluster whose kubeconfig led to the target, "" if the target was given.
        kubeconfig: That kubeconfig.
        states: Group, kind, namespace and name on the target, and state, of each object.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    format: int = FORMAT
    began: str
    scope: str
    source_uid: str
    target_uid: str
    asked: Mapping[str, str]
    cluster: str = ""
    kubeconfig: str = ""
    states: tuple[tuple[str, str, str, str, str], ...] = ()

    def with_states(self, states: States) -> Memory:
        """Returns the memory with the states of these objects."""
        entries = sorted((key.group, key.kind, key.namespace, key.name, state) for key, state in states.items())
        return self.model_copy(update={"states": tuple(entries)})

    def state_map(self) -> dict[ObjectKey, str]:
        """Returns the states by key."""
        return {ObjectKey(*entry[:4]): entry[4] for entry in self.states}


@dataclass(frozen=True, slots=True)
class Recalled:
    """A memory as it was found.

    Attributes:
        memory: What it says.
        secret: The Secret, in the state in which it was read.
    """

    memory: Memory
    secret: Object

    def told(self) -> str:
        """Returns what is said of it before anything is done."""
        memory = self.memory
        way = f"the Cluster {memory.cluster}" if memory.cluster else "a target that was given"
        return (
            f"A pivot into {way} (kube-system UID {memory.target_uid}) was interrupted; it has been under way since "
            f"{memory.began}, as the {self.secret.key} on the source says, with the states of {len(memory.states)} "
            "objects. It is gone on with"
        )


def home_of(scope: str) -> str:
    """Returns the namespace that the Secret of a pivot of `scope` is in: this alone decides it."""
    return scope or NAMESPACE


def place_of_memory(scope: str) -> ObjectKey:
    """Returns the key of the Secret for a pivot of `scope`, "" for all namespaces."""
    home = home_of(scope)
    return ObjectKey("", "Secret", home, NAME if not scope or home == scope else f"{NAME}.{scope}")


def new_memory(scope: str, source_uid: str, target_uid: str, options: PivotOptions) -> Memory:
    """Returns the memory of a pivot that begins now, without a way to its target and without states."""
    return Memory(
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        scope=scope,
        source_uid=source_uid,
        target_uid=target_uid,
        asked=asked_of(options),
    )


def asked_of(options: PivotOptions) -> dict[str, str]:
    """Returns what was asked for, as far as it must stay the same: name of the option -> its value as JSON."""
    whole = options.model_dump(mode="json", exclude=set(_NOT_ASKED)) | {"skip": sorted(options.skip)}
    move = options.move.model_dump(mode="json", exclude=set(_NOT_ASKED_OF_THE_MOVE))
    named = {**whole, **{f"move.{name}": value for name, value in move.items()}}
    return {name: orjson.dumps(value).decode() for name, value in sorted(named.items())}


def require_same(recalled: Recalled, options: PivotOptions) -> None:
    """Raises StoppedError if the pivot that was interrupted was asked for something else.

    More steps may be left out than before: one that cannot be done is no reason to begin anew.
    """
    memory, now = recalled.memory, asked_of(options)
    different = {name for name in {*memory.asked, *now} if memory.asked.get(name) != now.get(name)}
    if "skip" in different and _steps(memory.asked.get("skip")) <= options.skip:
        different.discard("skip")
    if options.cluster and memory.cluster and options.cluster != memory.cluster:
        different.add("cluster")
    if different:
        names = ", ".join(sorted(name.replace("_", "-") for name in different))
        raise StoppedError(
            f"{recalled.told().removesuffix('. It is gone on with')}. This pivot is asked for otherwise: {names}",
            f"Give the same options again; or, if no such pivot was begun, {_way_out(recalled.secret.key)}",
        )


def _steps(text: str | None) -> frozenset[Step]:
    found = orjson.loads(text or "[]")
    return frozenset(step for step in Step if step in found)


def _way_out(key: ObjectKey) -> str:
    return f"look at it and delete it: kubectl -n {key.namespace} delete secret {key.name}"


def encode(memory: Memory) -> dict[str, Any]:
    """Returns the Secret's body."""
    key = place_of_memory(memory.scope)
    payload = base64.b64encode(memory.model_dump_json().encode()).decode()
    metadata = {"name": key.name, "namespace": key.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": _TYPE, "data": {_FIELD: payload}}


def decode(body: Mapping[str, Any], scope: str) -> Memory:
    """Returns what the Secret's body says of a pivot of `scope`.

    Raises:
        StoppedError: It is not what such a pivot writes.
    """
    key = place_of_memory(scope)
    try:
        return _checked(body, scope)
    except UntrustedError as error:
        raise StoppedError(
            f"The memory of an interrupted pivot, the Secret {key.namespace}/{key.name} on the source, is not used: "
            f"{error}. Others can write it, too",
            f"Find out who did; then {_way_out(key)}, and pivot again with --to-kubeconfig",
        ) from error


def _checked(body: Mapping[str, Any], scope: str) -> Memory:
    data = body.get("data")
    if body.get("type") != _TYPE or not isinstance(data, dict) or set(data) != {_FIELD}:
        raise UntrustedError("it is not of the type, or has not just the field, that a pivot gives it")
    if not isinstance(data[_FIELD], str) or len(data[_FIELD]) > 2 * LONGEST:
        raise UntrustedError("its field is too large, or no text")
    try:
        content = base64.b64decode(data[_FIELD], validate=True)
    except binascii.Error as error:
        raise UntrustedError("its field is not base64") from error
    found = parse_json(content)
    version = found.get("format") if isinstance(found, dict) else None
    if version != FORMAT or isinstance(version, bool):
        raise UntrustedError("it was written by another version of capi-mover, or by something else")
    try:
        memory = Memory.model_validate_json(content)
    except ValidationError as error:
        fields = ", ".join(sorted({shown(".".join(map(str, one["loc"]))) for one in error.errors()})[:5])
        raise UntrustedError(f"these fields are not as they have to be: {fields}") from error
    _require_plausible(memory, scope)
    return memory


def _require_plausible(memory: Memory, scope: str) -> None:
    known = asked_of(PivotOptions())
    homes = {scope, memory.asked.get("move.to_namespace", "").strip('"')} if scope else None
    wrong = {
        "began": not is_time(memory.began),
        "scope": memory.scope != scope,
        "source_uid": not is_uid(memory.source_uid),
        "target_uid": not is_uid(memory.target_uid) or memory.target_uid == memory.source_uid,
        "asked": set(memory.asked) != set(known) or not all(map(_is_value, memory.asked.values())),
        "cluster": memory.cluster != "" and not is_name(memory.cluster),
        "kubeconfig": bool(memory.kubeconfig) != bool(memory.cluster),
        "states": len(set(memory.state_map())) != len(memory.states)
        or not all(_is_state(entry, homes) for entry in memory.states),
    }
    named = [name for name, is_wrong in wrong.items() if is_wrong]
    if named:
        raise UntrustedError(f"these fields are not what this pivot would write: {', '.join(named)}")


def _is_value(text: str) -> bool:
    try:
        parse_json(text.encode())
    except UntrustedError:
        return False
    return is_shown(text, 2000)


def _is_state(entry: tuple[str, str, str, str, str], homes: Collection[str] | None) -> bool:
    """Returns whether an entry is the state of an object in one of the namespaces; None for any."""
    group, kind, namespace, name, state = entry
    is_there = is_label(namespace) and (homes is None or namespace in homes)
    return (group, kind) in STATEFUL and is_there and is_name(name) and _STATE.fullmatch(state) is not None


async def recall(source: Cluster, scope: str) -> Recalled | None:
    """Returns what an interrupted pivot of `scope` has left, None if there is nothing.

    Raises:
        StoppedError: It is not what such a pivot writes.
    """
    key = place_of_memory(scope)
    try:
        secret = await source.get(SECRETS, key.namespace, key.name)
    except NotFoundError:
        return None
    return Recalled(decode(secret.body(), scope), secret)


async def remember(source: Cluster, memory: Memory, recalled: Recalled | None) -> None:
    """Writes the memory, over the one that was found and over no other.

    Raises:
        StoppedError: Somebody else has written one meanwhile.
    """
    if recalled is not None and recalled.memory == memory:
        return
    body, key = encode(memory), place_of_memory(memory.scope)
    try:
        if recalled is None:
            await source.create(SECRETS, body, manager=MANAGER)
        else:
            version = {"uid": recalled.secret.uid, "resourceVersion": recalled.secret.resource_version}
            await source.merge_patch(SECRETS, key, {"metadata": version, "data": body["data"]}, manager=MANAGER)
    except (AlreadyExistsError, ConflictError, NotFoundError) as error:
        if await _is_written(source, memory):
            return  # the answer to our own write was lost on its way
        raise StoppedError(
            f"The memory of this pivot, the {key} on the source, was written by somebody else meanwhile",
            "See whether another pivot is under way, then give the same command again",
        ) from error


async def _is_written(source: Cluster, memory: Memory) -> bool:
    found = await recall(source, memory.scope)
    return found is not None and found.memory == memory


async def forget(source: Cluster, scope: str) -> None:
    """Removes the memory, if there is one."""
    key = place_of_memory(scope)
    try:
        found = await source.get(SECRETS, key.namespace, key.name)
        await source.delete(SECRETS, key, uid=found.uid, resource_version=found.resource_version)
    except NotFoundError:
        return
