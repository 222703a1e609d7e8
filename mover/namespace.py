"""Into another namespace: every reference to the old one is rewritten by a rule, or refused by name.

`RULES` is the whole of what is known; what holds the old namespace in a form that a reader would take for a reference,
and is in no rule, is an unknown reference. A provider ID is neither: see `kept_provider_ids` and
docs/decisions/0016. Pure functions on JSON trees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from graph import rules
from graph.resource import Object
from graph.rules import GroupKind
from mover.errors import Problem, UsageError

Mutator: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Body on the source -> body on the target; pure."""

CHECK: Final = "to-namespace"
"""The name of the check in its problems."""

HOST_ANNOTATION: Final = "metal3.io/BareMetalHost"
"""On a Metal3Machine: `namespace/name` of the host it claims (CAPM3 metal3machine_manager.go, HostAnnotation)."""

LAST_APPLIED_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""The whole object as the user last applied it (kubernetes core/v1, LastAppliedConfigAnnotation)."""

CONVERSION_ANNOTATION: Final = "cluster.x-k8s.io/conversion-data"
"""Spec and status in the newest version, on an object stored in an older one (cluster-api util/conversion)."""


class Form(StrEnum):
    """How a field holds the namespace."""

    NAMESPACE = "the namespace"
    HOST_KEY = "namespace/name"
    REFERENCES = "an object reference (kind, name, namespace) anywhere below"
    OBJECT = "JSON of the object, or of its spec and status"
    STATUS = "JSON of the status"
    PROVIDER_ID = "provider ID, which stays as it is"


@dataclass(frozen=True, slots=True)
class Rule:
    """Fields that hold the namespace in the same form.

    Attributes:
        kinds: The kinds that have them; none for all kinds.
        field: A path such as "spec.names[]", "{a,b}" for either; "@name" is the annotation of that name.
        source: Where it is written that they do.
        form: How they hold it.
    """

    kinds: tuple[GroupKind, ...]
    field: str
    source: str
    form: Form = Form.NAMESPACE


_TEMPLATED: Final = (rules.MACHINE_SET, rules.MACHINE_DEPLOYMENT, rules.MACHINE_POOL)
_CAPI: Final = "cluster-api core/v1beta1"
_BMO: Final = "baremetal-operator apis/metal3.io/v1alpha1"
_IPAM: Final = "ip-address-manager api/v1alpha1"
_CAPM3: Final = "cluster-api-provider-metal3 api/v1beta2"

RULES: Final[tuple[Rule, ...]] = (
    # --- All kinds
    Rule((), "metadata.namespace", "apimachinery meta/v1, ObjectMeta"),
    Rule((), "{spec,status}", "kubernetes core/v1, ObjectReference; all of a ClusterClass, v1beta1", Form.REFERENCES),
    Rule((), f"@{LAST_APPLIED_ANNOTATION}", "kubectl apply", Form.OBJECT),
    Rule((), f"@{CONVERSION_ANNOTATION}", "cluster-api util/conversion, MarshalData", Form.OBJECT),
    # --- Cluster API; v1beta2 has dropped the namespace from all of them but classRef
    Rule((rules.CLUSTER,), "spec.{infrastructureRef,controlPlaneRef}.namespace", f"{_CAPI}, ClusterSpec"),
    Rule((rules.CLUSTER,), "spec.topology.classNamespace", f"{_CAPI}, Topology: empty is the Cluster's own"),
    Rule((rules.CLUSTER,), "spec.topology.classRef.namespace", "cluster-api core/v1beta2, ClusterClassRef: likewise"),
    Rule(
        (rules.CLUSTER,),
        "spec.topology.{controlPlane,workers.machineDeployments[]}.machineHealthCheck.remediationTemplate.namespace",
        f"{_CAPI}, MachineHealthCheckClass",
    ),
    Rule((rules.MACHINE,), "spec.{infrastructureRef,bootstrap.configRef}.namespace", f"{_CAPI}, MachineSpec"),
    Rule(_TEMPLATED, "spec.template.spec.{infrastructureRef,bootstrap.configRef}.namespace", f"{_CAPI}, MachineSpec"),
    Rule((rules.MACHINE_HEALTH_CHECK,), "spec.remediationTemplate.namespace", f"{_CAPI}, MachineHealthCheckSpec"),
    Rule(
        (rules.KUBEADM_CONTROL_PLANE,),
        "spec.machineTemplate.infrastructureRef.namespace",
        "cluster-api controlplane/kubeadm/v1beta1, KubeadmControlPlaneMachineTemplate",
    ),
    # --- CAPM3: it refuses Secrets of another namespace
    Rule(
        (rules.METAL3_MACHINE,),
        f"@{HOST_ANNOTATION}",
        "cluster-api-provider-metal3 metal3machine_manager.go, ensureAnnotation, getBmhNameFromM3Machine",
        Form.HOST_KEY,
    ),
    Rule(
        (rules.METAL3_MACHINE,),
        "spec.{dataTemplate,userData,metaData,networkData}.namespace",
        f"{_CAPM3}, Metal3MachineSpec",
    ),
    Rule(
        (rules.METAL3_MACHINE,),
        "status.{renderedData,userData,metaData,networkData}.namespace",
        f"{_CAPM3}, Metal3MachineStatus",
    ),
    Rule(
        (rules.METAL3_MACHINE_TEMPLATE,),
        "spec.template.spec.{dataTemplate,userData,metaData,networkData}.namespace",
        f"{_CAPM3}, Metal3MachineSpec",
    ),
    Rule((rules.METAL3_DATA,), "spec.{claim,template,metaData,networkData}.namespace", f"{_CAPM3}, Metal3DataSpec"),
    Rule((rules.METAL3_DATA_CLAIM,), "{spec.template,status.renderedData}.namespace", f"{_CAPM3}, Metal3DataClaim"),
    # --- IPAM; an IPPool, like a ClusterResourceSetBinding, names nothing together with its namespace
    Rule((rules.IP_CLAIM,), "{spec.pool,status.address}.namespace", f"{_IPAM}, IPClaim"),
    Rule((rules.IP_ADDRESS,), "spec.{pool,claim}.namespace", f"{_IPAM}, IPAddressSpec"),
    # --- baremetal-operator
    Rule(
        (rules.BARE_METAL_HOST, rules.HOST_CLAIM),
        "spec.{consumerRef,userData,metaData,networkData}.namespace",
        f"{_BMO}, BareMetalHostSpec, HostClaimSpec; CAPM3 consumerRefMatches compares the namespace",
    ),
    Rule(
        (rules.BARE_METAL_HOST,),
        "spec.networkInterfaces[].hostNetworkAttachment.namespace",
        f"{_BMO}, HostNetworkAttachmentRef",
    ),
    Rule(
        (rules.BARE_METAL_HOST,),
        "status.{goodCredentials,triedCredentials}.credentials.namespace",
        f"{_BMO}, CredentialsStatus",
    ),
    Rule((rules.BARE_METAL_HOST,), f"@{rules.HOST_STATUS_ANNOTATION}", f"{_BMO}, StatusAnnotation", Form.STATUS),
    Rule((rules.HOST_FIRMWARE_SETTINGS,), "status.schema.namespace", f"{_BMO}, SchemaReference"),
    Rule((rules.HOST_CLAIM,), "spec.hostSelector.inNamespace", f"{_BMO}, HostSelector"),
    Rule((rules.HOST_CLAIM,), "status.{bareMetalHost,hardwareData}.namespace", f"{_BMO}, HostClaimStatus"),
    Rule((rules.HOST_DEPLOY_POLICY,), "spec.hostClaimNamespaces.names[]", f"{_BMO}, HostClaimNamespaces"),
    Rule((rules.BARE_METAL_SWITCH,), "spec.credentials.namespace", f"{_BMO}, BareMetalSwitchSpec"),
    Rule((rules.BMC_EVENT_SUBSCRIPTION,), "spec.httpHeadersRef.namespace", f"{_BMO}, BMCEventSubscriptionSpec"),
    # --- What must not change
    Rule(
        (rules.MACHINE, rules.METAL3_MACHINE),
        "spec.providerID",
        "cluster-api machine_controller_noderef.go, getNode: equal to the Node's, which cannot change",
        Form.PROVIDER_ID,
    ),
)
"""Every place that is known to hold the namespace of an object of the move."""


def check_rules(old: str, new: str) -> None:
    """Checks that what is asked for can be done at all.

    Raises:
        UsageError: `new` is no name for a namespace, or the same as `old`, or `old` is "" (all namespaces).
    """
    if len(new) > _LABEL_LENGTH or not _LABEL.fullmatch(new):
        raise UsageError(
            f"{new!r} is no name for a namespace",
            "Use at most 63 lower case letters, digits and '-', with a letter or digit first and last",
        )
    if not old:
        raise UsageError("All namespaces cannot move into one", "Name the namespace to move")
    if old == new:
        raise UsageError(f"The namespace is {new!r} already", "Leave out the new namespace")


def namespace_mutator(old: str, new: str) -> Mutator:
    """Returns the mutator that moves a body, and every reference that a rule knows, from `old` to `new`.

    The mutator does not change its argument; what it leaves as it was it shares with it. Provider IDs stay.

    >>> move = namespace_mutator("metal3", "fleet")
    >>> move({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca", "namespace": "metal3"}})["metadata"]
    {'name': 'ca', 'namespace': 'fleet'}
    """
    renaming = _Renaming(old, new)
    return lambda body: _renamed(body, _kind_of(body), renaming)


def unknown_references(bodies: Iterable[Object], old: str) -> list[Problem]:
    """Returns a problem for each reference to `old` that no rule rewrites, in the order of the objects.

    Counted are only these forms: a field called `namespace`, or with a name that ends so, that is `old`; a text that
    is `old/<name of one of the objects>`, in annotations also with any other name; `<scheme>://old/`, unless the
    scheme is one of network addresses. Fields called `…message` are text for humans. The data of Secrets is not
    looked at, and nothing of a Secret is shown.

    Args:
        bodies: All objects of the move.
        old: The namespace they leave.
    """
    objects = tuple(bodies)
    wanted = _Wanted(old, frozenset(obj.key.name for obj in objects))
    return [problem for obj in objects for problem in _unknown_in(obj, wanted)]


def kept_provider_ids(bodies: Iterable[Object], old: str) -> list[Problem]:
    """Returns a problem for each provider ID that holds `old`: it stays, and the user has to know (decision 0016).

    The Node of the workload cluster has the same provider ID for as long as it lives. CAPM3 makes up the provider ID
    anew, from the new namespace, for a Metal3Machine whose status does not say that it is provisioned, and then
    finds no Node.

    Args:
        bodies: All objects of the move.
        old: The namespace they leave.
    """
    held = ((obj, path, _at_path(obj.body(), path)) for obj in bodies for path in _kept_paths(obj.type.group_kind))
    return [
        Problem(
            CHECK,
            "source",
            str(obj),
            f"{path} is {value}, and stays so because its Node has it: with its status lost, CAPM3 would look for a "
            "Node of the new namespace and never find it",
            "Keep the namespace; or accept it, restore the status of all objects, and replace the machine in time",
        )
        for obj, path, value in held
        if isinstance(value, str) and f"://{old}/" in value
    ]


# --- Rewriting ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Renaming:
    old: str
    new: str


_Steps: TypeAlias = tuple[str, ...]
_Change: TypeAlias = Callable[[Any], Any]

_EACH = "[]"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_LABEL_LENGTH = 63


def _renamed(body: dict[str, Any], kind: GroupKind, renaming: _Renaming) -> dict[str, Any]:
    moved: dict[str, Any] = body
    for steps, form in _fields_of(kind):
        change = _CHANGES.get(form)
        if change is not None:
            moved = _replaced(moved, steps, partial(change, kind, renaming))
    return moved


def _kind_of(body: Mapping[str, Any]) -> GroupKind:
    return (str(body.get("apiVersion") or "").rpartition("/")[0], str(body.get("kind") or ""))


@cache
def _fields_of(kind: GroupKind) -> tuple[tuple[_Steps, Form], ...]:
    """Returns the fields of a kind by all rules that are about it, in the order of the table."""
    about = (rule for rule in RULES if not rule.kinds or kind in rule.kinds)
    return tuple((_steps(path), rule.form) for rule in about for path in _alternatives(rule.field))


def _kept_paths(kind: GroupKind) -> tuple[str, ...]:
    return tuple(".".join(steps) for steps, form in _fields_of(kind) if form is Form.PROVIDER_ID)


def _alternatives(field: str) -> tuple[str, ...]:
    """Returns the paths that a field with braces stands for.

    >>> _alternatives("spec.{pool,claim}.namespace")
    ('spec.pool.namespace', 'spec.claim.namespace')
    """
    head, brace, rest = field.partition("{")
    if not brace:
        return (field,)
    choices, _, tail = rest.partition("}")
    return tuple(path for choice in choices.split(",") for path in _alternatives(f"{head}{choice}{tail}"))


def _steps(path: str) -> _Steps:
    """Returns the keys that a path consists of.

    >>> _steps("spec.names[]"), _steps("@metal3.io/BareMetalHost")
    (('spec', 'names', '[]'), ('metadata', 'annotations', 'metal3.io/BareMetalHost'))
    """
    if path.startswith("@"):
        return ("metadata", "annotations", path[1:])
    return tuple(path.replace(_EACH, f".{_EACH}").split("."))


def _at_path(body: Mapping[str, Any], path: str) -> Any:
    value: Any = body
    for step in _steps(path):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _replaced(tree: Any, steps: _Steps, change: _Change) -> Any:
    """Returns the tree with the value at the steps changed; the same tree if there is none."""
    if not steps:
        return change(tree)
    step, *rest = steps
    if step == _EACH:
        return [_replaced(entry, tuple(rest), change) for entry in tree] if isinstance(tree, list) else tree
    if not isinstance(tree, dict) or step not in tree:
        return tree
    return {**tree, step: _replaced(tree[step], tuple(rest), change)}


def _namespace(_kind: GroupKind, renaming: _Renaming, value: Any) -> Any:
    return renaming.new if value == renaming.old else value


def _host_key(_kind: GroupKind, renaming: _Renaming, value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(f"{renaming.old}/"):
        return value
    return renaming.new + value[len(renaming.old) :]


def _references(kind: GroupKind, renaming: _Renaming, tree: Any) -> Any:
    if isinstance(tree, list):
        return [_references(kind, renaming, entry) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    moved = {name: _references(kind, renaming, value) for name, value in tree.items()}
    if {"kind", "name"} <= moved.keys() and moved.get("namespace") == renaming.old:
        moved["namespace"] = renaming.new
    return moved


def _object_json(kind: GroupKind, renaming: _Renaming, text: Any) -> Any:
    return _in_json(text, lambda body: _renamed(body, kind, renaming))


def _status_json(kind: GroupKind, renaming: _Renaming, text: Any) -> Any:
    return _in_json(text, lambda status: _renamed({"status": status}, kind, renaming)["status"])


_CHANGES: Mapping[Form, Callable[[GroupKind, _Renaming, Any], Any]] = MappingProxyType(
    {
        Form.NAMESPACE: _namespace,
        Form.HOST_KEY: _host_key,
        Form.REFERENCES: _references,
        Form.OBJECT: _object_json,
        Form.STATUS: _status_json,
    }
)


# --- JSON in annotations --------------------------------------------------------------------------


def _parsed(text: Any) -> Any:
    """Returns the JSON object or list that a text is, None if it is none."""
    try:
        tree = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict | list) else None


def _in_json(text: Any, change: _Change) -> Any:
    """Returns the text with its JSON changed, written the way it was; the same text if nothing changes."""
    tree = _parsed(text)
    if not isinstance(tree, dict):
        return text
    changed = change(tree)
    if changed == tree:
        return text
    written = text.rstrip()
    style = next((style for style in _STYLES if style(tree) == written), _go_json)
    return style(changed) + text[len(written) :]


_compact = partial(json.dumps, separators=(",", ":"), ensure_ascii=False)

_GO_ESCAPES = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


def _go_json(tree: Any) -> str:
    """Returns JSON as Go writes it, and so kubectl and the controllers: safe inside HTML."""
    return _compact(tree).translate(_GO_ESCAPES)


_STYLES: tuple[Callable[[Any], str], ...] = (
    _go_json,
    _compact,
    partial(json.dumps, separators=(",", ":")),
    partial(json.dumps, ensure_ascii=False),
    json.dumps,
)


# --- What is left ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The namespace to look for, and the names of the objects that leave it."""

    old: str
    names: frozenset[str]


class _Text(NamedTuple):
    """A string of a body: where it is, the last key that leads to it, and whether it is of an annotation."""

    path: str
    field: str
    value: str
    annotation: bool


_GONE = "\0"
"""Stands for the new namespace while the old one is looked for: no name of anything."""

_NAMESPACE_FIELD = re.compile(r"(^|[/._-])namespaces?$|Namespaces?$")
_ADDRESS = re.compile(
    r"(https?|s?ftps?|tftp|file|nfs|oci|docker|ssh|git|tcp|udp|unix|s3|ws)$"
    r"|(redfish|idrac|ilo\d*|ipmi|irmc|ibmc|libvirt)\b"
)
_SIMPLE_KEY = re.compile(r"[\w-]+")
_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_API_VERSION = re.compile(r"v\d+((alpha|beta)\d+)?")
_SEPARATORS = re.compile(r"[\s,;:=\"']+")


def _unknown_in(obj: Object, wanted: _Wanted) -> Iterator[Problem]:
    kind = obj.type.group_kind
    body = _renamed(obj.body(), kind, _Renaming(wanted.old, _GONE))
    for text in _texts_of(body, kind):
        fragment = _held(text, wanted)
        if fragment is not None:
            shown = "" if kind == rules.SECRET else f" ({fragment})"
            yield Problem(
                CHECK,
                "source",
                str(obj),
                f"{text.path}{shown} holds the namespace {wanted.old}, and no rule rewrites it",
                "Remove or change the field before the move, or keep the namespace",
            )


def _texts_of(body: Mapping[str, Any], kind: GroupKind, path: str = "") -> Iterator[_Text]:
    """Yields the strings of a whole object that may hold a reference, and those of the JSON in its annotations."""
    for name, value in _searched(body, kind).items():
        yield from _texts(value, f"{path}{name}", name)
    metadata = body.get("metadata") or {}
    yield from _texts(metadata.get("labels") or {}, f"{path}metadata.labels", "")
    for name, value in (metadata.get("annotations") or {}).items():
        yield from _texts_of_annotation(name, value, kind, f"{path}metadata.annotations[{name}]")


def _searched(body: Mapping[str, Any], kind: GroupKind) -> dict[str, Any]:
    """Returns an object without metadata, without the provider ID that stays, and without the data of a Secret."""
    secret = {"data", "stringData"} if kind == rules.SECRET else set()
    left_out = {"apiVersion", "kind", "metadata", *secret}
    searched = {name: value for name, value in body.items() if name not in left_out}
    for path in _kept_paths(kind):
        searched = _replaced(searched, _steps(path), lambda _value: None)
    return searched


def _texts_of_annotation(name: str, value: Any, kind: GroupKind, path: str) -> Iterator[_Text]:
    tree = _parsed(value)
    if tree is None:
        yield from _texts(value, path, name, annotation=True)
    elif isinstance(tree, dict) and name in {LAST_APPLIED_ANNOTATION, CONVERSION_ANNOTATION}:
        yield from _texts_of(tree, kind, f"{path}: ")
    else:
        yield from _texts(tree, path, name)


def _texts(tree: Any, path: str, field: str, *, annotation: bool = False) -> Iterator[_Text]:
    if isinstance(tree, str):
        yield _Text(path, field, tree, annotation)
    elif isinstance(tree, list):
        for number, entry in enumerate(tree):
            yield from _texts(entry, f"{path}[{number}]", field, annotation=annotation)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            step = f".{key}" if _SIMPLE_KEY.fullmatch(key) else f"[{key}]"
            yield from _texts(value, f"{path}{step}", key, annotation=annotation)


def _held(text: _Text, wanted: _Wanted) -> str | None:
    """Returns the part of a text that refers to the old namespace, None if none does."""
    if text.field.lower().endswith("message"):
        return None
    if text.value == wanted.old:
        return text.value if _NAMESPACE_FIELD.search(text.field) else None
    candidates = _SEPARATORS.split(text.value) if text.annotation else [text.value]
    keys = (part for part in candidates if _is_key(part, wanted, any_name=text.annotation))
    return next(keys, None) or _uri(text.value, wanted.old)


def _is_key(value: str, wanted: _Wanted, *, any_name: bool) -> bool:
    """Returns whether the value is `old/name`, whatever follows after another slash."""
    namespace, _, rest = value.partition("/")
    name = rest.partition("/")[0]
    if namespace != wanted.old or not name:
        return False
    likely = any_name and _OBJECT_NAME.fullmatch(name) and not _API_VERSION.fullmatch(name)
    return name in wanted.names or bool(likely)


def _uri(value: str, old: str) -> str | None:
    if f"://{old}/" not in value:
        return None
    found = re.finditer(rf"([A-Za-z][A-Za-z0-9+.-]*)://{re.escape(old)}/[^\s\"']*", value)
    return next((match[0] for match in found if not _ADDRESS.match(match[1])), None)
