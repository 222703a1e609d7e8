"""The manifest: what a backup holds, where it comes from, and which of its pauses a restore has to take off."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from mover.directory.encoding import from_comment, to_comment
from mover.directory.plausible import require_plausible
from mover.names import shown
from mover.pause import Pause

FORMAT = 1
NAME = "capi-mover-manifest.yaml"
MARKER = "capi-mover-unfinished.yaml"
_TITLE = "Manifest of a capi-mover backup"
_UNFINISHED = (
    "This backup is not finished and must not be restored. "
    "What it has paused on its source is listed here; capi-mover can resume it"
)
"""A YAML document that is a string, no object: clusterctl fails on it, and shows it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SavedFile(_Frozen):
    """One file with an object, and the SHA-256 checksum of its bytes as they are on the disk."""

    name: str
    sha256: str


class SavedNamespace(_Frozen):
    """A namespace as it was on the source."""

    name: str
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class Manifest(_Frozen):
    """What is known of a backup beside its objects.

    Attributes:
        format: The version of this description.
        tool: Name and version of the program that made the backup.
        created: When it was begun (RFC 3339, the clock of the machine that made it).
        namespace: What was saved; "" for all namespaces.
        source_uid: The UID of the source's kube-system namespace.
        source_context: The kubeconfig context by which the source was reached.
        source_paused: Whether the source was left paused, for a hand-over.
        set_on_source: What the backup has set on the source, and how the fields were before.
        pauses: What a restore takes off: the pauses in the files that nobody but the backup has set.
        namespaces: The namespaces of the objects.
        files: All files with objects, in the order of their names.
    """

    format: int = FORMAT
    tool: str
    created: str
    namespace: str
    source_uid: str
    source_context: str
    source_paused: bool = False
    set_on_source: tuple[Pause, ...] = ()
    pauses: tuple[Pause, ...] = ()
    namespaces: tuple[SavedNamespace, ...] = ()
    files: tuple[SavedFile, ...] = ()


def new_manifest(namespace: str, source_uid: str, source_context: str, *, source_paused: bool = False) -> Manifest:
    """Returns the manifest of a backup that begins now."""
    return Manifest(
        tool=f"capi-mover {version('capi-mover')}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        namespace=namespace,
        source_uid=source_uid,
        source_context=source_context,
        source_paused=source_paused,
    )


def encode(manifest: Manifest) -> bytes:
    """Returns the manifest as a YAML document without content."""
    return to_comment(_TITLE, manifest.model_dump(mode="json"))


def encode_marker(manifest: Manifest) -> bytes:
    """Returns the marker of an unfinished backup: a sentence that no reader takes for an object, then the manifest."""
    return f"{_UNFINISHED}\n".encode() + encode(manifest)


def decode(content: bytes) -> Manifest:
    """Returns the manifest of its file or of a marker.

    Raises:
        ValueError: It is damaged or of another version; the message says so.
    """
    value = from_comment(content)
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT or isinstance(found, bool):
        raise ValueError(f"it is of format {shown(str(found), 60)}, and this version knows only {FORMAT}")
    try:
        manifest = Manifest.model_validate_json(orjson.dumps(value), strict=True)
    except ValidationError as error:
        fields = ", ".join(sorted({shown(".".join(map(str, one["loc"][:3]))) for one in error.errors()})[:5])
        raise ValueError(f"it cannot be read (these fields are not as expected: {fields})") from error
    require_plausible(manifest)
    return manifest
