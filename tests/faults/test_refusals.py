"""Targets that refuse a copy, change it, or have no room; users who lack a right; credentials that expire.

The preflight tells of most of that, and nothing is changed. Its checks are left out then, as if the trouble had come
after it, and the move has to undo itself.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mover.api import ClusterRef
from mover.errors import RefusedError, VerificationError
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.models import Phase
from tests.faults import policies
from tests.faults import wire as wires
from tests.faults.conftest import excuse
from tests.faults.policies import Limited
from tests.faults.scene import Scene, at, missing
from tests.faults.wire import Wire
from tests.testbed.witness import collection_path


async def _make_namespace(scene: Scene) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.namespace}}
    await scene.pair.on_target.create("/api/v1/namespaces", space)


UNREHEARSED = ("creation", "quota", "permissions")


async def test_a_policy_that_refuses_one_copy_is_told_or_undoes_the_move_and_is_quoted(scene: Scene) -> None:
    await _make_namespace(scene)
    key, target = scene.key("Machine"), scene.pair.on_target
    async with policies.refusing(target, scene.namespace, "cluster.x-k8s.io/machines", key.name):
        body = {**scene.before[key].body(), "status": {}}
        body["metadata"] = {"name": key.name, "namespace": key.namespace}
        path = collection_path(scene.before[key].type, key.namespace)
        await policies.until(lambda: policies.refuses(target, path, body))
        with pytest.raises(RefusedError, match=f"target: {key}: the server would refuse this: .*not here"):
            await scene.move()
        with pytest.raises(
            RolledBackError, match=rf"target: POST /\S+/machines/\S+: 422 Invalid: .*{key.name}.*not here"
        ):
            await scene.move(skip=UNREHEARSED)
    await scene.assert_untouched()


async def test_a_policy_that_changes_the_copies_undoes_the_move_and_every_difference_is_listed(scene: Scene) -> None:
    await _make_namespace(scene)
    secrets = {key for key in scene.fleet.movable if key.kind == "Secret"}
    target, path = scene.pair.on_target, f"/api/v1/namespaces/{scene.namespace}/secrets"
    async with policies.mutating(target, scene.namespace, "/secrets"):

        async def applies() -> bool:
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"}}
            made = await target.request("POST", path, body, params={"dryRun": "All"})
            return "labels" in made["metadata"]

        await policies.until(applies)
        with pytest.raises(RolledBackError) as caught:
            await scene.move()
    assert isinstance(caught.value.cause, VerificationError)
    assert caught.value.exit_code == 5
    found = {difference.subject for difference in caught.value.cause.differences}
    assert found == {str(key) for key in secrets}
    await scene.assert_untouched()


@pytest.mark.parametrize("room", [0, 1000])
async def test_a_quota_is_told_or_undoes_the_move_only_if_it_is_exceeded(scene: Scene, room: int) -> None:
    await _make_namespace(scene)
    path, hard = f"/api/v1/namespaces/{scene.namespace}/resourcequotas", {"count/secrets": str(room)}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": hard}}
    await scene.pair.on_target.create(path, quota)
    # No quota controller runs here; it would write this.
    await scene.pair.on_target.patch_status(f"{path}/few", {"hard": hard, "used": {"count/secrets": "0"}})
    secrets, target = f"/api/v1/namespaces/{scene.namespace}/secrets", scene.pair.on_target
    probe = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"}}
    if room:
        await scene.move()
        await scene.assert_moved()
        return
    await policies.until(lambda: policies.refuses(target, secrets, probe))
    with pytest.raises(RefusedError, match=rf"ResourceQuota {scene.namespace}/few: \d+ secrets are to be created"):
        await scene.move()
    with pytest.raises(RolledBackError, match=rf"target: POST {secrets}/\S+: 403 Forbidden: .*exceeded quota: few"):
        await scene.move(skip=UNREHEARSED)
    await scene.assert_untouched()


async def test_a_namespace_that_is_going_on_the_target_refuses_the_move(scene: Scene) -> None:
    await _make_namespace(scene)
    client, spaces = scene.pair.on_target, f"/api/v1/namespaces/{scene.namespace}"
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["tests/held"]}}
    await client.create(f"{spaces}/configmaps", held)
    await client.delete(spaces)
    with pytest.raises(RefusedError, match=f"target: Namespace {scene.namespace}: it is being deleted"):
        await scene.move()
    await client.patch_merge(f"{spaces}/configmaps/held", {"metadata": {"finalizers": None}})
    await policies.until(lambda: missing(client, spaces))
    await scene.assert_untouched()
    await scene.move()
    await scene.assert_moved()


@pytest.mark.parametrize(
    ("verb", "resource", "method"),
    [
        ("create", "machines", "POST"),
        ("patch", "machines/status", "PATCH"),
    ],
)
async def test_a_right_that_the_user_lacks_on_the_target_is_told_or_undoes_the_move_and_is_named(
    scene: Scene, verb: str, resource: str, method: str
) -> None:
    user = Limited(scene.pair.target, scene.pair.on_target, scene.namespace, (verb, "cluster.x-k8s.io", resource))
    await user.create()
    limited = replace(scene, target=ClusterRef(user.kubeconfig))
    with pytest.raises(RefusedError, match=rf"target: {resource}\.cluster\S+ in the namespace \S+: .* may not {verb}"):
        await limited.move()
    with pytest.raises(
        RolledBackError, match=rf'target: {method} /\S+/machines\S*: 403 .* cannot {verb} resource "{resource}"'
    ):
        await limited.move(skip=UNREHEARSED)
    await scene.assert_untouched()
    await user.grant()
    await limited.move()
    await scene.assert_moved()


async def test_a_right_that_the_user_lacks_on_the_source_after_the_commit_is_named_and_gone_on_with(
    scene: Scene,
) -> None:
    user = Limited(scene.pair.source, scene.pair.on_source, scene.namespace, ("delete", "cluster.x-k8s.io", "machines"))
    await user.create()
    limited = replace(scene, source=ClusterRef(user.kubeconfig))
    with pytest.raises(RefusedError, match=r"source: machines\.cluster\S+ in the namespace \S+: .* may not delete"):
        await limited.move()
    with pytest.raises(InterruptedMoveError, match=r'source: DELETE /\S+: 403 .* cannot delete resource "machines"'):
        await limited.move(skip=UNREHEARSED)
    await user.grant()
    await limited.resume()
    await scene.assert_moved()


@pytest.mark.parametrize("verb", ["delete", "patch"])
async def test_a_right_that_a_rollback_needs_and_the_user_lacks_does_not_keep_the_source_paused(
    scene: Scene, wire: Wire, verb: str
) -> None:
    user = Limited(scene.pair.target, scene.pair.on_target, scene.namespace, (verb, "cluster.x-k8s.io", "machines"))
    await user.create()
    limited = replace(scene, target=ClusterRef(user.kubeconfig))
    excuse(scene.namespace)
    fault = at(
        Phase.VERIFYING,
        lambda: wire.add(wires.record("target", phase="verifying"), wires.answer(422, "no"), times=1),
    )
    with pytest.raises(InterruptedMoveError, match=rf'cannot {verb} resource "machines"'):
        await limited.move(fault, skip=UNREHEARSED)
    source = await scene.on_source()
    await user.grant()
    await limited.rollback()
    await scene.assert_untouched()
    assert not source[scene.key("Cluster")].body()["spec"].get("paused")


_PLUGIN = """
import json, sys
from pathlib import Path

calls = Path(sys.argv[1])
number = len(calls.read_text()) if calls.exists() else 0
calls.write_text("x" * (number + 1))
token = "expired" if number < int(sys.argv[3]) else Path(sys.argv[2]).read_text()
credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
print(json.dumps(credential))
"""


async def _with_plugin(scene: Scene, folder: Path, *, expired: int) -> ClusterRef:
    """Returns the target as reached with an exec plugin whose first tokens are refused."""
    client, name = scene.pair.on_target, scene.namespace
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await client.create(accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    api = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{api}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    }
    await client.create(f"{policies.RBAC}/clusterrolebindings", binding)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    token = (await client.create(f"{accounts}/{name}/token", request))["status"]["token"]
    (folder / "token").write_text(token)
    (folder / "plugin.py").write_text(_PLUGIN)
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(folder / "plugin.py"), str(folder / "calls"), str(folder / "token"), str(expired)],
        "interactiveMode": "Never",
    }
    return ClusterRef(_kubeconfig(scene, folder, plugin))


def _kubeconfig(scene: Scene, folder: Path, plugin: object) -> Path:
    (folder / "ca.crt").write_bytes(scene.pair.target.ca_pem)
    cluster = {"server": scene.pair.target.server, "certificate-authority": str(folder / "ca.crt")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "exec",
        "contexts": [{"name": "exec", "context": {"cluster": "it", "user": "exec"}}],
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "exec", "user": {"exec": plugin}}],
    }
    path = folder / "exec.kubeconfig"
    path.write_text(json.dumps(config))
    return path


async def test_a_token_that_is_refused_is_fetched_anew(scene: Scene, tmp_path: Path) -> None:
    target = await _with_plugin(scene, tmp_path, expired=1)
    await replace(scene, target=target).move()
    assert (tmp_path / "calls").read_text() == "xx"
    await scene.assert_moved()


async def test_a_token_that_expires_in_the_middle_is_fetched_once_for_all_requests(
    scene: Scene, wire: Wire, tmp_path: Path
) -> None:
    target = await _with_plugin(scene, tmp_path, expired=0)
    expired = wires.answer(401, "the token has expired")
    await replace(scene, target=target).move(
        at(Phase.CREATING, lambda: wire.add(wires.write("target", "POST"), expired, times=1))
    )
    assert (tmp_path / "calls").read_text() == "xx"
    await scene.assert_moved()


async def test_credentials_that_are_no_good_any_more_are_named(scene: Scene, tmp_path: Path) -> None:
    target = await _with_plugin(scene, tmp_path, expired=1000)
    with pytest.raises(RefusedError, match=r"target: https://\S+: 401 Unauthorized: "):
        await replace(scene, target=target).move()
    await scene.assert_untouched()
