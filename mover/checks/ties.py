"""Whether what moves can be parted from what stays: owners, dependents, Clusters on both sides. Pure functions."""

from __future__ import annotations

from graph import rules
from graph.order import cycles
from graph.resource import Object
from graph.selection import Rule
from mover.errors import Problem
from mover.planning import Plan


def check_split(plan: Plan) -> list[Problem]:
    """Nothing belongs to Clusters on both sides that cannot be in two places (docs/decisions/0021)."""
    decisions = plan.selection.decisions
    return [
        Problem("split", "source", str(obj.key), f"it cannot be split. {decisions[obj.uid].reason}", _split_remedy(obj))
        for obj in plan.selection.left
        if decisions[obj.uid].rule is Rule.CANNOT_BE_SPLIT
    ]


def _split_remedy(obj: Object) -> str:
    together = "Move these Clusters together (--cluster for each)"
    if obj.type.group_kind in rules.ALLOCATOR_KINDS:
        return f"{together}, or give each a {obj.key.kind} of its own: two copies would hand out the same numbers twice"
    return f"{together}, or end what ties it to one of them (owner, label or reference)"


def check_left_dependents(plan: Plan) -> list[Problem]:
    """Nothing stays on the source that the garbage collector would delete once all its owners have moved away.

    Cluster-scoped objects are not looked at: the collector does not follow them to owners in a namespace.
    """
    staying = [*plan.selection.left, *(obj for obj in plan.selection.kept if obj.type.namespaced)]
    return [
        _collected(obj, plan) for obj in staying if obj.owners and all(plan.moves(owner.uid) for owner in obj.owners)
    ]


def _collected(obj: Object, plan: Plan) -> Problem:
    owner = f"{obj.owners[0].kind} {obj.owners[0].name}"
    if plan.is_kept(obj):
        what = f"the garbage collector deletes it once {owner} moved. {plan.selection.decisions[obj.uid].reason}"
        remedy = "Give it an owner that stays, too, or take its owner references off"
    else:
        what = f"it stays, but the garbage collector deletes it once {owner} moved"
        remedy = f"Label it {rules.MOVE_LABEL} to take it along, or take its owner references off"
    return Problem("left-dependents", "source", str(obj.key), what, remedy)


def check_one_owner(plan: Plan) -> list[Problem]:
    """No Cluster and no host is copied and kept: controllers on both sides would act on the same machines."""
    kinds = (rules.CLUSTER, rules.BARE_METAL_HOST)
    remedy = "Take its owner reference to the cluster-scoped object off, then move again"
    kept = [obj for obj in plan.selection.kept if obj.type.group_kind in kinds]
    return [
        Problem("one-owner", "source", str(obj.key), plan.selection.decisions[obj.uid].reason, remedy) for obj in kept
    ]


def tell_cycles(plan: Plan) -> list[Problem]:
    """Returns the circles of owners, as warnings: they move, and clusterctl refuses them (docs/decisions/0010)."""
    what = "they own each other in a circle; the copies are made one after the other, and the circle is closed last"
    remedy = "Nothing; but find out which controller makes such references"
    return [
        Problem(
            "cycles", "source", ", ".join(str(plan.object(uid).key) for uid in circle), what, remedy, is_warning=True
        )
        for circle in cycles(plan.selection)
    ]
