"""What was done, and what a dry run says, as lines and tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from graph.unit import Unit
from mover.models import BackupReport, KindCount, MoveReport, RestoreReport, RollingReport
from mover.planning import Plan
from mover.report.titles import capital
from mover.scope import described, scope_of

_SHOWN_LEFT = 10


def summary(report: MoveReport) -> list[str | Table]:
    """Returns the summary of a finished move, to be printed one after the other."""
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column("KIND")
    table.add_column("MOVED", justify="right")
    table.add_column("COPIED, KEPT", justify="right")
    moved, kept = _as_dict(report.moved), _as_dict(report.kept)
    for kind in sorted({*moved, *kept}):
        table.add_row(kind, str(moved.get(kind, "")), str(kept.get(kind, "")))
    what = described(scope_of(report.namespace, report.clusters))
    total = sum(moved.values()) + sum(kept.values())
    calls = sum(report.calls.values())
    took = f"It took {sum(report.seconds.values()):.1f} s; the objects were paused for {report.paused_s:.1f} s."
    used = f"{calls} API calls, {calls / max(1, total):.1f} per object, {report.retries} retried."
    lines: list[str | Table] = [
        "",
        f"Moved {what} from {report.source} to {report.target}: {total} objects, {report.verified} copies verified.",
        "",
        table,
        "",
        f"{took} {used}",
    ]
    return [*lines, *_left(report)]


def summary_of(report: MoveReport | RollingReport) -> list[str | Table]:
    """Returns the summary of either kind of move."""
    return rolling_summary(report) if isinstance(report, RollingReport) else summary(report)


def rolling_summary(report: RollingReport) -> list[str | Table]:
    """Returns the summary of a rolling move, to be printed one after the other."""
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column("UNIT")
    table.add_column("FATE")
    table.add_column("OBJECTS", justify="right")
    table.add_column("PAUSED", justify="right")
    for unit in report.units:
        what = described(scope_of(unit.namespace, unit.clusters)) if unit.clusters else "all that was left"
        table.add_row(what, unit.fate, str(unit.objects or ""), f"{unit.paused_s:.1f} s" if unit.paused_s else "")
    moved = len(report.units) - len(report.failed)
    objects, calls = sum(unit.objects for unit in report.units), sum(report.calls.values())
    errors = [
        f"{capital(described(scope_of(unit.namespace, unit.clusters)))}: {unit.error}"
        for unit in report.failed
        if unit.error
    ]
    again = ["Give the same command again once that is mended: it goes on with what has not moved."]
    return [
        "",
        f"{moved} of {len(report.units)} units moved from {report.source} to {report.target}: {objects} objects.",
        "",
        table,
        "",
        f"It took {report.seconds:.1f} s. {calls} API calls, {report.retries} retried.",
        *errors,
        *(again if report.failed else []),
    ]


def backup_summary(report: BackupReport) -> list[str | Table]:
    """Returns the summary of a backup."""
    state = "is still paused" if report.still_paused else f"was paused for {report.paused_s:.1f} s"
    return ["", f"Saved {report.objects} objects to {report.directory}; the source {state}."]


def restore_summary(report: RestoreReport) -> list[str | Table]:
    """Returns the summary of a restore."""
    there = f"; {report.used} were there already and were left as they are" if report.used else ""
    return ["", f"Restored {report.created} objects from {report.directory}{there}."]


def unit_lines(found: Sequence[Unit], plan: Plan) -> list[str]:
    """Returns what a dry run of a rolling move prints: the units in their order, and what goes at the end."""
    lines = [f"{len(found)} units, in this order:"]
    for unit in found:
        shared = f", {len(unit.shared)} of them shared with others" if unit.shared else ""
        lines.append(f"  {described(scope_of(unit.namespace, unit.names))}: {len(unit.objects)} objects{shared}")
    own = frozenset[str]().union(*(unit.objects for unit in found))
    rest = sum(obj.uid not in own for obj in plan.selection.selected)
    return [*lines, f"{rest} objects belong to no unit" + ("." if plan.rules.clusters else ": they move at the end.")]


def units_json(found: Sequence[Unit], plan: Plan) -> dict[str, Any]:
    """Returns the same for programs."""
    own = frozenset[str]().union(*(unit.objects for unit in found))
    return {
        "units": [
            {
                "unit": scope_of(unit.namespace, unit.names),
                "namespace": unit.namespace,
                "clusters": list(unit.names),
                "objects": len(unit.objects),
                "shared": len(unit.shared),
            }
            for unit in found
        ],
        "rest": sum(obj.uid not in own for obj in plan.selection.selected),
        "rest_moves": not plan.rules.clusters,
    }


def _as_dict(counts: Sequence[KindCount]) -> dict[str, int]:
    return {entry.kind: entry.count for entry in counts}


def _left(report: MoveReport) -> list[str]:
    if not report.left:
        return []
    shown = [f"  {left.object}: {left.reason}" for left in report.left[:_SHOWN_LEFT]]
    more = len(report.left) - len(shown)
    tail = [f"  … and {more} more"] if more else []
    return [f"Stayed on the source ({len(report.left)}):", *shown, *tail]
