"""Tests of pausing a source: in which order, and what it waits for."""

from __future__ import annotations

import pytest

from graph import rules
from graph.resource import Object, parse_object
from mover.discovery import discover
from mover.errors import PauseTimeoutError
from mover.events import ignore
from mover.execute.pause_watch import PauseWatch
from mover.execute.pausing import Pauser
from mover.planning import make_plan
from tests.unit.graph_builders import NAMESPACE
from tests.unit.mover_builders import CLUSTER, MACHINE, Stage
from tests.unit.scripted_server import failure


def _reporting(status: str) -> Object:
    """Returns the small move's Machine, with what its controller has said to a pause."""
    body = MACHINE.body()
    body["metadata"]["labels"] = {rules.CLUSTER_NAME_LABEL: CLUSTER.key.name}
    body["status"]["conditions"] = [{"type": "Paused", "status": status}]
    return parse_object(MACHINE.type, body)


@pytest.mark.parametrize(
    ("status", "why", "paused"),
    [
        ("True", "Machine ns/m: its controller still reports a pause that is over", False),
        ("False", "Machine ns/m: its controller has not confirmed the pause", True),
    ],
)
async def test_nothing_is_paused_before_the_end_of_an_earlier_pause_was_seen(
    status: str, why: str, paused: bool
) -> None:
    stage = Stage(pause_timeout_s=0.5)
    stage.source.put(_reporting(status))
    stage.source.before = lambda request: failure(503, "") if "watch" in request.query else None
    async with stage.source.cluster() as cluster:
        plan = make_plan(await discover(cluster, NAMESPACE))
        with pytest.raises(PauseTimeoutError, match=why):
            async with PauseWatch(cluster, plan, stage.options, ignore) as watch:
                await Pauser(cluster, plan, stage.options, watch, ignore).pause()
    assert any("PATCH" in write and "/clusters/c" in write for write in stage.source.writes()) is paused
