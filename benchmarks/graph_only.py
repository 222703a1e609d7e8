"""How long the pure part takes: a graph is built, the move is selected, and both orders are made.

`python -m benchmarks.graph_only OBJECTS` measures one size in this process and prints it as JSON; `measure` does so
for each size in a process of its own, so that none sees the memory of another.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TypeVar

import orjson

from benchmarks import meter
from benchmarks.bed import Scope
from benchmarks.results import Graph
from graph import selection as selecting
from graph.build import build
from graph.order import creation_order, deletion_order
from graph.resource import Object, ObjectKey, ResourceType, parse_object
from graph.rules import METAL3_KINDS, MoveFlags, is_hierarchy_kind
from graph.selection import select
from tests.testbed.fleet import FleetSpec, drafts
from tests.testbed.fleet.build import first_body, owner_references

_Result = TypeVar("_Result")

SIZES = (1_000, 10_000, 100_000)
MACHINES_PER_CLUSTER = 10


async def measure(scope: Scope) -> AsyncIterator[Graph]:
    """Yields the times of each size."""
    for size in SIZES:
        cost = await meter.run((sys.executable, "-m", "benchmarks.graph_only", str(size)), os.environ)
        times = orjson.loads(cost.output.splitlines()[-1])
        yield Graph(run=scope.run, **times, peak_mib=round(cost.peak_mib, 1))


def fleet_objects(count: int) -> Iterator[Object]:
    """Yields about `count` objects: clusters of ten machines with their hosts, as on a management cluster."""
    sample = sum(1 for _ in drafts(_spec(2))) - sum(1 for _ in drafts(_spec(1)))
    uids: dict[ObjectKey, str] = {}
    for number, draft in enumerate(drafts(_spec(max(1, round(count / sample))))):
        uids[draft.key] = f"uid-{number}"
        owners = owner_references(draft, uids)
        known = {"uid": uids[draft.key], "resourceVersion": "1", "ownerReferences": owners}
        body = first_body(draft, owners)
        body["metadata"] = {**body["metadata"], **known}
        yield parse_object(_discovered(draft.type), body)


def times(count: int) -> Mapping[str, float]:
    """Returns the numbers of objects and the times of one size, in seconds."""
    objects = tuple(fleet_objects(count))
    gc.collect()
    build_s, graph = _timed(lambda: build(objects))
    select_s, selection = _timed(lambda: select(graph, selecting.Scope("metal3")))
    order_s, _ = _timed(lambda: (creation_order(selection), deletion_order(selection)))
    return {
        "objects": len(objects),
        "selected": len(selection.selected),
        "build_s": round(build_s, 3),
        "select_s": round(select_s, 3),
        "order_s": round(order_s, 3),
    }


def _spec(clusters: int) -> FleetSpec:
    return FleetSpec(clusters=clusters, control_planes=3, workers=MACHINES_PER_CLUSTER - 3, spare_hosts=0)


def _discovered(kind: ResourceType) -> ResourceType:
    """Returns the type with the flags that discovery would have read from the CRD's labels."""
    flags = METAL3_KINDS.get(kind.group_kind, MoveFlags())
    return ResourceType(
        kind.group,
        kind.version,
        kind.kind,
        kind.plural,
        has_status=kind.has_status,
        move=flags.move,
        move_hierarchy=flags.move_hierarchy or is_hierarchy_kind(*kind.group_kind),
    )


def _timed(work: Callable[[], _Result]) -> tuple[float, _Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    print(orjson.dumps(times(int(sys.argv[1]))).decode())
