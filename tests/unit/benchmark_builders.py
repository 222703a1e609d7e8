"""Results of benchmarks for tests."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.results import CLUSTERCTL, MOVER, MOVER_NO_STATUS, Floor, Graph, Help, Move, Results, Windows

RUN = "2030-01-01T00:00:00Z"
MACHINE = {"processors": "2 x some processor", "Python": "3.13.1"}

MOVE = Move(
    run=RUN,
    tool=MOVER,
    size=800,
    objects=800,
    round_trip_ms=0,
    wall_s=10.0,
    cpu_s=8.0,
    servers_cpu_s=12.0,
    peak_mib=100.0,
    calls={"create": 1600, "list": 1600},
    rehearsed={"create": 80},
    pauses=Windows(5, 2.0, 3.0, 3.5),
)


def measured() -> Results:
    """Returns results in which every target is reached, but that of the floor."""
    none, theirs = replace(MOVE, tool=MOVER_NO_STATUS), replace(MOVE, tool=CLUSTERCTL, wall_s=70.0)
    distant = (replace(MOVE, round_trip_ms=10), replace(theirs, round_trip_ms=10, wall_s=400.0))
    large = replace(MOVE, size=10_900, objects=10_900, wall_s=150.0, calls={"create": 43_600})
    rolling = replace(large, tool=f"{MOVER} --rolling --parallel-units=4", pauses=Windows(70, 2.0, 3.9, 8.0))
    return Results(
        machines={RUN: MACHINE},
        moves=(MOVE, none, theirs, *distant, large),
        floor=(Floor(RUN, 800, 800, 0, 3200, 8.0, 10.0),),
        rolling=(rolling,),
        graph=(Graph(RUN, 100_013, 100_000, 3.0, 1.5, 2.5, 800.0),),
        help=(Help(RUN, 10, 0.35),),
    )
