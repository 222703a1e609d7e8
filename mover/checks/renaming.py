"""Whether everything that names the namespace that is left can be rewritten. Pure functions."""

from __future__ import annotations

from dataclasses import replace

from mover.choices import RestoreStatus
from mover.errors import Problem
from mover.models import MoveOptions
from mover.namespace import kept_provider_ids, unknown_references
from mover.planning import Plan


def check_namespace(plan: Plan, options: MoveOptions) -> list[Problem]:
    """Every reference to the namespace that is left is rewritten by a known rule (docs/decisions/0016)."""
    if options.to_namespace is None:
        return []
    old = plan.inventory.namespace
    bodies = {obj.key: plan.mutated(obj) for obj in plan.selection.selected}
    accepted = options.keep_provider_ids and options.restore_status is RestoreStatus.ALL
    found = [
        *unknown_references(bodies.values(), old),
        *([] if accepted else kept_provider_ids(bodies.values(), old)),
    ]
    # They are called as their copies are; it is on the source that somebody has to look for them.
    here = {str(body.key): str(key) for key, body in bodies.items()}
    return [replace(problem, subject=here[problem.subject]) for problem in found]
