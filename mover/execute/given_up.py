"""Sources that were given up for good: a note on the target keeps everybody from working with one that has come back.

The note is the record of the move itself, which stays on the target until the source was dealt with
(docs/decisions/0034).
"""

from __future__ import annotations

from collections.abc import Sequence

from mover.discovery import NAMESPACES
from mover.errors import StoppedError
from mover.execute.journal import given_up
from mover.kube import Cluster
from mover.record import Record
from mover.scope import described


class GivenUpError(StoppedError):
    """The source was given up after the commit of a move, and its objects are at work on the target.

    Attributes:
        record: Of that move.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(
            f"The source cluster {source_name(record)} was given up on {record.source_gone} by the move {record.id}; "
            f"its objects ({described(record.scope)}) live on the target, {record.target.context}. Nothing was changed",
            f"Remove what is left of them from it with: capi-mover retire {flags_of(record)}"
            if record.is_note
            else f"Resume the target first with: capi-mover resume --source-gone {flags_of(record)}",
        )
        self.record = record


class NoteInWayError(StoppedError):
    """A move of the same objects would have a record in the place of a note.

    Attributes:
        record: The note.
    """

    def __init__(self, record: Record, cluster: str) -> None:
        super().__init__(
            f"The {cluster} cluster has a note that {source_name(record)} was given up on {record.source_gone} by the "
            f"move {record.id}, in the place where the record of a move of {described(record.scope)} goes",
            "Once that cluster has come back: capi-mover retire; or, if it can never come back: "
            f"capi-mover retire --source-destroyed {flags_of(record)}",
        )
        self.record = record


def source_name(record: Record) -> str:
    """Returns what a person calls the source of a move: its context, or its UID without one."""
    return record.source.context or record.source.uid


def flags_of(record: Record) -> str:
    """Returns the flags that name the objects of a move."""
    space = f"-n {record.namespace}" if record.namespace else "--all-namespaces"
    return " ".join((space, *(f"--cluster {name}" for name in record.clusters)))


async def require_not_given_up(source: Cluster, target: Cluster) -> None:
    """Returns if `target` has no note about `source`.

    Raises:
        GivenUpError: It has one.
        ApiError: The target cannot be asked.
    """
    await _require_no_note_of(source, await given_up(target))


async def require_no_note(source: Cluster, target: Cluster, scope: str) -> None:
    """Returns if a move of `scope` can be recorded on both clusters, and its source was not given up.

    Raises:
        GivenUpError: The source was given up.
        NoteInWayError: A note about another cluster has the name that the move's record would have.
        ApiError: A cluster cannot be asked.
    """
    notes = {cluster: await given_up(cluster) for cluster in (source, target)}
    await _require_no_note_of(source, notes[target])
    for cluster, records in notes.items():
        for record in records:
            if record.scope == scope and record.is_note:
                raise NoteInWayError(record, cluster.name)


async def _require_no_note_of(source: Cluster, notes: Sequence[Record]) -> None:
    if not notes:
        return
    uid = (await source.get(NAMESPACES, "", "kube-system")).uid
    for record in notes:
        if record.source.uid == uid:
            raise GivenUpError(record)
