"""The one entry: names, sizes, and a line for each result."""

import dataclasses
from collections.abc import AsyncIterator

import pytest

from benchmarks import moves
from benchmarks.__main__ import BENCHMARKS, line, main
from benchmarks.bed import CLUSTERS, Scope
from benchmarks.results import Move, Results
from tests.unit.benchmark_builders import MOVE, measured


def test_each_benchmark_has_a_section_in_the_results() -> None:
    assert {*BENCHMARKS, "machines"} == {field.name for field in dataclasses.fields(Results)}


def test_a_benchmark_that_there_is_not_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "moves,speed"])

    assert "speed: there are help, graph, moves, floor, rolling" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("moves", "4.00 calls per object and 0.10 rehearsed, pause p95 3.00 s"),
        ("floor", "3200 writes in 8.00 s, the whole move in 10.00 s (80% of the rate)"),
        ("graph", "100013 objects: 7.00 s, 800 MiB"),
        ("help", "0.350 s, the median of 10"),
    ],
)
def test_each_result_has_a_line(section: str, expected: str) -> None:
    assert expected in line(getattr(measured(), section)[0])


def test_only_sizes_that_are_asked_for_are_measured() -> None:
    assert Scope("now").chosen(tuple(CLUSTERS)) == (100, 800, 3_100, 10_900)
    assert Scope("now", sizes=(800, 7)).chosen(tuple(CLUSTERS)) == (800,)


async def test_clusterctl_is_not_asked_to_move_thousands_of_objects_over_a_slow_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []

    async def note(scope: Scope, size: int, round_trip_ms: int) -> AsyncIterator[Move]:
        asked.append((size, round_trip_ms))
        yield MOVE

    monkeypatch.setattr(moves, "_measure", note)

    assert len([move async for move in moves.measure(Scope("now"))]) == 7
    assert (3_100, 10) in asked
    assert (10_900, 10) not in asked
    assert moves.with_clusterctl(800, 10)
    assert not moves.with_clusterctl(3_100, 10)
    assert moves.with_clusterctl(10_900, 0)
