"""The test bed's own parts: real control planes, real faults, and nothing left behind."""

import base64
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.testbed.controlplane import ControlPlane, ControlPlaneOptions, start_pair
from tests.testbed.kind import ManagementCluster, wants_kind
from tests.testbed.pair import Planes
from tests.testbed.pki import Authority
from tests.testbed.processes import Child
from tests.testbed.toxiproxy import Toxiproxy

pytestmark = pytest.mark.skipif(wants_kind(), reason="tests the control planes that are processes")

_CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


class _Client:
    """Speaks to the server of a kubeconfig, with a new connection for each request."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        pem = directory / "client.pem"
        pem.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        context.load_cert_chain(pem)
        self._server = cluster["server"]
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._server}{path}", data, headers, method=method)
        try:
            with self._opener.open(request, timeout=20) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


def _config_map(name: str, owner: dict[str, Any] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if owner is not None:
        metadata["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["name"], "uid": owner["uid"]}
        ]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def _wait(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {timeout_s:g} s"
        time.sleep(0.05)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _children(plane: ControlPlane) -> list[Child]:
    parts = (plane.etcd, plane.apiserver, plane.controller_manager)
    return [part for part in parts if part is not None]


@pytest.fixture
def plane(planes: Planes) -> ManagementCluster:
    return planes[0]


@pytest.fixture
def client(plane: ManagementCluster, tmp_path: Path) -> _Client:
    return _Client(plane.kubeconfig, tmp_path)


def test_the_server_knows_its_version(client: _Client) -> None:
    status, version = client.call("GET", "/version")

    assert status == 200
    assert version["gitVersion"].startswith("v1.")
    assert version["major"] == "1"


def test_the_garbage_collector_collects_a_dependent_of_a_deleted_owner(client: _Client) -> None:
    _, owner = client.call("POST", _CONFIG_MAPS, _config_map("owner"))
    client.call("POST", _CONFIG_MAPS, _config_map("dependent", owner["metadata"]))
    client.call("POST", _CONFIG_MAPS, _config_map("bystander"))

    client.call("DELETE", f"{_CONFIG_MAPS}/owner")

    _wait(lambda: client.call("GET", f"{_CONFIG_MAPS}/dependent")[0] == 404, timeout_s=30)
    assert client.call("GET", f"{_CONFIG_MAPS}/bystander")[0] == 200


def test_a_deleted_namespace_goes_with_what_is_in_it(client: _Client) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "short-lived"}}
    client.call("POST", "/api/v1/namespaces", namespace)
    client.call("POST", "/api/v1/namespaces/short-lived/configmaps", _config_map("inside"))

    client.call("DELETE", "/api/v1/namespaces/short-lived")

    _wait(lambda: client.call("GET", "/api/v1/namespaces/short-lived")[0] == 404, timeout_s=60)


def test_a_client_with_another_authority_refuses_the_server(plane: ManagementCluster) -> None:
    context = ssl.create_default_context(cadata=Authority.create("stranger").pem.decode())

    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(f"{plane.server}/readyz", context=context, timeout=10)


def test_a_strict_client_accepts_the_server(plane: ManagementCluster) -> None:
    context = ssl.create_default_context(cadata=plane.ca_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    context.load_cert_chain(plane.admin_cert, plane.admin_key)

    with urllib.request.urlopen(f"{plane.server}/readyz", context=context, timeout=10) as response:
        assert response.status == 200


def test_another_user_has_no_rights(plane: ManagementCluster, tmp_path: Path) -> None:
    stranger = _Client(plane.kubeconfig_for("stranger", ["strangers"]), tmp_path)

    status, answer = stranger.call("GET", _CONFIG_MAPS)

    assert status == 403
    assert 'User "stranger"' in answer["message"]


def test_kubeconfigs_are_readable_by_their_owner_only(plane: ManagementCluster) -> None:
    paths = (plane.kubeconfig, plane.kubeconfig_for("somebody"), plane.kubeconfig_via("https://127.0.0.1:1"))

    assert [oct(path.stat().st_mode & 0o777) for path in paths] == ["0o600"] * 3


def test_a_request_through_a_slow_proxy_is_slow(plane: ManagementCluster, tmp_path: Path) -> None:
    with Toxiproxy(tmp_path) as faults:
        address = faults.add("slow", plane.server)
        client = _Client(plane.kubeconfig_via(f"https://{address}"), tmp_path)
        assert client.call("GET", "/version")[0] == 200
        faults.toxic("slow", "latency", attributes={"latency": 100})

        started = time.monotonic()
        status, _ = client.call("GET", "/version")

        assert status == 200
        assert time.monotonic() - started >= 0.1


def test_a_disabled_proxy_refuses_connections_until_it_is_enabled(plane: ManagementCluster, tmp_path: Path) -> None:
    with Toxiproxy(tmp_path) as faults:
        client = _Client(plane.kubeconfig_via(f"https://{faults.add('broken', plane.server)}"), tmp_path)
        faults.disable("broken")

        with pytest.raises(urllib.error.URLError, match="refused"):
            client.call("GET", "/version")

        faults.enable("broken")
        assert client.call("GET", "/version")[0] == 200


def test_a_removed_fault_is_gone(plane: ManagementCluster, tmp_path: Path) -> None:
    with Toxiproxy(tmp_path) as faults:
        client = _Client(plane.kubeconfig_via(f"https://{faults.add('reset', plane.server)}"), tmp_path)
        toxic = faults.toxic("reset", "reset_peer", attributes={"timeout": 0})

        with pytest.raises(OSError, match=r"reset|EOF"):
            client.call("GET", "/version")

        faults.remove_toxic("reset", toxic)
        assert client.call("GET", "/version")[0] == 200


def test_data_survives_a_restart_of_the_server_and_a_crash_of_etcd(second_planes: Planes, tmp_path: Path) -> None:
    plane = second_planes[0]
    client = _Client(plane.kubeconfig, tmp_path)
    _, before = client.call("POST", _CONFIG_MAPS, _config_map("kept"))

    plane.restart_apiserver()
    plane.restart_etcd()

    assert client.call("GET", f"{_CONFIG_MAPS}/kept")[1]["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_crashed_server_refuses_connections_until_it_is_started(second_planes: Planes, tmp_path: Path) -> None:
    plane = second_planes[0]
    assert isinstance(plane, ControlPlane)
    assert plane.apiserver is not None
    client = _Client(plane.kubeconfig, tmp_path)
    plane.apiserver.kill()

    with pytest.raises(urllib.error.URLError, match="refused"):
        client.call("GET", "/version")

    plane.start_apiserver()
    assert client.call("GET", "/version")[0] == 200


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    options = ControlPlaneOptions(extra_apiserver_args=("--no-such-flag",))

    with pytest.raises(RuntimeError, match="unknown flag: --no-such-flag"):
        ControlPlane.start("broken", tmp_path, options=options)


def test_a_pair_starts_and_leaves_no_process_behind(tmp_path: Path) -> None:
    # Of its own: it ends them.
    source, target = start_pair(("source", "target"), tmp_path)
    with source, target:
        children = [*_children(source), *_children(target)]
        assert len(children) == 6
        assert all(_exists(child.pid) for child in children)
        assert source.server != target.server
        context = yaml.safe_load(target.kubeconfig.read_text())["current-context"]
        assert context == "target"

    assert not any(_exists(child.pid) for child in children)
