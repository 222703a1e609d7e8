"""What a pivot is asked to do, and what came of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mover.models import MoveOptions, MoveReport
from mover.pivot.choices import IRONIC_OPERATOR_PLACE, OPERATOR_PLACE, Step

Place = Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")]
"""`NAMESPACE/NAME` of a Deployment or a DaemonSet."""


class Outcome(StrEnum):
    """What became of a step."""

    DONE = "done"
    FOUND_DONE = "found done"
    SKIPPED = "skipped"
    PLANNED = "planned"
    """A dry run: it would be done."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PivotOptions(_Frozen):
    """What a pivot is asked to do.

    Attributes:
        move: How the objects are moved, and those of which namespace.
        cluster: The Cluster that becomes the target, "" for the only one; not asked for if the target is given.
        back: The way back: the source is the cluster itself, so that its own kubeconfig Secret does not help.
        skip: Steps that are not done.
        dry_run: Look, tell, and change nothing.
        ironic: What runs Ironic, on both clusters; all of them must be on the source. Empty: the one of Metal3's
            names that is there.
        operator: The baremetal-operator, on both clusters.
        ironic_operator: The ironic-standalone-operator, needed only where Ironic belongs to it.
        leave_hosts: Stop Ironic and the operator although hosts of other namespaces stay on the source.
        stable_s: How long the API servers must have answered without a failure before the move, in seconds.
        timeout_s: How long each wait may take, in seconds.
    """

    move: MoveOptions = MoveOptions()
    cluster: str = ""
    back: bool = False
    skip: frozenset[Step] = frozenset()
    dry_run: bool = False
    ironic: tuple[Place, ...] = ()
    operator: Place = OPERATOR_PLACE
    ironic_operator: Place = IRONIC_OPERATOR_PLACE
    leave_hosts: bool = False
    stable_s: Annotated[float, Field(ge=0)] = 5.0
    timeout_s: Annotated[float, Field(gt=0)] = 600.0

    def skips(self, step: Step) -> bool:
        """Returns whether a step is not done; without the move, neither are the two that come after it."""
        return step in self.skip or (Step.MOVE in self.skip and step in (Step.STOP_OPERATOR, Step.VERIFY))


class StepReport(_Frozen):
    """What a step did.

    Attributes:
        step: The step.
        outcome: What became of it.
        lines: What it did or found; in a dry run what it would do.
        seconds: How long it took, in seconds.
    """

    step: Step
    outcome: Outcome
    lines: tuple[str, ...] = ()
    seconds: float = 0.0


class PivotReport(_Frozen):
    """What a pivot did.

    Attributes:
        source: Context name of the source.
        target: Context name of the target.
        namespace: What was moved; "" for all namespaces.
        steps: Every step, in order.
        move: The report of the move, None if it was found done, skipped, or planned.
        problems: What a dry run found against the pivot.
    """

    source: str
    target: str
    namespace: str
    steps: tuple[StepReport, ...]
    move: MoveReport | None = None
    problems: tuple[str, ...] = ()
