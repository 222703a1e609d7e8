"""Rights of a limited user: granting manifests, waiting until they count, and what of them was used (audit log)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mover.permissions import Permission, Side
from tests.testbed.client import AdminClient, AdminError

RBAC = "/apis/rbac.authorization.k8s.io/v1"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_TIMEOUT_S = 30.0
_POLL_S = 0.1
_PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}


def audit_arguments(folder: Path, users: Sequence[str]) -> tuple[str, ...]:
    """Returns the flags that make an API server write every request of the users to `folder/audit.log`."""
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": list(users)}, {"level": "None"}],
    }
    file = folder / "audit-policy.yaml"
    file.write_text(yaml.safe_dump(policy))
    return (f"--audit-policy-file={file}", f"--audit-log-path={folder / 'audit.log'}")


async def grant(admin: AdminClient, manifests: Iterable[Mapping[str, Any]], side: Side, user: str) -> None:
    """Creates namespaces, roles and bindings, and returns when the server grants all of them to the user."""
    found = list(manifests)
    namespaces = {manifest["metadata"].get("namespace") for manifest in found} - {None}
    for name in sorted(namespaces | {body["metadata"]["name"] for body in found if body["kind"] == "Namespace"}):
        await _make_namespace(admin, name)
    for manifest in found:
        if manifest["kind"] in _PLURALS:
            space = manifest["metadata"].get("namespace")
            scope = f"/namespaces/{space}" if space else ""
            await admin.create(f"{RBAC}{scope}/{_PLURALS[manifest['kind']]}", manifest)
    for permission in granted(found, side):
        await until(admin, permission, user, allowed=True)


async def _make_namespace(admin: AdminClient, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    try:
        await admin.create("/api/v1/namespaces", body)
    except AdminError as error:
        if error.reason != "AlreadyExists":
            raise


async def until(admin: AdminClient, permission: Permission, user: str, *, allowed: bool) -> None:
    """Returns when the server grants the permission to the user, or does not any more."""
    # No watch tells when the authorizer has seen a role.
    async with asyncio.timeout(_TIMEOUT_S):
        while True:
            if await _is_allowed(admin, permission, user) is allowed:
                return
            await asyncio.sleep(_POLL_S)


async def _is_allowed(admin: AdminClient, permission: Permission, user: str) -> bool:
    resource, _, subresource = permission.resource.partition("/")
    asked = {
        "verb": permission.verb,
        "group": permission.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": permission.namespace,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": asked},
    }
    answer = await admin.request("POST", _REVIEWS, body)
    return bool(answer["status"]["allowed"])


def granted(manifests: Iterable[Mapping[str, Any]], side: Side) -> Iterator[Permission]:
    """Yields what the roles among the manifests grant."""
    for role in manifests:
        for rule in role.get("rules", ()):
            (group,) = rule["apiGroups"]
            for verb in rule["verbs"]:
                for resource in rule["resources"]:
                    yield Permission(side, verb, group, resource, role["metadata"].get("namespace", ""))


def audited(folder: Path, users: Mapping[str, Side]) -> tuple[set[Permission], set[Permission]]:
    """Returns what the users were allowed by roles of their own, and what they were forbidden.

    What every user may do (discovery, reviews of one's own rights) is left out.
    """
    allowed, forbidden = set(), set()
    for line in (folder / "audit.log").read_text().splitlines():
        event = json.loads(line)
        side = users[event["user"]["username"]]
        if event["annotations"].get("authorization.k8s.io/decision") == "forbid":
            forbidden.add(_permission(side, event))
        elif "capi-mover-" in event["annotations"].get("authorization.k8s.io/reason", ""):
            allowed.add(_permission(side, event))
    return allowed, forbidden


def _permission(side: Side, event: Mapping[str, Any]) -> Permission:
    target = event.get("objectRef") or {}
    resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
    is_namespace = resource == "namespaces"
    space = "" if is_namespace else target.get("namespace", "")
    return Permission(side, event["verb"], target.get("apiGroup", ""), resource, space)
