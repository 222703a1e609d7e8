"""Whether a manifest says what a backup would have written: others may have made it. Pure functions.

Each refusal is an `UntrustedError` that names the field.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from graph import rules
from mover.names import is_label, is_shown
from mover.pause import PAUSED_FIELD, Pause
from mover.untrusted import UntrustedError, is_kind, is_name, is_time, is_uid, is_version

if TYPE_CHECKING:
    from mover.directory.manifest import Manifest, SavedFile

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLURAL = re.compile(r"[a-z][a-z0-9-]{0,62}")
_LONGEST_NAME_BYTES: Final = 255
_LONGEST_STATUS: Final = 256 * 1024
"""All annotations of an object together are no longer (bytes; apimachinery, TotalAnnotationSizeLimitB)."""

_PAUSABLE = frozenset({rules.CLUSTER_CLASS, *rules.OWN_PAUSE_KINDS})


def require_plausible(manifest: Manifest) -> None:
    """Raises UntrustedError if a field of the manifest is not what a backup writes."""
    scope, spaces = manifest.namespace, [namespace.name for namespace in manifest.namespaces]
    wrong = {
        "tool": not is_shown(manifest.tool, 300),
        "created": not is_time(manifest.created),
        "namespace": scope != "" and not is_label(scope),
        "source_uid": not is_uid(manifest.source_uid),
        "source_context": not is_shown(manifest.source_context, 1000),
        "namespaces": len(set(spaces)) != len(spaces) or not all(map(is_label, spaces)),
        "set_on_source": not _are_pauses(manifest.set_on_source, {scope} if scope else None),
        "pauses": not _are_pauses(manifest.pauses, {scope, *spaces} if scope else None),
        "files": not _are_files(manifest.files),
    }
    named = [name for name, is_wrong in wrong.items() if is_wrong]
    if named:
        raise UntrustedError(f"these fields are not what a backup writes: {', '.join(named)}")


def _are_files(files: Collection[SavedFile]) -> bool:
    names = {file.name for file in files}
    good = (is_file_name(file.name) and _SHA256.fullmatch(file.sha256) for file in files)
    return len(names) == len(files) and all(good)


def is_file_name(text: str) -> bool:
    """Returns whether a text is the name of a file in this very folder, and can be shown."""
    fits = 0 < len(text.encode(errors="replace")) <= _LONGEST_NAME_BYTES
    return fits and text.isprintable() and not text.startswith(".") and not {"/", "\\"} & set(text)


def _are_pauses(pauses: Collection[Pause], homes: Collection[str] | None) -> bool:
    fields = {(pause.key, pause.field) for pause in pauses}
    return len(fields) == len(pauses) and all(_all_pauses(pauses, homes))


def _all_pauses(pauses: Iterable[Pause], homes: Collection[str] | None) -> Iterable[bool]:
    for pause in pauses:
        key, kind = pause.key, pause.resource
        named = is_name(key.name) and is_label(key.namespace) and (homes is None or key.namespace in homes)
        typed = is_kind(kind.group, kind.kind) and is_version(kind.version) and _PLURAL.fullmatch(kind.plural)
        yield bool(named and typed and (key.group, key.kind) == kind.group_kind and _is_known(pause))


def _is_known(pause: Pause) -> bool:
    """Returns whether the mover sets such a field on such a kind, and it can have been like that before."""
    kind, before = pause.resource.group_kind, pause.before
    match pause.field:
        case field if field == PAUSED_FIELD:
            return kind == rules.CLUSTER and (before is None or before is False)
        case rules.PAUSED_ANNOTATION:
            return kind in _PAUSABLE and before is None
        case rules.HOST_PAUSED_ANNOTATION:
            return kind == rules.BARE_METAL_HOST and before is None
        case rules.HOST_STATUS_ANNOTATION:
            short = isinstance(before, str) and len(before) <= _LONGEST_STATUS
            return kind == rules.BARE_METAL_HOST and (before is None or short)
    return False
