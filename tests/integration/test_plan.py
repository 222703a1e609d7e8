"""Plans that are saved and held to, and explanations, of a fleet on a real API server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from graph import rules
from graph.resource import ObjectKey
from graph.selection import Fate
from mover import api
from mover.errors import RefusedError
from mover.models import MoveOptions
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.pair import Pair


async def _fleet(pair: Pair, namespace: str, *, topology: bool = False) -> Fleet:
    spec = FleetSpec(
        namespace=namespace,
        cluster_name=f"{namespace}-c",
        host_name=f"{namespace}-h",
        workers=1,
        control_planes=1,
        paused_conditions=False,
        topology=topology,
    )
    return await build(pair.on_source, spec)


def _paths(fleet: Fleet, namespace: str) -> Mapping[str, tuple[ObjectKey, str]]:
    """Returns the first object of some kinds, with its path."""
    places = {
        "Machine": f"/apis/cluster.x-k8s.io/v1beta2/namespaces/{namespace}/machines",
        "Secret": f"/api/v1/namespaces/{namespace}/secrets",
    }
    keys = {kind: next(key for key in fleet.movable if key.kind == kind) for kind in places}
    return {kind: (key, f"{places[kind]}/{key.name}") for kind, key in keys.items()}


async def test_a_saved_plan_moves_what_is_unchanged_and_refuses_what_is_not(
    pair: Pair, namespace: str, tmp_path: Path
) -> None:
    fleet = await _fleet(pair, namespace)
    options, file = MoveOptions(namespace=namespace), tmp_path / "plan"
    await api.plan_async(pair.source_ref, options, save_to=file)
    objects = _paths(fleet, namespace)
    (machine, machine_path), (secret, secret_path) = objects["Machine"], objects["Secret"]
    # What a live cluster does all the time.
    await pair.on_source.patch_status(machine_path, {"phase": "Running"})
    unrelated = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "unrelated"}}
    await pair.on_source.create(f"/api/v1/namespaces/{namespace}/secrets", unrelated)
    await api.plan_async(pair.source_ref, plan_file=file)

    labels = {"metadata": {"labels": {"changed": "yes"}}}
    await pair.on_source.patch_merge(machine_path, labels)
    held = (await pair.on_source.get(secret_path))["data"]
    await pair.on_source.patch_merge(secret_path, {"data": {"changed": "eWVz"}})
    moved = {"metadata": {"labels": {rules.MOVE_LABEL: ""}}}
    await pair.on_source.patch_merge(f"/api/v1/namespaces/{namespace}/secrets/unrelated", moved)
    with pytest.raises(RefusedError) as caught:
        await api.move_async(pair.source_ref, pair.target_ref, plan_file=file)
    assert caught.value.exit_code == 3
    assert {problem.subject: problem.what for problem in caught.value.problems} == {
        str(machine): "changed since the plan was saved: labels",
        str(secret): "changed since the plan was saved: content",
        f"Secret {namespace}/unrelated": "it has appeared since the plan was saved, and would move",
    }
    assert not await pair.target_objects(namespace)

    # Taking a change back is as good as no change, but for a Secret: whoever wrote it may have read it.
    await pair.on_source.patch_merge(machine_path, {"metadata": {"labels": {"changed": None}}})
    await pair.on_source.delete(f"/api/v1/namespaces/{namespace}/secrets/unrelated")
    await pair.on_source.patch_merge(secret_path, {"data": {"changed": None}})
    assert (await pair.on_source.get(secret_path))["data"] == held
    with pytest.raises(RefusedError, match="changed since the plan was saved: content"):
        await api.plan_async(pair.source_ref, plan_file=file)
    await api.plan_async(pair.source_ref, options, save_to=file)
    report = await api.move_async(pair.source_ref, pair.target_ref, plan_file=file)
    assert report.verified == len(fleet.movable)


async def test_an_explanation_goes_up_to_the_root_by_any_name_of_the_kind(pair: Pair, namespace: str) -> None:
    fleet = await _fleet(pair, namespace)
    options = MoveOptions(namespace=namespace)
    machine = next(key for key in fleet.movable if key.kind == "Metal3Machine")
    why = await api.explain_async(pair.source_ref, f"m3m/{machine.name}", options)
    assert (why.obj.key, why.decision.fate) == (machine, Fate.MOVE)
    assert why.path[0].key.kind == "Cluster"
    assert all(tie.hard for tie in why.path)
    assert "spec.consumerRef" in {named.field for named in why.named_by}
    assert why.creation is not None
    assert why.deletion is not None
    secret = next(key for key in fleet.movable if key.name.endswith("-kubeconfig"))
    assert (await api.explain_async(pair.source_ref, f"secrets/{secret.name}", options)).path[-1].key.kind in (
        "Cluster",
        "KubeadmControlPlane",
    )
    unrelated = fleet.unrelated[0]
    left = await api.explain_async(pair.source_ref, f"{unrelated.kind}/{unrelated.name}", options)
    assert (left.decision.fate, left.creation) == (Fate.LEAVE, None)


async def test_an_explanation_of_what_is_kept_says_for_whom(pair: Pair, namespace: str) -> None:
    await _fleet(pair, namespace, topology=True)
    user = f"{namespace}-user"
    await pair.on_source.create(
        "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": user}}
    )
    objects = await pair.source_objects(namespace)
    blueprint = next(key for key in objects if key.kind == "ClusterClass")
    cluster = next(obj for key, obj in objects.items() if key.kind == "Cluster").body()
    reference = {"name": blueprint.name, "namespace": namespace}
    body = {
        "apiVersion": cluster["apiVersion"],
        "kind": "Cluster",
        "metadata": {"name": "other", "namespace": user},
        "spec": {**cluster["spec"], "topology": {**cluster["spec"]["topology"], "classRef": reference}},
    }
    await pair.on_source.create(f"/apis/{cluster['apiVersion']}/namespaces/{user}/clusters", body)
    why = await api.explain_async(pair.source_ref, f"cc/{blueprint.name}", MoveOptions(namespace=namespace))
    assert why.decision.fate is Fate.KEEP
    assert "used by Clusters of other namespaces" in why.decision.reason
    assert why.deletion is None
