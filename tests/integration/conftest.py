"""Two management clusters for all integration tests; each test works in namespaces of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count

import pytest
import pytest_asyncio

from graph.resource import Object, ObjectKey
from mover.api import ClusterRef
from tests.testbed import inspect
from tests.testbed.client import AdminClient
from tests.testbed.kind import ManagementCluster
from tests.testbed.management import start_management_pair

_numbers = count(1)


@dataclass(frozen=True)
class Pair:
    """A source and a target, with an administrator's client of each."""

    source: ManagementCluster
    target: ManagementCluster
    on_source: AdminClient
    on_target: AdminClient

    @property
    def source_ref(self) -> ClusterRef:
        """Returns the source as the library names it."""
        return ClusterRef(self.source.kubeconfig)

    @property
    def target_ref(self) -> ClusterRef:
        """Returns the target as the library names it."""
        return ClusterRef(self.target.kubeconfig)

    async def source_objects(self, namespace: str) -> dict[ObjectKey, Object]:
        """Returns what is in a namespace of the source."""
        return await inspect.objects(self.on_source, namespace)

    async def target_objects(self, namespace: str) -> dict[ObjectKey, Object]:
        """Returns what is in a namespace of the target."""
        return await inspect.objects(self.on_target, namespace)


@pytest.fixture(scope="session")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ManagementCluster, ManagementCluster]]:
    source, target = start_management_pair(("source", "target"), tmp_path_factory.mktemp("planes"))
    yield source, target
    source.stop()
    target.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pair(planes: tuple[ManagementCluster, ManagementCluster]) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AdminClient(plane.kubeconfig)) for plane in planes]
        yield Pair(*planes, *clients)


@pytest.fixture
def namespace() -> str:
    """Returns a namespace that no other test uses."""
    return f"test-{next(_numbers)}"
