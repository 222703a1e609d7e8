"""Two management clusters for all tests of a package: fixtures, to be imported by its conftest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio

from graph.resource import Object, ObjectKey
from mover.api import ClusterRef
from tests.testbed import inspect
from tests.testbed.client import AdminClient
from tests.testbed.kind import ManagementCluster
from tests.testbed.management import start_management_pair


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


# Of a package, not of the session: their processor time and memory are free again for the tests that follow.
@pytest.fixture(scope="package")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ManagementCluster, ManagementCluster]]:
    source, target = start_management_pair(("source", "target"), tmp_path_factory.mktemp("planes"))
    yield source, target
    source.stop()
    target.stop()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def pair(planes: tuple[ManagementCluster, ManagementCluster]) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AdminClient(plane.kubeconfig)) for plane in planes]
        yield Pair(*planes, *clients)
