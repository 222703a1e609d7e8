"""The pivot: a cluster's objects into the cluster itself, or back, with Ironic and the operators around them."""

from mover.pivot.models import Outcome, PivotOptions, PivotReport, Step, StepReport
from mover.pivot.run import PivotStoppedError, pivot

__all__ = ["Outcome", "PivotOptions", "PivotReport", "PivotStoppedError", "Step", "StepReport", "pivot"]
