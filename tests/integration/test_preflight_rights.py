"""What the preflight finds out about users who have the documented rights, less one, on two real API servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from graph import rules
from mover import api
from mover.api import ClusterRef
from mover.checks import question_of
from mover.permissions import Permission, Side
from mover.rbac import Move, Subject, manifests, side_manifests
from tests.integration.preflight_scene import Scene, make_scene
from tests.testbed import rights
from tests.testbed.client import AdminClient
from tests.testbed.pair import Pair

NAMESPACE = "preflight-rights"
USERS: Mapping[Side, str] = {"source": "preflight-on-source", "target": "preflight-on-target"}


@dataclass(frozen=True)
class Limited:
    """A scene of two users who have what `capi-mover rbac` prints.

    Attributes:
        scene: The scene.
        granted: What they have.
    """

    scene: Scene
    granted: frozenset[Permission]

    @asynccontextmanager
    async def without(self, taken: Permission) -> AsyncIterator[None]:
        """Takes one right away, and gives it back."""
        assert taken in self.granted
        await self._grant(self.granted - {taken}, taken, allowed=False)
        try:
            yield
        finally:
            await self._grant(self.granted, taken, allowed=True)

    async def _grant(self, granted: frozenset[Permission], changed: Permission, *, allowed: bool) -> None:
        """Writes the role that the changed right is in, and waits until it counts."""
        admin, user = _admin(self.scene.pair, changed.side), USERS[changed.side]
        roles = _roles(manifests(granted, changed.side, Subject(user)))
        path, role = next(one for one in roles if one[1]["metadata"].get("namespace", "") == changed.namespace)
        await admin.patch_merge(path, {"rules": role["rules"]})
        await rights.until(admin, changed, user, allowed=allowed)


def _admin(pair: Pair, side: Side) -> AdminClient:
    return pair.on_source if side == "source" else pair.on_target


def _roles(bodies: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the paths of the roles and their bodies; behind each of `roles` is its binding in `rolebindings`."""
    for body in bodies:
        metadata = body["metadata"]
        if body["kind"] == "Role":
            yield f"{rights.RBAC}/namespaces/{metadata['namespace']}/roles/{metadata['name']}", body
        elif body["kind"] == "ClusterRole":
            yield f"{rights.RBAC}/clusterroles/{metadata['name']}", body


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def limited(pair: Pair) -> AsyncIterator[Limited]:
    """Yields the users; other tests of these clusters have none of their roles."""
    scene = await make_scene(pair, NAMESPACE)
    types, credentials = await api.types_async(pair.source_ref)
    granted: set[Permission] = set()
    paths: list[tuple[Side, str]] = []
    for side, user in USERS.items():
        bodies = side_manifests(Move(types, NAMESPACE, None, credentials), side, Subject(user))
        await rights.grant(_admin(pair, side), bodies, side, user)
        granted |= set(rights.granted(bodies, side))
        paths += [(side, path) for path, _ in _roles(bodies)]
    source = ClusterRef(pair.source.kubeconfig_for(USERS["source"]))
    target = ClusterRef(pair.target.kubeconfig_for(USERS["target"]))
    yield Limited(replace(scene, source=source, target=target), frozenset(granted))
    for side, path in paths:
        await _admin(pair, side).delete(path)
        await _admin(pair, side).delete(path.replace("roles/", "rolebindings/"))


Told = tuple[str, str, bool]
"""Check, subject, whether it is a warning."""


def _not_looked(check: str, *, is_warning: bool = True) -> Told:
    return (check, question_of(check), is_warning)


MACHINES = f"machines.{rules.CAPI_GROUP}"
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
TAKEN: tuple[tuple[Permission, set[Told]], ...] = (
    (
        Permission("source", "watch", rules.CAPI_GROUP, "machines", NAMESPACE),
        {("permissions", f"{MACHINES} in the namespace {NAMESPACE}", False)},
    ),
    (
        Permission("target", "update", rules.CAPI_GROUP, "machines", NAMESPACE),
        {("permissions", f"{MACHINES} in the namespace {NAMESPACE}", False)},
    ),
    # Whoever may not look cannot know; that is an error only where a loss would not be seen.
    (
        Permission("target", "get", "apiextensions.k8s.io", "customresourcedefinitions"),
        {
            ("permissions", f"{CRDS} in the whole cluster", False),
            _not_looked("contract"),
            _not_looked("schema", is_warning=False),
        },
    ),
    (Permission("target", "list", "apps", "deployments"), {_not_looked("operators")}),
    (Permission("target", "list", "", "resourcequotas", NAMESPACE), {_not_looked("quota")}),
    # Without it everything is rehearsed, as anybody may be asked about it.
    (Permission("target", "list", "admissionregistration.k8s.io", "validatingwebhookconfigurations"), set()),
)


async def test_with_the_documented_rights_nothing_is_found(limited: Limited) -> None:
    assert await limited.scene.find() == []


@pytest.mark.parametrize(("taken", "expected"), TAKEN, ids=[f"{taken.side}: {taken}" for taken, _ in TAKEN])
async def test_a_right_that_is_missing_is_named_with_what_could_not_be_checked(
    limited: Limited, taken: Permission, expected: set[Told]
) -> None:
    async with limited.without(taken):
        before = await limited.scene.versions()
        found = await limited.scene.find()
        assert await limited.scene.versions() == before
    assert {(one.check, one.subject, one.is_warning) for one in found} == expected
    assert {one.cluster for one in found} <= {taken.side}
    assert all("capi-mover rbac" in one.remedy for one in found)
    assert all(f"may not {taken.verb} these" in one.what for one in found if one.check == "permissions")
