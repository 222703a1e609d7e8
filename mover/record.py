"""The move record: what is known of a move that is under way, kept in both clusters.

One ConfigMap per move and cluster, in a namespace that is for nothing else, named after what is moved (see
`mover.scope`), so that two moves of the same objects cannot be recorded side by side. Its `data` is for people and for
the phase; everything else is one compressed payload, split into further ConfigMaps where it is large.

A record is not an order: whatever it says is checked here for what can be said at all, and in `mover.execute.trust`
against the clusters, before anything is done by it. Pure: encoding and decoding only.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

import orjson
from pydantic import StringConstraints, ValidationError, model_validator

from graph.resource import Object, ObjectKey, ResourceType
from mover.choices import ExistingPolicy
from mover.differences import content
from mover.errors import MoverError
from mover.models import RECORD_LABEL, MoveOptions, Phase
from mover.names import RECORDS_NAMESPACE, is_label, is_shown, shown
from mover.pause import Pause, may_be_set
from mover.record_fields import (
    STATUS_LIMIT,
    UID,
    Count,
    Digest,
    Few,
    Group,
    Id,
    Kind,
    Label,
    Many,
    Name,
    Parts,
    Scope,
    Space,
    Strict,
    Text,
    Time,
    that,
)
from mover.scope import clusters_of, is_scope, namespace_of, shard_in

NAMESPACE = RECORDS_NAMESPACE
LABEL = RECORD_LABEL
SCOPE_ANNOTATION = "capi-mover.io/scope"
CHUNK_BYTES = 512 * 1024
_LONGEST_SCOPE = 200
_LONGEST_FIRST = 100
FORMAT = 2

PACKED_LIMIT: Final = 16 * 1024 * 1024
UNPACKED_LIMIT: Final = 32 * 1024 * 1024
"""A move of 10,000 objects has a record of some 4 MB."""
PARTS_LIMIT: Final = PACKED_LIMIT // CHUNK_BYTES
_RECORDED: Final = frozenset(
    {
        Phase.CLAIMED,
        Phase.COPYING_AHEAD,
        Phase.PAUSING,
        Phase.CREATING,
        Phase.VERIFYING,
        Phase.DELETING,
        Phase.RESUMING,
        Phase.ROLLING_BACK,
        Phase.DONE,
    }
)


class Identity(Strict):
    """A cluster: the UID of its kube-system namespace, and the context it was reached by."""

    uid: UID
    context: Text


class PauseEntry(Strict):
    """One pause or saved status that the move has set, and how the field was before."""

    group: Group
    version: Label
    kind: Kind
    plural: Label
    namespace: Space
    name: Name
    field: Annotated[str, that(lambda text: is_shown(text, 320), "no field")]
    before: bool | Annotated[str, StringConstraints(max_length=STATUS_LIMIT)] | None = None

    @model_validator(mode="after")
    def _is_of_the_mover(self) -> Self:
        if not may_be_set(self.pause()):
            raise ValueError(f"{self.field} of {self.kind} {self.name} is no pause that capi-mover sets")
        return self

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


class CopyEntry(Strict):
    """One copy that the move makes: its key on the target, and what it may have there.

    Attributes:
        digests: Of every content that the move has written, or is about to write: an original may change while the
            move runs, and is then copied again.
        versions: Of a Secret, UID and resourceVersion of each original that it was copied from, instead of a digest of
            what is in it (docs/decisions/0031).
        uid: Of a Secret, the copy's UID on the target; "" until that is recorded.
    """

    group: Group
    kind: Kind
    namespace: Space
    name: Name
    digests: Annotated[tuple[Digest, ...], Few]
    versions: Annotated[tuple[Text, ...], Few] = ()
    uid: Text = ""

    @classmethod
    def of(cls, image: Object, known: CopyEntry | None = None) -> CopyEntry:
        """Returns the entry of the copy that `image` describes, beside what is known of it already."""
        key, before = image.key, known.digests if known else ()
        versions = known.versions if known else ()
        new = (_version_of(image),) if _is_secret(image) else ()
        return cls(
            group=key.group,
            kind=key.kind,
            namespace=key.namespace,
            name=key.name,
            digests=tuple(dict.fromkeys((*before, digest_of(image)))),
            versions=tuple(dict.fromkeys((*versions, *new))),
            uid=known.uid if known else "",
        )

    def made_as(self, uid: str) -> CopyEntry:
        """Returns the entry of a copy that is on the target now, with that UID."""
        return self.model_copy(update={"uid": uid}) if self.versions else self

    @property
    def key(self) -> ObjectKey:
        """Returns the copy's key."""
        return ObjectKey(self.group, self.kind, self.namespace, self.name)

    def describes(self, there: Object, image: Object | None = None) -> bool:
        """Returns whether an object on the target is the copy, and none that somebody else has given the same name.

        Args:
            there: The object, of the entry's key.
            image: What the copy would be made of now; None if the original is gone.
        """
        if digest_of(there) not in self.digests:
            return False
        if not _is_secret(there) or there.uid == self.uid:
            return True
        if image is None:
            return not self.uid
        # As long as the original is what it was copied from, the copy has to be equal to it.
        return self.versions != (_version_of(image),) or content(there) == content(image)


def digest_of(obj: Object) -> str:
    """Returns what tells a copy from an object that somebody else has given the same name: a digest of its content.

    That of a Secret is of its labels, its type and the names of what is in it: 48 bits of a password are enough to find
    it by trying. Its annotations may hold its data once more (kubectl's last-applied-configuration).
    """
    told = _shape(obj) if _is_secret(obj) else content(obj)
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def _is_secret(obj: Object) -> bool:
    return (obj.type.group, obj.type.kind) == ("", "Secret")


def _shape(secret: Object) -> Mapping[str, Any]:
    body = secret.body()
    names = sorted(body.get("data") or ())
    return {"labels": dict(secret.labels), "type": body.get("type"), "names": names}


def _version_of(obj: Object) -> str:
    return f"{obj.uid}/{obj.resource_version}"


class Record(Strict):
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
        source_gone: When the source was given up for good, and the target resumed without it; "" else. In the phase
            `done` the record is a note of that on the target, until the source was dealt with.
    """

    id: Id
    phase: Phase
    scope: Scope
    source: Identity
    target: Identity
    options: MoveOptions
    started: Time
    holder: Text = ""
    objects: Count = 0
    pauses: Annotated[tuple[PauseEntry, ...], Many] = ()
    target_pauses: Annotated[tuple[PauseEntry, ...], Many] = ()
    used: Annotated[Mapping[UID, UID], Many] = {}
    overwritten: Annotated[Mapping[UID, UID], Many] = {}
    namespaces: Annotated[tuple[Label, ...], Many] = ()
    left_behind: Annotated[tuple[Parts, ...], Many] = ()
    hosts: Annotated[tuple[Name, ...], Many] = ()
    included: Annotated[tuple[Parts, ...], Many] = ()
    shared: Annotated[tuple[Parts, ...], Many] = ()
    copies: Annotated[tuple[CopyEntry, ...], Many] = ()
    foreign: Annotated[tuple[Parts, ...], Many] = ()
    moving: Annotated[tuple[UID, ...], Many] = ()
    source_gone: Time | Literal[""] = ""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if wrong := _contradiction(self):
            raise ValueError(wrong)
        return self

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
    def is_note(self) -> bool:
        """Returns whether nothing is left to be done but to deal with the source, which was given up."""
        return self.phase is Phase.DONE

    @property
    def is_rolling_back(self) -> bool:
        """Returns whether a rollback has begun: only finishing it is safe then."""
        return self.phase is Phase.ROLLING_BACK


def _contradiction(record: Record) -> str:
    """Returns in what a record contradicts itself, "" if it does not: what it moves is what was asked for."""
    if shard_in(record.scope):
        return "nothing is moved under the name of a shard"
    if record.phase not in _RECORDED:
        return f"no move is recorded in the phase {record.phase}"
    if record.moving and not record.is_committed:
        return f"objects are deleted, and it is in the phase {record.phase}"
    if record.source_gone and record.phase not in (Phase.RESUMING, Phase.DONE):
        return f"its source was given up, and it is in the phase {record.phase}"
    if record.phase is Phase.DONE and not record.source_gone:
        return "it is done, and its source was not given up: nothing is recorded of such a move"
    return _other_scope(record) or _unasked(record)


def _other_scope(record: Record) -> str:
    """Returns in what the scope is not that of the options: only a unit of a rolling move is a part of it."""
    options, namespace = record.options, record.namespace
    if options.namespace not in (None, namespace) and not (options.rolling and options.namespace == ""):
        return f"it is of {record.scope!r}, and the options are of the namespace {shown(options.namespace or '')!r}"
    if options.to_namespace is not None and not (namespace and is_label(options.to_namespace)):
        return f"nothing can be moved to a namespace {shown(options.to_namespace)!r}"
    if options.rolling or options.selector:
        return ""
    if set(record.clusters) != set(options.clusters):
        return f"it is of {record.scope!r}, and the options are of the Clusters {shown(', '.join(options.clusters))!r}"
    return ""


def _unasked(record: Record) -> str:
    """Returns what the record does that its options do not ask for."""
    options = record.options
    if record.left_behind and not options.leave_behind:
        return "objects are left behind, and that was not asked for"
    if record.included and not options.include_referenced:
        return "objects are included, and that was not asked for"
    if record.hosts and not (options.hosts or options.all_hosts or options.rolling):
        return "spare hosts come along, and that was not asked for"
    if record.overwritten and options.existing is ExistingPolicy.REFUSE and not options.rolling:
        return "objects of the target are overwritten, and that was not asked for"
    return ""


class RecordError(MoverError):
    """A move record cannot be trusted, or cannot be read: nothing is done by it.

    Attributes:
        where: The ConfigMap, with its cluster as far as that is known.
        what: What is wrong with it.
    """

    remedy = "Find out who has written it, and see that only movers can. If it is of no move of yours, delete it there"

    def __init__(self, where: str, what: str, remedy: str = "") -> None:
        super().__init__(where, what)
        self.where = where
        self.what = what
        self.remedy = remedy or self.remedy

    def __str__(self) -> str:
        return f"The move record {self.where} is not followed: {self.what}"

    def on(self, cluster: str) -> RecordError:
        """Returns the same error with the cluster that the record is on."""
        return RecordError(f"{self.where} of the {cluster} cluster", self.what, self.remedy)


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
    """Returns the ConfigMaps of a record, without their namespace.

    Raises:
        RecordError: It would be larger than what is read.
    """
    content = record.model_dump_json(exclude={"phase", "holder"}).encode()
    payload = zlib.compress(content)
    name = name_of(record.scope)
    if len(content) > UNPACKED_LIMIT or len(payload) > PACKED_LIMIT:
        raise RecordError(name, "it would be too large", "Move fewer objects at once: with --rolling, or with --shard")
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
    head = _config_map(name, record.scope, data, parts[0])
    chunks = [
        _config_map(chunk_name(record.scope, digest, number), record.scope, {}, part)
        for number, part in enumerate(parts[1:], start=1)
    ]
    return Encoded(head, tuple(chunks))


def _config_map(name: str, scope: str, data: Mapping[str, str], part: bytes) -> dict[str, Any]:
    metadata = {
        "name": name,
        "labels": {LABEL: "head" if data else "part"},
        "annotations": {SCOPE_ANNOTATION: scope},
    }
    content = {"binaryData": {"payload": base64.b64encode(part).decode()}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data), **content}


@dataclass(frozen=True, slots=True)
class Head:
    """What the first ConfigMap of a record says, beside the payload.

    Attributes:
        name: The ConfigMap's name.
        scope: What moves.
        format: The format that the record is in.
        id: Names the move.
        phase: The phase it is in; in another format whatever stands there.
        holder: Who works on it.
        digest: Of the whole payload.
        parts: How many ConfigMaps it has, this one included.
    """

    name: str
    scope: str
    format: str
    id: str
    phase: str
    holder: str = ""
    digest: str = ""
    parts: int = 0


def read_head(body: Mapping[str, Any]) -> Head:
    """Returns what a ConfigMap says that claims to be the head of a record, in this or in another format.

    Raises:
        RecordError: It says nothing that could be understood, or has another name than what it moves.
    """
    name = str(body["metadata"]["name"])
    data, annotations = body.get("data") or {}, body["metadata"].get("annotations") or {}
    scope = annotations.get(SCOPE_ANNOTATION)
    if scope is None or not is_scope(scope):
        raise RecordError(name, f"the annotation {SCOPE_ANNOTATION} does not say what it moves")
    if name != name_of(scope) or shard_in(scope):
        raise RecordError(name, f"a record of {shown(scope) or 'all namespaces'!r} has another name")
    missing = [field for field in ("format", "id", "phase") if not data.get(field)]
    if missing:
        raise RecordError(name, f"{', '.join(missing)} is missing in its data")
    written, move, phase = (shown(str(data[field]), 40) for field in ("format", "id", "phase"))
    if written != str(FORMAT):
        return Head(name, scope, written, move, phase)
    digest, parts = str(data.get("digest", "")), str(data.get("parts", ""))
    if not _DIGEST.match(digest) or not (parts.isascii() and parts.isdigit() and 0 < int(parts[:9]) <= PARTS_LIMIT):
        raise RecordError(name, "its data does not say of which parts it is")
    return Head(name, scope, written, move, phase, str(data.get("holder", "")), digest, int(parts))


_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def decode(head: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]]) -> Record:
    """Returns the record of its ConfigMaps; `chunks` in the order of their numbers.

    Raises:
        RecordError: They do not belong together, say what no record can say, or were written by another version.
    """
    found = read_head(head)
    if found.format != str(FORMAT):
        raise RecordError(
            found.name,
            f"it is of format {found.format}; this version knows {FORMAT}",
            "Go on with the capi-mover that has begun the move: it is of another version",
        )
    content = _unpacked(found, [head, *chunks])
    try:
        record = Record.model_validate({**content, "phase": found.phase, "holder": found.holder})
    except ValidationError as error:
        raise RecordError(found.name, "; ".join(map(_told, error.errors()[:3]))) from error
    if (record.scope, record.id) != (found.scope, found.id):
        raise RecordError(found.name, "its payload is of another move than its data")
    return record


def _unpacked(head: Head, bodies: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Returns the content of a payload, of which no more is unpacked than a record may have."""
    payload = b"".join(_part(head, body) for body in bodies)
    if hashlib.sha256(payload).hexdigest() != head.digest:
        raise RecordError(head.name, "it is damaged: its parts do not belong together")
    try:
        unpacking = zlib.decompressobj()
        unpacked = unpacking.decompress(payload, UNPACKED_LIMIT)
        if not unpacking.eof or unpacking.unused_data:
            raise RecordError(head.name, "it is damaged: its payload is too large, or no whole one")
        content = orjson.loads(unpacked)
    except (zlib.error, orjson.JSONDecodeError) as error:
        raise RecordError(head.name, f"it is damaged: {shown(str(error))}") from error
    if not isinstance(content, dict) or {"phase", "holder"} & content.keys():
        raise RecordError(head.name, "it is damaged: its payload is none of a record")
    return content


def _part(head: Head, body: Mapping[str, Any]) -> bytes:
    text = (body.get("binaryData") or {}).get("payload")
    if not isinstance(text, str) or len(text) > 2 * CHUNK_BYTES:
        raise RecordError(head.name, f"it is damaged: {shown(str(body['metadata']['name']))} has no payload")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RecordError(head.name, f"it is damaged: {shown(str(error))}") from error


def _told(error: Mapping[str, Any]) -> str:
    """Returns what is wrong with a field, without what stands in it as a whole."""
    where = ".".join(shown(str(part), 40) for part in error["loc"][:4])
    return f"{where}: {shown(str(error['msg']), 200)}" if where else shown(str(error["msg"]), 200)
