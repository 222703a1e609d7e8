"""What is on a cluster: the movable types from its CRDs, and all objects of them.

Reads only, in pages, all types at once. Follows clusterctl objectgraph.go (getDiscoveryTypes, Discovery); beyond it,
Metal3's own kinds are known and need no label (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graph import rules
from graph.build import topology_class
from graph.resource import Object, ObjectKey, ResourceType
from mover.concurrency import all_of, both
from mover.errors import ForbiddenError, NotFoundError, UsageError
from mover.kube import Cluster
from mover.kube.cluster import group_path, object_path
from mover.models import RECORD_LABEL

_CRDS_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PROVIDERS = "/apis/clusterctl.cluster.x-k8s.io/v1alpha3/providers"
_CRD_PAGE = {"labelSelector": rules.CLUSTERCTL_LABEL}

SECRETS = ResourceType("", "v1", "Secret", "secrets")
CONFIG_MAPS = ResourceType("", "v1", "ConfigMap", "configmaps")
CRDS = ResourceType(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
NAMESPACES = ResourceType("", "v1", "Namespace", "namespaces", namespaced=False, has_status=True)


@dataclass(frozen=True, slots=True, order=True)
class Provider:
    """A provider that `clusterctl init` installed.

    Attributes:
        type: "CoreProvider", "InfrastructureProvider" and so on.
        name: e.g. "metal3".
        version: e.g. "v1.14.2".
        namespace: Where its controllers run.
    """

    type: str
    name: str
    version: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that was found on a cluster, as it was at one time.

    Attributes:
        namespace: The namespace that was read; "" for all.
        types: The movable types, sorted.
        objects: The objects of these types, sorted by key.
        providers: The installed providers, sorted.
        shared_classes: ClusterClasses of the namespace that Clusters of other namespaces use.
        strict_labels: Whether it was read by clusterctl's labels alone, without knowing Metal3.
    """

    namespace: str
    types: tuple[ResourceType, ...]
    objects: tuple[Object, ...]
    providers: tuple[Provider, ...]
    shared_classes: frozenset[ObjectKey]
    strict_labels: bool = False


async def again(cluster: Cluster, known: Inventory) -> Inventory:
    """Returns the inventory of the same namespace as it is now; types and providers are not read once more."""
    return await _read(cluster, known.namespace, known)


async def discover(cluster: Cluster, namespace: str, *, strict_labels: bool = False) -> Inventory:
    """Returns the inventory of one namespace, or of all with ""; with `strict_labels` Metal3's kinds are not known.

    Raises:
        UsageError: The cluster is not a management cluster, or the namespace does not exist.
        ApiError: A list failed.
    """
    await _require_namespace(cluster, namespace)
    types, providers = await both(movable_types(cluster, strict_labels=strict_labels), list_providers(cluster))
    empty = Inventory(namespace, types, (), providers, frozenset(), strict_labels)
    return await _read(cluster, namespace, empty)


async def _read(cluster: Cluster, namespace: str, known: Inventory) -> Inventory:
    types, providers = known.types, known.providers
    before = {obj.uid: obj for obj in known.objects}
    lists = [_list(cluster, resource, namespace, before) for resource in types]
    spaces = [space for space in credential_namespaces(providers) if namespace and space != namespace]
    credentials = [_list(cluster, SECRETS, space, before) for space in spaces]
    found = _flatten(await all_of([*lists, *credentials]))
    classes = await _classes_elsewhere(cluster, types, found, namespace)
    shared = await _classes_shared(cluster, types, namespace)
    unique = {obj.uid: obj for obj in [*found, *classes]}
    objects = tuple(sorted(unique.values(), key=lambda obj: obj.key))
    return Inventory(namespace, types, objects, providers, shared, known.strict_labels)


def _once(obj: Object, before: Mapping[str, Object]) -> Object:
    """Returns what is known already of an object that has not changed: of two snapshots most objects are held once."""
    known = before.get(obj.uid, obj)
    is_same = (known.type, known.resource_version) == (obj.type, obj.resource_version)
    return known if is_same and obj.resource_version else obj


async def movable_types(cluster: Cluster, *, strict_labels: bool = False) -> tuple[ResourceType, ...]:
    """Returns the types to read: labelled CRDs, Secrets and ConfigMaps, and Metal3's known kinds; sorted.

    Raises:
        UsageError: No CRD carries clusterctl's label.
    """
    labelled, names = await both(cluster.list_names(_CRDS_PATH, _CRD_PAGE), cluster.list_metadata(CRDS))
    if not labelled:
        raise UsageError(
            f"The {cluster.name} cluster has no CRDs of Cluster API providers "
            f"(none is labelled {rules.CLUSTERCTL_LABEL})",
            "Is it a management cluster? Providers are installed with: clusterctl init",
        )
    known = {crd["metadata"]["name"] for crd in labelled}
    metal3 = () if strict_labels else await _metal3_crds(cluster, [obj.key.name for obj in names.objects], known)
    types = [_type_of(crd, strict_labels=strict_labels) for crd in (*labelled, *metal3)]
    return tuple(sorted([*types, SECRETS, CONFIG_MAPS]))


async def _metal3_crds(cluster: Cluster, names: Sequence[str], known: Collection[str]) -> list[Mapping[str, Any]]:
    unlabelled = sorted(name for name in names if name not in known and _may_be_metal3(name))
    keys = (ObjectKey(CRDS.group, CRDS.kind, "", name) for name in unlabelled)
    crds = await all_of(cluster.get_json(object_path(CRDS, key)) for key in keys)
    return [crd for crd in crds if _group_kind(crd) in rules.METAL3_KINDS]


def _may_be_metal3(crd_name: str) -> bool:
    """Returns whether the CRD `plural.group` is of one of Metal3's groups; only such ones are read whole."""
    return crd_name.partition(".")[2] in _METAL3_GROUPS


_METAL3_GROUPS = frozenset(group for group, _ in rules.METAL3_KINDS)


def _group_kind(crd: Mapping[str, Any]) -> tuple[str, str]:
    return crd["spec"]["group"], crd["spec"]["names"]["kind"]


def _type_of(crd: Mapping[str, Any], *, strict_labels: bool) -> ResourceType:
    spec = crd["spec"]
    version = next(version for version in spec["versions"] if version.get("storage"))
    group, kind = _group_kind(crd)
    if not version.get("served", True):
        # Nothing of it could be read, and what nobody sees would stay behind silently.
        raise UsageError(
            f"The CRD {crd['metadata']['name']} stores the version {version['name']}, which it does not serve",
            "Serve that version, or migrate the stored objects to another one",
        )
    labels = crd["metadata"].get("labels") or {}
    known = rules.MoveFlags() if strict_labels else rules.METAL3_KINDS.get((group, kind), rules.MoveFlags())
    hierarchy = rules.is_hierarchy_kind(group, kind) or known.move_hierarchy or rules.MOVE_HIERARCHY_LABEL in labels
    return ResourceType(
        group=group,
        version=version["name"],
        kind=kind,
        plural=spec["names"]["plural"],
        namespaced=spec["scope"] == "Namespaced",
        has_status="status" in (version.get("subresources") or {}),
        move=hierarchy or known.move or rules.MOVE_LABEL in labels,
        move_hierarchy=hierarchy,
    )


async def list_providers(cluster: Cluster) -> tuple[Provider, ...]:
    """Returns the provider inventory that `clusterctl init` keeps, sorted; empty without one."""
    try:
        items = await cluster.list_names(_PROVIDERS)
    except NotFoundError:
        return ()
    return tuple(sorted(map(_provider_of, items)))


def _provider_of(item: Mapping[str, Any]) -> Provider:
    return Provider(
        item.get("type") or "",
        item.get("providerName") or item["metadata"]["name"],
        item.get("version") or "",
        item["metadata"].get("namespace") or "",
    )


def credential_namespaces(providers: Iterable[Provider]) -> tuple[str, ...]:
    """Returns the namespaces whose Secrets may belong to cluster-scoped identities of an infrastructure provider."""
    spaces = {found.namespace for found in providers if found.type == "InfrastructureProvider"}
    return tuple(sorted(spaces - {""}))


async def _require_namespace(cluster: Cluster, namespace: str) -> None:
    if not namespace:
        return
    try:
        await cluster.get(NAMESPACES, "", namespace)
    except NotFoundError as error:
        raise UsageError(
            f'The {cluster.name} cluster has no namespace "{namespace}"',
            "Choose another one with --namespace",
        ) from error


async def _list(
    cluster: Cluster, resource: ResourceType, namespace: str, before: Mapping[str, Object]
) -> tuple[Object, ...]:
    try:
        return tuple(_once(obj, before) for obj in (await cluster.list(resource, namespace)).objects)
    except NotFoundError:
        # The CRD has gone, or does not serve its storage version: there is nothing that could be read.
        return ()


def _flatten(lists: Sequence[tuple[Object, ...]]) -> list[Object]:
    return [obj for found in lists for obj in found if RECORD_LABEL not in obj.labels]


async def _classes_shared(cluster: Cluster, types: Sequence[ResourceType], namespace: str) -> frozenset[ObjectKey]:
    """Returns the ClusterClasses of the namespace that Clusters of other namespaces use (setShouldNotDelete)."""
    resource = find_type(types, rules.CLUSTER)
    if not namespace or resource is None:
        return frozenset()
    clusters = await _list(cluster, resource, "", {})
    used = (topology_class(obj) for obj in clusters if obj.key.namespace != namespace)
    return frozenset(key for key in used if key is not None and key.namespace == namespace)


async def _classes_elsewhere(
    cluster: Cluster, types: Sequence[ResourceType], found: Sequence[Object], namespace: str
) -> list[Object]:
    """Returns ClusterClasses of other namespaces that the Clusters use, and all templates these refer to."""
    resource = find_type(types, rules.CLUSTER_CLASS)
    if not namespace or resource is None:
        return []
    used = {topology_class(obj) for obj in found if obj.type.group_kind == rules.CLUSTER}
    elsewhere = sorted(key for key in used if key is not None and key.namespace != namespace)
    classes = await all_of(_get_class(cluster, resource, key) for key in elsewhere)
    templates = await all_of(_templates_of(cluster, types, obj) for obj in classes)
    return [*classes, *(template for group in templates for template in group)]


async def _get_class(cluster: Cluster, resource: ResourceType, key: ObjectKey) -> Object:
    try:
        return await cluster.get(resource, key.namespace, key.name)
    except NotFoundError as error:
        raise UsageError(
            f"{key}, which a Cluster uses, is not on the {cluster.name} cluster",
            "Create it, or point spec.topology.classRef of the Cluster to the right one",
        ) from error


async def _templates_of(cluster: Cluster, types: Sequence[ResourceType], owner: Object) -> list[Object]:
    references = {
        (ref["apiVersion"], ref["kind"], ref["name"]): ref for ref in template_references(owner.body()["spec"])
    }
    return list(
        await all_of(_get_referenced(cluster, types, ref, owner.key.namespace) for _, ref in sorted(references.items()))
    )


def template_references(class_spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the template references of a ClusterClass: infrastructure, control plane, worker classes.

    Reads `templateRef` (v1beta2) and `ref` (v1beta1).
    """
    control_plane = class_spec.get("controlPlane") or {}
    workers = class_spec.get("workers") or {}
    holders = [class_spec.get("infrastructure"), control_plane, control_plane.get("machineInfrastructure")]
    for worker in [*(workers.get("machineDeployments") or ()), *(workers.get("machinePools") or ())]:
        # v1beta1 nests these under `template`.
        nested = worker.get("template") or worker
        holders += [nested.get("infrastructure"), nested.get("bootstrap")]
    references = [(holder or {}).get("templateRef") or (holder or {}).get("ref") for holder in holders]
    return [reference for reference in references if reference]


async def _get_referenced(
    cluster: Cluster, types: Sequence[ResourceType], reference: Mapping[str, Any], namespace: str
) -> Object:
    resource = await resolve_type(cluster, types, reference["apiVersion"], reference["kind"])
    return await cluster.get(resource, reference.get("namespace") or namespace, reference["name"])


async def resolve_type(cluster: Cluster, types: Sequence[ResourceType], api_version: str, kind: str) -> ResourceType:
    """Returns the type of a reference: a movable one, else what the API server's discovery says.

    Raises:
        UsageError: The cluster does not serve it.
    """
    group, _, version = api_version.rpartition("/")
    known = find_type(types, (group, kind))
    if known is not None:
        return known
    path = group_path(group, version)
    try:
        served = (await cluster.get_json(path))["resources"]
    except NotFoundError as error:
        raise _unserved(cluster, api_version, kind) from error
    names = {entry["name"] for entry in served}
    for entry in served:
        if entry["kind"] == kind and "/" not in entry["name"]:
            has_status = f"{entry['name']}/status" in names
            return ResourceType(group, version, kind, entry["name"], entry["namespaced"], has_status)
    raise _unserved(cluster, api_version, kind)


def _unserved(cluster: Cluster, api_version: str, kind: str) -> UsageError:
    return UsageError(
        f"The {cluster.name} cluster does not serve {api_version}, kind {kind}",
        "Install the provider that does, in the same or a newer version",
    )


def find_type(types: Iterable[ResourceType], group_kind: tuple[str, str]) -> ResourceType | None:
    """Returns the type of that group and kind, None if it is not among `types`."""
    return next((resource for resource in types if resource.group_kind == group_kind), None)


def is_guarded(resource: ResourceType, guarded: frozenset[tuple[str, str]]) -> bool:
    """Returns whether the deletion of a type passes one of the webhooks that `deletion_webhooks` found."""
    plurals = {"*", "*/*", resource.plural, f"{resource.plural}/*"}
    return any(group in ("*", resource.group) and plural in plurals for group, plural in guarded)


async def deletion_webhooks(cluster: Cluster) -> frozenset[tuple[str, str]]:
    """Returns the (group, plural) of types whose deletion passes an admission webhook; ("*", "*") for all types.

    Whoever may not read webhook configurations is answered "all types": the cost is one more patch per object.
    """
    paths = (
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    )
    try:
        lists = await all_of(cluster.list_names(path) for path in paths)
    except ForbiddenError:
        return frozenset({("*", "*")})
    webhooks = [webhook for items in lists for item in items for webhook in item.get("webhooks") or ()]
    admitted = [rule for webhook in webhooks for rule in webhook.get("rules") or ()]
    return frozenset(
        (group, plural)
        for rule in admitted
        if {"DELETE", "*"} & set(rule.get("operations") or ())
        for group in rule.get("apiGroups") or ()
        for plural in rule.get("resources") or ()
    )
