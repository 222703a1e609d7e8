"""The pivot: a cluster's objects into the cluster itself, or back, with Ironic and the operators around them.

What it is asked and what it answers is here; `mover.pivot.run` does it, and is imported only where it is needed.
"""

from mover.pivot.models import Outcome, PivotOptions, PivotReport, Step, StepReport

__all__ = ["Outcome", "PivotOptions", "PivotReport", "Step", "StepReport"]
