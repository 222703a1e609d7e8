"""Moves by users who have exactly the documented rights, where owners are guarded by an admission plugin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from graph import rules
from graph.resource import ObjectKey, ResourceType
from mover import api
from mover.api import ClusterRef
from mover.choices import OnFailure
from mover.errors import MoverError
from mover.events import Event, PhaseStarted
from mover.execute.run import InterruptedMoveError
from mover.known_types import known_types
from mover.models import MoveOptions, Phase
from mover.names import RECORDS_NAMESPACE as RECORDS
from mover.permissions import Permission, Side
from mover.rbac import Move, Subject, side_manifests
from tests.testbed import inspect, rights
from tests.testbed.client import AdminClient
from tests.testbed.controlplane import ControlPlaneOptions
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.kind import ManagementCluster, wants_kind
from tests.testbed.management import start_management_pair

pytestmark = pytest.mark.skipif(wants_kind(), reason="sets flags of the API servers")

USERS: Mapping[str, Side] = {"mover-on-source": "source", "mover-on-target": "target"}
NAMESPACE = "guarded"


@dataclass(frozen=True)
class Guarded:
    """Two clusters that write down what the mover's users ask for.

    Attributes:
        folder: Where the audit log is.
        planes: By side.
        admins: An administrator's client by side.
    """

    folder: Path
    planes: Mapping[Side, ManagementCluster]
    admins: Mapping[Side, AdminClient]

    def refs(self) -> tuple[ClusterRef, ClusterRef]:
        """Returns the ways of the two users to source and target."""
        one, other = (ClusterRef(self.planes[side].kubeconfig_for(user)) for user, side in USERS.items())
        return one, other


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    plugin = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"
    options = ControlPlaneOptions(extra_apiserver_args=(plugin, *rights.audit_arguments(folder, list(USERS))))
    planes = await asyncio.to_thread(start_management_pair, ("source", "target"), folder, None, options)
    async with AsyncExitStack() as stack:
        for plane in planes:
            stack.callback(plane.stop)
        one, other = [await stack.enter_async_context(AdminClient(plane.kubeconfig)) for plane in planes]
        yield Guarded(folder, dict(zip(USERS.values(), planes, strict=True)), {"source": one, "target": other})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def grants(guarded: Guarded) -> set[Permission]:
    """Grants the users what `capi-mover rbac` prints, and returns that."""
    types, credentials = await api.types_async(ClusterRef(guarded.planes["source"].kubeconfig))
    assert [_shape(found) for found in types] == [_shape(found) for found in known_types()]
    granted: set[Permission] = set()
    for user, side in USERS.items():
        manifests = side_manifests(Move(types, NAMESPACE, None, credentials), side, Subject(user))
        await rights.grant(guarded.admins[side], manifests, side, user)
        granted |= set(rights.granted(manifests, side))
    return granted


def _shape(resource: ResourceType) -> tuple[str, str, bool, bool]:
    return resource.group, resource.plural, resource.namespaced, resource.has_status


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(guarded: Guarded) -> Fleet:
    spec = FleetSpec(namespace=NAMESPACE, cluster_name="c", host_name="h", topology=True, paused_conditions=False)
    return await build(guarded.admins["source"], spec)


async def _interrupted(guarded: Guarded) -> None:
    """Begins a move that is stopped when all copies are made."""
    moving: asyncio.Task[object]

    def stop(event: Event) -> None:
        if isinstance(event, PhaseStarted) and event.phase is Phase.VERIFYING:
            moving.cancel()

    options = MoveOptions(namespace=NAMESPACE, on_failure=OnFailure.KEEP)
    moving = asyncio.ensure_future(api.move_async(*guarded.refs(), options, stop))
    with pytest.raises(InterruptedMoveError, match="Stopped by a signal"):
        await moving


async def _resumed(guarded: Guarded, changed: ObjectKey) -> int:
    """Finishes the move while a Machine changes between its copy and the comparison; returns how many copies it has."""
    path = f"/apis/{rules.CAPI_GROUP}/v1beta2/namespaces/{NAMESPACE}/machines/{changed.name}"
    tasks: list[asyncio.Task[object]] = []

    def change(event: Event) -> None:
        if isinstance(event, PhaseStarted) and event.phase is Phase.VERIFYING:
            labels = {"metadata": {"labels": {"changed": "meanwhile"}}}
            tasks.append(asyncio.ensure_future(guarded.admins["source"].patch_merge(path, labels)))

    report = await api.resume_async(*guarded.refs(), NAMESPACE, change)
    await asyncio.gather(*tasks)
    return report.verified


async def test_without_the_right_to_owners_finalizers_the_plugin_refuses_the_copies(
    guarded: Guarded, fleet: Fleet, grants: set[Permission]
) -> None:
    owner = Permission("target", "update", rules.CAPI_GROUP, "machines/finalizers", NAMESPACE)
    assert owner in grants
    role, admin = f"{rights.RBAC}/namespaces/{NAMESPACE}/roles/capi-mover-target", guarded.admins["target"]
    granted = (await admin.get(role))["rules"]
    await admin.patch_merge(role, {"rules": [rule for rule in granted if rule["verbs"] != ["update"]]})
    await rights.until(admin, owner, "mover-on-target", allowed=False)
    with pytest.raises(MoverError, match="cannot set blockOwnerDeletion"):
        await api.move_async(*guarded.refs(), MoveOptions(namespace=NAMESPACE))
    assert set(fleet.movable) <= set(await inspect.objects(guarded.admins["source"], NAMESPACE))
    await admin.patch_merge(role, {"rules": granted})
    await rights.until(admin, owner, "mover-on-target", allowed=True)


ON_OCCASION: Mapping[tuple[Side, str], str] = {
    ("source", "get"): "an object that changed while it was deleted is read again",
    ("source", "watch"): "a kind is waited for while its controllers have not confirmed the pause",
    ("source", "patch"): "a kind has finalizers, a pause, or a webhook that looks at its deletion",
    ("target", "watch"): "a rolling move follows what it has written",
    ("target", "get"): "a copy that changed while a rollback removed it is read again",
    ("target", "patch"): "a kind has several field managers",
    ("target", "delete"): "a rollback finds a copy that the garbage collector has not taken with its owner",
    ("target", "update"): "an original changed while it was copied",
}
"""What need not be used of every kind that moves, and when it is."""

BESIDE = {
    ("source", "list", "deployments"),
    ("target", "list", "deployments"),
    ("target", "list", "resourcequotas"),
    ("target", "list", "customresourcedefinitions"),
    ("source", "update", "leases"),
    ("target", "update", "leases"),
    ("source", "watch", "leases"),
    ("target", "watch", "leases"),
}
"""What only warns or is read only for some installations; leases, as far as a short and lonely move needs them."""


async def test_the_documented_rights_are_enough_and_nothing_is_granted_that_is_not_used(
    guarded: Guarded, fleet: Fleet, grants: set[Permission]
) -> None:
    machine = next(key for key in fleet.movable if key.kind == "Machine")
    await _interrupted(guarded)
    await api.rollback_async(*guarded.refs(), NAMESPACE)
    await _interrupted(guarded)
    assert await _resumed(guarded, machine) == len(fleet.movable)
    used, forbidden = rights.audited(guarded.folder, USERS)
    assert not forbidden
    assert used <= grants
    assert Permission("target", "update", rules.CAPI_GROUP, "machines", NAMESPACE) in used
    created = [found for found in used if (found.side, found.verb, found.namespace) == ("target", "create", NAMESPACE)]
    moved = {(found.group, found.resource) for found in created}
    unused = [found for found in grants - used if not found.resource.endswith("/finalizers")]
    of_moved = {(found.side, found.verb) for found in unused if (found.group, found.resource) in moved}
    assert of_moved <= set(ON_OCCASION)
    # Of kinds without objects nothing is asked but that there are none, and that none appears; the move record is made
    # of ConfigMaps.
    kinds = {(resource.group, resource.plural) for resource in known_types()}
    bare = [found for found in used if (found.group, found.resource) in kinds - moved and found.namespace != RECORDS]
    assert {(found.side, found.verb) for found in bare} == {("source", "list"), ("source", "watch")}
    others = [found for found in unused if (found.group, found.resource.partition("/")[0]) not in kinds]
    assert {(found.side, found.verb, found.resource) for found in others} <= BESIDE


async def test_a_rolling_move_needs_no_other_rights(guarded: Guarded, fleet: Fleet, grants: set[Permission]) -> None:
    """It comes after the move of the whole fleet, and moves another one."""
    source = guarded.admins["source"]
    for key in fleet.unrelated:
        await source.delete(f"/api/v1/namespaces/{NAMESPACE}/{key.kind.lower()}s/{key.name}")
    spec = FleetSpec(
        namespace=NAMESPACE,
        cluster_name="r",
        host_name="q",
        control_planes=1,
        workers=1,
        spare_hosts=0,
        paused_conditions=False,
    )
    rolled = await build(source, spec)
    report = await api.roll_async(*guarded.refs(), MoveOptions(namespace=NAMESPACE))
    assert not report.failed
    assert set(rolled.movable) <= set(await inspect.objects(guarded.admins["target"], NAMESPACE))
    used, forbidden = rights.audited(guarded.folder, USERS)
    assert not forbidden
    assert used <= grants
    assert Permission("target", "watch", rules.CAPI_GROUP, "machines", NAMESPACE) in used
