"""The plot of docs/performance.md: time and pauses against the number of objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.bed import DISTANT_MS, LOOPBACK_MS
from benchmarks.results import CLUSTERCTL, COPY_AHEAD, MOVER, Move, Results
from benchmarks.rolling import FLAG

# Nothing is drawn behind the lines, and grey and these colours stand out from white as from black.
_GREY = "#7d8590"
_COLOURS = {MOVER: "#1f8fd6", CLUSTERCTL: "#e0732c"}
_ROLLING_COLOUR = "#2da44e"
_STYLES = {LOOPBACK_MS: ("-", "o", "loopback"), DISTANT_MS: ("--", "s", "10 ms")}


def draw(results: Results, path: Path) -> None:
    """Writes the plot as SVG."""
    with mpl.rc_context():
        mpl.rc("svg", hashsalt="capi-mover")  # the same numbers, the same file
        mpl.rc("text", color=_GREY)
        mpl.rc("axes", edgecolor=_GREY, labelcolor=_GREY)
        mpl.rc("xtick", color=_GREY)
        mpl.rc("ytick", color=_GREY)
        figure = Figure(figsize=(11, 4.5), layout="constrained")
        times, pauses = figure.subplots(1, 2)
        _frame(times, "Time of a move, s")
        _frame(pauses, "Pause of a Cluster, s: half, 95 of 100, longest")
        for tool, colour in _COLOURS.items():
            for round_trip_ms, (line, marker, way) in _STYLES.items():
                moves = _series(results.moves, tool, round_trip_ms)
                sizes = [move.objects for move in moves]
                style: dict[str, Any] = {"color": colour, "linestyle": line, "marker": marker, "markersize": 5}
                if moves:
                    times.plot(sizes, [move.wall_s for move in moves], label=f"{tool}, {way}", **style)
                _draw_pauses(pauses, moves, f"{tool}, {way}", **style)
        for flags, marker in ((FLAG, "D"), (f"{FLAG} {COPY_AHEAD}", "v")):
            style = {"color": _ROLLING_COLOUR, "linestyle": "none", "marker": marker, "markersize": 5}
            rolling = [move for move in results.rolling if (COPY_AHEAD in move.tool) is (COPY_AHEAD in flags)]
            _draw_pauses(pauses, sorted(rolling, key=lambda move: move.objects), f"{flags}, loopback", **style)
        handles, labels = pauses.get_legend_handles_labels()
        if handles:
            figure.legend(
                handles, labels, loc="outside lower center", ncols=(len(labels) + 1) // 2, frameon=False, fontsize=9
            )
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def _series(moves: Sequence[Move], tool: str, round_trip_ms: int) -> list[Move]:
    found = [move for move in moves if move.tool == tool and move.round_trip_ms == round_trip_ms]
    return sorted(found, key=lambda move: move.objects)


def _draw_pauses(axes: Axes, moves: Sequence[Move], label: str, **style: Any) -> None:
    """Draws a marker at the 95th percentile, on a bar from the median to the longest pause."""
    if not moves:
        return
    middle = [move.pauses.p95_s for move in moves]
    below = [move.pauses.p95_s - move.pauses.p50_s for move in moves]
    above = [move.pauses.max_s - move.pauses.p95_s for move in moves]
    sizes = [move.objects for move in moves]
    axes.errorbar(sizes, middle, yerr=[below, above], label=label, capsize=3, **style)


def _frame(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("objects")
    axes.grid(visible=True, which="major", color=_GREY, alpha=0.25, linewidth=0.8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
