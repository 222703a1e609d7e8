"""How long the pure part takes: a graph is built, the move is selected, and both orders are made.

Run it with `python -m benchmarks.graph_only [OBJECTS ...]`; it prints one JSON line per size.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TypeVar

import orjson

from graph.build import build
from graph.order import creation_order, deletion_order
from graph.resource import Object, ObjectKey, ResourceType, parse_object
from graph.rules import METAL3_KINDS, MoveFlags, is_hierarchy_kind
from graph.selection import Scope, select
from tests.testbed.fleet import FleetSpec, drafts
from tests.testbed.fleet.build import first_body, owner_references

_Result = TypeVar("_Result")

SIZES = (1_000, 10_000, 100_000)
MACHINES_PER_CLUSTER = 10


@dataclass(frozen=True, slots=True)
class GraphTimes:
    """What one size took, in seconds, and the largest memory of the process so far, in MiB."""

    objects: int
    selected: int
    build_s: float
    select_s: float
    order_s: float
    peak_mib: float


def fleet_objects(count: int) -> Iterator[Object]:
    """Yields about `count` objects: clusters of ten machines with their hosts, as on a management cluster."""
    sample = sum(1 for _ in drafts(_spec(2))) - sum(1 for _ in drafts(_spec(1)))
    uids: dict[ObjectKey, str] = {}
    for number, draft in enumerate(drafts(_spec(max(1, round(count / sample))))):
        uids[draft.key] = f"uid-{number}"
        body = first_body(draft, owner_references(draft, uids))
        body["metadata"] = {**body["metadata"], "uid": uids[draft.key], "resourceVersion": "1"}
        yield parse_object(_discovered(draft.type), body)


def measure(count: int) -> GraphTimes:
    """Returns the times of one size."""
    objects = tuple(fleet_objects(count))
    gc.collect()
    build_s, graph = _timed(lambda: build(objects))
    select_s, selection = _timed(lambda: select(graph, Scope("metal3")))
    order_s, _ = _timed(lambda: (creation_order(selection), deletion_order(selection)))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return GraphTimes(
        objects=len(objects),
        selected=len(selection.selected),
        build_s=round(build_s, 3),
        select_s=round(select_s, 3),
        order_s=round(order_s, 3),
        peak_mib=round(peak_mib, 1),
    )


def main(arguments: list[str]) -> None:
    """Prints the times of the sizes that are asked for."""
    for size in [int(argument) for argument in arguments] or SIZES:
        print(orjson.dumps(asdict(measure(size))).decode(), flush=True)


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
    main(sys.argv[1:])
