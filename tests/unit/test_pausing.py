"""Tests of pausing a source: in which order, and what it waits for."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from graph import rules
from graph.resource import Object, parse_object
from mover.discovery import discover
from mover.errors import PauseTimeoutError
from mover.events import Event, Waiting, ignore
from mover.execute.pause_watch import PauseWatch
from mover.execute.pausing import Pauser
from mover.kube import Cluster
from mover.kube.cluster import Page
from mover.planning import make_plan
from mover.waiting import wait_until
from tests.unit.graph_builders import NAMESPACE
from tests.unit.mover_builders import CLUSTER, MACHINE, Stage


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
    stage = Stage()
    stage.source.put(_reporting(status))
    waits = asyncio.Event()

    def listen(event: Event) -> None:
        if isinstance(event, Waiting) and any(line.startswith(why) for line in event.subjects):
            waits.set()

    async with stage.source.cluster() as cluster:
        plan = make_plan(await discover(cluster, NAMESPACE))
        async with PauseWatch(cluster, plan, stage.options, ignore) as watch:
            pausing = asyncio.create_task(Pauser(cluster, plan, stage.options, watch, listen).pause())
            pausing.add_done_callback(lambda _: waits.set())
            await waits.wait()
            assert pausing.cancel(), "it has not waited"
            await asyncio.wait([pausing])
    assert any("PATCH" in write and "/clusters/c" in write for write in stage.source.writes()) is paused


class _Silent:
    """A cluster that never answers."""

    async def list(self, *_: object) -> Page:
        await asyncio.Event().wait()
        raise AssertionError("unreachable: nobody sets it")


async def test_what_could_not_be_read_in_time_is_named() -> None:
    with pytest.raises(PauseTimeoutError, match="Machine ns/m: its state could not be read in time"):
        await wait_until(cast("Cluster", _Silent()), [MACHINE], lambda _: None, 0.05, ignore)
