"""What a pivot must know to its end and loses on the way: a Secret on the source, until the pivot is done.

The move takes the Secret with the target's kubeconfig to the target, and the hosts with their states: a pivot that
is interrupted after that could neither find the target nor tell how the hosts were. The Secret is in the namespace
that moves, where whoever can read it can read the original, too; nothing owns it and its name is none of Cluster
API's, so that it does not move.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from graph.resource import ObjectKey
from mover.discovery import SECRETS
from mover.errors import AlreadyExistsError, NotFoundError, StoppedError
from mover.kube import Cluster
from mover.models import MANAGER
from mover.pivot.states import States

NAME: Final = "capi-mover.pivot"
NAMESPACE: Final = "default"
_FIELD = "pivot"
_TYPE = "capi-mover.io/pivot"


class Memory(BaseModel):
    """What a pivot remembers.

    Attributes:
        cluster: The Cluster whose kubeconfig led to the target, "" if the target was given.
        kubeconfig: That kubeconfig.
        states: Group, kind, namespace and name on the target, and state, of each object.
    """

    model_config = ConfigDict(frozen=True)
    cluster: str = ""
    kubeconfig: str = ""
    states: tuple[tuple[str, str, str, str, str], ...] = ()

    @classmethod
    def of(cls, cluster: str, kubeconfig: str, states: States) -> Memory:
        """Returns the memory of these."""
        entries = sorted((key.group, key.kind, key.namespace, key.name, state) for key, state in states.items())
        return cls(cluster=cluster, kubeconfig=kubeconfig, states=tuple(entries))

    def state_map(self) -> dict[ObjectKey, str]:
        """Returns the states by key."""
        return {ObjectKey(*entry[:4]): entry[4] for entry in self.states}


def place_of_memory(scope: str) -> ObjectKey:
    """Returns the key of the Secret for a pivot of `scope`, "" for all namespaces."""
    return ObjectKey("", "Secret", scope or NAMESPACE, NAME)


def encode(memory: Memory, scope: str) -> dict[str, Any]:
    """Returns the Secret's body."""
    key = place_of_memory(scope)
    payload = base64.b64encode(memory.model_dump_json().encode()).decode()
    metadata = {"name": key.name, "namespace": key.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": _TYPE, "data": {_FIELD: payload}}


def decode(body: dict[str, Any]) -> Memory:
    """Returns what the Secret's body says.

    Raises:
        StoppedError: It cannot be read.
    """
    metadata = body["metadata"]
    try:
        return Memory.model_validate(orjson.loads(base64.b64decode((body.get("data") or {})[_FIELD])))
    except (KeyError, ValueError, ValidationError) as error:
        raise StoppedError(
            f"The memory of an interrupted pivot, the Secret {metadata['namespace']}/{metadata['name']}, is damaged",
            "Delete it, then pivot again with --to-kubeconfig",
        ) from error


async def recall(source: Cluster, scope: str) -> Memory | None:
    """Returns what an interrupted pivot of `scope` has left, None if there is nothing."""
    key = place_of_memory(scope)
    try:
        return decode((await source.get(SECRETS, key.namespace, key.name)).body())
    except NotFoundError:
        return None


async def remember(source: Cluster, scope: str, memory: Memory) -> None:
    """Writes the memory, over an earlier one."""
    body = encode(memory, scope)
    try:
        await source.create(SECRETS, body, manager=MANAGER)
    except AlreadyExistsError:
        await source.merge_patch(SECRETS, place_of_memory(scope), {"data": body["data"]}, manager=MANAGER)


async def forget(source: Cluster, scope: str) -> None:
    """Removes the memory, if there is one."""
    key = place_of_memory(scope)
    try:
        found = await source.get(SECRETS, key.namespace, key.name)
        await source.delete(SECRETS, key, uid=found.uid, resource_version=found.resource_version)
    except NotFoundError:
        return
