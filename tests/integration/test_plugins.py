"""The plugins, called by the real clusterctl and the real kubectl."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.integration.programs import environment, output_of
from tests.testbed import gobuild
from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.gobuild import Tool
from tests.testbed.pair import Pair
from tests.testbed.versions import Versions

PLUGINS = [(Tool.CLUSTERCTL, "pymove"), (Tool.KUBECTL, "capi-move")]
INSTALLED = Path(sys.executable).parent
"""Where the console scripts of capi-mover are."""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    versions = Versions.from_environment()
    return environment(tmp_path, INSTALLED, *(gobuild.binary(tool, versions).parent for tool, _ in PLUGINS))


async def _fleet(pair: Pair, namespace: str) -> Fleet:
    spec = FleetSpec(
        namespace=namespace,
        cluster_name=f"{namespace}-c",
        host_name=f"{namespace}-h",
        control_planes=1,
        workers=0,
        paused_conditions=False,
    )
    return await build(pair.on_source, spec)


@pytest.mark.parametrize(("tool", "plugin"), PLUGINS)
async def test_a_fleet_moves_by_a_plugin(
    pair: Pair, namespace: str, env: dict[str, str], tool: Tool, plugin: str
) -> None:
    fleet = await _fleet(pair, namespace)
    before = await pair.source_objects(namespace)
    flags = ("--kubeconfig", pair.source.kubeconfig, "-n", namespace)

    shown = await output_of([tool, plugin, *flags, "--dry-run"], env)
    assert f"{len(fleet.movable)} objects would move" in shown
    assert await pair.source_objects(namespace) == before

    await output_of([tool, plugin, *flags, "--to-kubeconfig", pair.target.kubeconfig], env)
    source, target = await pair.source_objects(namespace), await pair.target_objects(namespace)
    assert set(fleet.movable) <= set(target)
    assert not set(fleet.movable) & set(source)
    assert set(fleet.unrelated) <= set(source)


@pytest.mark.parametrize(("tool", "plugin"), PLUGINS)
async def test_a_plugin_says_how_it_is_called_and_passes_its_exit_code_on(
    env: dict[str, str], tool: Tool, plugin: str
) -> None:
    assert (await output_of([tool, plugin, "--help"], env)).startswith(f"Usage: {tool} {plugin} [OPTIONS]")
    refused = await output_of([tool, plugin, "-n", "ns"], env, exit_code=2)
    assert "Please specify a target cluster using the --to-kubeconfig flag" in refused


async def test_kubectl_completes_the_flags_of_the_plugin(env: dict[str, str]) -> None:
    found = await output_of([Tool.KUBECTL, "__complete", "capi-move", "--restore-status", "m"], env)
    assert {"metal3", ":4"} <= set(found.splitlines())


async def test_kubectl_lists_the_plugin(env: dict[str, str]) -> None:
    assert f"{INSTALLED}/kubectl-capi_move" in await output_of([Tool.KUBECTL, "plugin", "list"], env)
