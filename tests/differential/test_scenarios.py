"""Every scenario of the catalogue ends the same with both tools, but for the wanted departures."""

from __future__ import annotations

import pytest

from tests.differential.catalogue import CATALOGUE
from tests.differential.conftest import Tally
from tests.differential.run import Arena, run
from tests.differential.scenario import Scenario


@pytest.mark.parametrize("scenario", CATALOGUE.values(), ids=CATALOGUE.keys())
async def test_both_tools_end_the_same(arena: Arena, tally: Tally, scenario: Scenario) -> None:
    report = await run(arena, scenario, tally.prefix())
    tally.add(report)
    if report.complaints:
        pytest.fail(report.text(scenario), pytrace=False)
    tally.passed(scenario.name)
