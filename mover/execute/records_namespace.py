"""The namespace that the records and the leases of moves are in: made when it is missing, removed when it is empty.

One that somebody else has made is used as it is, and stays. One of ours is removed by whoever finds it empty at the end
of a move. Another mover may be about to use it then: each writes into the namespace's annotation once its lease is
there, and a deletion is of just the state that was there before it was looked for leases. So either the deletion is
refused, or the other mover sees that the namespace goes.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from typing import Any, Final

from graph.resource import Object
from mover.discovery import CONFIG_MAPS, NAMESPACES
from mover.errors import AlreadyExistsError, ApiError, ConflictError, ForbiddenError, NotFoundError, StoppedError
from mover.events import ignore
from mover.execute.emptiness import contents_of
from mover.kube import Cluster
from mover.models import MANAGER
from mover.waiting import wait_until

OURS: Final = "capi-mover.io/made-for"
"""The label of a namespace that a mover has made; its value is what for."""
RECORDS: Final = "records"
USED: Final = "capi-mover.io/used"
"""The annotation that says who has last begun to use it."""
_GOES_S = 60.0
_LEAVE_S = 15.0


async def provide(cluster: Cluster) -> bool:
    """Makes the namespace for records if it is missing, and returns whether it is one of ours, and may go.

    Raises:
        StoppedError: It is missing and may not be made, or does not go away.
        ApiError: The cluster refused a request.
    """
    while True:
        found = await _namespace(cluster)
        if found is None:
            await _make(cluster)
        elif not found.deleting:
            cluster.may_leave_records = _is_ours(found)
            return cluster.may_leave_records
        else:
            await _wait_until_gone(cluster, found)


async def stays(cluster: Cluster) -> bool:
    """Says in a namespace of ours that it is used, and returns whether it stays; asked once a lease is in it.

    Raises:
        StoppedError: That may not be said.
    """
    found = await _namespace(cluster)
    if found is None or found.deleting:
        return False
    patch = {"metadata": {"uid": found.uid, "annotations": {USED: uuid.uuid4().hex}}}
    try:
        await cluster.merge_patch(NAMESPACES, found.key, patch, manager=MANAGER)
    except (NotFoundError, ConflictError):
        return False
    except ForbiddenError as error:
        raise StoppedError(
            f"The namespace {found.key.name} of the {cluster.name} cluster was made by a capi-mover, which removes it "
            f"when it is empty, and it may not be kept from doing so: {error.message or error.reason}",
            f"Make it one that stays: kubectl label namespace {found.key.name} {OURS}-",
        ) from error
    now = await _namespace(cluster)
    return now is not None and now.uid == found.uid and not now.deleting


async def leave(cluster: Cluster) -> None:
    """Removes the namespace if it is ours and nothing is in it; nothing depends on whether that succeeds."""
    if not cluster.may_leave_records:
        return
    with suppress(ApiError, StoppedError, TimeoutError):
        async with asyncio.timeout(_LEAVE_S):
            found = await _namespace(cluster)
            if found is None or found.deleting or not _is_ours(found) or await _is_used(cluster):
                return
            version = found.resource_version
            await cluster.delete(NAMESPACES, found.key, uid=found.uid, resource_version=version)


async def _is_used(cluster: Cluster) -> bool:
    # Of most movers that are not alone it is enough to ask for their records.
    records = (await cluster.list_metadata(CONFIG_MAPS, cluster.records_namespace)).objects
    if any(obj.key.name != "kube-root-ca.crt" for obj in records):
        return True
    return bool(await contents_of(cluster, cluster.records_namespace))


async def _make(cluster: Cluster) -> None:
    name = cluster.records_namespace
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {OURS: RECORDS}},
    }
    try:
        await cluster.create(NAMESPACES, body, manager=MANAGER)
    except AlreadyExistsError:
        return
    except ForbiddenError as error:
        raise StoppedError(
            f"The {cluster.name} cluster has no namespace {name} for the records of moves, and it may not be made: "
            f"{error.message or error.reason}",
            f"Let somebody make it who may: kubectl create namespace {name}; the rights in it are printed by: "
            "capi-mover rbac",
        ) from error


async def _wait_until_gone(cluster: Cluster, found: Object) -> None:
    """Returns when a namespace that is being deleted is gone.

    Raises:
        PauseTimeoutError: It is still there after a minute.
    """
    with suppress(NotFoundError):
        await wait_until(cluster, [found], lambda _: "it is being deleted", _GOES_S, ignore)


async def _namespace(cluster: Cluster) -> Object | None:
    try:
        return await cluster.get(NAMESPACES, "", cluster.records_namespace)
    except NotFoundError:
        return None


def _is_ours(namespace: Object) -> bool:
    return namespace.labels.get(OURS) == RECORDS
