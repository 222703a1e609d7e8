"""Two management clusters for all integration tests; each test works in namespaces of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from tests.testbed.client import AdminClient
from tests.testbed.kind import ManagementCluster
from tests.testbed.management import start_management_pair
from tests.testbed.pair import Pair, pair, planes

__all__ = ["Pair", "pair", "planes"]

_numbers = count(1)


@pytest.fixture
def namespace() -> str:
    """Returns a namespace that no other test uses."""
    return f"test-{next(_numbers)}"


@pytest.fixture(scope="module")
def fresh_planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ManagementCluster, ManagementCluster]]:
    """Two clusters that no other module has left anything on."""
    source, target = start_management_pair(("source", "target"), tmp_path_factory.mktemp("fresh"))
    yield source, target
    source.stop()
    target.stop()


@pytest.fixture
async def fresh_pair(fresh_planes: tuple[ManagementCluster, ManagementCluster]) -> AsyncIterator[Pair]:
    async with AdminClient(fresh_planes[0].kubeconfig) as one, AdminClient(fresh_planes[1].kubeconfig) as other:
        yield Pair(*fresh_planes, one, other)
