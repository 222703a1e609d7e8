"""From what a user types, `KIND/NAME` or `KIND.GROUP/NAME`, to one object of a plan; reads only.

A kind may be given by its name, its plural, its singular or a short name, as the API server's discovery has them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from graph import rules
from graph.resource import Object, ResourceType
from mover.concurrency import both
from mover.errors import UsageError
from mover.kube import Cluster
from mover.planning import Plan

_SHOWN = 5


async def find_object(cluster: Cluster, plan: Plan, text: str) -> Object:
    """Returns the object of the plan's inventory that `text` means.

    Raises:
        UsageError: It cannot be understood, nothing of that name is there, or several are.
    """
    wanted, _, name = text.partition("/")
    if not wanted or not name or "/" in name:
        raise UsageError(f'"{text}" names no object', "Give it as KIND/NAME or KIND.GROUP/NAME")
    types = await _types_called(cluster, plan.inventory.types, wanted)
    objects = [obj for obj in plan.selection.graph.objects.values() if obj.type in types]
    found = _preferred([obj for obj in objects if obj.key.name == name], plan.inventory.namespace)
    if not found:
        raise _missing(text, {obj.key.name for obj in objects})
    if len(found) > 1:
        raise _ambiguous(text, found)
    return found[0]


def _preferred(found: Sequence[Object], namespace: str) -> Sequence[Object]:
    """Returns those of the namespace that is asked for; the inventory may have ClusterClasses of others, too."""
    return [obj for obj in found if obj.key.namespace in (namespace, "")] or found


def _ambiguous(text: str, found: Sequence[Object]) -> UsageError:
    names = ", ".join(f"{obj.key} ({obj.type.resource_name})" for obj in found)
    remedy = "Choose one by KIND.GROUP/NAME, or another namespace with --namespace"
    return UsageError(f'"{text}" may be any of {names}', remedy)


def _missing(text: str, names: Collection[str]) -> UsageError:
    close = get_close_matches(text.partition("/")[2], sorted(names), _SHOWN)
    remedy = f"Close matches: {', '.join(close)}" if close else f"There are: {', '.join(sorted(names)[:_SHOWN])}"
    return UsageError(f'There is no object "{text}"', remedy if names else "There is no object of that kind")


async def _types_called(cluster: Cluster, movable: Sequence[ResourceType], wanted: str) -> frozenset[ResourceType]:
    """Returns the movable types that may be called so.

    The API server's discovery is asked only if the kinds and plurals of the CRDs do not have the name.

    Raises:
        UsageError: There are none; it says why objects of a kind that the server knows do not move.
    """
    kind, _, group = wanted.partition(".")
    found = [resource for resource in movable if kind.lower() in _own_names(resource)]
    if not _in_group(found, group):
        served = await _served(cluster)
        called = [key for key, names in served.items() if kind.lower() in names]
        found = [resource for resource in movable if (resource.group, resource.plural) in called]
        if not _in_group(found, group):
            raise _immovable(wanted, [key for key in called if _is_group(key[0], group)], movable)
    return frozenset(_in_group(found, group))


def _own_names(resource: ResourceType) -> tuple[str, str]:
    return resource.kind.lower(), resource.plural.lower()


def _in_group(types: Iterable[ResourceType], group: str) -> list[ResourceType]:
    return [resource for resource in types if _is_group(resource.group, group)]


def _is_group(group: str, wanted: str) -> bool:
    return not wanted or group == wanted


def _immovable(wanted: str, called: Sequence[tuple[str, str]], movable: Sequence[ResourceType]) -> UsageError:
    if called:
        group, plural = called[0]
        return UsageError(
            f"No object of the type {f'{plural}.{group}' if group else plural} moves: the type is not read",
            f"Secrets, ConfigMaps, Metal3's kinds and CRDs with the label {rules.CLUSTERCTL_LABEL} are",
        )
    kinds = {resource.kind.lower(): resource.kind for resource in movable}
    close = get_close_matches(wanted.partition(".")[0].lower(), sorted(kinds), _SHOWN)
    shown = [kinds[name] for name in close] or sorted(kinds.values())
    return UsageError(f'The cluster knows no kind "{wanted}"', f"Kinds that may move: {', '.join(shown)}")


async def _served(cluster: Cluster) -> dict[tuple[str, str], frozenset[str]]:
    """Returns all names by which the API server knows each resource, by (group, plural), in lower case."""
    core, others = await both(cluster.discovery("/api"), cluster.discovery("/apis"))
    return {
        (found["metadata"].get("name") or "", resource["resource"]): _names(resource)
        for found in (*core, *others)
        for version in found["versions"]
        for resource in version.get("resources") or ()
    }


def _names(resource: Mapping[str, Any]) -> frozenset[str]:
    kind = (resource.get("responseKind") or {}).get("kind")
    names = (resource["resource"], kind, resource.get("singularResource"), *(resource.get("shortNames") or ()))
    return frozenset(name.lower() for name in names if name)
