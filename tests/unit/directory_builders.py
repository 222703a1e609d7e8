"""Small backups for tests of the directory side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyrage  # type: ignore[import-untyped]

from graph import rules
from graph.resource import Object
from graph.rules import GroupKind
from mover.directory import Manifest, new_manifest
from mover.discovery import CRDS, NAMESPACES
from mover.models import MANAGER
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make, typed

PROVISIONED = {
    "initialization": {"infrastructureProvisioned": True},
    "conditions": [{"type": "ControlPlaneInitialized", "status": "True"}],
}
CAPI_ADDRESS: GroupKind = ("ipam.cluster.x-k8s.io", "IPAddress")


MANAGED = {
    "managedFields": [
        {"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {}}},
        {"manager": "manager", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
    ]
}


def cluster(name: str = "c", **metadata: Any) -> Object:
    """Returns a Cluster that is ready to be saved."""
    return make(rules.CLUSTER, name, metadata={**MANAGED, **metadata}, spec={"a": 1}, status=PROVISIONED)


def fleet() -> tuple[Object, Object, Object, Object]:
    """Returns a Cluster, an object that it owns, its Secret and a spare host."""
    head = cluster()
    status = {"provisioning": {"state": "available"}, "hardware": {"cpu": 1}}
    return (
        head,
        make(rules.METAL3_CLUSTER, "infra", owners=[head], metadata=MANAGED, status={"ready": True}),
        make(rules.SECRET, "c-ca", owners=[head], metadata=MANAGED, data={"key": "c2VjcmV0"}),
        make(rules.BARE_METAL_HOST, "h", metadata=MANAGED, status=status),
    )


def paused(*objects: Object) -> tuple[Object, ...]:
    """Returns the objects as they are while a backup has them paused."""
    server = FakeApiServer()
    server.put(*objects)
    for obj in objects:
        if obj.type.group_kind == rules.CLUSTER:
            server.change(obj, spec={"paused": True})
        if obj.type.group_kind == rules.BARE_METAL_HOST:
            server.change(obj, metadata={"annotations": {rules.HOST_PAUSED_ANNOTATION: MANAGER}})
    return tuple(server.now(obj) for obj in objects)


def manifest(**known: Any) -> Manifest:
    """Returns a manifest without files."""
    return new_manifest("ns", "uid-of-source", "source-ctx").model_copy(update=known)


def management_cluster(name: str, *objects: Object) -> FakeApiServer:
    """Returns a server with the CRDs of the fleet's kinds and the usual namespaces."""
    server = FakeApiServer(name)
    kinds = (rules.CLUSTER, rules.CLUSTER_CLASS, rules.METAL3_CLUSTER, rules.BARE_METAL_HOST, rules.IP_POOL)
    system = make(NAMESPACES, "kube-system", metadata={"uid": f"uid-of-{name}"})
    server.put(*map(crd, kinds), system, *objects)
    return server


def crd(kind: GroupKind) -> Object:
    """Returns the labelled CRD of a kind, served in v1."""
    made = typed(kind)
    spec = {
        "group": kind[0],
        "scope": "Namespaced",
        "names": {"kind": kind[1], "plural": made.plural},
        "versions": [{"name": "v1", "storage": True, "subresources": {"status": {}}}],
    }
    return make(CRDS, f"{made.plural}.{kind[0]}", metadata={"labels": {rules.CLUSTERCTL_LABEL: ""}}, spec=spec)


def write_as_clusterctl(folder: Path, *objects: Object) -> None:
    """Writes the objects as `clusterctl move --to-directory` does."""
    folder.mkdir()
    for obj in objects:
        path = folder / f"{obj.key.kind}_{obj.key.namespace}_{obj.key.name}.yaml"
        path.write_bytes(orjson.dumps(obj.body(), option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))


def names_in(folder: Path) -> list[str]:
    """Returns the names of the files in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def age_key(folder: Path, name: str = "key") -> tuple[str, Path]:
    """Returns an age recipient, and the file with its identity."""
    identity = pyrage.x25519.Identity.generate()
    path = folder / name
    path.write_text(f"# created: today\n# public key: {identity.to_public()}\n{identity}\n")
    return str(identity.to_public()), path
