"""The management clusters that all tests of a process share: fixtures, for the conftest of all tests.

Starting a pair takes some 17 seconds of processor time, and an idle control plane 4 % of a processor. So there are two
pairs, put up when they are first asked for: `pair`, on which a test works in namespaces of its own and leaves what it
likes there, and `second_pair`, which is used by one test (or module) at a time and may be stopped, restarted and moved
as a whole. A module that needs clusters of its own says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from graph.resource import Object, ObjectKey
from mover.api import ClusterRef
from mover.models import MANAGER
from tests.testbed import inspect
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.collector import wait_for_collector
from tests.testbed.kind import ManagementCluster
from tests.testbed.management import start_management_pair
from tests.testbed.providers import default_providers
from tests.testbed.witness import collection_path

Planes = tuple[ManagementCluster, ManagementCluster]

_ROOT_CA = "kube-root-ca.crt"  # Kubernetes puts it into every namespace
_RECORDS = "/api/v1/configmaps"
_LEASES = "/apis/coordination.k8s.io/v1/leases"
_DEPLOYMENTS = "/apis/apps/v1/deployments"


@dataclass(frozen=True)
class Pair:
    """A source and a target, with an administrator's client of each."""

    source: ManagementCluster
    target: ManagementCluster
    on_source: AdminClient
    on_target: AdminClient

    @property
    def sides(self) -> tuple[tuple[ManagementCluster, AdminClient], ...]:
        """Returns each cluster with its client, the source first."""
        return (self.source, self.on_source), (self.target, self.on_target)

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
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planes]:
    yield from _running(tmp_path_factory.mktemp("planes"))


@pytest.fixture(scope="session")
def second_planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planes]:
    yield from _running(tmp_path_factory.mktemp("second"))


def _running(folder: Path) -> Iterator[Planes]:
    source, target = start_management_pair(("source", "target"), folder)
    yield source, target
    source.stop()
    target.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pair(planes: Planes) -> AsyncIterator[Pair]:
    """Two clusters for tests that keep to namespaces of their own."""
    async with opened(planes) as made:
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def second_pair(second_planes: Planes) -> AsyncIterator[Pair]:
    """Two clusters that one test at a time may do anything with; see `empty_pair`."""
    async with opened(second_planes) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def empty_pair(second_pair: Pair) -> Pair:
    """Returns the second pair without anything that earlier tests have left there: for what moves all namespaces."""
    await asyncio.gather(clear(second_pair.on_source), clear(second_pair.on_target))
    return second_pair


@asynccontextmanager
async def opened(planes: Planes) -> AsyncIterator[Pair]:
    """Gives a pair with an open client of each of its planes."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AdminClient(plane.kubeconfig)) for plane in planes]
        yield Pair(*planes, *clients)


async def clear(client: AdminClient) -> None:
    """Removes all that tests have put on a cluster, but not namespaces: their controller takes seconds over each."""
    own = {"default", *(provider.namespace for provider in default_providers())}
    left = [
        f"{collection_path(obj.type, key.namespace)}/{key.name}"
        for key, obj in (await inspect.objects(client)).items()
        if key.namespace not in own and not key.namespace.startswith("kube-") and key.name != _ROOT_CA
    ]
    for path in (_RECORDS, _LEASES, _DEPLOYMENTS):
        for item in await client.list_metadata(path):
            metadata = item["metadata"]
            if path == _DEPLOYMENTS or metadata["name"].startswith(MANAGER):
                root, _, plural = path.rpartition("/")
                left.append(f"{root}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}")
    await asyncio.gather(*(discard(client, path) for path in left))
    await wait_for_collector(client)


async def discard(client: AdminClient, path: str) -> None:
    """Deletes an object and its finalizers; it may be gone meanwhile."""
    try:
        await client.patch_merge(path, {"metadata": {"finalizers": None}})
        await client.delete(path)
    except AdminError as error:
        if error.status != 404:
            raise
