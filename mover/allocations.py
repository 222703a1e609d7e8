"""Who holds which address and which index: what a machine's network and name are made from.

A claim that comes out with another address gets a machine onto the network of another one, and one that is served twice
wastes an address for good. So the two maps are compared by themselves before anything is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graph import rules
from graph.resource import Object, ObjectKey
from mover.errors import Difference


def allocations(objects: Iterable[Object]) -> Mapping[ObjectKey, tuple[str, ...]]:
    """Returns claim -> what it holds, sorted; in key order.

    An IPClaim holds addresses, as in ("IPPool p: 192.0.2.4",), a Metal3DataClaim indexes, as in
    ("Metal3DataTemplate t: 3",). More than one means that it was served twice.
    """
    held: dict[ObjectKey, list[str]] = {}
    for obj in objects:
        claim = _claim(obj)
        if claim is not None:
            held.setdefault(claim, []).append(_what(obj))
    return {claim: tuple(sorted(held[claim])) for claim in sorted(held)}


def compare_allocations(source: Iterable[Object], target: Iterable[Object]) -> dict[str, Difference]:
    """Returns which claims of `source` hold something else on `target`, by the UID of what they hold on the source.

    Args:
        source: What moves, as the target shall have it.
        target: All allocations that the target has in the namespaces that move; other objects do not matter.
    """
    originals = tuple(source)
    want, have = allocations(originals), allocations(target)
    found = {}
    for obj in originals:
        claim = _claim(obj)
        if claim is not None and want[claim] != have.get(claim, ()):
            what = (", ".join(want[claim]), ", ".join(have.get(claim, ())))
            found[obj.uid] = Difference(str(claim), "what it was given", *what)
    return found


def is_allocation(obj: Object) -> bool:
    """Returns whether an object is what a claim was given."""
    return obj.type.group_kind in _CLAIMS


_CLAIMS: Mapping[rules.GroupKind, rules.GroupKind] = {
    rules.IP_ADDRESS: rules.IP_CLAIM,
    rules.METAL3_DATA: rules.METAL3_DATA_CLAIM,
}


def _claim(obj: Object) -> ObjectKey | None:
    """Returns the claim that was served with an object (IPAddressSpec.claim, Metal3DataSpec.claim)."""
    kind = _CLAIMS.get(obj.type.group_kind)
    return None if kind is None else ObjectKey(*kind, obj.key.namespace, _name(obj.body().get("spec") or {}, "claim"))


def _what(obj: Object) -> str:
    spec: Mapping[str, Any] = obj.body().get("spec") or {}
    if obj.type.group_kind == rules.IP_ADDRESS:
        return f"{rules.IP_POOL[1]} {_name(spec, 'pool')}: {spec.get('address')}"
    return f"{rules.METAL3_DATA_TEMPLATE[1]} {_name(spec, 'template')}: {spec.get('index')}"


def _name(spec: Mapping[str, Any], field: str) -> str:
    return str((spec.get(field) or {}).get("name") or "")
