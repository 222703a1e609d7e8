"""What the preflight finds out about two real API servers that would refuse the move, or do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from graph import rules
from mover import api
from mover.api import ClusterRef
from mover.errors import RefusedError
from mover.models import MoveOptions
from tests.faults import policies
from tests.faults.scene import missing
from tests.integration.preflight_scene import (
    WITHIN_S,
    Case,
    Scene,
    answers,
    assert_found,
    copy_of_the_machine,
    refused,
)
from tests.testbed.client import MERGE_PATCH, AdminClient
from tests.testbed.pair import Pair
from tests.testbed.processes import free_port
from tests.testbed.providers import ensure_namespace

MACHINES = f"{rules.CAPI_GROUP}/machines"


@asynccontextmanager
async def _dying_namespace(scene: Scene) -> AsyncIterator[Scene]:
    client, path = scene.pair.on_target, f"/api/v1/namespaces/{scene.namespace}"
    held = f"{path}/configmaps/held"
    await ensure_namespace(client, scene.namespace)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["tests.io/held"]}}
    await client.create(f"{path}/configmaps", body)
    await client.delete(path)

    async def is_dying() -> bool:
        probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}}
        dying = "deletionTimestamp" in (await client.get(held))["metadata"]
        return dying and await policies.refuses(client, f"{path}/configmaps", probe)

    await policies.until(is_dying)
    try:
        yield scene
    finally:
        await client.patch_merge(held, {"metadata": {"finalizers": None}})
        await policies.until(lambda: missing(client, path))


@asynccontextmanager
async def _small_quota(scene: Scene) -> AsyncIterator[Scene]:
    """Leaves room for each Secret, but not for all of them: no rehearsal of a single one would tell."""
    client, path = scene.pair.on_target, f"/api/v1/namespaces/{scene.namespace}/resourcequotas"
    await ensure_namespace(client, scene.namespace)
    hard = {"count/secrets": "2"}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": hard}}
    await client.create(path, body)
    # No quota controller runs here; it would write this.
    await client.patch_status(f"{path}/few", {"hard": hard, "used": {"count/secrets": "0"}})
    yield scene


@asynccontextmanager
async def _refused_creation(scene: Scene) -> AsyncIterator[Scene]:
    client, (path, body) = scene.pair.on_target, await copy_of_the_machine(scene)
    await ensure_namespace(client, scene.namespace)
    async with policies.refusing(client, scene.namespace, MACHINES, scene.key("Machine").name):
        await policies.until(lambda: policies.refuses(client, path, body))
        yield scene


@asynccontextmanager
async def _refused_update(scene: Scene) -> AsyncIterator[Scene]:
    client, path = scene.pair.on_source, scene.path("Machine")
    labels = {"metadata": {"labels": {"probe": ""}}}

    async def ask() -> int:
        return await refused(client, "PATCH", path, labels, MERGE_PATCH)

    name = scene.key("Machine").name
    async with policies.refusing(client, scene.namespace, MACHINES, name, operation="UPDATE"):
        await policies.until(answers(ask, 422))
        yield scene


@asynccontextmanager
async def _dead_webhook(client: AdminClient, namespace: str, operation: str) -> AsyncIterator[None]:
    """Makes a server ask about an operation on Machines where nobody listens."""
    hook = {
        "name": "nobody.tests.io",
        "clientConfig": {"url": f"https://127.0.0.1:{free_port()}/"},
        "rules": [policies.rule_of(MACHINES, operation)],
        "namespaceSelector": policies.only(namespace),
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind, path = "ValidatingWebhookConfiguration", f"{policies.ADMISSION}/validatingwebhookconfigurations"
    metadata = {"name": namespace}
    body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": metadata, "webhooks": [hook]}
    await client.create(path, body)
    try:
        yield
    finally:
        await client.delete(f"{path}/{namespace}")


@asynccontextmanager
async def _unanswered_creation(scene: Scene) -> AsyncIterator[Scene]:
    client, (path, body) = scene.pair.on_target, await copy_of_the_machine(scene)
    await ensure_namespace(client, scene.namespace)

    async def ask() -> int:
        return await refused(client, "POST", path, body)

    async with _dead_webhook(client, scene.namespace, "CREATE"):
        await policies.until(answers(ask, 500))
        yield scene


@asynccontextmanager
async def _unanswered_deletion(scene: Scene) -> AsyncIterator[Scene]:
    client = scene.pair.on_source

    async def ask() -> int:
        return await refused(client, "DELETE", scene.path("Machine"))

    async with _dead_webhook(client, scene.namespace, "DELETE"):
        await policies.until(answers(ask, 500))
        yield scene


CASES: tuple[Case, ...] = (
    Case(
        "namespace",
        "it is being deleted",
        _dying_namespace,
        "Namespace {namespace}",
        "target",
        others=frozenset({"creation"}),
    ),
    Case("quota", "there is room for some", _small_quota, "ResourceQuota {namespace}/few", "target", says="room for 2"),
    Case("creation", "a policy refuses a copy", _refused_creation, "{machine}", "target", says="not here"),
    Case(
        "creation",
        "a webhook does not answer",
        _unanswered_creation,
        "{machine}",
        "target",
        says="(asked: validatingwebhookconfiguration/",
    ),
    Case("removal", "a policy refuses the last change", _refused_update, "{machine}", says="not here"),
    Case(
        "removal",
        "a webhook does not answer",
        _unanswered_deletion,
        "{machine}",
        says="(asked: validatingwebhookconfiguration/",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_what_would_be_refused_is_found_and_nothing_else(case: Case, pair: Pair, namespace: str) -> None:
    await assert_found(case, pair, namespace)


async def _unconnected(source: ClusterRef, target: ClusterRef, namespace: str) -> list[tuple[str, str, str]]:
    with pytest.raises(RefusedError) as caught:
        async with asyncio.timeout(WITHIN_S):
            await api.preflight_async(source, target, MoveOptions(namespace=namespace))
    return [(problem.check, problem.cluster, problem.subject) for problem in caught.value.problems]


async def test_a_server_that_does_not_answer_is_named_and_so_are_two(pair: Pair, namespace: str) -> None:
    urls = [f"https://127.0.0.1:{free_port()}" for _ in range(2)]
    planes = (pair.source, pair.target)
    source, target = (ClusterRef(plane.kubeconfig_via(url)) for plane, url in zip(planes, urls, strict=True))
    gone = [("connection", "source", urls[0]), ("connection", "target", urls[1])]
    assert await _unconnected(pair.source_ref, target, namespace) == gone[1:]
    assert await _unconnected(source, pair.target_ref, namespace) == gone[:1]
    assert await _unconnected(source, target, namespace) == gone
