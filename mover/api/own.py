"""Whether the record of a move is of just what is asked for now: only then a plain `move` goes on with it.

Whoever can write a record must not thereby direct the next one who moves: everything else is told, with what `resume`
and `rollback` would do, and left to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mover.concurrency import all_of
from mover.errors import StoppedError
from mover.events import MoveFound
from mover.execute.journal import Found
from mover.execute.run import Clusters, identity_of
from mover.models import MoveOptions, Phase
from mover.names import shown
from mover.record import Record
from mover.scope import described

_ORDER: Final = (
    Phase.CLAIMED,
    Phase.COPYING_AHEAD,
    Phase.PAUSING,
    Phase.CREATING,
    Phase.VERIFYING,
    Phase.DELETING,
    Phase.RESUMING,
)
_FIXED: Final = (
    "id",
    "scope",
    "source",
    "target",
    "options",
    "started",
    "used",
    "overwritten",
    "left_behind",
    "hosts",
    "included",
    "shared",
)
"""What a record says from its beginning to its end."""
_SAID_LAST: Final = (Phase.RESUMING, Phase.ROLLING_BACK)
"""The phases in which the target has the only record: at the end the source's goes first."""


class OtherMoveError(StoppedError):
    """A move of these objects is under way, and it is not just what is asked for.

    Attributes:
        record: What is known of it.
        why: In what it is another one.
    """

    def __init__(self, record: Record, why: Sequence[str]) -> None:
        forward, back = found_move(record, "resume").will, found_move(record, "rollback").will
        super().__init__(
            f"The move {record.id} of {described(record.scope)} is under way, and a move does not go on with it: "
            f"{'; '.join(why)}.\n{_of(record)}.\n  resume: {forward}\n  rollback: {back}\nNothing was changed",
            "See what is moved there with: capi-mover status; then finish it with: capi-mover resume, or undo it with: "
            "capi-mover rollback",
        )
        self.record = record
        self.why = tuple(why)


def found_move(record: Record, command: str) -> MoveFound:
    """Returns the event that tells of a move, and what a command is about to do with it: "resume" or "rollback"."""
    will = _forward(record) if command == "resume" else _back(record)
    text = f"{_of(record)}. What {command} does: {will}"
    return MoveFound(text, command, record.id, record.scope, record.phase, record.holder, record.started, will)


def _of(record: Record) -> str:
    to = f", to the namespace {record.options.to_namespace}" if record.options.to_namespace else ""
    what = f"{described(record.scope)}, from {record.source.context} to {record.target.context}{to}"
    return (
        f"The move {record.id} of {what}, {record.objects} objects, was begun {record.started}, last worked on by "
        f"{record.holder or 'nobody'}, and is in the phase {record.phase}"
    )


def _forward(record: Record) -> str:
    if record.is_rolling_back:
        return "nothing, as a rollback has begun"
    if record.phase is Phase.RESUMING:
        return f"it takes the {len(record.target_pauses)} pauses off the copies on the target"
    if record.phase is Phase.DELETING:
        return f"it deletes what is left of {len(record.moving)} originals from the source, and resumes the target"
    return "it pauses the source, copies what has no copy yet, verifies all, deletes the originals, resumes the target"


def _back(record: Record) -> str:
    if record.is_committed:
        return "nothing, as originals may be gone already"
    spaces = f" and the namespaces {', '.join(record.namespaces)}, if they are empty," if record.namespaces else ""
    return f"it deletes up to {len(record.copies)} copies{spaces} from the target, and resumes the source"


async def require_own(clusters: Clusters, found: Found, options: MoveOptions, namespace: str) -> Record | None:
    """Returns the record of an earlier run of just this move, None if there is none of its objects.

    Raises:
        OtherMoveError: It is of another move, or of one of which the two clusters do not say the same.
    """
    record = found.newest
    if record is None:
        return None
    identities = await all_of(map(identity_of, (clusters.source, clusters.target)))
    why = [*_disagreements(found), *_other_options(record, options, namespace)]
    for cluster, is_, was in zip(("source", "target"), identities, (record.source, record.target), strict=True):
        if is_.uid != was.uid:
            why.append(f"it has another {cluster} cluster (context {was.context})")
    if why:
        raise OtherMoveError(record, why)
    return record


def require_agreement(found: Found) -> Record | None:
    """Returns the record that counts, None without one.

    Raises:
        OtherMoveError: The clusters have records of different moves, or the target alone has one that it cannot have
            alone.
    """
    record = found.newest
    if record is None:
        return None
    if found.source is None and record.phase not in _SAID_LAST:
        raise OtherMoveError(record, [f"only the target has a record, which cannot be in the phase {record.phase}"])
    if found.source is not None and found.target is not None and (why := _differing(found.source, found.target)):
        raise OtherMoveError(record, why)
    return record


def _disagreements(found: Found) -> list[str]:
    """Returns in what two records are not those of one move that was interrupted."""
    one, other = found.source, found.target
    if one is None or other is None:
        return [f"only the {'source' if other is None else 'target'} has a record of it"]
    if differing := _differing(one, other):
        return differing
    return [] if _is_next(one, other) else [f"the source says {one.phase}, and the target {other.phase}"]


def _is_next(source: Record, target: Record) -> bool:
    """Returns whether the source is where the target is, or one step ahead of it: it is written first."""
    if source.is_rolling_back:
        return not target.is_committed
    steps = [phase for phase in _ORDER if phase is not Phase.COPYING_AHEAD or source.options.copy_ahead]
    if not {source.phase, target.phase} <= set(steps):
        return False
    return steps.index(source.phase) - steps.index(target.phase) in (0, 1)


def _differing(one: Record, other: Record) -> list[str]:
    if one.id != other.id:
        return [f"the source has a record of the move {one.id}, and the target of {other.id}"]
    fields = [field for field in _FIXED if getattr(one, field) != getattr(other, field)]
    return [f"the records of the two clusters differ in: {', '.join(fields)}"] if fields else []


def _other_options(record: Record, options: MoveOptions, namespace: str) -> list[str]:
    """Returns the options that are not those of the record, both as they were given."""
    wanted = _whole(options, namespace).model_dump(mode="json")
    known = _whole(record.options, record.namespace).model_dump(mode="json")
    return [
        f"it was begun with {name} {_said(known[name])}, and this is with {_said(wanted[name])}"
        for name in wanted
        if known[name] != wanted[name]
    ]


def _whole(options: MoveOptions, namespace: str) -> MoveOptions:
    is_given = options.namespace is not None
    names = tuple(sorted(set(options.clusters)))
    return options.model_copy(update={"namespace": options.namespace if is_given else namespace, "clusters": names})


def _said(value: object) -> str:
    return shown(repr(value), 80)
