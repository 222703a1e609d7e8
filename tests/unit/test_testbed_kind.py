"""The ways to a kind cluster, as far as they go without a Docker engine."""

from pathlib import Path

import pytest

from tests.testbed import kind
from tests.testbed.controlplane import ControlPlaneOptions
from tests.testbed.pki import Authority, kubeconfig_text
from tests.testbed.versions import Versions


def _fake_program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_processes_are_the_default() -> None:
    assert not kind.wants_kind({})
    assert not kind.wants_kind({"TESTBED": "processes"})


def test_the_environment_asks_for_kind() -> None:
    assert kind.wants_kind({"TESTBED": "kind"})


def test_an_unknown_test_bed_is_refused() -> None:
    with pytest.raises(ValueError, match="TESTBED=minikube"):
        kind.wants_kind({"TESTBED": "minikube"})


def test_the_cluster_is_created_with_its_own_kubeconfig() -> None:
    command = kind.create_command("source", Path("/d/kubeconfig"), None)

    cluster = kind.cluster_name("source")
    assert command[:5] == ["kind", "create", "cluster", "--name", cluster]
    assert command[5:] == ["--kubeconfig", "/d/kubeconfig", "--wait", "180s"]


def test_the_cluster_is_deleted_by_the_name_it_was_created_with() -> None:
    create = kind.create_command("source", Path("/d/kubeconfig"), None)
    delete = kind.delete_command("source", Path("/d/kubeconfig"))

    assert delete == ["kind", "delete", *create[2:7]]


@pytest.mark.parametrize(
    ("environment", "image"),
    [
        ({}, None),
        ({"KUBERNETES": "v1.34.4"}, "kindest/node:v1.34.4"),
        ({"KUBERNETES": "v1.34.4", "KIND_NODE_IMAGE": "mirror/node:v1"}, "mirror/node:v1"),
    ],
)
def test_the_image_follows_the_environment(environment: dict[str, str], image: str | None) -> None:
    assert kind.node_image(Versions.from_environment(environment), environment) == image


def test_the_image_is_part_of_the_command() -> None:
    assert kind.create_command("source", Path("k"), "kindest/node:v1.34.4")[-2:] == [
        "--image",
        "kindest/node:v1.34.4",
    ]


def test_a_docker_that_does_not_run_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_program(tmp_path, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    _fake_program(tmp_path, "kind", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    with pytest.raises(kind.KindError, match=r"needs a running Docker engine.*Cannot connect"):
        kind.check_docker()


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_program(tmp_path, "docker", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(kind.KindError, match="needs `kind` on the PATH"):
        kind.check_docker()


def test_flags_for_the_server_are_refused(tmp_path: Path) -> None:
    options = ControlPlaneOptions(extra_apiserver_args=("--v=4",))

    with pytest.raises(ValueError, match="takes no extra_apiserver_args"):
        kind.KindControlPlane.start("source", tmp_path, options=options)


def test_a_failed_creation_deletes_what_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_program(tmp_path, "docker", "exit 0")
    _fake_program(tmp_path, "kind", f'echo "$@" >> {tmp_path}/calls; [ "$1" = delete ]')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    with pytest.raises(kind.KindError, match="kind create cluster"):
        kind.KindControlPlane.start("source", tmp_path / "source")

    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["create", "delete"]


def test_a_kubeconfig_is_read_as_it_was_written() -> None:
    authority = Authority.create("ca")
    pair = authority.issue_client("admin", ["system:masters"])

    text = kubeconfig_text("source", "https://127.0.0.1:6443", authority.pem, pair)

    assert kind.read_kubeconfig(text) == ("https://127.0.0.1:6443", authority.pem, pair)
