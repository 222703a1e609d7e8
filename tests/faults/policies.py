"""Admission policies, quotas and rights that stand against a move, and waiting until a server applies them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.testbed.client import AdminClient, AdminError
from tests.testbed.kind import ManagementCluster
from tests.testbed.witness import watched_types

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
_TIMEOUT_S = 60.0
_POLL_S = 0.1


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Returns once a condition of a server holds that no watch tells of."""
    async with asyncio.timeout(_TIMEOUT_S):
        while True:
            if await holds():
                return
            await asyncio.sleep(_POLL_S)


def _policy(
    kind: str, namespace: str, resource: str, spec: Mapping[str, Any], *, operation: str = "CREATE"
) -> dict[str, Any]:
    match = {"resourceRules": [rule_of(resource, operation)], "namespaceSelector": only(namespace)}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": namespace},
        "spec": {"matchConstraints": match, "failurePolicy": "Fail", **spec},
    }


def rule_of(resource: str, operation: str) -> dict[str, Any]:
    """Returns the rule of a webhook or policy that is asked about an operation on `group/plural`."""
    group, _, plural = resource.rpartition("/")
    return {"apiGroups": [group], "apiVersions": ["*"], "resources": [plural], "operations": [operation]}


def only(namespace: str) -> dict[str, Any]:
    """Returns the selector of a namespace."""
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


@asynccontextmanager
async def refusing(
    client: AdminClient, namespace: str, resource: str, name: str, *, operation: str = "CREATE"
) -> AsyncIterator[None]:
    """Refuses the creation, or another operation, of one object, from a ValidatingAdmissionPolicy."""
    rule = {"expression": f'object.metadata.name != "{name}"', "message": "not here"}
    spec = {"validations": [rule]}
    policy = _policy("ValidatingAdmissionPolicy", namespace, resource, spec, operation=operation)
    binding = {"policyName": namespace, "validationActions": ["Deny"]}
    async with _bound(client, policy, binding):
        yield


@asynccontextmanager
async def mutating(client: AdminClient, namespace: str, resource: str) -> AsyncIterator[None]:
    """Labels every new object of a resource, from a MutatingAdmissionPolicy."""
    added = "Object{metadata: Object.metadata{labels: {'added': 'by-policy'}}}"
    change = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": added}}
    spec = {"mutations": [change], "reinvocationPolicy": "Never"}
    policy = _policy("MutatingAdmissionPolicy", namespace, resource, spec)
    async with _bound(client, policy, {"policyName": namespace}):
        yield


@asynccontextmanager
async def _bound(client: AdminClient, policy: Mapping[str, Any], binding: Mapping[str, Any]) -> AsyncIterator[None]:
    kind, name = policy["kind"], policy["metadata"]["name"]
    plural = f"{kind[0].lower()}{kind[1:-1]}ies".lower()
    bindings = f"{kind.lower()}bindings"
    body = {
        "apiVersion": policy["apiVersion"],
        "kind": f"{kind}Binding",
        "metadata": {"name": name},
        "spec": binding,
    }
    await client.create(f"{ADMISSION}/{plural}", policy)
    await client.create(f"{ADMISSION}/{bindings}", body)
    try:
        yield
    finally:
        await client.delete(f"{ADMISSION}/{bindings}/{name}")
        await client.delete(f"{ADMISSION}/{plural}/{name}")


Right = tuple[str, str, str]
"""A verb, a group and a resource."""


async def rights(client: AdminClient) -> list[Right]:
    """Returns every right that a move needs, and no other."""
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete")
    types = [(t.group, t.plural) for t in await watched_types(client)]
    others = [
        ("", "namespaces"),
        ("coordination.k8s.io", "leases"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("clusterctl.cluster.x-k8s.io", "providers"),
        ("runtime.cluster.x-k8s.io", "extensionconfigs"),
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ]
    return [
        *((verb, group, plural) for group, plural in (*types, *others) for verb in verbs),
        *((verb, group, f"{plural}/status") for group, plural in types for verb in ("get", "update", "patch")),
    ]


def _rules(granted: Sequence[Right]) -> list[dict[str, Any]]:
    subjects = sorted({(group, resource) for _, group, resource in granted})
    return [
        {
            "apiGroups": [group],
            "resources": [resource],
            "verbs": sorted(verb for verb, *of in granted if tuple(of) == (group, resource)),
        }
        for group, resource in subjects
    ]


class Limited:
    """A user of a cluster who has all the rights that a move needs, but one.

    Attributes:
        kubeconfig: The user's kubeconfig.
    """

    def __init__(self, plane: ManagementCluster, admin: AdminClient, name: str, without: Right) -> None:
        self.kubeconfig = plane.kubeconfig_for(name)
        self._admin = admin
        self._name = name
        self._without = without

    async def create(self) -> None:
        """Makes the user's role, and waits until the server applies it."""
        granted = [right for right in await rights(self._admin) if right != self._without]
        api = "rbac.authorization.k8s.io"
        role = {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": {"name": self._name}}
        await self._admin.create(f"{RBAC}/clusterroles", {**role, "rules": _rules(granted)})
        binding = {
            **role,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": self._name},
            "subjects": [{"apiGroup": api, "kind": "User", "name": self._name}],
        }
        await self._admin.create(f"{RBAC}/clusterrolebindings", binding)
        await self._allowed(granted[0])

    async def grant(self) -> None:
        """Gives the user the missing right, too."""
        rules = _rules(await rights(self._admin))
        await self._admin.patch_merge(f"{RBAC}/clusterroles/{self._name}", {"rules": rules})
        await self._allowed(self._without)

    async def _allowed(self, right: Right) -> None:
        verb, group, resource = right
        plural, _, subresource = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        async with AdminClient(self.kubeconfig) as client:

            async def holds() -> bool:
                path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
                return bool((await client.create(path, review))["status"]["allowed"])

            await until(holds)


async def refuses(client: AdminClient, path: str, body: Mapping[str, Any]) -> bool:
    """Returns whether the creation of an object is refused now; nothing is made."""
    try:
        await client.request("POST", path, body, params={"dryRun": "All"})
    except AdminError as error:
        return error.status in {403, 422}
    return False
