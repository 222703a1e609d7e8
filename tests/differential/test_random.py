"""Random worlds end the same with both tools, but for the wanted departures.

`make test` takes the same few worlds every time, `make compare` (COMPARE=all, or a number) many new ones.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.differential.conftest import Tally
from tests.differential.random_worlds import scenarios
from tests.differential.run import Arena, run
from tests.differential.scenario import Scenario

_USUAL = 10
_ALL = 300
_WANTED = os.environ.get("COMPARE")
_GRAPHS = _ALL if _WANTED == "all" else int(_WANTED or _USUAL)


@settings(
    max_examples=_GRAPHS,
    derandomize=not _WANTED,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # each try moves a world with both tools: no shrinking
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(scenario=scenarios())
async def test_a_random_world_ends_the_same_with_both_tools(arena: Arena, tally: Tally, scenario: Scenario) -> None:
    report = await run(arena, scenario, tally.prefix())
    tally.add_graph(report)
    if report.complaints:
        pytest.fail(report.text(scenario), pytrace=False)
