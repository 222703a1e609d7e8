"""Runs the benchmarks, writes each result as soon as it is there, and renders docs/performance.md and the README.

    python -m benchmarks [--only moves,floor] [--sizes 100,800] [--output FILE] [--render]

What was measured before stays in the file until it is measured anew. Results in another file than the committed one are
not rendered; with --render they are.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import document, floor, graph_only, moves, plot, results, rolling, startup
from benchmarks.bed import CLUSTERS, Scope
from benchmarks.machine import machine
from benchmarks.results import Floor, Graph, Help, Move, Result

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
DOCUMENT = HERE.parent / "docs" / "performance.md"
README = HERE.parent / "README.md"
PLOT = HERE.parent / "docs" / "images" / "performance.svg"

BENCHMARKS: Mapping[str, Callable[[Scope], AsyncIterator[Result]]] = {
    "help": startup.measure,
    "graph": graph_only.measure,
    "moves": moves.measure,
    "floor": floor.measure,
    "rolling": rolling.measure,
}
"""The quick ones first. Their names are those of the sections of the results."""


async def measure(names: Sequence[str], scope: Scope, output: Path) -> None:
    """Runs some benchmarks and adds what they find to the file."""
    found, here = results.load(output), machine()
    for name in names:
        async for result in BENCHMARKS[name](scope):
            found = found.with_one(name, result, here)
            results.save(found, output)
            print(f"{name}: {line(result)}", flush=True)


def line(result: Result) -> str:
    """Returns what is printed of a result."""
    match result:
        case Move():
            return (
                f"{result.tool}, {result.objects} objects, {result.round_trip_ms} ms: {result.wall_s:.2f} s, "
                f"cpu {result.cpu_s:.2f} s, servers {result.servers_cpu_s:.2f} s, {result.peak_mib:.0f} MiB, "
                f"{result.calls_per_object:.2f} calls per object and {result.rehearsed_per_object:.2f} rehearsed, "
                f"pause p95 {result.pauses.p95_s:.2f} s"
            )
        case Floor():
            return (
                f"{result.objects} objects, {result.round_trip_ms} ms: {result.writes} writes in "
                f"{result.floor_s:.2f} s, the whole move in {result.move_s:.2f} s ({result.share:.0%} of the rate)"
            )
        case Graph():
            return f"{result.objects} objects: {result.total_s:.2f} s, {result.peak_mib:.0f} MiB"
        case Help():
            return f"{result.median_s:.3f} s, the median of {result.tries}"


def render(source: Path) -> None:
    """Makes the document, its plot and the comparison in the README from the results in a file."""
    found = results.load(source)
    if found.runs:
        PLOT.parent.mkdir(exist_ok=True)
        plot.draw(found, PLOT)
    for page, made in ((DOCUMENT, document.generated(found)), (README, document.compared(found))):
        page.write_text(document.replaced(page.read_text(), made))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    unknown = set(text.split(",")) - set(BENCHMARKS)
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: there are {', '.join(BENCHMARKS)}")
    return tuple(name for name in BENCHMARKS if name in text.split(","))


def main(arguments: Sequence[str] | None = None) -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures capi-mover.")
    parser.add_argument("--only", type=_names, default=tuple(BENCHMARKS), help="of " + ",".join(BENCHMARKS))
    parser.add_argument("--sizes", type=_numbers, help="objects of the moves, of " + ",".join(map(str, CLUSTERS)))
    parser.add_argument("--round-trips-ms", type=_numbers, default=(0, 10), help="default: 0,10")
    parser.add_argument("--parallel-units", type=_numbers, default=(4,), help="of the rolling moves; default: 4")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the file of the results")
    parser.add_argument("--render", action="store_true", help="measure nothing, make the document from the results")
    given = parser.parse_args(arguments)
    if not given.render:
        logging.getLogger("capi-mover").setLevel(logging.ERROR)  # what API servers warn of; the floor uses its client
        run = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        scope = Scope(run, given.sizes, given.round_trips_ms, given.parallel_units)
        asyncio.run(measure(given.only, scope, given.output))
    if given.render or given.output == RESULTS:
        render(given.output)


if __name__ == "__main__":
    main()
