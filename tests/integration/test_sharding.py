"""Shards of a fleet moved by several programs at once between two real API servers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from graph import rules
from mover.api import ShardMove, move_shard_async
from mover.models import MoveOptions, RollingOptions, RollingReport
from mover.shard import Shard
from tests.integration.movers import mover
from tests.testbed.client import AdminClient
from tests.testbed.collector import wait_for_collector
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.pair import Pair
from tests.testbed.witness import Expectations, Witness

TOTAL = 2
_RECORDS = "/namespaces/capi-mover"


def spaces_of(prefix: str, each: int) -> dict[int, list[str]]:
    """Returns so many names for each shard."""
    found: dict[int, list[str]] = {index: [] for index in range(TOTAL)}
    for number in range(100):
        name = f"{prefix}-{number}"
        index = next(index for index in range(TOTAL) if name in Shard(index, TOTAL))
        if len(found[index]) < each:
            found[index].append(name)
    return found


async def fleets_in(pair: Pair, spaces: Sequence[str]) -> dict[str, Fleet]:
    async def one(space: str) -> Fleet:
        spec = FleetSpec(
            namespace=space,
            cluster_name=f"{space}-c",
            host_name=f"{space}-h",
            control_planes=1,
            workers=1,
            spare_hosts=1,
            topology=True,
            paused_conditions=False,
        )
        return await build(pair.on_source, spec)

    return dict(zip(spaces, await asyncio.gather(*map(one, spaces)), strict=True))


def shard(pair: Pair, index: int, *more: str) -> Any:
    """Runs the mover of a shard."""
    flags = ("--kubeconfig", pair.source.kubeconfig, "--to-kubeconfig", pair.target.kubeconfig, "-v", "1")
    return mover("move", *flags, "-A", "--shard", f"{index}/{TOTAL}", *more)


async def assert_moved(pair: Pair, fleets: dict[str, Fleet]) -> None:
    for space, fleet in fleets.items():
        assert not set(fleet.movable) & set(await pair.source_objects(space)), space
        assert set(fleet.movable) <= set(await pair.target_objects(space)), space
        assert set(fleet.unrelated) <= set(await pair.source_objects(space)), space


async def assert_nothing_is_left(pair: Pair) -> None:
    """Neither a record nor a lease."""
    for client in (pair.on_source, pair.on_target):
        leases = await client.list_all(f"/apis/coordination.k8s.io/v1{_RECORDS}/leases")
        heads = await client.list_all(f"/api/v1{_RECORDS}/configmaps")
        names = [found["metadata"]["name"] for found in (*leases, *heads)]
        assert [name for name in names if "capi-mover" in name] == []


async def test_two_shards_move_at_once_and_one_that_was_killed_is_moved_again(empty_pair: Pair) -> None:
    pair = empty_pair
    spaces = spaces_of("twice", 2)
    fleets = await fleets_in(pair, [space for names in spaces.values() for space in names])
    async with (
        AdminClient(pair.source.kubeconfig, connections=256) as one,
        AdminClient(pair.target.kubeconfig, connections=256) as other,
        Witness(one, other, Expectations(), namespaces=set(fleets)) as witness,
    ):
        async with shard(pair, 0) as first, shard(pair, 1) as second:
            await first.until("  created ")
            await first.killed()
            assert await second.ended() == 0, second.output
        assert f"Shard 1/2: {', '.join(spaces[1])}" in second.output
        await assert_moved(pair, {space: fleets[space] for space in spaces[1]})
        assert set(fleets[spaces[0][1]].movable) <= set(await pair.source_objects(spaces[0][1]))

        async with shard(pair, 0) as again:
            assert await again.ended() == 0, again.output
        assert "was interrupted in the phase" in again.output
        await assert_moved(pair, fleets)
    witness.check()
    await asyncio.gather(wait_for_collector(pair.on_source), wait_for_collector(pair.on_target))
    await assert_nothing_is_left(pair)


async def test_a_shard_at_work_keeps_its_like_and_a_move_of_all_away_and_no_other_shard(empty_pair: Pair) -> None:
    pair = empty_pair
    spaces = spaces_of("apart", 1)
    fleets = await fleets_in(pair, [space for names in spaces.values() for space in names])
    machine = next(key for key in fleets[spaces[0][0]].movable if key.kind == "Machine")
    path = f"/apis/cluster.x-k8s.io/v1beta2/namespaces/{machine.namespace}/machines/{machine.name}"
    await pair.on_source.patch_merge(path, {"metadata": {"annotations": {rules.BLOCK_MOVE_ANNOTATION: ""}}})
    async with shard(pair, 0) as first:
        # It waits for a provider, and renews its lease.
        await first.until("block-move")
        flags = ("--kubeconfig", pair.source.kubeconfig, "--to-kubeconfig", pair.target.kubeconfig)
        async with shard(pair, 0) as like, mover("move", *flags, "-A") as whole, shard(pair, 1) as other:
            assert await like.ended() == 4, like.output
            assert "Another capi-mover works on shard 0/2" in like.output
            assert await whole.ended() in (3, 4), whole.output
            assert await other.ended() == 0, other.output
        await assert_moved(pair, {space: fleets[space] for space in spaces[1]})
        await first.killed()
    await pair.on_source.patch_merge(path, {"metadata": {"annotations": {rules.BLOCK_MOVE_ANNOTATION: None}}})
    async with shard(pair, 0) as again:
        assert await again.ended() == 0, again.output
    await assert_moved(pair, fleets)
    await assert_nothing_is_left(pair)


async def test_a_shard_rolls_its_namespaces(empty_pair: Pair) -> None:
    pair = empty_pair
    spaces = spaces_of("rolls", 2)
    fleets = await fleets_in(pair, [space for names in spaces.values() for space in names])
    options = MoveOptions(quiet_s=0.1)
    asked = ShardMove(Shard(0, TOTAL), options, RollingOptions())
    reports = await move_shard_async(pair.source_ref, pair.target_ref, asked)
    assert [report.namespace for report in reports] == sorted(spaces[0])
    assert all(isinstance(report, RollingReport) and not report.failed for report in reports)
    await assert_moved(pair, {space: fleets[space] for space in spaces[0]})
    for space in spaces[1]:
        assert set(fleets[space].movable) <= set(await pair.source_objects(space))
    await assert_nothing_is_left(pair)
