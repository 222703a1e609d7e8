"""Tests of the summary of where the time of a run went."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from tests import tallies
from tests.durations import SERVERS, Durations, counted, server_lines


def test_the_slowest_files_are_shown_with_all_parts_of_their_tests() -> None:
    taken = Durations()
    taken.add("a/test_x.py::test_one", 1.5)
    taken.add("a/test_x.py::test_one[b::c]", 0.5)
    taken.add("a/test_y.py::test_two", 3.0)
    taken.add("a/test_z.py::test_three", 0.25)
    assert taken.lines(2) == ["     3.0 s a/test_y.py", "     2.0 s a/test_x.py", "     5.2 s in 3 files"]


def test_the_time_of_starting_servers_is_counted_though_a_start_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "TALLIES", defaultdict(Counter))
    with counted("control planes", 2):
        pass
    with pytest.raises(OSError, match="no port"), counted("control planes"):
        raise OSError("no port")
    assert tallies.TALLIES[SERVERS]["control planes"] == 3


def test_the_servers_of_all_processes_are_in_one_line_per_sort() -> None:
    counts = Counter({"control planes": 4, "control planes ms": 12_340, "managers": 1, "managers ms": 900})
    assert server_lines(counts) == ["    12.3 s starting 4 control planes", "     0.9 s starting 1 managers"]
