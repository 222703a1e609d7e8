"""The move record: what is known of a move that is under way, kept in both clusters.

One ConfigMap per move and cluster, in the namespace "default", named after what is moved (see `mover.scope`), so that
two moves of the same objects cannot be recorded side by side. Its `data` is for people and for the phase; everything
else is one compressed payload, split into further ConfigMaps where it is large. Pure: encoding and decoding only.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from graph.resource import Object, ObjectKey, ResourceType
from mover.differences import content
from mover.errors import MoverError
from mover.models import RECORD_LABEL, MoveOptions, Phase
from mover.pause import Pause
from mover.scope import clusters_of, namespace_of, shard_in

NAMESPACE = "default"
LABEL = RECORD_LABEL
SCOPE_ANNOTATION = "capi-mover.io/scope"
CHUNK_BYTES = 512 * 1024
_LONGEST_SCOPE = 200
_LONGEST_FIRST = 100
FORMAT = 1


class Identity(BaseModel):
    """A cluster: the UID of its kube-system namespace, and the context it was reached by."""

    model_config = ConfigDict(frozen=True)
    uid: str
    context: str


class PauseEntry(BaseModel):
    """One pause or saved status that the move has set, and how the field was before."""

    model_config = ConfigDict(frozen=True)
    group: str
    version: str
    kind: str
    plural: str
    namespace: str
    name: str
    field: str
    before: bool | str | None = None

    @classmethod
    def of(cls, pause: Pause) -> PauseEntry:
        """Returns the entry of a pause."""
        kind, key = pause.resource, pause.key
        return cls(
            group=kind.group,
            version=kind.version,
            kind=kind.kind,
            plural=kind.plural,
            namespace=key.namespace,
            name=key.name,
            field=pause.field,
            before=pause.before,
        )

    def pause(self) -> Pause:
        """Returns the pause of an entry."""
        kind = ResourceType(self.group, self.version, self.kind, self.plural, namespaced=bool(self.namespace))
        return Pause(kind, ObjectKey(self.group, self.kind, self.namespace, self.name), self.field, self.before)


class CopyEntry(BaseModel):
    """One copy that the move makes: its key on the target, and what it may have there.

    Attributes:
        digests: Of every content that the move has written, or is about to write: an original may change while the
            move runs, and is then copied again.
    """

    model_config = ConfigDict(frozen=True)
    group: str
    kind: str
    namespace: str
    name: str
    digests: tuple[str, ...]

    @classmethod
    def of(cls, image: Object, known: CopyEntry | None = None) -> CopyEntry:
        """Returns the entry of the copy that `image` describes, beside what is known of it already."""
        key = image.key
        digests = tuple(dict.fromkeys((*(known.digests if known else ()), digest_of(image))))
        return cls(group=key.group, kind=key.kind, namespace=key.namespace, name=key.name, digests=digests)

    @property
    def key(self) -> ObjectKey:
        """Returns the copy's key."""
        return ObjectKey(self.group, self.kind, self.namespace, self.name)


def digest_of(obj: Object) -> str:
    """Returns what tells a copy from an object that somebody else has given the same name: a digest of its content."""
    return hashlib.sha256(orjson.dumps(content(obj), option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


class Record(BaseModel):
    """All that is known of a move.

    Attributes:
        id: Names the move.
        phase: The phase it is in.
        scope: What moves: a namespace, all of them, or single Clusters (see `mover.scope`).
        source: Where the objects come from.
        target: Where they go.
        options: What was asked for.
        started: When it began (RFC 3339, the mover's clock).
        holder: Who works on it.
        objects: How many objects move.
        pauses: What the move has set or is about to set on the source.
        target_pauses: What is taken off the target at the end; known from the phase `creating` on.
        used: UID on the source -> UID on the target of what was there before and is used as it is.
        overwritten: The same of what is overwritten.
        namespaces: Namespaces that the move creates on the target.
        left_behind: Objects that stay on request.
        hosts: Names of the spare hosts that come along with single Clusters.
        included: Objects that are copied and kept because something that moves names them.
        shared: Objects that other Clusters of a rolling move use, too.
        copies: The copies that may be on the target; known from the phase `creating` on.
        foreign: Objects on the target that somebody else created while the move ran.
        moving: UIDs on the source of the objects that are deleted; known from the phase `deleting` on.
    """

    model_config = ConfigDict(frozen=True)
    id: str
    phase: Phase
    scope: str
    source: Identity
    target: Identity
    options: MoveOptions
    started: str
    holder: str = ""
    objects: int = 0
    pauses: tuple[PauseEntry, ...] = ()
    target_pauses: tuple[PauseEntry, ...] = ()
    used: Mapping[str, str] = {}
    overwritten: Mapping[str, str] = {}
    namespaces: tuple[str, ...] = ()
    left_behind: tuple[tuple[str, str, str, str], ...] = ()
    hosts: tuple[str, ...] = ()
    included: tuple[tuple[str, str, str, str], ...] = ()
    shared: tuple[tuple[str, str, str, str], ...] = ()
    copies: tuple[CopyEntry, ...] = ()
    foreign: tuple[tuple[str, str, str, str], ...] = ()
    moving: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """Returns the namespace that moves, or of which something moves; "" for all."""
        return namespace_of(self.scope)

    @property
    def clusters(self) -> tuple[str, ...]:
        """Returns the names of the single Clusters that move; none if all of the namespace moves."""
        return clusters_of(self.scope)

    @property
    def is_committed(self) -> bool:
        """Returns whether something may have been deleted from the source: only forward is safe then."""
        return self.phase in (Phase.DELETING, Phase.RESUMING, Phase.DONE)

    @property
    def is_rolling_back(self) -> bool:
        """Returns whether a rollback has begun: only finishing it is safe then."""
        return self.phase is Phase.ROLLING_BACK


class RecordError(MoverError):
    """A move record cannot be read."""

    remedy = "Go on with the capi-mover that has begun the move: it is of another version"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A record as ConfigMap bodies: the head, and what did not fit into it."""

    head: Mapping[str, Any]
    chunks: tuple[Mapping[str, Any], ...]


def name_of(scope: str) -> str:
    """Returns the name of the ConfigMap and the Lease of a move.

    It is `capi-mover.NAMESPACE`, `capi-mover` for all namespaces, `capi-mover.NAMESPACE.CLUSTER` for a single Cluster.
    Several are named by the first of them and a digest of all: names of objects end at 253 characters. A shard has a
    Lease only, `capi-mover-shard.INDEX.TOTAL`.

    >>> name_of("metal3/prod-1")
    'capi-mover.metal3.prod-1'
    """
    if shard := shard_in(scope):
        return f"capi-mover-shard.{shard.replace('/', '.')}"
    names = clusters_of(scope)
    parts = ["capi-mover", namespace_of(scope), *names]
    if len(names) > 1 or len(scope) > _LONGEST_SCOPE:
        digest = hashlib.sha256(scope.encode()).hexdigest()[:8]
        parts[2:] = [names[0][:_LONGEST_FIRST].rstrip("-."), digest]
    return ".".join(part for part in parts if part)


def chunk_name(scope: str, digest: str, number: int) -> str:
    """Returns the name of a further ConfigMap; the digest keeps an older payload whole until the head has changed."""
    return f"{name_of(scope)}.{digest[:10]}.{number}"


def encode(record: Record) -> Encoded:
    """Returns the ConfigMaps of a record."""
    payload = zlib.compress(record.model_dump_json(exclude={"phase", "holder"}).encode())
    digest = hashlib.sha256(payload).hexdigest()
    parts = [payload[start : start + CHUNK_BYTES] for start in range(0, len(payload), CHUNK_BYTES)]
    data = {
        "format": str(FORMAT),
        "id": record.id,
        "phase": record.phase.value,
        "holder": record.holder,
        "source": f"{record.source.context} ({record.source.uid})",
        "target": f"{record.target.context} ({record.target.uid})",
        "started": record.started,
        "objects": str(record.objects),
        "digest": digest,
        "parts": str(len(parts)),
    }
    head = _config_map(name_of(record.scope), record.scope, data, parts[0])
    chunks = [
        _config_map(chunk_name(record.scope, digest, number), record.scope, {}, part)
        for number, part in enumerate(parts[1:], start=1)
    ]
    return Encoded(head, tuple(chunks))


def _config_map(name: str, scope: str, data: Mapping[str, str], part: bytes) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "labels": {LABEL: "head" if data else "part"},
        "annotations": {SCOPE_ANNOTATION: scope},
    }
    content = {"binaryData": {"payload": base64.b64encode(part).decode()}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data), **content}


def decode(head: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]]) -> Record:
    """Returns the record of its ConfigMaps; `chunks` in the order of their numbers.

    Raises:
        RecordError: They do not belong together, or were written by another version.
    """
    data = head["data"]
    name = head["metadata"]["name"]
    if data.get("format") != str(FORMAT):
        raise RecordError(f"The move record {name} is of format {data.get('format')}; this version knows {FORMAT}")
    payload = b"".join(base64.b64decode(part["binaryData"]["payload"]) for part in (head, *chunks))
    if hashlib.sha256(payload).hexdigest() != data["digest"]:
        raise RecordError(f"The move record {name} is damaged: its parts do not belong together")
    try:
        content = orjson.loads(zlib.decompress(payload))
        return Record.model_validate({**content, "phase": data["phase"], "holder": data.get("holder", "")})
    except (zlib.error, orjson.JSONDecodeError, ValidationError) as error:
        raise RecordError(f"The move record {name} cannot be read: {error}") from error
