"""Tests of waiting for objects with watches that fail."""

from __future__ import annotations

import pytest

from mover.errors import PauseTimeoutError
from mover.events import ignore
from mover.waiting import wait_until
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import MACHINE
from tests.unit.scripted_server import failure


async def test_watches_that_fail_at_once_are_opened_again_with_growing_waits() -> None:
    server = FakeApiServer()
    server.put(MACHINE)
    server.before = lambda request: failure(503, "") if "watch" in request.query else None
    with pytest.raises(PauseTimeoutError, match="Machine ns/m: not yet"):
        async with server.cluster() as cluster:
            await wait_until(cluster, [MACHINE], lambda _: "not yet", 1.0, ignore)
    opened = sum("/machines" in line for line in server.log)
    assert 2 <= opened <= 40


async def test_an_object_is_not_waited_for_any_more_when_it_is_gone() -> None:
    server = FakeApiServer()
    await wait_until(server.direct(), [MACHINE], lambda _: "not yet", 1.0, ignore)
