"""docs/parity.md and the catalogue of scenarios know each other, and every departure has its record."""

from __future__ import annotations

import re
from pathlib import Path

from tests.differential.catalogue import CATALOGUE
from tests.differential.departures import DEPARTURES

_DOCS = Path(__file__).parents[2] / "docs"
_ROW = re.compile(r"^\| .* \| `(?P<scenario>\w+)` \|", re.MULTILINE)
_LINK = re.compile(r"\]\((?P<path>decisions/[^)]+)\)")


def _parity() -> str:
    return (_DOCS / "parity.md").read_text()


def test_every_scenario_is_in_the_table_once_and_every_row_is_a_scenario() -> None:
    assert sorted(_ROW.findall(_parity())) == sorted(CATALOGUE)


def test_every_decision_in_the_table_is_there() -> None:
    assert {link for link in _LINK.findall(_parity()) if not (_DOCS / link).exists()} == set()


def test_every_departure_cites_a_record_that_the_table_names() -> None:
    records = {f"decisions/{departure.record}" for departure in DEPARTURES}
    assert records <= set(_LINK.findall(_parity()))


def test_no_two_departures_have_the_same_name() -> None:
    names = [departure.name for departure in DEPARTURES]
    assert len(set(names)) == len(names)
