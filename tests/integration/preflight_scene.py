"""What tests of the preflight work with: a small fleet on the source, what is wrong with it, what is found out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from graph.resource import ObjectKey, ResourceType
from mover import api
from mover.api import ClusterRef
from mover.errors import Problem
from mover.models import MoveOptions
from mover.names import RECORDS_NAMESPACE
from tests.faults import policies
from tests.testbed.client import JSON, AdminClient, AdminError
from tests.testbed.fleet import Fleet, FleetSpec, build, drafts, model
from tests.testbed.pair import Pair
from tests.testbed.witness import collection_path

SMALL: Mapping[str, Any] = {"workers": 0, "control_planes": 1, "spare_hosts": 1, "paused_conditions": False}
WITHIN_S = 30.0
"""A preflight answers in this time, whatever is wrong."""

Versions = Mapping[str, str]


@dataclass(frozen=True)
class Scene:
    """A fleet, and the move of it that is asked for.

    Attributes:
        pair: The clusters.
        fleet: What is to be moved.
        options: What is asked for.
        source: The way to the source.
        target: The way to the target.
    """

    pair: Pair
    fleet: Fleet
    options: MoveOptions
    source: ClusterRef
    target: ClusterRef

    @property
    def namespace(self) -> str:
        """Returns the fleet's namespace."""
        return self.fleet.spec.namespace

    @property
    def types(self) -> Mapping[str, ResourceType]:
        """Returns the types of the fleet's objects by kind."""
        return {draft.type.kind: draft.type for draft in drafts(self.fleet.spec)}

    def key(self, kind: str, ending: str = "") -> ObjectKey:
        """Returns the first object of a kind whose name ends so."""
        return next(key for key in self.fleet.movable if key.kind == kind and key.name.endswith(ending))

    def path(self, kind: str, ending: str = "") -> str:
        """Returns the path of the first object of a kind whose name ends so, on either cluster."""
        return f"{collection_path(self.types[kind], self.namespace)}/{self.key(kind, ending).name}"

    def named(self, text: str) -> str:
        """Returns a text with the names of this fleet in place of `{machine}` and the like."""
        return text.format(
            namespace=self.namespace,
            cluster=self.key("Cluster"),
            control_plane=self.key("KubeadmControlPlane"),
            machine=self.key("Machine"),
            host=self.key("BareMetalHost", "-0001"),
            spare=self.key("BareMetalHost", "-0002"),
            bmc=self.key("Secret", "-0002-bmc-secret"),
        )

    async def find(self) -> list[Problem]:
        """Returns all that the preflight finds, in time."""
        async with asyncio.timeout(WITHIN_S):
            found = await api.preflight_async(self.source, self.target, self.options)
        return [*found.problems, *found.warnings]

    async def versions(self) -> Versions:
        """Returns the resourceVersions of all that a move of the fleet may touch on both clusters, by UID."""
        clients, spaces = (self.pair.on_source, self.pair.on_target), (self.namespace, "default", RECORDS_NAMESPACE)
        types = {*self.types.values(), model.SECRET, model.CONFIG_MAP, _LEASE}
        paths = [collection_path(resource, space) for resource in types for space in spaces]
        lists = [_listed(client, path) for client in clients for path in paths]
        found = [item["metadata"] for items in await asyncio.gather(*lists) for item in items]
        known = {metadata["uid"]: metadata["resourceVersion"] for metadata in found}
        # Of the namespaces only that they are there: their controller writes into one that is being deleted.
        named = {"fieldSelector": f"metadata.name={self.namespace}"}
        there = [await _listed(client, "/api/v1/namespaces", **named) for client in clients]
        return {**known, **{item["metadata"]["uid"]: "" for items in there for item in items}}


_LEASE = ResourceType("coordination.k8s.io", "v1", "Lease", "leases")


async def _listed(client: AdminClient, path: str, **params: str) -> list[Any]:
    """Returns what is listed; nothing of a kind that is not served, in the test that takes it away."""
    found: list[Any] = []

    async def answered() -> bool:
        try:
            found[:] = (await client.list(path, **params))["items"]
        except AdminError as error:
            # 429 for a moment, while the server makes the storage of a changed CRD anew.
            if error.status not in (404, 429):
                raise
            return error.status == 404
        return True

    await policies.until(answered)
    return found


async def make_scene(pair: Pair, namespace: str, options: MoveOptions | None = None, **more: Any) -> Scene:
    """Returns a scene with a fleet of one machine and one spare host; `more` is of the fleet's specification."""
    names: dict[str, Any] = {"cluster_name": f"{namespace}-c", "host_name": f"{namespace}-h"}
    fleet = await build(pair.on_source, FleetSpec(namespace=namespace, **names, **{**SMALL, **more}))
    return Scene(pair, fleet, options or MoveOptions(namespace=namespace), pair.source_ref, pair.target_ref)


async def refused(client: AdminClient, method: str, path: str, body: Any = None, content_type: str = JSON) -> int:
    """Returns the status by which a server would refuse a request, 0 if it would take it; nothing is stored."""
    params = {"dryRun": "All", "fieldValidation": "Strict"}
    try:
        await client.request(method, path, body, params=params, content_type=content_type)
    except AdminError as error:
        return error.status
    return 0


Ask = Callable[[], Awaitable[int]]
"""Returns how a server would answer a request; see `refused`."""


def answers(ask: Ask, *statuses: int) -> Callable[[], Awaitable[bool]]:
    """Returns what tells whether a question is answered by one of the statuses."""

    async def holds() -> bool:
        return await ask() in statuses

    return holds


async def copy_of_the_machine(scene: Scene) -> tuple[str, Mapping[str, Any]]:
    """Returns path and body of a Machine to create; without its namespace, so that it can be created anywhere."""
    path = scene.path("Machine")
    body = await scene.pair.on_source.get(path)
    return path.rpartition("/")[0], {**body, "metadata": {"name": body["metadata"]["name"]}}


Spoil = Callable[[Scene], AbstractAsyncContextManager[Scene]]
"""Makes the trouble and yields the scene to look at; takes back what is not of the fleet's own namespace."""


@dataclass(frozen=True)
class Case:
    """Something that one check finds.

    Attributes:
        check: The check.
        name: What is wrong, in a few words.
        spoil: Makes the trouble.
        subject: What the finding is about; see `Scene.named`.
        cluster: On which cluster.
        is_warning: Whether the move goes on.
        says: Part of what is told.
        others: Checks that cannot but find something, too.
        fleet: Of the specification of the fleet.
        options: Of the move, by namespace.
    """

    check: str
    name: str
    spoil: Spoil
    subject: str
    cluster: str = "source"
    is_warning: bool = False
    says: str = ""
    others: frozenset[str] = frozenset()
    fleet: Mapping[str, Any] = field(default_factory=dict)
    options: Callable[[str], MoveOptions] = lambda namespace: MoveOptions(namespace=namespace)

    def __str__(self) -> str:
        return f"{self.check}: {self.name}"


async def assert_found(case: Case, pair: Pair, namespace: str) -> None:
    """Looks before and after the trouble: first nothing is found, then what was made, by name and with a remedy."""
    scene = await make_scene(pair, namespace, case.options(namespace), **case.fleet)
    assert await scene.find() == [], "something is wrong before anything was spoilt"
    async with case.spoil(scene) as spoilt:
        before = await spoilt.versions()
        found = await spoilt.find()
        assert await spoilt.versions() == before, "the preflight has changed something"
    told = [(one.cluster, one.subject, one.is_warning) for one in found if one.check == case.check]
    assert told == [(case.cluster, scene.named(case.subject), case.is_warning)], found
    assert {one.check for one in found} == {case.check, *case.others}, found
    assert all(one.what and one.remedy for one in found), found
    assert any(case.says in one.what for one in found if one.check == case.check), found
