"""A double of Metal3's IP address manager, and of CAPM3's indexes, which work alike. Pure functions.

Rules, as measured around moves: maps in a status (`IPPool.status.indexes`, `Metal3DataTemplate.status.indexes`) are
made anew from the objects that are there; a claim without address gets that of the IPAddress which names it, or else a
new one: an IPClaim that is seen before its IPAddress loses its address. A pool without `spec.clusterName` is paused by
its own annotation only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from graph import rules
from tests.testbed.doubles.controller import annotations_of
from tests.testbed.doubles.world import World, Write, status_write
from tests.testbed.witness import Body


def address_writes(world: World) -> Iterator[Write]:
    """Yields what the address manager writes for the pools that are not paused."""
    for pool in world.of(rules.IP_POOL).values():
        if not world.is_paused(pool):
            allocations = _allocations(world, pool)
            yield from _claim_writes(world, pool, allocations)
            if (pool.get("status") or {}).get("indexes", {}) != allocations:
                yield status_write(rules.IP_POOL, pool, indexes=_replaced(pool, allocations))


def index_writes(world: World) -> Iterator[Write]:
    """Yields what CAPM3 writes for the Metal3DataTemplates that are not paused."""
    for template in world.of(rules.METAL3_DATA_TEMPLATE).values():
        indexes = _indexes(world, template["metadata"]["name"])
        has = (template.get("status") or {}).get("indexes") or []
        if not world.is_paused(template) and sorted(has, key=_index) != indexes:
            yield status_write(rules.METAL3_DATA_TEMPLATE, template, indexes=indexes)


def _indexes(world: World, template: str) -> list[dict[str, Any]]:
    specs = [data["spec"] for data in world.of(rules.METAL3_DATA).values()]
    mine = [spec for spec in specs if spec["template"]["name"] == template]
    return sorted(({"index": spec["index"], "name": spec["claim"]["name"]} for spec in mine), key=_index)


def _index(entry: Mapping[str, Any]) -> int:
    return int(entry["index"])


def _allocations(world: World, pool: Body) -> dict[str, str]:
    """Returns claim -> address of the pool's IPAddresses."""
    name = pool["metadata"]["name"]
    specs = [address["spec"] for address in world.of(rules.IP_ADDRESS).values()]
    return {spec["claim"]["name"]: spec["address"] for spec in specs if spec["pool"]["name"] == name}


def _claim_writes(world: World, pool: Body, allocations: Mapping[str, str]) -> Iterator[Write]:
    taken = {*allocations.values()}
    for claim in world.of(rules.IP_CLAIM).values():
        if not _wants_address(claim, pool):
            continue
        name = claim["metadata"]["name"]
        if name not in allocations:
            address = _first_free(pool, taken)
            taken.add(address)
            yield _new_address(pool, claim, address)
        given = allocations.get(name) or address
        named = {"name": _address_name(pool, given), "namespace": claim["metadata"]["namespace"]}
        yield status_write(rules.IP_CLAIM, claim, address=named)


def _wants_address(claim: Body, pool: Body) -> bool:
    if claim["spec"]["pool"]["name"] != pool["metadata"]["name"] or claim["metadata"].get("deletionTimestamp"):
        return False
    return rules.PAUSED_ANNOTATION not in annotations_of(claim) and not (claim.get("status") or {}).get("address")


def _first_free(pool: Body, taken: set[str]) -> str:
    first = ipaddress.IPv4Address(pool["spec"]["pools"][0]["start"])
    return next(text for number in range(1 << 16) if (text := str(first + number)) not in taken)


def _new_address(pool: Body, claim: Body, address: str) -> Write:
    names = {"claim": claim["metadata"]["name"], "pool": pool["metadata"]["name"]}
    named = {field: {"name": name, "namespace": claim["metadata"]["namespace"]} for field, name in names.items()}
    body = {
        "apiVersion": pool["apiVersion"],
        "kind": "IPAddress",
        "metadata": {"name": _address_name(pool, address)},
        "spec": {**named, "address": address, "prefix": pool["spec"]["prefix"]},
    }
    created = Write(rules.IP_ADDRESS, _address_name(pool, address), body, creates=True)
    return replace(created, new_address_for=names["claim"])


def _address_name(pool: Body, address: str) -> str:
    return f"{pool['spec']['namePrefix']}-{address.replace('.', '-')}"


def _replaced(pool: Body, allocations: Mapping[str, str]) -> dict[str, str | None]:
    """Returns the merge patch from the map that the pool has to `allocations`."""
    has = (pool.get("status") or {}).get("indexes") or {}
    return {**dict.fromkeys(has), **allocations}
