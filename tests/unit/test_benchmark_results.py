"""Results are kept until the same is measured anew, and survive the way through the file."""

from dataclasses import replace
from pathlib import Path

from benchmarks.results import Help, Results, Windows, load, save
from tests.unit.benchmark_builders import MACHINE, MOVE, RUN, measured


def test_results_are_the_same_after_the_way_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"

    save(measured(), path)

    assert load(path) == measured()
    assert [found.name for found in tmp_path.iterdir()] == ["results.json"]


def test_there_are_no_results_without_a_file(tmp_path: Path) -> None:
    assert load(tmp_path / "results.json") == Results()


def test_a_new_result_replaces_the_old_one_of_the_same() -> None:
    other, newer = replace(MOVE, size=100), replace(MOVE, run="later", wall_s=5.0)
    results = Results().with_one("moves", MOVE, MACHINE).with_one("moves", other, MACHINE)

    results = results.with_one("moves", newer, {"processors": "4"})

    assert results.moves == (other, newer)
    assert results.machines == {RUN: MACHINE, "later": {"processors": "4"}}


def test_a_run_of_which_nothing_is_left_is_forgotten() -> None:
    results = Results().with_one("help", Help(RUN, 10, 0.3), MACHINE)

    assert set(results.with_one("help", Help("later", 10, 0.2), MACHINE).machines) == {"later"}


def test_windows_are_the_percentiles_of_the_pauses() -> None:
    assert Windows.of([float(number) for number in range(1, 101)]) == Windows(100, 50.0, 95.0, 100.0)
