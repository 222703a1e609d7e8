"""Tests of the manifests and of the image that are in step with the rest; the API server judges them elsewhere."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from mover.cli import app
from mover.shard import shard_of

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERFILE = (ROOT / "Containerfile").read_text()
RUNS = re.sub(r"\\\n", " ", CONTAINERFILE)


@pytest.mark.parametrize(
    ("file", "flags"),
    [
        ("deploy/job/rbac.yaml", ("--side", "source", "-n", "metal3")),
        ("deploy/job-shards/rbac.yaml", ("--side", "source")),
        ("deploy/target/rbac.yaml", ("--side", "target", "-n", "metal3")),
        ("deploy/target-shards/rbac.yaml", ("--side", "target")),
        ("docs/rbac/source.yaml", ("--side", "source", "-n", "metal3")),
        ("docs/rbac/target.yaml", ("--side", "target", "-n", "metal3")),
    ],
)
def test_the_rights_are_what_the_program_prints(file: str, flags: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["rbac", *flags, "--service-account", "capi-mover/capi-mover"])
    assert result.exit_code == 0, result.output
    assert (ROOT / file).read_text() == result.output


def patches() -> dict[str, Any]:
    """Returns what the kustomization of the shards changes, by path."""
    (patch,) = yaml.safe_load((DEPLOY / "job-shards/kustomization.yaml").read_text())["patches"]
    return {entry["path"]: entry.get("value") for entry in yaml.safe_load(patch["patch"])}


def test_there_are_as_many_pods_as_shards() -> None:
    changes = patches()
    (argument,) = (text for text in changes["/spec/template/spec/containers/0/args"] if text.startswith("--shard="))
    index, total = argument.removeprefix("--shard=").split("/")
    (variable,) = changes["/spec/template/spec/containers/0/env"]
    assert index == f"$({variable['name']})"
    assert changes["/spec/completions"] == changes["/spec/parallelism"] == int(total)
    assert [str(shard_of(f"{number}/{total}")) for number in range(int(total))]


def test_each_folder_names_all_its_files() -> None:
    for folder in (path for path in DEPLOY.iterdir() if path.is_dir()):
        content = yaml.safe_load((folder / "kustomization.yaml").read_text())
        named = {name for name in content["resources"] if "/" not in name}
        assert named == {path.name for path in folder.iterdir()} - {"kustomization.yaml"}, folder


def test_the_manifests_and_the_containerfile_name_the_image_of_this_version() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    job = yaml.safe_load((DEPLOY / "base/job.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"capi-mover:{version[1]}"
    assert f"-t capi-mover:{version[1]} " in CONTAINERFILE


def test_the_image_is_installed_with_the_uv_of_the_makefile() -> None:
    uv = re.search(r"^UV_VERSION := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert uv is not None
    assert f"ARG UV_VERSION={uv[1]}\n" in CONTAINERFILE


def test_the_image_is_built_on_a_base_of_one_version_that_the_package_is_for() -> None:
    bases = re.findall(r"^FROM (\S+)", RUNS, re.MULTILINE)
    assert bases == ["${PYTHON}", "${PYTHON}"]
    (base,) = re.findall(r"^ARG PYTHON=(\S+)", RUNS, re.MULTILINE)
    assert re.search(r"/python:3\.\d+\.\d+-slim-|@sha256:[0-9a-f]{64}$", base)
    minor = re.search(r"python:(3\.\d+)", base)
    assert minor is not None
    assert f"Programming Language :: Python :: {minor[1]}" in (ROOT / "pyproject.toml").read_text()


def test_the_image_runs_as_nobody() -> None:
    (user,) = re.findall(r"^USER (\d+):(\d+)$", RUNS, re.MULTILINE)
    assert all(int(number) > 0 for number in user)
    last = RUNS.rpartition("\nFROM ")[2]
    assert "\nUSER " in last
    assert 'ENTRYPOINT ["capi-mover"]' in last
    job = yaml.safe_load((DEPLOY / "base/job.yaml").read_text())
    assert str(job["spec"]["template"]["spec"]["securityContext"]["runAsUser"]) == user[0]


def test_what_is_copied_into_the_image_is_there_and_is_sent_to_the_builder() -> None:
    copied = [line.split()[1:-1] for line in RUNS.splitlines() if re.match(r"COPY (?!--from)", line)]
    names = [name for names in copied for name in names]
    assert {"pyproject.toml", "uv.lock", "graph", "mover"} <= set(names)
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for name in names:
        assert (ROOT / name).exists()
        assert _is_sent(name, rules)
    assert not _is_sent("tests", rules)
    assert not _is_sent(".git", rules)


def _is_sent(name: str, rules: list[str]) -> bool:
    """Returns what the last rule that matches says, as for Docker."""
    sent = True
    for rule in rules:
        if fnmatch.fnmatch(name, rule.removeprefix("!")):
            sent = rule.startswith("!")
    return sent


@pytest.mark.parametrize("option", ["--locked", "--no-dev"])
def test_the_image_has_the_locked_packages_and_nothing_to_develop_with(option: str) -> None:
    syncs = re.findall(r"uv sync (.*)", RUNS)
    assert len(syncs) == 2
    assert all(option in sync.split() for sync in syncs)
