"""Kubernetes Events on the Clusters that move: `kubectl describe cluster` says where one went, and where from.

At most one for each Cluster and side: its name follows from the move, so that a move that is gone on with does not tell
twice. Nothing depends on them. A cluster that takes none is sent no more, and the move goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType
from mover.errors import AlreadyExistsError, MoverError, SupersededError
from mover.events import Listener, Noted
from mover.execute.ready import run_each
from mover.kube import Cluster
from mover.kube.transport import Transport
from mover.models import MANAGER
from mover.moment import micro_time
from mover.planning import Plan
from mover.record import Identity, Record

EVENTS = ResourceType("events.k8s.io", "v1", "Event", "events")
_PATIENCE_S = 10.0
"""For all events of one side: Clusters stand still meanwhile."""
_LONGEST_NAME = 240
_LONGEST_NOTE = 1024

_refusing: WeakSet[Transport] = WeakSet()
"""Connections to clusters that have not taken an event: they are sent no more, and the operator is told once."""


@dataclass(frozen=True, slots=True)
class News:
    """What is told of one Cluster.

    Attributes:
        type: The type of Cluster.
        key: Its key on the cluster that the event is written to.
        uid: Its UID there.
        reason: In one word, for machines.
        note: For people.
        is_warning: Whether the event is of the type Warning.
    """

    type: ResourceType
    key: ObjectKey
    uid: str
    reason: str
    note: str
    is_warning: bool = False

    def event(self, move: str) -> dict[str, Any]:
        """Returns the Event, as part of the move of that ID."""
        regarding = {
            "apiVersion": self.type.api_version,
            "kind": self.type.kind,
            "namespace": self.key.namespace,
            "name": self.key.name,
            "uid": self.uid,
        }
        name = f"{self.key.name[:_LONGEST_NAME].rstrip('-.')}.{move}"
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"namespace": self.key.namespace, "name": name},
            "eventTime": micro_time(),
            "reportingController": MANAGER,
            "reportingInstance": f"{MANAGER}-{move}",
            "action": "Move",
            "reason": self.reason,
            "type": "Warning" if self.is_warning else "Normal",
            "regarding": regarding,
            "note": self.note[:_LONGEST_NOTE],
        }


async def announce_moved(
    source: Cluster, target: Cluster, plan: Plan, copies: Mapping[str, str], record: Record, listener: Listener
) -> None:
    """Tells both sides of the Clusters of a plan that they move; before the originals go, for one that is there.

    `copies` are the UIDs of the copies by those of their originals.
    """
    clusters = [obj for obj in _clusters(plan) if obj.uid in copies]
    out = [
        News(obj.type, obj.key, obj.uid, "MovedOut", f"Moved to {_place(record.target, plan.image(obj), obj)}")
        for obj in clusters
    ]
    here = [(obj, plan.image(obj)) for obj in clusters]
    into = [
        News(image.type, image.key, copies[obj.uid], "MovedIn", f"Moved from {_place(record.source, obj, image)}")
        for obj, image in here
    ]
    await _announce(source, out, record, listener)
    await _announce(target, into, record, listener)


async def announce_rolled_back(source: Cluster, plan: Plan, record: Record, listener: Listener) -> None:
    """Tells the source of the Clusters of a plan that their move was undone."""
    note = f"The move to {_named(record.target)} did not succeed and was rolled back"
    news = [News(obj.type, obj.key, obj.uid, "MoveRolledBack", note, is_warning=True) for obj in _clusters(plan)]
    await _announce(source, news, record, listener)


def _clusters(plan: Plan) -> Sequence[Object]:
    return [obj for obj in plan.selection.moved if obj.type.group_kind == rules.CLUSTER]


def _place(other: Identity, there: Object, here: Object) -> str:
    """Returns where a Cluster is on the other side: its namespace is named if it is another one."""
    namespace = there.key.namespace
    return _named(other) + (f", namespace {namespace}" if namespace != here.key.namespace else "")


def _named(identity: Identity) -> str:
    return f"{identity.context} (cluster {identity.uid})"


async def _announce(cluster: Cluster, news: Iterable[News], record: Record, listener: Listener) -> None:
    """Writes the events to a cluster, as far as it takes them soon."""
    if cluster.link in _refusing:
        return

    deadline = asyncio.get_running_loop().time() + _PATIENCE_S

    async def one(what: News) -> None:
        with suppress(AlreadyExistsError):
            async with asyncio.timeout_at(deadline):
                await cluster.create_event(EVENTS, what.event(record.id), manager=MANAGER)

    try:
        await run_each(news, one)
    except SupersededError:
        raise
    except (MoverError, TimeoutError) as error:
        _refusing.add(cluster.link)
        why = str(error) or f"no answer for {_PATIENCE_S:g} s"
        text = f"The {cluster.name} cluster takes no events about the Clusters that move; the move goes on: {why}"
        listener(Noted(text))
