"""Moves that copy before they pause, while the source is at work: what is changed there, and stops on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graph.resource import ObjectKey
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.models import Phase
from mover.pause import is_paused
from tests.faults.scene import Objects, Scene, at, stopped
from tests.testbed.client import AdminClient

AHEAD = (Phase.COPYING_AHEAD, 5)


def _secret(scene: Scene, name: str) -> tuple[ObjectKey, dict[str, Any]]:
    """Returns the key and the body of a Secret that belongs to the Cluster."""
    cluster = scene.before[scene.key("Cluster")]
    owner = {"apiVersion": cluster.type.api_version, "kind": "Cluster", "name": cluster.key.name, "uid": cluster.uid}
    metadata = {"name": name, "namespace": scene.namespace, "ownerReferences": [owner]}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": "1"}}
    return ObjectKey("", "Secret", scene.namespace, name), body


async def test_what_is_changed_made_and_deleted_until_the_pause_is_so_on_the_target(scene: Scene) -> None:
    secrets = f"/api/v1/namespaces/{scene.namespace}/secrets"
    (new, new_body), (old, old_body), (renewed, renewed_body) = (
        _secret(scene, name) for name in ("new", "old", "again")
    )
    for body in (old_body, renewed_body):
        await scene.pair.on_source.create(secrets, body)
    host, cluster = scene.key("BareMetalHost"), scene.key("Cluster")

    async def work(client: AdminClient) -> None:
        await client.patch_merge(scene.path(cluster), {"metadata": {"labels": {"tier": "gold"}}})
        await client.patch_status(scene.path(host), {"poweredOn": False})
        await client.create(secrets, new_body)
        await client.delete(f"{secrets}/{old.name}")
        await client.delete(f"{secrets}/{renewed.name}")
        await client.create(secrets, {**renewed_body, "stringData": {"a": "2"}})

    report = await scene.move(at(Phase.PAUSING, lambda: scene.edit_source(work)), copy_ahead=True)
    await scene.assert_moved(but={host, cluster})
    target = await scene.on_target()
    assert target[cluster].labels["tier"] == "gold"
    assert target[host].body()["status"]["poweredOn"] is False
    assert {new, renewed} <= set(target)
    assert target[renewed].body()["data"] == {"a": "Mg=="}
    assert old not in target
    assert not {new, old, renewed} & set(await scene.on_source())
    assert report.seconds[Phase.COPYING_AHEAD] > 0


async def test_stopped_ahead_it_is_undone_and_the_source_was_never_paused(scene: Scene) -> None:
    assert isinstance(await stopped(scene, AHEAD, copy_ahead=True), RolledBackError)
    await scene.assert_untouched()
    assert _versions(await scene.on_source()) == _versions(scene.before)


def _versions(objects: Objects) -> dict[ObjectKey, str]:
    return {key: obj.resource_version for key, obj in objects.items()}


@pytest.mark.parametrize("rolls_back", [False, True], ids=["resume", "rollback"])
async def test_kept_ahead_it_is_gone_on_with_or_undone(scene: Scene, rolls_back: bool) -> None:
    end = await stopped(scene, AHEAD, keep=True, copy_ahead=True)
    assert isinstance(end, InterruptedMoveError)
    assert "copying-ahead" in str(end)
    source, target = await asyncio.gather(scene.on_source(), scene.on_target())
    pausable = {key for key in source if key.kind in ("Cluster", "BareMetalHost")}
    assert not any(is_paused(source[key]) for key in pausable)
    assert all(is_paused(target[key]) for key in pausable & set(target))
    if rolls_back:
        await scene.rollback()
        await scene.assert_untouched()
    else:
        await scene.resume()
        await scene.assert_moved()


@pytest.mark.parametrize("phase", [Phase.PAUSING, Phase.CREATING, Phase.VERIFYING], ids=str)
async def test_stopped_after_that_it_is_undone_with_all_copies(scene: Scene, phase: Phase) -> None:
    assert isinstance(await stopped(scene, (phase, 0), copy_ahead=True), RolledBackError)
    await scene.assert_untouched()
