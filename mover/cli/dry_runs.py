"""What `--dry-run` prints: the plan, or the units in their order, then why the real command would be refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mover.cli.telling import Teller
from mover.cli.terminal import print_json, run

if TYPE_CHECKING:
    from mover.api import ClusterRef, DryRun, ShardMove
    from mover.errors import Problem
    from mover.events import Event, Listener
    from mover.models import MoveOptions, RollingOptions
    from mover.record import Record

NOTHING_CHANGED = "This is a dry run: nothing is changed on any cluster, and no file is written."
_NO_TARGET = "No target is given: what it would say to this is not known."


def dry_move(
    teller: Teller,
    places: tuple[ClusterRef, ClusterRef | None],
    each: Sequence[MoveOptions],
    plan: Path | None,
    rolling: RollingOptions | None,
) -> None:
    """Shows what a move of each namespace would do.

    Args:
        teller: Whom to tell.
        places: The source, and the target if there is one.
        each: What to move, for each namespace.
        plan: A saved plan that must still hold.
        rolling: How the units would be moved; None for a move of each namespace as a whole.

    Raises:
        RefusedError: One of the moves would be refused.
    """
    from mover import api

    each = [options.model_copy(update={"rolling": rolling is not None}) for options in each]
    with teller.watching() as listener:
        runs = run(api.dry_run_async(*places, each, quiet(teller, listener), plan_file=plan))
    _show_all(teller, runs, rolling, has_target=places[1] is not None)


def dry_shard(teller: Teller, places: tuple[ClusterRef, ClusterRef | None], asked: ShardMove) -> None:
    """Shows the namespaces of a shard, and what its move would do with each; see `dry_move`."""
    from mover import api

    with teller.watching() as listener:
        namespaces, runs = run(api.dry_shard_async(*places, asked, quiet(teller, listener)))
    teller.show([api.described_shard(asked.shard, namespaces)])
    _show_all(teller, runs, asked.rolling, has_target=places[1] is not None)


def quiet(teller: Teller, listener: Listener) -> Listener:
    """Returns a listener that is told what people wait for and what is noted; programs read the result alone."""
    from mover.events import Noted, Waiting

    def listen(event: Event) -> None:
        if isinstance(event, Noted | Waiting) and not teller.is_json:
            listener(event)

    return listen


def _show_all(teller: Teller, runs: Sequence[DryRun], rolling: RollingOptions | None, *, has_target: bool) -> None:
    problems: list[Problem] = []
    for one in runs:
        if teller.is_json:
            print_json(_json(one, rolling))
        else:
            teller.show(_lines(one, rolling, has_target=has_target))
        problems += (problem for problem in one.findings.problems if problem not in problems)
    refuse(problems)


def refuse(problems: Sequence[Problem]) -> None:
    """Raises RefusedError if there are problems: the dry run leaves with the exit code of the refusal."""
    from mover.errors import RefusedError

    if problems:
        raise RefusedError(problems)


def _lines(one: DryRun, rolling: RollingOptions | None, *, has_target: bool) -> Iterator[str]:
    from graph.render import tree
    from graph.unit import units
    from mover.report import unit_lines
    from mover.rolling import in_order

    yield NOTHING_CHANGED
    selection = one.plan.selection
    if rolling is None:
        counts = f"{len(selection.moved)} objects would move, {len(selection.kept)} would be copied and kept"
        yield from (tree(selection), "", f"{counts}, {len(selection.left)} stay.")
    else:
        yield from unit_lines(in_order(units(selection), one.plan, rolling.order), one.plan)
    yield from map(_finished_first, one.first)
    yield from (f"Warning: {warning}" for warning in one.findings.warnings)
    if not has_target:
        yield _NO_TARGET


def _finished_first(record: Record) -> str:
    from mover.scope import described

    what = f"The move {record.id} of {described(record.scope)} was interrupted in the phase {record.phase}"
    how = "undone" if record.is_rolling_back else "finished"
    return f"{what}; it would be {how} first, and what else would be found is not known before"


def _json(one: DryRun, rolling: RollingOptions | None) -> dict[str, Any]:
    from graph.unit import units
    from mover.checks import described
    from mover.plan_report import plan_json
    from mover.report import units_json
    from mover.rolling import in_order

    if rolling is None:
        shown = plan_json(one.plan)
    else:
        shown = units_json(in_order(units(one.plan.selection), one.plan, rolling.order), one.plan)
    first = [{"id": record.id, "scope": record.scope, "phase": record.phase} for record in one.first]
    findings = one.findings
    return {
        **shown,
        "problems": described(findings.problems),
        "warnings": described(findings.warnings),
        "first": first,
    }
