"""The differences from clusterctl that are wanted. Nothing else may differ, and each of them must be needed.

A predicate says as narrowly as it can what it allows: it sees the difference and everything that is known of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graph import rules
from graph.resource import ObjectKey
from mover.models import MANAGER
from tests.differential.comparison import MISSING, Difference, Side, Tree, at
from tests.differential.tools import Outcome
from tests.testbed.metal3_crds import KINDS, labels_of

_SOURCE_S = "k:source's "
_UNLABELLED = frozenset((kind.group, kind.name) for kind in KINDS if not labels_of(kind.group, kind.name))
_NAMED = {rules.SECRET: rules.BARE_METAL_HOST, rules.IP_POOL: rules.IP_CLAIM}
_CLUSTERCTL_S = "clusterctl Update "
_OURS = f"{MANAGER} Update "


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a run beside the differences.

    Attributes:
        before: The source's objects before the move, in their normal form.
        target_before: The target's.
        owners: The owners of each object of the source before the move.
        source_after: What capi-mover left on its source.
        oracle: How clusterctl ended.
        ours: How capi-mover ended.
    """

    before: Mapping[ObjectKey, Tree] = field(default_factory=dict)
    target_before: Mapping[ObjectKey, Tree] = field(default_factory=dict)
    owners: Mapping[ObjectKey, frozenset[ObjectKey]] = field(default_factory=dict)
    source_after: frozenset[ObjectKey] = frozenset()
    oracle: Outcome = field(default_factory=lambda: Outcome(True))
    ours: Outcome = field(default_factory=lambda: Outcome(True))

    def above(self, key: ObjectKey) -> frozenset[ObjectKey]:
        """Returns all owners of an object, and theirs; the object itself only if it is in a circle."""
        found: set[ObjectKey] = set()
        ahead = set(self.owners.get(key, ()))
        while ahead:
            found |= ahead
            ahead = {owner for one in ahead for owner in self.owners.get(one, ())} - found
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Departure:
    """A wanted difference.

    Attributes:
        name: What it is called in the summary of a run.
        record: The decision record, a file in docs/decisions.
        allows: Whether a difference is one of this kind.
    """

    name: str
    record: str
    allows: Callable[[Difference, Evidence], bool]


def allowed_by(difference: Difference, evidence: Evidence) -> Departure | None:
    """Returns the first departure that allows the difference, None if there is none."""
    return next((found for found in DEPARTURES if found.allows(difference, evidence)), None)


# --- whole objects --------------------------------------------------------------------------------


def _is_copied(difference: Difference, evidence: Evidence) -> bool:
    """Returns whether capi-mover alone has made a copy, equal to its original but for what the move adds."""
    key, ours = difference.key, difference.ours
    if difference.side is not Side.TARGET or key is None or difference.path or difference.oracle is not MISSING:
        return False
    return ours is not MISSING and _comparable(key, ours) == _comparable(key, evidence.before.get(key))


def _is_moved(difference: Difference, evidence: Evidence) -> bool:
    """Returns whether capi-mover alone has moved an object: either half of it."""
    gone = difference.side is Side.SOURCE and not difference.path and difference.ours is MISSING
    return gone or _is_copied(difference, evidence)


def _unlabelled(difference: Difference, evidence: Evidence) -> bool:
    key = difference.key
    return key is not None and (key.group, key.kind) in _UNLABELLED and _is_copied(difference, evidence)


def _named(difference: Difference, evidence: Evidence) -> bool:
    """A Secret or an IPPool without owners belongs to the host or the IPClaim that names it."""
    key = difference.key
    if key is None or (key.group, key.kind) not in _NAMED or not _is_moved(difference, evidence):
        return False
    namers = (tree for other, tree in evidence.before.items() if _may_name(other, key))
    return any(key.name in _texts(tree.get("spec")) for tree in namers)


def _may_name(other: ObjectKey, key: ObjectKey) -> bool:
    return (other.group, other.kind) == _NAMED[key.group, key.kind] and other.namespace == key.namespace


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, Mapping):
        yield from (text for inner in tree.values() for text in _texts(inner))
    elif isinstance(tree, str):
        yield tree


def _circle(difference: Difference, evidence: Evidence) -> bool:
    key = difference.key
    if key is None or not _is_moved(difference, evidence):
        return False
    return any(owner in evidence.above(owner) for owner in {key, *evidence.above(key)})


def _outside_owner(difference: Difference, evidence: Evidence) -> bool:
    key = difference.key
    if key is None or key in evidence.source_after or not _is_moved(difference, evidence):
        return False
    return any(owner in evidence.target_before and owner in evidence.source_after for owner in evidence.above(key))


def _used_owner(difference: Difference, evidence: Evidence) -> bool:
    key = difference.key
    if key is None or key not in evidence.source_after:
        return False
    if not any(owner in evidence.target_before for owner in evidence.above(key)):
        return False
    return _is_copied(difference, evidence) or _is_being_collected(difference)


def _is_being_collected(difference: Difference) -> bool:
    """Returns whether clusterctl's copy has lost its owner to the collector, and is about to go after it."""
    if difference.side is not Side.TARGET or difference.path[:1] != ("metadata",):
        return False
    if difference.path == ("metadata", "deletionTimestamp"):
        return difference.ours is MISSING
    return difference.path[1:2] == ("owners",) and difference.path[-1] == "uid" and difference.ours == "is that object"


# --- fields ---------------------------------------------------------------------------------------


def _status(difference: Difference, evidence: Evidence) -> bool:
    key = difference.key
    if difference.side is not Side.TARGET or difference.path != ("status",) or key is None:
        return False
    original = at(evidence.before.get(key, {}), ("status",))
    return difference.oracle is MISSING and _known(key, difference.ours) == _known(key, original)


def _owner_uids(difference: Difference, evidence: Evidence) -> bool:
    *parents, last = difference.path or ("",)
    if difference.side is not Side.TARGET or "f:ownerReferences" not in parents:
        return False
    if last.startswith(_SOURCE_S):
        return difference.ours is MISSING
    return last.startswith("k:") and difference.oracle is MISSING


def _namespace(difference: Difference, evidence: Evidence) -> bool:
    key = difference.key
    if difference.side is not Side.TARGET or key is None or key.kind != "Namespace" or key in evidence.target_before:
        return False
    return difference.oracle is MISSING and difference.ours == at(evidence.before.get(key, {}), difference.path)


def _class_pause(difference: Difference, evidence: Evidence) -> bool:
    """A ClusterClass that is kept is left paused on the source by clusterctl."""
    key = difference.key
    if difference.side is not Side.SOURCE or key is None or (key.group, key.kind) != rules.CLUSTER_CLASS:
        return False
    if difference.path[:2] == ("metadata", "managers"):
        return difference.path[2].startswith(_CLUSTERCTL_S) and difference.ours is MISSING
    if difference.path[:2] != ("metadata", "annotations"):
        return False
    annotations = {difference.path[2]: difference.oracle} if difference.path[2:] else difference.oracle
    return difference.ours is MISSING and set(annotations) == {rules.PAUSED_ANNOTATION}


def _saved_status(difference: Difference, evidence: Evidence) -> bool:
    """A host's status is saved in its annotation, which stays until the operator has read it."""
    key, path = difference.key, difference.path
    if difference.side is not Side.TARGET or key is None or (key.group, key.kind) != rules.BARE_METAL_HOST:
        return False
    if path[:2] == ("metadata", "managers"):
        return path[2].startswith(_OURS) and difference.oracle is MISSING
    if path[:2] != ("metadata", "annotations") or difference.oracle is not MISSING:
        return False
    annotations = {path[2]: difference.ours} if path[2:] else difference.ours
    return set(annotations) == {rules.HOST_STATUS_ANNOTATION}


# --- refusals -------------------------------------------------------------------------------------


def _refuses(check: str) -> Callable[[Difference, Evidence], bool]:
    """Returns the predicate of everything that is different because capi-mover did not start the move.

    That nothing has changed then is checked for every refusal (`run`).
    """

    def allows(difference: Difference, evidence: Evidence) -> bool:
        ours = evidence.ours
        return evidence.oracle.succeeded and ours.refused and check in ours.checks and ours.checks <= _REFUSALS

    return allows


def _dry_run_refuses(difference: Difference, evidence: Evidence) -> bool:
    """A dry run of clusterctl leaves the check of provisioned Clusters out."""
    ours, oracle = evidence.ours, evidence.oracle
    is_dry = "dry-run" in oracle.output
    return difference.side is Side.OUTCOME and is_dry and oracle.succeeded and ours.checks == {"provisioned"}


_REFUSALS = frozenset({"collisions", "outside-owners", "left-dependents", "deleting", "hosts", "references"})


def _comparable(key: ObjectKey, tree: Any) -> Any:
    """Returns an object without what the move adds to a copy, and without what no controller has seen yet."""
    if not isinstance(tree, Mapping):
        return tree
    return {**tree, "status": _known(key, tree.get("status", MISSING))}


def _known(key: ObjectKey, status: Any) -> Any:
    """Returns a status; a Cluster's without observedGeneration: its pause and the end of it are new generations."""
    if (key.group, key.kind) != rules.CLUSTER or not isinstance(status, Mapping):
        return status
    plain = {name: value for name, value in status.items() if name != "observedGeneration"}
    conditions = [_known(key, condition) for condition in plain.get("conditions") or ()]
    return {**plain, "conditions": conditions} if conditions else plain


DEPARTURES: tuple[Departure, ...] = (
    Departure(
        "the move is refused: on the target already", "0009-existing-objects-are-refused.md", _refuses("collisions")
    ),
    Departure("the move is refused: owner stays behind", "0011-owners-outside-the-move.md", _refuses("outside-owners")),
    Departure(
        "the move is refused: dependent stays behind",
        "0012-nothing-is-left-to-the-collector.md",
        _refuses("left-dependents"),
    ),
    Departure("the move is refused: being deleted", "0013-dying-objects-are-not-copied.md", _refuses("deleting")),
    Departure("the move is refused: host in transition", "0015-hosts-in-transition.md", _refuses("hosts")),
    Departure("the move is refused: named object stays behind", "0018-writes-are-rehearsed.md", _refuses("references")),
    Departure("a dry run is refused", "0033-a-dry-run-refuses-what-the-move-would.md", _dry_run_refuses),
    Departure("status is restored", "0005-status-is-restored.md", _status),
    Departure("field managers own the copy's owners", "0003-field-managers-follow-their-owners.md", _owner_uids),
    Departure("namespaces keep their labels", "0004-namespaces-keep-labels.md", _namespace),
    Departure("kept classes are not left paused", "0006-whole-fleet-is-paused-and-confirmed.md", _class_pause),
    Departure("hosts keep a saved status", "0006-whole-fleet-is-paused-and-confirmed.md", _saved_status),
    Departure("Metal3's kinds need no label", "0002-metal3-kinds-need-no-labels.md", _unlabelled),
    Departure("what Metal3 names moves along", "0002-metal3-kinds-need-no-labels.md", _named),
    Departure("owner cycles move", "0010-owner-cycles-move.md", _circle),
    Departure("an owner on the target is found by name", "0011-owners-outside-the-move.md", _outside_owner),
    Departure("what is below a used object gets its UID", "0014-dependents-of-used-objects.md", _used_owner),
)
