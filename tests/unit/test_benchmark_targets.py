"""Each target is judged by the numbers, and by those of one run only."""

from dataclasses import replace

import pytest

from benchmarks import targets
from benchmarks.results import CLUSTERCTL, Results
from benchmarks.targets import Target, Verdict, verdicts
from tests.unit.benchmark_builders import measured


def _values(results: Results, target: Target) -> list[float | None]:
    return [verdict.measured for verdict in verdicts(results) if verdict.target == target]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (targets.FASTER, [7.0]),
        (targets.FASTER_DISTANT, [40.0]),
        (targets.SCALING, [pytest.approx(1.10, abs=0.01)]),
        (targets.RATE, [80.0]),
        (targets.CALLS_NO_STATUS, [4.0]),
        (targets.CALLS, [4.0, 4.0]),
        (targets.MEMORY, [pytest.approx(104.9, abs=0.1)]),
        (targets.HELP, [0.35]),
        (targets.GRAPH, [7.0]),
        (targets.ROLLING, [3.9]),
    ],
)
def test_a_target_is_measured(target: Target, expected: list[float]) -> None:
    assert _values(measured(), target) == expected


def test_only_the_target_that_was_missed_is_missed() -> None:
    missed = [verdict for verdict in verdicts(measured()) if not verdict.reached]

    assert [verdict.target for verdict in missed] == [targets.RATE]
    assert missed[0].missed_by == pytest.approx(5 / 85)


def test_without_results_no_target_is_reached() -> None:
    found = verdicts(Results())

    assert {verdict.measured for verdict in found} == {None}
    assert not any(verdict.reached for verdict in found)
    assert {verdict.target for verdict in found} >= {targets.RATE, targets.CALLS, targets.ROLLING}


def test_moves_of_two_runs_are_not_compared() -> None:
    moves = measured().moves
    mixed = [replace(move, run="later") if move.tool == CLUSTERCTL else move for move in moves]

    assert _values(replace(measured(), moves=tuple(mixed)), targets.FASTER) == [None]


def test_the_limit_itself_reaches_a_target() -> None:
    assert Verdict(Target("most", 4.0), "", 4.0).reached
    assert Verdict(Target("least", 4.0, is_least=True), "", 4.0).reached


@pytest.mark.parametrize(("is_least", "measured_is"), [(True, 3.0), (False, 5.0)])
def test_a_target_is_missed_by_a_share_of_its_limit(is_least: bool, measured_is: float) -> None:
    verdict = Verdict(Target("some", 4.0, is_least=is_least), "", measured_is)

    assert not verdict.reached
    assert verdict.missed_by == 0.25
