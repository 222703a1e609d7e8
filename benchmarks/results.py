"""Results: what each benchmark finds out, and the JSON file that holds them.

Every result names the run of the benchmarks that it comes from. Only results of one run are compared with each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from benchmarks.pauses import percentile

MOVER = "capi-mover"
COPY_AHEAD = "--copy-ahead"
MOVER_NO_STATUS = "capi-mover --restore-status=none"
CLUSTERCTL = "clusterctl"


@dataclass(frozen=True, slots=True)
class Windows:
    """How long the Clusters of a move were paused.

    Attributes:
        clusters: How many Clusters moved.
        p50_s: Half of them were paused no longer than this, in seconds.
        p95_s: 95 of 100 were paused no longer than this, in seconds.
        max_s: None was paused longer than this, in seconds.
    """

    clusters: int
    p50_s: float
    p95_s: float
    max_s: float

    @classmethod
    def of(cls, windows_s: Collection[float]) -> Windows:
        """Returns the windows of some pauses, in seconds."""
        shares = [round(percentile(windows_s, share), 3) for share in (0.5, 0.95, 1.0)]
        return cls(len(windows_s), *shares)


@dataclass(frozen=True, slots=True)
class Move:
    """One move by one tool.

    Attributes:
        run: The run of the benchmarks.
        tool: capi-mover with its flags, or clusterctl.
        size: The size that was asked for, in objects.
        objects: How many objects the tool moved.
        round_trip_ms: What is added to each round trip.
        wall_s: How long it took, in seconds.
        cpu_s: Processor time of the tool itself, in seconds.
        servers_cpu_s: Processor time of both API servers, in seconds.
        peak_mib: Largest memory of the tool, in MiB.
        calls: Requests by verb, without the rehearsed ones.
        rehearsed: Requests by verb that changed nothing (dryRun).
        pauses: How long the Clusters were paused.
    """

    run: str
    tool: str
    size: int
    objects: int
    round_trip_ms: int
    wall_s: float
    cpu_s: float
    servers_cpu_s: float
    peak_mib: float
    calls: Mapping[str, int]
    rehearsed: Mapping[str, int]
    pauses: Windows

    @property
    def key(self) -> tuple[object, ...]:
        """Returns what a newer result replaces this one by."""
        return self.tool, self.size, self.round_trip_ms

    @property
    def calls_per_object(self) -> float:
        """Returns the requests per object, without the rehearsed ones."""
        return sum(self.calls.values()) / self.objects

    @property
    def rehearsed_per_object(self) -> float:
        """Returns the rehearsed requests per object."""
        return sum(self.rehearsed.values()) / self.objects


@dataclass(frozen=True, slots=True)
class Floor:
    """The writes of a move sent again as fast as they go, and the whole move beside it.

    Attributes:
        run: The run of the benchmarks.
        size: The size that was asked for, in objects.
        objects: How many objects moved.
        round_trip_ms: What is added to each round trip.
        writes: How many writes of objects the move makes.
        floor_s: How long they take by themselves, in seconds.
        move_s: How long the whole move takes, from the start of the program to its end, in seconds.
    """

    run: str
    size: int
    objects: int
    round_trip_ms: int
    writes: int
    floor_s: float
    move_s: float

    @property
    def key(self) -> tuple[object, ...]:
        """Returns what a newer result replaces this one by."""
        return self.size, self.round_trip_ms

    @property
    def share(self) -> float:
        """Returns the move's rate of writes as a share of the floor's."""
        return self.floor_s / self.move_s


@dataclass(frozen=True, slots=True)
class Graph:
    """What one size of graph took; without any cluster.

    Attributes:
        run: The run of the benchmarks.
        objects: How many objects there were.
        selected: How many of them move.
        build_s: Building the graph, in seconds.
        select_s: Selecting what moves, in seconds.
        order_s: Both orders, in seconds.
        peak_mib: Largest memory of the process, the objects included, in MiB.
    """

    run: str
    objects: int
    selected: int
    build_s: float
    select_s: float
    order_s: float
    peak_mib: float

    @property
    def key(self) -> tuple[object, ...]:
        """Returns what a newer result replaces this one by."""
        return (self.objects,)

    @property
    def total_s(self) -> float:
        """Returns how long all of it took, in seconds."""
        return self.build_s + self.select_s + self.order_s


@dataclass(frozen=True, slots=True)
class Help:
    """How long `capi-mover --help` takes.

    Attributes:
        run: The run of the benchmarks.
        tries: How often it was started.
        median_s: The median of them, in seconds.
    """

    run: str
    tries: int
    median_s: float

    @property
    def key(self) -> tuple[object, ...]:
        """Returns what a newer result replaces this one by."""
        return ()


Result = Move | Floor | Graph | Help


@dataclass(frozen=True, slots=True)
class Results:
    """All results there are.

    Attributes:
        machines: Run -> what it ran on.
        moves: All objects moved at once, by each tool.
        floor: The floor beside the whole move.
        rolling: The same fleets moved unit by unit.
        graph: The graph alone.
        help: The start of the program.
    """

    machines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()
    floor: tuple[Floor, ...] = ()
    rolling: tuple[Move, ...] = ()
    graph: tuple[Graph, ...] = ()
    help: tuple[Help, ...] = ()

    def with_one(self, section: str, result: Result, machine: Mapping[str, str]) -> Results:
        """Returns the results with one more, which replaces an older one of the same."""
        kept = [found for found in getattr(self, section) if found.key != result.key]
        found: dict[str, Any] = {section: (*kept, result), "machines": {**self.machines, result.run: machine}}
        joined = replace(self, **found)
        return replace(joined, machines={run: joined.machines[run] for run in sorted(joined.runs)})

    @property
    def runs(self) -> frozenset[str]:
        """Returns the runs that results come from."""
        sections = (getattr(self, one.name) for one in fields(self) if one.name != "machines")
        return frozenset(result.run for section in sections for result in section)


_SCHEMA = TypeAdapter(Results)


def load(path: Path) -> Results:
    """Returns the results in a file, none if there is no file."""
    return _SCHEMA.validate_json(path.read_bytes()) if path.exists() else Results()


def save(results: Results, path: Path) -> None:
    """Writes the results; whoever reads the file meanwhile sees the old ones or the new ones."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    part.replace(path)
