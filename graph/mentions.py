"""Which objects an object names anywhere in its spec: a wide net, to find out who uses what.

No list of fields is complete: providers have their own. So every reference of the usual form counts (kind and name),
and every name in a field that is called after what it names ("secretName", "identityRef", "fromIPPool"). A name that
hits something by chance makes an object look shared; that is the safe side, as long as nothing is owned by it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graph import rules
from graph.resource import Object

_BY_FIELD: Final[tuple[tuple[str, str], ...]] = (
    ("secret", rules.SECRET[1]),
    ("credential", rules.SECRET[1]),
    ("identity", rules.SECRET[1]),
    ("configmap", rules.CONFIG_MAP[1]),
    ("ippool", rules.IP_POOL[1]),
    ("datatemplate", rules.METAL3_DATA_TEMPLATE[1]),
)
"""Part of a field's name, in small letters -> the kind that a bare name in it is of."""

_CONSUMER_FIELD: Final = "consumerRef"
"""Names who uses the object, not what it uses."""


@dataclass(frozen=True, slots=True)
class _Mention:
    kind: str
    name: str
    group: str | None = None
    namespace: str | None = None


class Directory:
    """Finds objects by what is said of them: a kind, a name, perhaps a group and a namespace."""

    def __init__(self, objects: Iterable[Object]) -> None:
        self._by_name: defaultdict[tuple[str, str], list[Object]] = defaultdict(list)
        for obj in objects:
            self._by_name[obj.key.kind, obj.key.name].append(obj)

    def mentioned(self, obj: Object) -> Iterator[Object]:
        """Yields the objects that `obj` names in its spec; one may come more than once, `obj` itself does not."""
        for mention in _mentions(obj.body().get("spec"), ""):
            for found in self._by_name.get((mention.kind, mention.name), ()):
                if found.uid != obj.uid and _fits(found, mention, obj.key.namespace):
                    yield found


def _fits(found: Object, mention: _Mention, namespace: str) -> bool:
    if mention.group is not None and mention.group != found.key.group:
        return False
    return not found.key.namespace or found.key.namespace == (mention.namespace or namespace)


def _mentions(value: Any, field: str) -> Iterator[_Mention]:
    if isinstance(value, list):
        for entry in value:
            yield from _mentions(entry, field)
    elif isinstance(value, dict):
        yield from _reference(value, field)
        for name, below in value.items():
            if name != _CONSUMER_FIELD:
                yield from _mentions(below, name)
    elif isinstance(value, str) and value:
        yield from (_Mention(kind, value) for kind in _kinds_of(field))


def _reference(value: Mapping[str, Any], field: str) -> Iterator[_Mention]:
    """Yields what a reference means; one without a kind means what its field is called after."""
    name = value.get("name")
    if not isinstance(name, str) or not name:
        return
    namespace = value.get("namespace")
    kind = value.get("kind")
    for named in (kind,) if isinstance(kind, str) and kind else _kinds_of(field):
        yield _Mention(named, name, _group(value), namespace if isinstance(namespace, str) else None)


def _group(value: Mapping[str, Any]) -> str | None:
    version, group = value.get("apiVersion"), value.get("apiGroup")
    if isinstance(version, str) and version:
        return version.rpartition("/")[0]
    return group if isinstance(group, str) else None


def _kinds_of(field: str) -> tuple[str, ...]:
    small = field.lower()
    return tuple(kind for part, kind in _BY_FIELD if part in small)
