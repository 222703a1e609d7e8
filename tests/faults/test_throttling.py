"""API servers whose priority and fairness lets hardly anything of the mover through: their 429s are waited out.

The limits are those of a user of the mover's own; the witness and the test itself are not limited.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from mover.api import ClusterRef
from tests.faults.scene import Scene
from tests.testbed.client import AdminClient
from tests.testbed.rights import RBAC

USER = "throttled-mover"
_LEVELS = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"
_SCHEMAS = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
_BINDINGS = f"{RBAC}/clusterrolebindings"
_TIMEOUT_S = 30.0
_POLL_S = 0.1

_BINDING = {
    "metadata": {"name": USER},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
}
# One share of some 250: two or three requests at once, and no queue for the others.
_LEVEL = {
    "metadata": {"name": USER},
    "spec": {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 1,
            "lendablePercent": 0,
            "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        },
    },
}
_SCHEMA = {
    "metadata": {"name": USER},
    "spec": {
        "matchingPrecedence": 2,
        "priorityLevelConfiguration": {"name": USER},
        "rules": [
            {
                "subjects": [{"kind": "User", "user": {"name": USER}}],
                "resourceRules": [
                    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
                ],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }
        ],
    },
}


@pytest.fixture
async def throttled(scene: Scene) -> AsyncIterator[Scene]:
    """A fleet that is moved by a user of whom both servers take hardly any requests."""
    refs = [ClusterRef(plane.kubeconfig_for(USER)) for plane in (scene.pair.source, scene.pair.target)]
    async with AsyncExitStack() as stack:
        for client in (scene.pair.on_source, scene.pair.on_target):
            await stack.enter_async_context(_limited(client))
        yield replace(scene, source=refs[0], target=refs[1])


@asynccontextmanager
async def _limited(admin: AdminClient) -> AsyncIterator[None]:
    bodies: Mapping[str, Mapping[str, Any]] = {_BINDINGS: _BINDING, _LEVELS: _LEVEL, _SCHEMAS: _SCHEMA}
    for path, body in bodies.items():
        await admin.create(path, body)
    try:
        await _until_limited(admin)
        yield
    finally:
        for path in (_SCHEMAS, _LEVELS, _BINDINGS):
            await admin.delete(f"{path}/{USER}")


async def _until_limited(admin: AdminClient) -> None:
    # No watch tells when the server's own filter has seen a priority level.
    async with asyncio.timeout(_TIMEOUT_S):
        while True:
            if f'nominal_limit_seats{{priority_level="{USER}"}}' in await _metrics(admin):
                return
            await asyncio.sleep(_POLL_S)


async def _metrics(admin: AdminClient) -> str:
    return str(await admin.get("/metrics"))


async def _refused(admin: AdminClient) -> int:
    """Returns how many requests of the mover a server has refused, as it says itself."""
    pattern = rf'flowcontrol_rejected_requests_total{{flow_schema="{USER}",.*}} (\d+)'
    return sum(int(count) for count in re.findall(pattern, await _metrics(admin)))


async def test_a_move_that_is_throttled_by_priority_and_fairness_waits_and_loses_nothing(throttled: Scene) -> None:
    report = await throttled.move()
    assert report.retries > 0
    assert await _refused(throttled.pair.on_source) > 0
    assert await _refused(throttled.pair.on_target) > 0
    await throttled.assert_moved()
