"""Tests of how a run is spread over processes, and of how their counts come together."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from tests import tallies
from tests.conftest import place_of


def test_the_files_of_the_differential_suite_are_in_one_place_and_others_each_in_their_own() -> None:
    differential = {place_of(f"tests/differential/test_{name}.py::test[a::b]") for name in ("random", "scenarios")}
    assert differential == {"tests/differential"}
    assert place_of("tests/unit/test_flow.py::test[x/y]") == "tests/unit/test_flow.py"


def test_the_counts_of_all_processes_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "TALLIES", defaultdict(Counter))
    tallies.TALLIES["faults"]["tried"] += 2
    sent = tallies.plain()
    tallies.add(sent)
    tallies.add({"crash": {"lost": 1}})
    assert tallies.plain() == {"faults": {"tried": 4}, "crash": {"lost": 1}}
