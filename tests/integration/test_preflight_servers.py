"""What the preflight finds out about two real API servers: what they are, what they have and what they serve."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from graph import rules
from mover import api
from mover.checks import clusters, sizes
from mover.kube import connect
from mover.permissions import Side
from tests.faults import policies
from tests.integration.preflight_scene import (
    Ask,
    Case,
    Scene,
    Spoil,
    answers,
    assert_found,
    copy_of_the_machine,
    make_scene,
    refused,
)
from tests.testbed.client import AdminClient
from tests.testbed.crds import CRDS_PATH
from tests.testbed.pair import Pair
from tests.testbed.providers import API_VERSION

MACHINES = "machines.cluster.x-k8s.io"


@asynccontextmanager
async def _the_same_cluster(scene: Scene) -> AsyncIterator[Scene]:
    yield replace(scene, target=scene.source)


def _without_contract(side: Side) -> Spoil:
    @asynccontextmanager
    async def spoil(scene: Scene) -> AsyncIterator[Scene]:
        client = scene.pair.on_source if side == "source" else scene.pair.on_target
        path = f"{CRDS_PATH}/{rules.CLUSTERS_CRD}"
        value = (await client.get(path))["metadata"]["labels"][rules.CONTRACT_LABEL]
        await client.patch_merge(path, {"metadata": {"labels": {rules.CONTRACT_LABEL: None}}})
        try:
            yield scene
        finally:
            await client.patch_merge(path, {"metadata": {"labels": {rules.CONTRACT_LABEL: value}}})

    return spoil


async def _metal3_provider(client: AdminClient) -> tuple[str, Any]:
    """Returns path and body of the infrastructure provider in a cluster's inventory."""
    found = (await client.list(f"/apis/{API_VERSION}/providers"))["items"]
    body = next(item for item in found if item["type"] == "InfrastructureProvider")
    metadata = body["metadata"]
    return f"/apis/{API_VERSION}/namespaces/{metadata['namespace']}/providers/{metadata['name']}", body


@asynccontextmanager
async def _older_provider(scene: Scene) -> AsyncIterator[Scene]:
    client = scene.pair.on_target
    path, before = await _metal3_provider(client)
    await client.patch_merge(path, {"version": "v0.9.0"})
    try:
        yield scene
    finally:
        await client.patch_merge(path, {"version": before["version"]})


@asynccontextmanager
async def _no_provider(scene: Scene) -> AsyncIterator[Scene]:
    client = scene.pair.on_target
    path, before = await _metal3_provider(client)
    await client.delete(path)
    try:
        yield scene
    finally:
        kept = {name: before["metadata"][name] for name in ("name", "namespace", "labels")}
        await client.create(path.rpartition("/")[0], {**before, "metadata": kept})


@asynccontextmanager
async def _other_crd(client: AdminClient, name: str, change: Mapping[str, Any], ask: Ask) -> AsyncIterator[None]:
    """Changes the stored version of a CRD by a JSON patch operation, and puts the CRD back.

    Args:
        client: Where.
        name: The CRD.
        change: The operation; its path is inside of that version.
        ask: Returns 0 once the CRD is as it was, and the status by which the server says no once it is not.
    """
    path = f"{CRDS_PATH}/{name}"
    before = (await client.get(path))["spec"]
    number = next(number for number, version in enumerate(before["versions"]) if version["storage"])
    await client.patch_json(path, [{**change, "path": f"/spec/versions/{number}{change['path']}"}])
    try:
        await policies.until(answers(ask, 404, 400))
        yield
    finally:
        await client.patch_json(path, [{"op": "replace", "path": "/spec", "value": before}])
        await policies.until(answers(ask, 0))


@asynccontextmanager
async def _unserved(scene: Scene) -> AsyncIterator[Scene]:
    client, unserved = scene.pair.on_target, {"op": "replace", "path": "/served", "value": False}

    async def ask() -> int:
        return await refused(client, "GET", "/apis/metal3.io/v1alpha1/hostfirmwaresettings")

    async with _other_crd(client, "hostfirmwaresettings.metal3.io", unserved, ask):
        yield scene


def _without_field(field: str) -> Spoil:
    """Returns what takes a field out of the schema of Machines on the target, e.g. "status/properties/nodeInfo"."""

    @asynccontextmanager
    async def spoil(scene: Scene) -> AsyncIterator[Scene]:
        client, (path, body) = scene.pair.on_target, await copy_of_the_machine(scene)
        elsewhere = path.replace(scene.namespace, "default")

        async def ask() -> int:
            return await refused(client, "POST", elsewhere, body)

        gone = {"op": "remove", "path": f"/schema/openAPIV3Schema/properties/{field}"}
        async with _other_crd(client, MACHINES, gone, ask):
            yield scene

    return spoil


# --- What cannot be had on real servers at a low price: the limit is moved instead ------------------


def _with_limit(module: Any, name: str, value: float) -> Spoil:
    @asynccontextmanager
    async def spoil(scene: Scene) -> AsyncIterator[Scene]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, value)
            yield scene

    return spoil


@asynccontextmanager
async def _large_object(scene: Scene) -> AsyncIterator[Scene]:
    path = f"/api/v1/namespaces/{scene.namespace}/configmaps"
    metadata = {"name": "large", "labels": {rules.MOVE_LABEL: ""}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"all": "x" * 600_000}}
    await scene.pair.on_source.create(path, body)
    async with _with_limit(sizes, "LARGEST_BYTES", 500_000)(scene):
        yield scene


_PROVIDER = "InfrastructureProvider metal3"

CASES: tuple[Case, ...] = (
    Case(
        "identity",
        "source and target are one",
        _the_same_cluster,
        "cluster",
        "target",
        others=frozenset({"collisions"}),
    ),
    Case("contract", "an old CAPI on the target", _without_contract("target"), rules.CLUSTERS_CRD, "target"),
    Case("contract", "an old CAPI on the source", _without_contract("source"), rules.CLUSTERS_CRD),
    Case("providers", "an older one on the target", _older_provider, _PROVIDER, "target", says="is older (v0.9.0)"),
    Case("providers", "none on the target", _no_provider, _PROVIDER, "target", says="not installed"),
    Case(
        "served",
        "a kind is not served on the target",
        _unserved,
        "HostFirmwareSettings.metal3.io",
        "target",
        says="metal3.io/v1alpha1 is not served (2 objects need it)",
    ),
    Case(
        "schema",
        "a field of the status is not known",
        _without_field("status/properties/nodeInfo"),
        f"{MACHINES}, v1beta2",
        "target",
        says="does not know the field status.nodeInfo",
    ),
    Case(
        "schema",
        "a field of the spec is not known",
        _without_field("spec/properties/version"),
        f"{MACHINES}, v1beta2",
        "target",
        says="does not know the field spec.version",
        others=frozenset({"creation"}),
    ),
    Case("sizes", "a large ConfigMap", _large_object, "ConfigMap {namespace}/large", "target"),
    Case("space", "an etcd of a byte", _with_limit(sizes, "SPACE_BYTES", 1), "etcd", "target", is_warning=True),
)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_what_is_wrong_with_a_server_is_found_and_nothing_else(case: Case, pair: Pair, namespace: str) -> None:
    await assert_found(case, pair, namespace)


async def test_servers_tell_their_version_their_time_and_the_size_of_their_etcd(pair: Pair, namespace: str) -> None:
    scene = await make_scene(pair, namespace)
    found = await api.preflight_async(scene.source, scene.target, scene.options)
    assert {"versions", "clocks", "sizes", "space"} <= set(found.checked)
    assert (found.problems, found.warnings) == ((), ())
    async with _with_limit(clusters, "CLOCK_SKEW_S", -1)(scene):
        assert [(one.check, one.subject, one.is_warning) for one in await scene.find()] == [("clocks", "clock", True)]
    async with await connect("target", pair.target.kubeconfig, None) as target:
        held = [float(size) for size in sizes._SIZE.findall(await target.metrics())]
        assert target.link.clock_ahead_s is not None
        assert abs(target.link.clock_ahead_s) < 2
    assert max(held) > sizes.MIB
