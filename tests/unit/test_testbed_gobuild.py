"""What is built, from which module text, and where it is kept; nothing is built here."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.testbed import gobuild
from tests.testbed.gobuild import RECIPES, BuildError, Tool
from tests.testbed.versions import Versions

_PLACEHOLDER = "v0.0.0-00010101000000-000000000000"


def _go_mod(go: str, required: dict[str, str], replaced: dict[str, str]) -> dict[str, Any]:
    """Returns a go.mod as `go mod edit -json` prints it."""
    return {
        "Go": go,
        "Require": [{"Path": path, "Version": version} for path, version in required.items()],
        "Replace": [{"Old": {"Path": old}, "New": {"Path": new}} for old, new in replaced.items()],
    }


def test_kubernetes_takes_its_staging_modules_from_their_own_releases() -> None:
    go_mod = _go_mod(
        "1.26.0",
        {"k8s.io/api": "v0.0.0", "k8s.io/klog/v2": "v2.140.0"},
        {"k8s.io/api": "./staging/src/k8s.io/api", "k8s.io/sample": "./staging/src/k8s.io/sample"},
    )

    text = gobuild.module_text([RECIPES[Tool.KUBE_APISERVER]], "v1.36.3", go_mod)

    assert text.split("\n\n") == [
        "module testbed",
        "go 1.26.0",
        "tool k8s.io/kubernetes/cmd/kube-apiserver",
        "require k8s.io/kubernetes v1.36.3",
        "replace k8s.io/api => k8s.io/api v0.36.3\n",
    ]


def test_cluster_api_takes_its_own_modules_in_its_own_version() -> None:
    module = "sigs.k8s.io/cluster-api/api"
    go_mod = _go_mod("1.26.0", {module: _PLACEHOLDER}, {module: "./api"})

    text = gobuild.module_text([RECIPES[Tool.CLUSTERCTL]], "v1.14.2", go_mod)

    assert f"replace {module} => {module} v1.14.2" in text


def test_a_module_that_is_required_in_a_real_version_keeps_it() -> None:
    module = "go.etcd.io/etcd/api/v3"
    go_mod = _go_mod("1.26.0", {module: "v3.6.15"}, {module: "../api"})

    text = gobuild.module_text([RECIPES[Tool.ETCD]], "v3.6.16", go_mod)

    assert f"replace {module} => {module} v3.6.15" in text


def test_a_module_without_replacements_needs_none() -> None:
    text = gobuild.module_text([RECIPES[Tool.CLUSTERCTL]], "v1.13.6", {"Go": "1.25.0", "Replace": None})

    assert "replace" not in text


def test_a_replacement_by_a_published_module_is_not_repeated() -> None:
    go_mod = {
        "Go": "1.26.0",
        "Require": [{"Path": "example.com/a", "Version": "v1.0.0"}],
        "Replace": [{"Old": {"Path": "example.com/a"}, "New": {"Path": "example.com/b", "Version": "v1.0.0"}}],
    }

    assert "replace" not in gobuild.module_text([RECIPES[Tool.ETCD]], "v3.6.16", go_mod)


def test_an_old_module_is_built_with_a_go_directive_that_knows_tools() -> None:
    text = gobuild.module_text([RECIPES[Tool.TOXIPROXY]], "v2.5.0", {"Go": "1.17"})

    assert "\ngo 1.24\n" in text


def test_the_linker_is_told_the_version_of_kubernetes() -> None:
    flags = gobuild.linker_flags(RECIPES[Tool.KUBE_APISERVER], "v1.36.3")

    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in flags
    assert "-X k8s.io/component-base/version.gitMajor=1" in flags
    assert "-X k8s.io/component-base/version.gitMinor=36" in flags


def test_the_cache_has_a_folder_for_each_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    old, new = (gobuild.cache_path(Tool.ETCD, version) for version in ("v3.6.15", "v3.6.16"))

    assert old != new
    assert new.name == "etcd"
    assert new.parent.name.startswith("etcd-v3.6.16-")
    assert new.parent.parent == tmp_path / "capi-mover" / "bin"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27 darwin/arm64", (1, 27)),
        ("go version devel go1.27-abc123 linux/amd64", (1, 27)),
        ("go version go1.26rc2 linux/amd64", (1, 26)),
    ],
)
def test_the_version_of_go_is_read(text: str, version: tuple[int, ...]) -> None:
    assert gobuild.parse_go_version(text) == version


def test_a_text_without_a_version_of_go_is_refused() -> None:
    with pytest.raises(ValueError, match="no Go version in"):
        gobuild.parse_go_version("command not found")


def _fake_program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_assets_of_envtest_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    etcd = _fake_program(tmp_path / "etcd")

    assert gobuild.binary(Tool.ETCD, Versions()) == etcd


def test_what_envtest_lacks_comes_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cached = _fake_program(gobuild.cache_path(Tool.KUBE_CONTROLLER_MANAGER, Versions().kubernetes))

    assert gobuild.binary(Tool.KUBE_CONTROLLER_MANAGER, Versions()) == cached


def test_two_at_once_build_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    builds: list[Path] = []
    meeting = threading.Barrier(2)

    def build(tools: Sequence[Tool], version: str) -> None:
        builds.extend(_fake_program(gobuild.cache_path(tool, version)) for tool in tools)

    def ask() -> None:
        meeting.wait(timeout=10)
        gobuild.binary(Tool.ETCD, Versions())

    monkeypatch.setattr(gobuild, "_build", build)
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)

    assert builds == [gobuild.cache_path(Tool.ETCD, Versions().etcd)]


def test_a_failed_build_shows_the_end_of_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sh", "-c", "for i in $(seq 100); do echo line $i; done; exit 1"]

    with pytest.raises(BuildError) as caught:
        gobuild._run_with_progress(command, tmp_path, "thing v1")

    assert caught.value.output.splitlines()[-1] == "line 100"
    assert "line 1\n" not in str(caught.value)
    assert capsys.readouterr().err == "thing v1\n"


def test_a_build_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gobuild, "_HEARTBEAT_S", 0.05)

    command = ["sh", "-c", "printf 'go: a word\\none/package\\n'; sleep 0.3; echo other/package"]

    output = gobuild._run_with_progress(command, tmp_path, "thing v1", lambda text: f"{gobuild._packages(text)} of 2")

    assert capsys.readouterr().err.count("thing v1: 1 of 2, 0 s so far") >= 2
    assert gobuild._packages(output) == 2


@pytest.mark.parametrize(("there", "package"), [("core", "example.org/m/core"), (".", "example.org/m")])
def test_a_program_that_has_moved_is_built_from_where_it_is_in_this_version(
    tmp_path: Path, there: str, package: str
) -> None:
    (tmp_path / there).mkdir(exist_ok=True)
    (tmp_path / there / "main.go").touch()
    recipe = gobuild.Recipe("example.org/m", "example.org/m/core", "etcd", former_package="example.org/m")
    assert recipe.in_module(tmp_path).package == package


def test_a_program_that_has_never_moved_is_where_its_recipe_says(tmp_path: Path) -> None:
    assert RECIPES[Tool.ETCD].in_module(tmp_path) == RECIPES[Tool.ETCD]


def test_the_programs_of_a_module_are_built_together_and_two_modules_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    builds: list[list[Tool]] = []
    meeting = threading.Barrier(2)

    def build(tools: Sequence[Tool], version: str) -> None:
        meeting.wait(timeout=10)
        builds.append(list(tools))

    monkeypatch.setattr(gobuild, "_build", build)
    gobuild.ensure([Tool.KUBE_APISERVER, Tool.ETCD, Tool.KUBECTL], Versions())

    assert sorted(builds) == [[Tool.ETCD], [Tool.KUBE_APISERVER, Tool.KUBECTL]]


@pytest.mark.parametrize(
    ("tool", "name"),
    [(Tool.ETCD, "server"), (Tool.TOXIPROXY, "server"), (Tool.KUBECTL, "kubectl"), (Tool.CAPI_CORE, "core")],
)
def test_a_program_is_named_as_go_names_it(tool: Tool, name: str) -> None:
    assert RECIPES[tool].program == name


def test_programs_of_one_name_are_not_put_into_one_folder() -> None:
    same = (Tool.CAPI_BOOTSTRAP, Tool.CAPI_CONTROL_PLANE)
    recipes = {tool: RECIPES[tool] for tool in (Tool.CAPI_CORE, *same, Tool.CLUSTERCTL)}

    rounds = [list(programs) for programs in gobuild._of_different_names(recipes)]

    assert rounds == [[Tool.CAPI_CORE, Tool.CAPI_BOOTSTRAP, Tool.CLUSTERCTL], [Tool.CAPI_CONTROL_PLANE]]
