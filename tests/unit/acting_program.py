"""A `capi-mover` whose library only tells what a move would: for tests of what is on a screen.

python -m tests.unit.acting_program move --to-kubeconfig target ...
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mover import api, cli
from mover.api import ClusterRef
from mover.errors import StoppedError
from mover.events import (
    Event,
    InUnit,
    Listener,
    Noted,
    ObjectDone,
    PhaseEnded,
    PhaseStarted,
    RollingStarted,
    UnitEnded,
    UnitStarted,
    Waiting,
)
from mover.models import MoveOptions, MoveReport, Phase, RollingOptions, RollingReport, UnitFate, UnitReport

MOVE: Sequence[Event] = (
    PhaseStarted(Phase.PAUSING, 2),
    Waiting(("BareMetalHost ns/node-1: block-move is set",)),
    Waiting(()),
    PhaseEnded(Phase.PAUSING, 0.5),
    PhaseStarted(Phase.CREATING, 2),
    ObjectDone(Phase.CREATING, "Machine ns/m-1", "created"),
    Noted("A note"),
    ObjectDone(Phase.CREATING, "Machine ns/m-2", "created"),
    PhaseEnded(Phase.CREATING, 0.5),
)
ROLLING: Sequence[Event] = (
    RollingStarted(2),
    UnitStarted("ns/a", 2),
    UnitStarted("ns/b", 1),
    InUnit("ns/a", PhaseStarted(Phase.CREATING, 2)),
    InUnit("ns/b", PhaseStarted(Phase.PAUSING, 1)),
    InUnit("ns/a", ObjectDone(Phase.CREATING, "Machine ns/m-1", "created")),
    InUnit("ns/b", Waiting(("BareMetalHost ns/node-1: block-move is set",))),
    InUnit("ns/b", Waiting(())),
    InUnit("ns/a", PhaseEnded(Phase.CREATING, 0.5)),
    UnitEnded("ns/a", UnitFate.MOVED, 1.5),
    UnitEnded("ns/b", UnitFate.ROLLED_BACK, 1.5),
)


async def move(
    source: ClusterRef, target: ClusterRef, options: MoveOptions, listener: Listener, **_given: object
) -> MoveReport:
    """Tells of a move, and stops in the namespace "stops"."""
    for event in MOVE:
        listener(event)
    if options.namespace == "stops":
        raise StoppedError("It stopped", "Go on with: capi-mover resume")
    return MoveReport(source="here", target="there", namespace="ns", seconds={Phase.CREATING: 0.5})


async def roll(
    source: ClusterRef, target: ClusterRef, options: MoveOptions, rolling: RollingOptions, listener: Listener
) -> RollingReport:
    """Tells of a rolling move of two Clusters, the second of which is rolled back."""
    for event in ROLLING:
        listener(event)
    units = tuple(
        UnitReport(namespace="ns", clusters=(name,), fate=fate)
        for name, fate in (("a", UnitFate.MOVED), ("b", UnitFate.ROLLED_BACK))
    )
    return RollingReport(source="here", target="there", namespace="ns", units=units)


if __name__ == "__main__":
    setattr(api, "move_async", move)  # noqa: B010 - mypy
    setattr(api, "roll_async", roll)  # noqa: B010 - mypy
    cli.app(sys.argv[1:])
