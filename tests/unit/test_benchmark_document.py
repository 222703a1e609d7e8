"""The document says what the results say, and only its own part is replaced."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import plot
from benchmarks.__main__ import DOCUMENT, README, RESULTS
from benchmarks.document import BEGIN, END, UNMEASURED, compared, generated, replaced
from benchmarks.results import Results, load
from tests.unit.benchmark_builders import measured


def test_only_the_part_between_the_marks_is_replaced() -> None:
    assert replaced(f"text\n{BEGIN}\nold\n{END}\nmore\n", "new") == f"text\n{BEGIN}\n\nnew\n\n{END}\nmore\n"


def test_a_document_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no <!-- made by"):
        replaced(f"text {END}", "new")


def test_what_was_not_measured_is_called_so() -> None:
    assert generated(Results()) == UNMEASURED


def test_each_target_is_said_to_be_reached_or_by_how_much_it_was_missed() -> None:
    text = generated(measured())

    assert "10 reached, 1 missed, 0 not measured." in text
    assert "| Times as fast as clusterctl | 800 objects, 10 ms | at least 30 | 40.0 | reached |" in text
    assert (
        "| Rate of writes, against the floor's | 800 objects, loopback | at least 85 % | 80 % | missed by 5.9 % |"
        in text
    )


def test_a_target_that_was_not_measured_is_not_called_missed() -> None:
    text = generated(replace(measured(), help=()))

    assert "9 reached, 1 missed, 1 not measured." in text
    assert "| `capi-mover --help` |  | at most 0.4 s |  | not measured |" in text


def test_the_tables_have_the_numbers() -> None:
    text = generated(measured())

    assert "| capi-mover | 800 | 0 | 10.0 | 7.0 times as fast | 80 | 8.0 | 12.0 | 105 |" in text
    assert "| clusterctl | 800 | 0 | 70.0 |  | 11 | 8.0 | 12.0 | 105 |" in text
    assert "| capi-mover --rolling --parallel-units=4 | 10,900 | 0 | 70 | 2.0 | 3.9 | 8.0 |" in text
    assert "| capi-mover | 800 | 2.00 | 2.00 | 4.00 | 0.10 |" in text
    assert "| 800 | 0 | 3,200 | 8.0 | 10.0 | 80 % |" in text
    assert "| 100,013 | 3.00 | 1.50 | 2.50 | 7.00 | 839 |" in text
    assert "takes 0.35 s" in text


def test_results_of_several_runs_are_pointed_out() -> None:
    machines = {**measured().machines, "later": {"processors": "4"}}

    assert "several runs" not in generated(measured())
    assert "several runs" in generated(replace(measured(), machines=machines))


def test_the_comparison_has_what_one_run_says_of_both_tools() -> None:
    text = compared(measured())

    assert "| 800 objects, on loopback | 70.0 s | 10.0 s |" in text
    assert "| 800 objects, 10 ms away | 400.0 s | 10.0 s |" in text
    assert "| Calls per object | 4.0 | 4.0 |" in text
    assert "| Peak memory | 105 MB | 105 MB |" in text
    assert "`--rolling --parallel-units=4`, 70 Clusters, loopback |  | 8.0 s |" in text


def test_results_of_several_runs_are_not_compared() -> None:
    ours, *others = measured().moves
    text = compared(replace(measured(), moves=(replace(ours, run="later"), *others)))

    assert f"| 800 objects, on loopback | {UNMEASURED} | {UNMEASURED} |" in text
    assert "| 800 objects, 10 ms away | 400.0 s | 10.0 s |" in text


def test_the_documents_are_those_of_the_results() -> None:
    for page, made in ((DOCUMENT, generated(load(RESULTS))), (README, compared(load(RESULTS)))):
        text = page.read_text()
        assert text == replaced(text, made)


@pytest.mark.parametrize("results", [Results(), measured()], ids=["nothing", "everything"])
def test_the_plot_is_the_same_for_the_same_results(results: Results, tmp_path: Path) -> None:
    for name in ("one.svg", "other.svg"):
        plot.draw(results, tmp_path / name)

    assert ElementTree.parse(tmp_path / "one.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
