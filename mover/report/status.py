"""What is under way on a cluster, as lines."""

from __future__ import annotations

from collections.abc import Sequence

from mover.record import Record
from mover.report.titles import capital
from mover.scope import described


def status_lines(records: Sequence[Record]) -> list[str]:
    """Returns what `capi-mover status` prints: a paragraph per move, with the command to go on with."""
    if not records:
        return ["No move is under way."]
    lines = []
    for record in records:
        what = described(record.scope)
        lines += [
            f"{capital(what)}: move {record.id} of {record.objects} objects, phase {record.phase}",
            f"  from {record.source.context} to {record.target.context}, since {record.started}",
            f"  worked on by {record.holder}",
            f"  next: {_next_command(record)}",
        ]
    return lines


def _next_command(record: Record) -> str:
    flags = f"--kubeconfig-context {record.source.context} --to-kubeconfig-context {record.target.context}"
    scope = f" -n {record.namespace}" if record.namespace else " --all-namespaces"
    scope += "".join(f" --cluster {name}" for name in record.clusters)
    if record.is_rolling_back:
        return f"capi-mover rollback {flags}{scope}"
    forward = f"capi-mover resume {flags}{scope}"
    return forward if record.is_committed else f"{forward}, or: capi-mover rollback {flags}{scope}"
