"""Somebody takes the pauses off that a move relies on: a GitOps controller that applies its own idea of a Cluster.

In the field a controller applied a Cluster with `spec.paused: false` each second while the move copied, verified and
deleted, and the move went on to its end with the source at work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from graph import rules
from graph.resource import ObjectKey
from mover.events import Event, Noted
from mover.execute.pause_watch import PauseTakenOffError
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.models import Phase
from tests.faults import wire as wires
from tests.faults.conftest import excuse
from tests.faults.scene import Scene, all_listeners, at
from tests.faults.wire import Wire
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.witness import Rule

EVERY_S = 0.2
ANNOTATIONS = {"BareMetalHost": rules.HOST_PAUSED_ANNOTATION, "IPPool": rules.PAUSED_ANNOTATION}
GITOPS = "kustomize-controller"


@pytest.fixture
def cluster(scene: Scene) -> ObjectKey:
    """Returns the Cluster that moves; the witness is told that somebody takes pauses off."""
    excuse(scene.namespace, Rule.PAUSE_LOST, Rule.STRIPPED_UNPAUSED)
    return scene.key("Cluster")


async def take_off(scene: Scene, key: ObjectKey, client: AdminClient) -> None:
    """Takes a pause off; a Cluster's by a server-side apply, which makes one that is gone again no more."""
    if key.kind == "Cluster":
        uid = scene.before[key].uid  # applies to this object only
        metadata = {"name": key.name, "namespace": key.namespace, "uid": uid}
        body = {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": metadata}
        await client.apply(scene.path(key), {**body, "spec": {"paused": False}}, manager=GITOPS)
    else:
        patch = {"metadata": {"annotations": {ANNOTATIONS[key.kind]: None}}}
        await client.patch_merge(scene.path(key), patch, manager=GITOPS)


@asynccontextmanager
async def gitops(scene: Scene, key: ObjectKey, begins: asyncio.Event) -> AsyncIterator[list[str]]:
    """Takes a pause off again and again, from a moment on, as long as the object is there."""
    taken: list[str] = []

    async def disturb() -> None:
        await begins.wait()
        while True:
            with suppress(AdminError):
                await take_off(scene, key, scene.pair.on_source)
                taken.append(key.name)
            await asyncio.sleep(EVERY_S)

    task = asyncio.create_task(disturb())
    try:
        yield taken
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def once(scene: Scene, key: ObjectKey) -> Callable[[], object]:
    return lambda: scene.edit_source(lambda client: take_off(scene, key, client))


@pytest.mark.parametrize("phase", [Phase.PAUSING, Phase.CREATING, Phase.VERIFYING], ids=str)
async def test_a_pause_that_is_taken_off_each_moment_undoes_the_move(
    scene: Scene, cluster: ObjectKey, phase: Phase
) -> None:
    begins = asyncio.Event()
    async with gitops(scene, cluster, begins) as taken:
        with pytest.raises(RolledBackError) as caught:
            await scene.move(at(phase, begins.set), pause_timeout_s=30)
    assert taken
    assert isinstance(caught.value.cause, PauseTakenOffError)
    assert f"{cluster} on the source cluster was taken off by {GITOPS} (Apply, 20" in str(caught.value)
    assert "flux suspend kustomization" in str(caught.value)
    await scene.pair.on_source.patch_merge(scene.path(cluster), {"spec": {"paused": None}})
    await scene.assert_untouched()


@pytest.mark.parametrize("kind", ["Cluster", "BareMetalHost", "IPPool"])
@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.VERIFYING], ids=str)
async def test_a_pause_that_is_taken_off_once_before_the_commit_undoes_the_move(
    scene: Scene, cluster: ObjectKey, phase: Phase, kind: str
) -> None:
    key = scene.key(kind)
    with pytest.raises(RolledBackError, match=f"The pause of {key} on the source cluster was taken off") as caught:
        await scene.move(at(phase, once(scene, key)))
    assert isinstance(caught.value.cause, PauseTakenOffError)
    await scene.assert_untouched()


@pytest.mark.parametrize("kind", ["Cluster", "BareMetalHost", "IPPool"])
async def test_a_pause_that_is_taken_off_once_after_the_commit_is_set_again_and_all_moves(
    scene: Scene, cluster: ObjectKey, kind: str
) -> None:
    key, events = scene.key(kind), list[Event]()
    await scene.move(all_listeners(at(Phase.DELETING, once(scene, key)), events.append))
    notes = [event.text for event in events if isinstance(event, Noted)]
    assert any(f"The pause of {key} on the source cluster was taken off" in text for text in notes)
    await scene.assert_moved()


async def test_a_pause_that_is_taken_off_each_moment_after_the_commit_stops_the_move_which_is_resumed(
    scene: Scene, cluster: ObjectKey, wire: Wire
) -> None:
    """A delete is held up, so that the pause is taken off often enough."""
    begins, stopped = asyncio.Event(), asyncio.Event()
    held = scene.key("Secret")
    wire.add(wires.write("source", "DELETE", path=f"/{held.name}"), wires.before(stopped.wait))
    async with gitops(scene, cluster, begins) as taken:
        moving = asyncio.ensure_future(scene.move(at(Phase.DELETING, begins.set)))
        await _until(lambda: len(taken) > 7)
        stopped.set()
        with pytest.raises(InterruptedMoveError, match=rf"{cluster} .*set again 5 times.*{GITOPS}"):
            await moving
    assert held in await scene.on_source() or held in await scene.on_target()
    await scene.resume()
    await scene.assert_moved()


async def test_a_pause_that_was_taken_off_since_a_move_was_interrupted_is_set_again_by_the_resume(
    scene: Scene, cluster: ObjectKey, wire: Wire
) -> None:
    held = scene.key("Machine")
    wire.add(wires.write("source", "DELETE", path=f"/{held.name}"), wires.answer(403, "not now"))
    with pytest.raises(InterruptedMoveError):
        await scene.move()
    await take_off(scene, cluster, scene.pair.on_source)
    unpaused: list[bool] = []

    async def look() -> None:
        body = await scene.pair.on_source.get(scene.path(cluster))
        unpaused.append(body["spec"].get("paused") is not True)

    wire.add(wires.write("source", "DELETE", path=f"/{held.name}"), wires.before(look))
    await scene.resume()
    assert unpaused == [False]
    await scene.assert_moved()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what the disturber has done has no event
            await asyncio.sleep(0.02)
