"""What is under way on a cluster, as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mover.execute.journal import Records
from mover.record import Record
from mover.report.titles import capital
from mover.scope import described


def status_lines(found: Records) -> list[str]:
    """Returns what `capi-mover status` prints: a paragraph per move, with the command to go on with.

    What looks like a record and is none is told after that, with what is wrong and what to do.
    """
    moves = [line for record in found.readable for line in _move_lines(record)] or ["No move is under way."]
    return [*moves, *(error.paragraph() for error in found.unreadable)]


def status_json(found: Records) -> list[dict[str, Any]]:
    """Returns the same as `capi-mover status -o json` prints it: the records, then what is none, by `unreadable`."""
    records = [record.model_dump(mode="json") for record in found.readable]
    return [*records, *({"unreadable": one.where, "what": one.what, "remedy": one.remedy} for one in found.unreadable)]


def _move_lines(record: Record) -> Sequence[str]:
    what = described(record.scope)
    if record.is_note:
        given_up = f"the source {record.source.context} was given up on {record.source_gone} by the move {record.id}"
        return (
            f"{capital(what)}: lives here; {given_up}, and must not be resumed",
            f"  next: when it has come back, {_next_command(record)}",
        )
    return (
        f"{capital(what)}: move {record.id} of {record.objects} objects, phase {record.phase}",
        f"  from {record.source.context} to {record.target.context}, since {record.started}",
        f"  worked on by {record.holder}",
        f"  next: {_next_command(record)}",
    )


def _next_command(record: Record) -> str:
    flags = f"--kubeconfig-context {record.source.context} --to-kubeconfig-context {record.target.context}"
    scope = f" -n {record.namespace}" if record.namespace else " --all-namespaces"
    scope += "".join(f" --cluster {name}" for name in record.clusters)
    if record.is_note:
        return f"capi-mover retire {flags}{scope}"
    if record.source_gone:
        return f"capi-mover resume --source-gone --to-kubeconfig-context {record.target.context}{scope}"
    if record.is_rolling_back:
        return f"capi-mover rollback {flags}{scope}"
    forward = f"capi-mover resume {flags}{scope}"
    return forward if record.is_committed else f"{forward}, or: capi-mover rollback {flags}{scope}"
