"""The way to the target: the kubeconfig that Cluster API keeps for each of its clusters."""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from graph import rules
from graph.resource import Object
from mover.discovery import SECRETS, find_type, movable_types
from mover.errors import NotFoundError, UsageError
from mover.kube import Cluster
from mover.pivot.inline import inline_kubeconfig
from mover.pivot.memory import Memory, place_of_memory

_GIVE_IT = "Give the target with --to-kubeconfig"


@dataclass(frozen=True, slots=True)
class Found:
    """A kubeconfig.

    Attributes:
        cluster: The Cluster it is of.
        text: The kubeconfig, which holds data and nothing else.
        server: The address it leads to.
        origin: Where it was found, for people.
    """

    cluster: str
    text: str
    server: str
    origin: str


async def find_kubeconfig(
    source: Cluster, scope: str, wanted: str, memory: Memory | None, *, is_moving: bool = False
) -> Found:
    """Returns the kubeconfig of a Cluster on the source.

    Args:
        source: The management cluster that made it.
        scope: The namespace to look in, "" for all.
        wanted: The Cluster's name, "" for the only one.
        memory: What an interrupted pivot has left: the Secret may be on the target by now.
        is_moving: Whether the record of a move is on the source. Only then, or if no Cluster is left there, the
            memory's kubeconfig may be needed; whoever wrote the memory cannot send a new pivot elsewhere by it.

    Raises:
        UsageError: There is no such Cluster, or several; or its Secret is missing, or holds no kubeconfig or one that
            does more than to hold data.
    """
    resource = find_type(await movable_types(source), rules.CLUSTER)
    clusters = (await source.list(resource, scope)).objects if resource else ()
    name = wanted or (memory.cluster if memory else "")
    has_moved = is_moving or not clusters
    recalled = memory if has_moved and memory and memory.kubeconfig and name in ("", memory.cluster) else None
    if recalled and name not in [obj.key.name for obj in clusters]:
        return _recalled(recalled)
    chosen = choose_cluster(clusters, name, scope)
    try:
        secret = await source.get(SECRETS, chosen.key.namespace, f"{chosen.key.name}-kubeconfig")
    except NotFoundError as error:
        if recalled:
            return _recalled(recalled)
        what = f"There is no Secret {chosen.key.namespace}/{chosen.key.name}-kubeconfig on the source cluster"
        raise UsageError(what, _GIVE_IT) from error
    return _found(chosen.key.name, kubeconfig_of(secret), str(secret.key))


def _recalled(memory: Memory) -> Found:
    return _found(memory.cluster, memory.kubeconfig, str(place_of_memory(memory.scope)))


def _found(cluster: str, text: str, origin: str) -> Found:
    inline = inline_kubeconfig(text, f"{origin} on the source cluster")
    return Found(cluster, inline.text, inline.server, origin)


def choose_cluster(clusters: Sequence[Object], wanted: str, scope: str) -> Object:
    """Returns the Cluster of that name; with "" the only one.

    Raises:
        UsageError: There is none, or there are several to choose from.
    """
    found = [obj for obj in clusters if wanted in ("", obj.key.name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(f"{obj.key.namespace}/{obj.key.name}" for obj in clusters)) or "none"
    what = f"{len(found)} Clusters are" if found else f'no Cluster "{wanted}" is' if wanted else "no Cluster is"
    where = f"in the namespace {scope} of the source cluster" if scope else "on the source cluster"
    raise UsageError(
        f"The target is not known: {what} {where}; there is: {names}",
        "Say with --cluster which one becomes the management cluster, or give it with --to-kubeconfig",
    )


def kubeconfig_of(secret: Object) -> str:
    """Returns the kubeconfig in a Secret of Cluster API (util/secret, KubeconfigDataName: "value").

    Raises:
        UsageError: There is none in it.
    """
    try:
        text = base64.b64decode((secret.body().get("data") or {})["value"], validate=True).decode()
    except (KeyError, TypeError, binascii.Error, UnicodeDecodeError) as error:
        raise UsageError(f"The {secret.key} on the source cluster holds no kubeconfig", _GIVE_IT) from error
    return text


@contextmanager
def private_file(text: str) -> Iterator[Path]:
    """Gives a file with the text that only this user can read, and removes it."""
    descriptor, name = tempfile.mkstemp(prefix="capi-mover-", suffix=".kubeconfig")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield path
    finally:
        path.unlink(missing_ok=True)
