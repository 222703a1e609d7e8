"""Which objects a Metal3 object names in its spec: ties that no owner reference shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

from graph import rules
from graph.resource import Object, ObjectKey
from graph.rules import GroupKind


@dataclass(frozen=True, slots=True)
class Reference:
    """One object named by another.

    Attributes:
        field: Where the name stands, e.g. "spec.consumerRef".
        key: The object that is named; it need not exist.
    """

    field: str
    key: ObjectKey


_Resolver: TypeAlias = Callable[[Any, str], ObjectKey | None]


def references(obj: Object) -> tuple[Reference, ...]:
    """Returns the objects that a Metal3 object names, in the order of the fields; nothing for other kinds.

    Sources: the CRDs of baremetal-operator, CAPM3 and IPAM. A HardwareData has no field for it: it belongs to the
    BareMetalHost of its own name, which takes `status.hardware` from it.
    """
    if obj.type.group_kind == rules.HARDWARE_DATA:
        host = ObjectKey(*rules.BARE_METAL_HOST, obj.key.namespace, obj.key.name)
        return (Reference("metadata.name", host),)
    fields = _FIELDS.get(obj.type.group_kind)
    if fields is None:
        return ()
    body = obj.body()
    found = ((path, resolve(_at(body, path), obj.key.namespace)) for path, resolve in fields)
    return tuple(Reference(path, key) for path, key in found if key is not None)


def _at(body: Mapping[str, Any], path: str) -> Any:
    value: Any = body
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _by_name(value: Any, namespace: str, *, kind: GroupKind) -> ObjectKey | None:
    return ObjectKey(*kind, namespace, value) if isinstance(value, str) and value else None


def _by_reference(value: Any, namespace: str, *, kind: GroupKind) -> ObjectKey | None:
    if not isinstance(value, dict) or not value.get("name"):
        return None
    group = str(value["apiVersion"]).rpartition("/")[0] if value.get("apiVersion") else kind[0]
    return ObjectKey(group, value.get("kind") or kind[1], value.get("namespace") or namespace, value["name"])


_secret = partial(_by_reference, kind=rules.SECRET)
_secret_name = partial(_by_name, kind=rules.SECRET)
_consumer = partial(_by_reference, kind=rules.METAL3_MACHINE)
_template = partial(_by_reference, kind=rules.METAL3_DATA_TEMPLATE)
_pool = partial(_by_reference, kind=rules.IP_POOL)

_DATA_SECRETS: tuple[tuple[str, _Resolver], ...] = (
    ("spec.userData", _secret),
    ("spec.networkData", _secret),
    ("spec.metaData", _secret),
)

_FIELDS: Mapping[GroupKind, tuple[tuple[str, _Resolver], ...]] = MappingProxyType(
    {
        rules.BARE_METAL_HOST: (
            ("spec.consumerRef", _consumer),
            ("spec.bmc.credentialsName", _secret_name),
            *_DATA_SECRETS,
            ("spec.preprovisioningNetworkDataName", _secret_name),
        ),
        rules.HOST_CLAIM: (("spec.consumerRef", _consumer), *_DATA_SECRETS),
        rules.METAL3_MACHINE: (("spec.dataTemplate", _template), *_DATA_SECRETS),
        rules.METAL3_DATA_CLAIM: (("spec.template", _template),),
        rules.METAL3_DATA: (
            ("spec.claim", partial(_by_reference, kind=rules.METAL3_DATA_CLAIM)),
            ("spec.template", _template),
            ("spec.networkData", _secret),
            ("spec.metaData", _secret),
        ),
        rules.IP_CLAIM: (("spec.pool", _pool),),
        rules.IP_ADDRESS: (
            ("spec.pool", _pool),
            ("spec.claim", partial(_by_reference, kind=rules.IP_CLAIM)),
        ),
    }
)
