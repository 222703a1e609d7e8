"""What is made from the results: tables and targets in docs/performance.md, and the comparison in the README."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.bed import DISTANT_MS, LOOPBACK_MS
from benchmarks.results import CLUSTERCTL, MOVER, Move, Results
from benchmarks.targets import COMPARED, Verdict, speedup, verdicts

BEGIN = "<!-- made by `make bench` from benchmarks/results.json -->"
END = "<!-- end of what is made -->"
PLOT = "images/performance.svg"
UNMEASURED = "Not measured yet."


def replaced(text: str, made: str) -> str:
    """Returns a document with the part between the marks replaced.

    Raises:
        ValueError: The marks are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no {BEGIN} with {END} after it")
    return f"{before}{BEGIN}\n\n{made.strip()}\n\n{END}{after}"


def generated(results: Results) -> str:
    """Returns the part that is made from the results, as Markdown."""
    if not results.runs:
        return UNMEASURED
    parts = (
        ("Where and when", _machines(results.machines)),
        ("Targets", _targets(verdicts(results))),
        ("Moves", f"![Time and pauses against the number of objects]({PLOT})\n\n{_moves(results.moves)}"),
        ("Pauses", _pauses((*results.moves, *results.rolling))),
        ("Calls", _calls((*results.moves, *results.rolling))),
        ("The floor", _floor(results)),
        ("The graph alone", _graph(results)),
        ("The start of the program", _help(results)),
    )
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts)


def compared(results: Results) -> str:
    """Returns the comparison with clusterctl of the README, as Markdown; moves of different runs are not compared."""
    rows = [_compared_row(results.moves, line) for line in _COMPARED]
    return _table(("", CLUSTERCTL, MOVER), (*rows, *_rolling_rows(results.rolling)))


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the comparison: of moves with that round trip, what is shown of each."""

    what: str
    round_trip_ms: int
    shown: Callable[[Move], str]


def _compared_row(moves: Iterable[Move], line: _Line) -> Sequence[str]:
    by_key = {move.key: move for move in moves}
    theirs, ours = (by_key.get((tool, COMPARED, line.round_trip_ms)) for tool in (CLUSTERCTL, MOVER))
    if theirs is None or ours is None or theirs.run != ours.run:
        return line.what, UNMEASURED, UNMEASURED
    return line.what, line.shown(theirs), line.shown(ours)


def _rolling_rows(rolling: Sequence[Move]) -> Iterator[Sequence[str]]:
    """Yields the pause in the largest rolling move; clusterctl has no such thing."""
    if rolling:
        move = max(rolling, key=lambda move: (move.size, -move.pauses.max_s))
        flags = move.tool.removeprefix(MOVER).strip()
        what = f"Longest pause of a Cluster with `{flags}`, {move.pauses.clusters} Clusters, loopback"
        yield what, "", f"{move.pauses.max_s:.1f} s"


def _time(move: Move) -> str:
    return f"{move.wall_s:.1f} s"


def _longest_pause(move: Move) -> str:
    return f"{move.pauses.max_s:.1f} s"


_COMPARED = (
    _Line(f"{COMPARED} objects, on loopback", LOOPBACK_MS, _time),
    _Line(f"{COMPARED} objects, {DISTANT_MS} ms away", DISTANT_MS, _time),
    _Line("Longest pause of a Cluster, on loopback", LOOPBACK_MS, _longest_pause),
    _Line(f"Longest pause of a Cluster, {DISTANT_MS} ms away", DISTANT_MS, _longest_pause),
    _Line("Calls per object", LOOPBACK_MS, lambda move: f"{move.calls_per_object:.1f}"),
    _Line("Peak memory", LOOPBACK_MS, lambda move: f"{move.peak_mib * 2**20 / 1e6:.0f} MB"),
)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """Returns a table; its first columns are words, the others numbers. Without rows: that nothing was measured."""
    lines = [_row(row) for row in rows]
    if not lines:
        return UNMEASURED
    rule = ["---" if number < words else "---:" for number in range(len(head))]
    return "\n".join((_row(head), _row(rule), *lines))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _machines(machines: Mapping[str, Mapping[str, str]]) -> str:
    lines = [
        f"- {run}: " + ", ".join(f"{name} {value}" for name, value in machine.items())
        for run, machine in machines.items()
    ]
    if len(lines) > 1:
        lines += ["", "These are several runs. Ratios are of results of one run only."]
    return "\n".join(lines)


def _targets(found: Sequence[Verdict]) -> str:
    reached = sum(verdict.reached for verdict in found)
    missed = sum(not verdict.reached and verdict.measured is not None for verdict in found)
    counts = f"{reached} reached, {missed} missed, {len(found) - reached - missed} not measured."
    head = ("target", "measured at", "to reach", "measured", "result")
    table = _table(head, map(_target, found), words=2)
    return f"{counts}\n\n{table}"


def _target(verdict: Verdict) -> Sequence[str]:
    target = verdict.target
    bound = f"{'at least' if target.is_least else 'at most'} {target.limit:g}{target.unit}"
    if verdict.measured is None:
        return target.what, verdict.where, bound, "", "not measured"
    measured = f"{verdict.measured:.{target.digits}f}{target.unit}"
    result = "reached" if verdict.reached else f"missed by {_percent(verdict.missed_by)}"
    return target.what, verdict.where, bound, measured, result


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _moves(moves: Sequence[Move]) -> str:
    head = (
        "tool",
        "objects",
        "round trip, ms",
        "time, s",
        "against clusterctl",
        "objects/s",
        "CPU, s",
        "CPU of the API servers, s",
        "peak memory, MB",
    )
    return _table(head, (_move_row(move, moves) for move in _sorted(moves)))


def _move_row(move: Move, moves: Sequence[Move]) -> Sequence[str]:
    theirs = next((one for one in moves if one.key == (CLUSTERCTL, move.size, move.round_trip_ms)), None)
    times = speedup(move, theirs) if move.tool != CLUSTERCTL else None
    return (
        *_of(move),
        f"{move.wall_s:.1f}",
        f"{times:.1f} times as fast" if times else "",
        f"{move.objects / move.wall_s:.0f}",
        f"{move.cpu_s:.1f}",
        f"{move.servers_cpu_s:.1f}",
        f"{move.peak_mib * 2**20 / 1e6:.0f}",
    )


def _pauses(moves: Sequence[Move]) -> str:
    head = ("tool", "objects", "round trip, ms", "Clusters", "half of them, s", "95 of 100, s", "longest, s")
    return _table(head, (_pause_row(move) for move in _sorted(moves)))


def _pause_row(move: Move) -> Sequence[str]:
    pauses = move.pauses
    numbers = (pauses.p50_s, pauses.p95_s, pauses.max_s)
    return *_of(move), str(pauses.clusters), *(f"{number:.1f}" for number in numbers)


def _calls(moves: Sequence[Move]) -> str:
    """Returns the calls per object by verb; on loopback only, a slow way makes no other calls."""
    near = [move for move in _sorted(moves) if not move.round_trip_ms]
    verbs = sorted({verb for move in near for verb in move.calls})
    head = ("tool", "objects", *verbs, "all", "rehearsed besides")
    return _table(head, (_calls_row(move, verbs) for move in near))


def _calls_row(move: Move, verbs: Sequence[str]) -> Sequence[str]:
    shares = (move.calls.get(verb, 0) / move.objects for verb in verbs)
    both = (move.calls_per_object, move.rehearsed_per_object)
    return move.tool, f"{move.objects:,}", *(f"{share:.2f}" for share in (*shares, *both))


def _sorted(moves: Iterable[Move]) -> Iterator[Move]:
    """Yields the moves by size and round trip, clusterctl after capi-mover."""
    yield from sorted(
        moves, key=lambda move: (move.size, move.round_trip_ms, not move.tool.startswith(MOVER), move.tool)
    )


def _of(move: Move) -> Sequence[str]:
    return move.tool, f"{move.objects:,}", str(move.round_trip_ms)


def _floor(results: Results) -> str:
    head = ("objects", "round trip, ms", "writes", "their floor, s", "the whole move, s", "share of the floor's rate")
    found = sorted(results.floor, key=lambda floor: (floor.size, floor.round_trip_ms))
    rows = (
        (
            f"{floor.objects:,}",
            str(floor.round_trip_ms),
            f"{floor.writes:,}",
            f"{floor.floor_s:.1f}",
            f"{floor.move_s:.1f}",
            f"{floor.share:.0%}".replace("%", " %"),
        )
        for floor in found
    )
    return _table(head, rows, words=0)


def _graph(results: Results) -> str:
    head = ("objects", "build, s", "select, s", "order, s", "all, s", "peak memory, MB")
    rows = (
        (
            f"{graph.objects:,}",
            *(f"{number:.2f}" for number in (graph.build_s, graph.select_s, graph.order_s, graph.total_s)),
            f"{graph.peak_mib * 2**20 / 1e6:.0f}",
        )
        for graph in sorted(results.graph, key=lambda graph: graph.objects)
    )
    return _table(head, rows, words=0)


def _help(results: Results) -> str:
    for found in results.help:
        return f"`capi-mover --help` takes {found.median_s:.2f} s (the median of {found.tries})."
    return UNMEASURED
