"""Bad links between the mover and real API servers: slow, cut in the middle of answers, down for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from mover.api import ClusterRef
from mover.errors import StoppedError
from mover.execute.run import RolledBackError
from mover.kube import transport
from mover.kube.transport import RetryPolicy
from mover.models import Phase
from tests.faults.conftest import IMPATIENT, excuse
from tests.faults.scene import AFTER_COMMIT, BEFORE_COMMIT, Scene, at, at_object, unversioned
from tests.faults.wire import Wire
from tests.testbed.toxiproxy import Toxiproxy

SIDES = ("source", "target")
PATIENT = RetryPolicy(
    attempts=240, total_s=120, first_wait_s=0.05, longest_wait_s=0.5, request_timeout_s=5, connect_timeout_s=2
)
_DOWN_S = 1.0
_TIMEOUT_S = 3.0
_QUICK = {(Phase.CREATING, "target"), (Phase.DELETING, "source")}
_OUTAGES = [
    pytest.param(phase, side, marks=() if (phase, side) in _QUICK else pytest.mark.slow)
    for phase in (*BEFORE_COMMIT, *AFTER_COMMIT)
    for side in SIDES
]


@dataclass(frozen=True)
class Links:
    """A scene whose clusters are reached through a proxy each."""

    scene: Scene
    proxies: Toxiproxy

    def name(self, side: str) -> str:
        """Returns the name of a side's proxy."""
        return f"{self.scene.namespace}-{side}"

    def toxic(self, side: str, kind: str, *, toxicity: float = 1.0, **attributes: int) -> None:
        """Adds a fault to a side."""
        self.proxies.toxic(self.name(side), kind, attributes=attributes, toxicity=toxicity)

    def go_down(self, side: str, seconds: float) -> None:
        """Cuts a side off; it comes back by itself."""
        self.proxies.disable(self.name(side))
        threading.Timer(seconds, self.proxies.enable, [self.name(side)]).start()


@pytest.fixture
def links(scene: Scene, toxiproxy: Toxiproxy) -> Iterator[Links]:
    made = Links(scene, toxiproxy)
    refs = [
        ClusterRef(plane.kubeconfig_via(f"https://{toxiproxy.add(made.name(side), plane.server)}"))
        for side, plane in zip(SIDES, (scene.pair.source, scene.pair.target), strict=True)
    ]
    yield replace(made, scene=replace(scene, source=refs[0], target=refs[1]))
    for side in SIDES:
        toxiproxy.remove(made.name(side))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the mover try for two minutes, at short intervals: on a busy machine each try takes its time."""
    monkeypatch.setattr(transport, "RetryPolicy", lambda: PATIENT)


async def test_slow_and_jittery_links_only_cost_time(links: Links) -> None:
    for side in SIDES:
        links.toxic(side, "latency", latency=40, jitter=30)
    report = await links.scene.move()
    assert report.retries == 0
    await links.scene.assert_moved()


async def test_a_narrow_link_only_costs_time(links: Links) -> None:
    links.toxic("target", "bandwidth", rate=500)
    await links.scene.move()
    await links.scene.assert_moved()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("side", SIDES)
async def test_connections_that_are_reset_in_the_middle_cost_retries_and_nothing_else(links: Links, side: str) -> None:
    """Each third connection is reset 150 ms after it was opened, whatever is under way on it."""
    cut: Callable[[], None] = lambda: links.toxic(side, "reset_peer", toxicity=0.3, timeout=150)  # noqa: E731
    await links.scene.move(at(Phase.PAUSING, cut))
    await links.scene.assert_moved()


@pytest.mark.usefixtures("patient")
async def test_answers_that_are_cut_off_after_so_many_bytes_cost_retries_and_nothing_else(links: Links) -> None:
    """A POST has happened, and its answer ends in the middle.

    A connection of two at once has some ten answers before it is cut, and a new one has room for the largest.
    """
    few = replace(links.scene, target=replace(links.scene.target, max_requests=2))
    cut: Callable[[], None] = lambda: links.toxic("target", "limit_data", bytes=20_000)  # noqa: E731
    mend: Callable[[], None] = lambda: links.proxies.remove_toxic(links.name("target"), "limit_data_downstream")  # noqa: E731
    report = await few.move(_both(at(Phase.CREATING, cut), at(Phase.VERIFYING, mend)))
    assert report.retries > 0
    await links.scene.assert_moved()


def _both(one: Callable[..., None], other: Callable[..., None]) -> Callable[..., None]:
    def listen(event: object) -> None:
        one(event)
        other(event)

    return listen


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("phase", "side"), _OUTAGES)
async def test_a_short_outage_in_any_phase_is_waited_out(links: Links, wire: Wire, phase: Phase, side: str) -> None:
    await links.scene.move(at(phase, lambda: links.go_down(side, _DOWN_S)))
    await links.scene.assert_moved()
    # No storm: at most a try per object and half of the longest wait.
    assert wire.total < 1500


async def test_a_black_hole_before_the_commit_leaves_the_source_as_it_was(
    links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = replace(IMPATIENT, request_timeout_s=5, total_s=5)  # nothing ever comes out of it
    monkeypatch.setattr(transport, "RetryPolicy", lambda: brief)
    scene = links.scene
    excuse(scene.namespace)
    with pytest.raises(StoppedError, match="source is as it was, but the copies could not be taken off") as caught:
        await scene.move(at_object(Phase.CREATING, lambda: links.toxic("target", "timeout", timeout=0), number=5))
    assert not isinstance(caught.value, RolledBackError)
    assert "capi-mover rollback" in str(caught.value)
    assert unversioned(await scene.on_source()) == unversioned(scene.before)
    links.proxies.remove_toxic(links.name("target"), "timeout_downstream")
    await scene.rollback()
    await scene.assert_untouched()
