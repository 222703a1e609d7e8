"""What can be said only when all scenarios have run; the file's name puts it last."""

from __future__ import annotations

import asyncio

import pytest

from tests.differential.catalogue import CATALOGUE
from tests.differential.conftest import Tally
from tests.differential.departures import DEPARTURES
from tests.differential.run import Arena
from tests.testbed.client import AdminClient

_RESIDUE = ("/api/v1/configmaps", "/apis/coordination.k8s.io/v1/leases")


def test_every_departure_is_needed(tally: Tally) -> None:
    if tally.scenarios != set(CATALOGUE):
        pytest.skip("not every scenario has run")
    assert not {departure.name for departure in DEPARTURES} - tally.departures


async def test_no_move_has_left_a_record_or_a_lease(arena: Arena) -> None:
    found = await asyncio.gather(*(_residue(cluster.client) for cluster in (arena.ours.source, arena.ours.target)))
    assert found == [[], []]


async def _residue(client: AdminClient) -> list[str]:
    names = [item["metadata"]["name"] for path in _RESIDUE for item in await client.list_all(path)]
    return [name for name in names if name.startswith("capi-mover")]
