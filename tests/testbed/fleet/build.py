"""Drafts of a fleet, and the loop that writes them: owners first, everything else at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from graph.resource import ObjectKey
from tests.testbed.client import AdminClient
from tests.testbed.fleet.cluster import cluster_drafts, unrelated_drafts
from tests.testbed.fleet.hosts import host_drafts, schema_draft
from tests.testbed.fleet.machines import machine_drafts
from tests.testbed.fleet.model import UNLABELLED_TYPES, USER_MANAGER, Amendment, Draft, Fleet, FleetSpec, Tree
from tests.testbed.fleet.plan import clusters, host_plan, spare_hosts
from tests.testbed.fleet.topology import class_drafts
from tests.testbed.providers import ensure_namespace

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Uids = Mapping[ObjectKey, str]


async def build(client: AdminClient, spec: FleetSpec, *, concurrency: int = 32) -> Fleet:
    """Returns the fleet after every object of it was written.

    Args:
        client: The management cluster; CAPI's and Metal3's CRDs have to be there.
        spec: What to make.
        concurrency: How many objects are written at the same time.

    Raises:
        ExceptionGroup: The server refused an object, or a field of one; it holds the AdminErrors.
    """
    await ensure_namespace(client, spec.namespace)
    wanted = tuple(drafts(spec))
    uids: dict[ObjectKey, str] = {}
    for wave in waves(wanted):
        uids |= await _write_wave(client, wave, uids, concurrency=concurrency)
    return _fleet(spec, wanted)


def drafts(spec: FleetSpec) -> Iterator[Draft]:
    """Yields every object of the fleet, with CAPI's owners, in the same order for the same spec."""
    if spec.topology:
        yield from class_drafts(spec)
    for cluster in clusters(spec):
        yield from cluster_drafts(cluster)
        for machine in cluster.machines():
            yield from machine_drafts(machine)
            yield from host_drafts(machine.host, machine)
    for host in spare_hosts(spec):
        yield from host_drafts(host, None)
    if spec.hosts:
        yield schema_draft(spec.namespace, (host_plan(spec, number) for number in range(spec.hosts)))
    yield from unrelated_drafts(spec.namespace, spec.unrelated_secrets)


def waves(wanted: Iterable[Draft]) -> Iterator[tuple[Draft, ...]]:
    """Yields the drafts in groups: each one after the groups that its owners are in.

    Raises:
        ValueError: Owners that are not among the drafts, or own each other.
    """
    left = tuple(wanted)
    written: set[ObjectKey] = set()
    while left:
        ready = tuple(draft for draft in left if written.issuperset(draft.owner_keys))
        if not ready:
            raise ValueError(f"owners missing or cyclic: {', '.join(str(draft.key) for draft in left)}")
        yield ready
        written.update(draft.key for draft in ready)
        left = tuple(draft for draft in left if draft.key not in written)


def first_body(draft: Draft, owners: list[Tree]) -> dict[str, Any]:
    """Returns the body that the object is created with."""
    metadata = {**draft.body.get("metadata", {}), "name": draft.name, "namespace": draft.namespace}
    body = {
        "apiVersion": draft.type.api_version,
        "kind": draft.type.kind,
        **draft.body,
        "metadata": metadata,
    }
    if draft.manager == USER_MANAGER:
        applied = orjson.dumps(body).decode() + "\n"
        metadata["annotations"] = {**metadata.get("annotations", {}), LAST_APPLIED: applied}
    if owners and not any(amendment.adopts for amendment in draft.amendments):
        metadata["ownerReferences"] = owners
    return body


def amended(amendment: Amendment, owners: list[Tree]) -> dict[str, Any]:
    """Returns the merge patch of an amendment."""
    metadata = dict(amendment.patch.get("metadata", {}))
    if amendment.adopts and owners:
        metadata["ownerReferences"] = owners
    return {**amendment.patch, **({"metadata": metadata} if metadata else {})}


def owner_references(draft: Draft, uids: Uids) -> list[Tree]:
    """Returns the owner references of a draft whose owners have been written."""
    references: list[Tree] = []
    for owner, key in zip(draft.owners, draft.owner_keys, strict=True):
        named = {"apiVersion": owner.type.api_version, "kind": owner.type.kind, "name": owner.name}
        controller = {"controller": True} if owner.controller else {}
        block = {"blockOwnerDeletion": True} if owner.block_deletion else {}
        references.append({**named, "uid": uids[key], **controller, **block})
    return references


def observed(status: Any, generation: int) -> Any:
    """Returns the status with every `observedGeneration` in it set to `generation`."""
    if isinstance(status, Mapping):
        return {
            key: generation if key == "observedGeneration" else observed(value, generation)
            for key, value in status.items()
        }
    if isinstance(status, list):
        return [observed(item, generation) for item in status]
    return status


async def _write_wave(
    client: AdminClient, wave: tuple[Draft, ...], uids: Uids, *, concurrency: int
) -> dict[ObjectKey, str]:
    """Returns the UIDs of a wave's objects; a few workers take one draft after the other."""
    pending = iter(wave)
    made: dict[ObjectKey, str] = {}

    async def work() -> None:
        for draft in pending:
            made[draft.key] = await _write(client, draft, owner_references(draft, uids))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(wave))):
            group.create_task(work())
    return made


async def _write(client: AdminClient, draft: Draft, owners: list[Tree]) -> str:
    """Returns the UID of an object after it was created, changed and given its status."""
    path = f"{draft.collection_path}/{draft.name}"
    body = first_body(draft, owners)
    if draft.apply:
        written = await client.apply(path, body, manager=draft.manager, strict=True)
    else:
        written = await client.create(draft.collection_path, body, manager=draft.manager, strict=True)
    for amendment in draft.amendments:
        patch = amended(amendment, owners)
        written = await client.patch_merge(path, patch, manager=amendment.manager, strict=True)
    if draft.status is not None:
        status = observed(draft.status, written["metadata"].get("generation", 1))
        await client.patch_status(path, status, manager=draft.status_manager, strict=True)
    return str(written["metadata"]["uid"])


def _fleet(spec: FleetSpec, wanted: Iterable[Draft]) -> Fleet:
    kept: set[ObjectKey] = set()
    moved: set[ObjectKey] = set()
    for draft in wanted:
        (kept if draft.unrelated else moved).add(draft.key)
    unlabelled = {resource.group_kind for resource in UNLABELLED_TYPES}
    left = (key for key in moved if (key.group, key.kind) in unlabelled)
    return Fleet(spec, tuple(sorted(moved)), tuple(sorted(kept)), tuple(sorted(left)))
