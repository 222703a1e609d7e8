"""Others who write while the move runs: users, controllers that ignore a pause, objects that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from graph import rules
from graph.resource import ObjectKey
from mover.errors import StoppedError
from mover.execute.copying import ForeignObjectError
from mover.execute.run import RolledBackError
from mover.models import Phase
from tests.faults import wire as wires
from tests.faults.conftest import excuse
from tests.faults.scene import Scene, at, missing
from tests.faults.wire import Wire
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.witness import Rule, collection_path

LATE = {"metadata": {"labels": {"changed": "late"}}}


@pytest.mark.parametrize("kind", ["Machine", "BareMetalHost", "Secret"])
@pytest.mark.parametrize("phase", [Phase.VERIFYING, Phase.DELETING], ids=str)
async def test_a_change_since_the_snapshot_is_on_the_target(scene: Scene, phase: Phase, kind: str) -> None:
    key = scene.key(kind)
    await scene.move(at(phase, lambda: scene.edit_source(lambda client: client.patch_merge(scene.path(key), LATE))))
    assert (await scene.on_target())[key].labels["changed"] == "late"
    await scene.assert_moved(but={key})


async def test_a_status_that_changes_before_the_commit_is_on_the_target(scene: Scene) -> None:
    key = scene.key("Machine")
    status = {"phase": "Failed"}
    await scene.move(
        at(Phase.VERIFYING, lambda: scene.edit_source(lambda client: client.patch_status(scene.path(key), status)))
    )
    assert (await scene.on_target())[key].body()["status"]["phase"] == "Failed"
    await scene.assert_moved(but={key})


async def test_an_object_that_appears_before_the_commit_stops_the_move(scene: Scene) -> None:
    excuse(scene.namespace, Rule.LOST)
    made = _dependent(scene)
    with pytest.raises(RolledBackError, match="late-secret") as caught:
        await scene.move(at(Phase.VERIFYING, lambda: scene.edit_source(made)))
    assert isinstance(caught.value.cause, StoppedError)
    await scene.pair.on_source.delete(f"/api/v1/namespaces/{scene.namespace}/secrets/late-secret")
    await scene.assert_untouched()


async def test_a_dependent_that_appears_after_the_commit_moves_too(scene: Scene) -> None:
    """Its owner leaves the source, so the garbage collector would take what is left behind there."""
    excuse(scene.namespace, Rule.LOST)
    await scene.move(at(Phase.DELETING, lambda: scene.edit_source(_dependent(scene))))
    await _assert_taken_along(scene)


async def test_a_dependent_that_appears_while_originals_are_deleted_moves_too(scene: Scene, wire: Wire) -> None:
    """It may be collected as soon as its owner is gone, which is before the move looks at the source again."""
    excuse(scene.namespace, Rule.LOST)
    cluster = scene.key("Cluster")

    async def appear() -> None:
        await _dependent(scene)(scene.pair.on_source)

    wire.add(wires.write("source", "DELETE", path=f"/{cluster.name}"), wires.before(appear))
    await scene.move()
    assert wire.injected == 1
    await _assert_taken_along(scene)


async def test_what_appears_after_the_commit_is_taken_along_by_a_resume(scene: Scene, wire: Wire) -> None:
    excuse(scene.namespace, Rule.LOST)
    wire.add(wires.write("target", "POST", holds="late-secret"), wires.answer(403, "not now"))
    with pytest.raises(StoppedError, match="not now"):
        await scene.move(at(Phase.DELETING, lambda: scene.edit_source(_dependent(scene))))
    await scene.resume()
    await _assert_taken_along(scene)


async def _assert_taken_along(scene: Scene) -> None:
    path = f"/api/v1/namespaces/{scene.namespace}/secrets/late-secret"
    copy = await scene.pair.on_target.get(path)
    cluster = scene.key("Cluster")
    assert [owner["uid"] for owner in copy["metadata"]["ownerReferences"]] == [(await scene.on_target())[cluster].uid]
    assert await missing(scene.pair.on_source, path)
    await scene.pair.on_target.delete(path)
    await scene.assert_moved()


def _dependent(scene: Scene) -> Callable[[AdminClient], Awaitable[object]]:
    cluster = scene.key("Cluster")
    owner = {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": cluster.name}
    reference = {**owner, "uid": scene.before[cluster].uid}
    metadata = {"name": "late-secret", "ownerReferences": [reference]}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    return lambda client: client.create(f"/api/v1/namespaces/{scene.namespace}/secrets", body)


def _loose_secret(scene: Scene) -> ObjectKey:
    """Returns a Secret that moves and that nothing but its name ties to the rest."""
    return next(key for key in scene.fleet.movable if key.kind == "Secret" and not scene.before[key].finalizers)


async def test_an_object_that_is_deleted_before_the_commit_stops_the_move(scene: Scene) -> None:
    key = _loose_secret(scene)
    scene.deleted.add(key)
    with pytest.raises(RolledBackError, match=key.name):
        await scene.move(at(Phase.VERIFYING, lambda: scene.edit_source(lambda client: client.delete(scene.path(key)))))
    await scene.assert_untouched(but={key})


async def test_an_object_that_is_deleted_after_the_commit_lives_on_on_the_target(scene: Scene) -> None:
    key = _loose_secret(scene)
    await scene.move(at(Phase.DELETING, lambda: scene.edit_source(lambda client: client.delete(scene.path(key)))))
    await scene.assert_moved()


@pytest.mark.parametrize("kind", ["Machine", "BareMetalHost"])
async def test_a_finalizer_that_is_put_back_twice_is_taken_off_again(scene: Scene, wire: Wire, kind: str) -> None:
    key = scene.key(kind)
    finalizers = list(scene.before[key].finalizers)

    async def put_back() -> None:
        await scene.pair.on_source.patch_merge(scene.path(key), {"metadata": {"finalizers": finalizers}})

    strip = wires.write("source", "PATCH", holds="delete-for-move", path=f"/{key.name}")
    wire.add(strip, wires.after(put_back), times=2)
    await scene.move()
    assert wire.injected == 2
    await scene.assert_moved()


async def test_a_finalizer_that_is_put_back_for_ever_stops_the_move_and_names_the_object(
    scene: Scene, wire: Wire
) -> None:
    key = scene.key("Machine")
    finalizers = list(scene.before[key].finalizers)

    async def put_back() -> None:
        await scene.pair.on_source.patch_merge(scene.path(key), {"metadata": {"finalizers": finalizers}})

    strip = wires.write("source", "PATCH", holds="delete-for-move", path=f"/{key.name}")
    wire.add(strip, wires.after(put_back), times=wires.FOR_EVER)
    with pytest.raises(StoppedError, match=f"{key} on the source cluster changed each time"):
        await scene.move()
    assert wire.injected <= 10
    wire.mend()
    await scene.resume()
    await scene.assert_moved()


async def test_a_host_whose_pause_is_stripped_again_and_again_arrives_paused_and_never_dies(scene: Scene) -> None:
    """The disturber breaks the witness' rule of the pause by itself; that no host was seen dying still holds."""
    hosts = [key for key in scene.fleet.movable if key.kind == "BareMetalHost"]
    async with _stripping(scene, hosts) as strips:
        for _ in range(4):
            try:
                await scene.move()
            except RolledBackError:
                await scene.assert_untouched()
            else:
                break
    assert strips
    if await scene.records():
        await scene.resume()
    if set(hosts) & set(await scene.on_source()):
        await scene.assert_untouched()
    else:
        await scene.assert_moved()


@asynccontextmanager
async def _stripping(scene: Scene, hosts: list[ObjectKey]) -> AsyncIterator[list[str]]:
    """Takes the pause off the source's hosts whenever it is there."""
    excuse(scene.namespace, Rule.PAUSE_LOST, Rule.STRIPPED_UNPAUSED)
    strips: list[str] = []
    patch = {"metadata": {"annotations": {rules.HOST_PAUSED_ANNOTATION: None}}}
    path = collection_path(scene.before[hosts[0]].type)
    version = (await scene.pair.on_source.list(path))["metadata"]["resourceVersion"]

    async def strip() -> None:
        async for event in scene.pair.on_source.watch(path, version):
            metadata = event["object"]["metadata"]
            is_ours = metadata.get("namespace") == scene.namespace and event["type"] == "MODIFIED"
            if is_ours and rules.HOST_PAUSED_ANNOTATION in metadata.get("annotations", {}):
                assert not (metadata.get("deletionTimestamp") and metadata.get("finalizers"))
                await asyncio.sleep(0.02)
                with suppress(AdminError):
                    await scene.pair.on_source.patch_merge(f"{path_of(scene, metadata['name'])}", patch)
                    strips.append(metadata["name"])

    task = asyncio.create_task(strip())
    try:
        yield strips
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def path_of(scene: Scene, name: str) -> str:
    """Returns the path of a host."""
    key = next(key for key in scene.fleet.movable if (key.kind, key.name) == ("BareMetalHost", name))
    return scene.path(key)


async def _make_foreign(client: AdminClient, key: ObjectKey) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": key.name}, "stringData": {"of": "another"}}
    await client.create(f"/api/v1/namespaces/{key.namespace}/secrets", body)


async def _make_namespace(client: AdminClient, name: str) -> None:
    await client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def test_a_foreign_object_that_appears_before_the_copies_is_left_alone(scene: Scene) -> None:
    key = scene.key("Secret")

    async def appear(client: AdminClient) -> None:
        await _make_namespace(client, key.namespace)
        await _make_foreign(client, key)

    with pytest.raises(RolledBackError, match=key.name) as caught:
        await scene.move(at(Phase.PAUSING, lambda: scene.edit_target(appear)))
    await scene.assert_untouched(target={key})
    assert isinstance(caught.value.cause, ForeignObjectError)


async def test_a_foreign_object_in_the_namespace_that_the_move_made_is_left_alone(scene: Scene, wire: Wire) -> None:
    key = scene.key("Secret")
    made = wires.write("target", "POST", holds='"kind":"Namespace"')
    wire.add(made, wires.after(lambda: _make_foreign(scene.pair.on_target, key)))
    with pytest.raises(RolledBackError, match=key.name) as caught:
        await scene.move()
    assert isinstance(caught.value.cause, ForeignObjectError)
    await scene.assert_untouched(target={key})


async def test_two_foreign_objects_at_once_are_left_alone(scene: Scene, wire: Wire) -> None:
    await _make_namespace(scene.pair.on_target, scene.namespace)
    keys = [key for key in scene.fleet.movable if key.kind == "Secret"][:2]

    async def appear() -> None:
        await asyncio.gather(*(_make_foreign(scene.pair.on_target, key) for key in keys))

    wire.add(wires.record("target", phase="creating"), wires.after(appear))
    with pytest.raises(RolledBackError):
        await scene.move()
    await scene.assert_untouched(target=keys)


async def test_a_copy_whose_original_was_deleted_after_a_half_rollback_is_taken_off_all_the_same(
    scene: Scene, wire: Wire, impatient: object
) -> None:
    """The target fails, the source is resumed and lives on; the later rollback must still find every copy."""
    excuse(scene.namespace)
    await _make_namespace(scene.pair.on_target, scene.namespace)
    down = at(Phase.VERIFYING, lambda: wire.add(wires.to("target"), wires.lose_request, times=wires.FOR_EVER))
    with pytest.raises(StoppedError, match="capi-mover rollback"):
        await scene.move(down)
    key = _loose_secret(scene)
    await scene.pair.on_source.delete(scene.path(key))
    scene.deleted.add(key)
    wire.mend()
    await scene.rollback()
    await scene.assert_untouched(but={key})
