"""Who may write ConfigMaps in `default` of both clusters directs no move; the namespace for records comes and goes."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import orjson
import pytest

from mover import api
from mover.execute.records_namespace import OURS
from mover.models import MoveOptions
from mover.names import RECORDS_NAMESPACE
from mover.permissions import Permission
from mover.record import LABEL, SCOPE_ANNOTATION
from tests.testbed import rights
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.fleet import FleetSpec, build
from tests.testbed.kind import wants_kind
from tests.testbed.pair import Pair

pytestmark = pytest.mark.skipif(wants_kind(), reason="makes users of its own")

INTRUDER = "intruder"
NAMESPACE = "coveted"
_IN_DEFAULT = "/api/v1/namespaces/default/configmaps"
_RECORDS = f"/api/v1/namespaces/{RECORDS_NAMESPACE}"


def planted(source_uid: str, target_uid: str, version: str) -> dict[str, Any]:
    """Returns a record by which a move to the intruder's namespace would have been claimed."""
    content = {
        "id": "abc",
        "scope": NAMESPACE,
        "source": {"uid": source_uid, "context": "source"},
        "target": {"uid": target_uid, "context": "target"},
        "options": {"namespace": NAMESPACE, "to_namespace": "intruders"},
        "started": "2026-01-01T00:00:00+00:00",
    }
    payload = zlib.compress(orjson.dumps(content))
    metadata = {
        "name": f"capi-mover.{NAMESPACE}",
        "labels": {LABEL: "head"},
        "annotations": {SCOPE_ANNOTATION: NAMESPACE},
    }
    data = {"format": version, "id": "abc", "phase": "claimed", "parts": "1"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {**data, "digest": hashlib.sha256(payload).hexdigest()},
        "binaryData": {"payload": base64.b64encode(payload).decode()},
    }


async def _grant(admin: AdminClient) -> None:
    metadata = {"name": INTRUDER, "namespace": "default"}
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": INTRUDER},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": INTRUDER}],
    }
    await admin.create(f"{rights.RBAC}/namespaces/default/roles", role)
    await admin.create(f"{rights.RBAC}/namespaces/default/rolebindings", binding)


async def _uid(admin: AdminClient) -> str:
    return str((await admin.get("/api/v1/namespaces/kube-system"))["metadata"]["uid"])


async def test_who_may_write_config_maps_in_default_directs_no_move_of_an_administrator(pair: Pair) -> None:
    fleet = await build(pair.on_source, FleetSpec(namespace=NAMESPACE, cluster_name="c", paused_conditions=False))
    uids = await _uid(pair.on_source), await _uid(pair.on_target)
    for plane, admin in ((pair.source, pair.on_source), (pair.target, pair.on_target)):
        await _grant(admin)
        configmaps = Permission("source", "create", "", "configmaps", "default")
        await rights.until(admin, configmaps, INTRUDER, allowed=True)
        async with AdminClient(plane.kubeconfig_for(INTRUDER)) as intruder:
            await intruder.create(_IN_DEFAULT, planted(*uids, "1"))
            with pytest.raises(AdminError, match="forbidden"):
                await intruder.create(f"{_RECORDS}/configmaps", planted(*uids, "2"))
    report = await api.move_async(pair.source_ref, pair.target_ref, MoveOptions(namespace=NAMESPACE))
    assert report.namespace == NAMESPACE
    assert set(fleet.movable) <= set(await pair.target_objects(NAMESPACE))
    found = await api.status_async(pair.target_ref)
    assert found.readable == ()
    assert [error.where.partition(" ")[0] for error in found.unreadable] == [f"default/capi-mover.{NAMESPACE}"]
    for admin in (pair.on_source, pair.on_target):
        await admin.delete(f"{_IN_DEFAULT}/capi-mover.{NAMESPACE}")


async def test_a_namespace_for_records_is_made_by_a_move_and_goes_with_it(pair: Pair) -> None:
    await build(pair.on_source, FleetSpec(namespace="fleeting", cluster_name="c", paused_conditions=False))
    files = (pair.source.kubeconfig, pair.target.kubeconfig)
    one, other = (api.ClusterRef(file, records_namespace="fleeting-records") for file in files)
    seen: list[dict[str, Any]] = []
    await api.move_async(one, other, MoveOptions(namespace="fleeting"))
    for admin in (pair.on_source, pair.on_target):
        spaces = {item["metadata"]["name"]: item for item in await admin.list_all("/api/v1/namespaces")}
        left = spaces.get("fleeting-records")
        assert left is None or left["metadata"].get("deletionTimestamp")
        seen += [left] if left else []
    assert all(OURS in item["metadata"]["labels"] for item in seen)
