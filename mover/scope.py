"""What a move is of: all namespaces, one of them, or single Clusters of one. Written as one string.

"" stands for all namespaces, "metal3" for one, "metal3/a,b" for the Clusters a and b of it. Names of Kubernetes have
neither "/" nor ",". "*/0/4" stands for the first of four shards of all namespaces: nothing is moved under that name,
but whoever moves the namespaces of the shard holds it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from mover.names import is_label, is_subdomain


def scope_of(namespace: str, clusters: Iterable[str] = ()) -> str:
    """Returns the scope of a namespace ("" for all), or of some of its Clusters.

    >>> scope_of("metal3", ["b", "a"])
    'metal3/a,b'
    """
    names = ",".join(sorted(set(clusters)))
    return f"{namespace}/{names}" if names else namespace


_SHARD = "*/"


def shard_scope(index: int, total: int) -> str:
    """Returns the scope of one of `total` shards."""
    return f"{_SHARD}{index}/{total}"


def shard_in(scope: str) -> str:
    """Returns the INDEX/TOTAL of a shard's scope, "" for any other."""
    return scope.removeprefix(_SHARD) if scope.startswith(_SHARD) else ""


def is_scope(text: str) -> bool:
    """Returns whether a text is a scope, just as `scope_of` or `shard_scope` writes it.

    >>> [is_scope(text) for text in ("", "metal3", "metal3/a,b", "*/0/4")]
    [True, True, True, True]
    >>> [is_scope(text) for text in ("*/x", "metal3/b,a", "metal3/", "../x", "*/4/4")]
    [False, False, False, False, False]
    """
    if text.startswith(_SHARD):
        parts = shard_in(text).split("/")
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
            return False
        index, total = map(int, parts)
        return index < total and text == shard_scope(index, total)
    namespace, names = namespace_of(text), clusters_of(text)
    is_named = is_label(namespace) if namespace else not names
    return is_named and all(map(is_subdomain, names)) and text == scope_of(namespace, names)


def namespace_of(scope: str) -> str:
    """Returns the namespace of a scope, "" for all."""
    return scope.partition("/")[0]


def clusters_of(scope: str) -> tuple[str, ...]:
    """Returns the names of the single Clusters of a scope, sorted; none if all of the namespace is meant."""
    names = scope.partition("/")[2]
    return tuple(names.split(",")) if names else ()


def overlap(one: str, other: str) -> bool:
    """Returns whether two moves may work on the same objects: then one has to end before the other begins.

    Two single Clusters of one namespace do overlap: both moves may copy what the Clusters share, and the rollback of
    one would take off what the other has counted on.

    A shard overlaps with itself, with a shard of another number of shards, and with all namespaces at once. Its single
    namespaces are kept apart from others by moves of their own.
    """
    shards = [shard for scope in (one, other) if (shard := shard_in(scope))]
    if len(shards) == 2:
        (index, total), (other_index, other_total) = (shard.split("/") for shard in shards)
        return total != other_total or index == other_index
    if shards:
        return "" in (one, other)
    spaces = {namespace_of(one), namespace_of(other)}
    return len(spaces) == 1 or "" in spaces


def described(scope: str) -> str:
    """Returns the scope in words."""
    if shard := shard_in(scope):
        return f"shard {shard}"
    namespace, names = namespace_of(scope), clusters_of(scope)
    if names:
        return f"{'Cluster' if len(names) == 1 else 'Clusters'} {', '.join(names)} of namespace {namespace}"
    return f"namespace {namespace}" if namespace else "all namespaces"
