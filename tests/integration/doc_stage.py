"""The stage on which the commands of the documents are run: two clusters, and what a document takes for granted.

The source has the namespace metal3 with the Clusters prod-1 and prod-2 and their hosts node-0001 and so on, a smaller
one called edge, and controllers that answer a pause. What a command has changed is put up anew for the next one;
commands that only look share it.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

import pyrage  # type: ignore[import-untyped]

from mover.pivot.choices import IRONIC_NAMESPACE, OPERATOR_PLACE
from tests.documents import PROGRAM, REPOSITORY, Command
from tests.integration.deployments import ALL_DEPLOYMENTS, Deployer, deploy, deployment
from tests.integration.programs import environment
from tests.testbed import gobuild
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.collector import wait_for_collector
from tests.testbed.fleet import FleetSpec, build
from tests.testbed.gobuild import Tool
from tests.testbed.inspect import objects
from tests.testbed.pair import Pair
from tests.testbed.pause_reporter import PauseReporter
from tests.testbed.providers import default_providers
from tests.testbed.versions import Versions
from tests.testbed.witness import collection_path

NAMESPACE = "metal3"
TIMEOUT_S = 300.0
_SECOND = "edge"
_IRONIC = "ironic"
_OPERATOR = OPERATOR_PLACE.partition("/")[2]
_RECORDS = "/api/v1/namespaces/capi-mover/configmaps"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/capi-mover/leases"
_NAMESPACES = "/api/v1/namespaces"
_READING = frozenset({"plan", "explain", "preflight", "rbac", "diff", "status", "backup"})


class Scene(Enum):
    """What is on the clusters.

    A scene that a command has changed is `USED` and fits no other command.
    """

    FLEET = auto()
    INTERRUPTED = auto()
    PIVOT = auto()
    PIVOTED = auto()
    USED = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command."""

    exit_code: int
    output: str


@dataclass
class Stage:
    """Two clusters, and what is on them at the moment.

    Attributes:
        pair: The clusters.
        folder: The folder that commands are run in; it has the kubeconfigs that the documents name.
        scene: What is on the clusters.
        lasting: The namespaces that were there at the beginning.
        programs: The folders with the programs.
    """

    pair: Pair
    folder: Path
    programs: tuple[Path, ...]
    scene: Scene = Scene.USED
    lasting: frozenset[str] = frozenset()
    _controllers: AsyncExitStack = field(default_factory=AsyncExitStack)

    def begin_page(self) -> None:
        """Gives the commands of a document an empty folder with the files that they take for granted."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        source, target = self.pair.source.kubeconfig, self.pair.target.kubeconfig
        for name, kubeconfig in (("source", source), ("bootstrap", source), ("target", target), ("cluster", target)):
            shutil.copy(kubeconfig, self.folder / f"{name}.kubeconfig")
        shutil.copytree(REPOSITORY / "deploy", self.folder / "deploy")
        identity = pyrage.x25519.Identity.generate()
        (self.folder / "identity.txt").write_text(f"{identity}\n")
        (self.folder / "recipient.txt").write_text(f"{identity.to_public()}\n")

    async def run(self, command: Command) -> Outcome:
        """Returns what a command of a document does on the scene that it needs."""
        wanted = _scene_for(command)
        if wanted is not None:
            await self._set(wanted)
        outcome = await self._shell(command.text)
        if _changes(command):
            self.scene = Scene.PIVOTED if self.scene is Scene.PIVOT else Scene.USED
        return outcome

    async def close(self) -> None:
        """Ends the controllers."""
        await self._controllers.aclose()

    async def _shell(self, text: str) -> Outcome:
        """Returns what a shell says to a line, as a user would give it."""
        env = {**environment(self.folder, *self.programs), "KUBECONFIG": "source.kubeconfig:target.kubeconfig"}
        process = await asyncio.create_subprocess_shell(
            text if " | " in text else f"exec {text}",
            cwd=self.folder,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode is not None
        return Outcome(process.returncode, output.decode())

    async def _set(self, wanted: Scene) -> None:
        if self.scene is wanted:
            return
        if wanted is Scene.PIVOTED:
            await self._set(Scene.PIVOT)
            outcome = await self._shell(f"{PROGRAM} pivot -n {NAMESPACE}")
            assert outcome.exit_code == 0, outcome.output
            self.scene = Scene.PIVOTED
            return
        self.scene = Scene.USED
        await self._clear()
        match wanted:
            case Scene.FLEET:
                await self._put_up_fleet()
                await self._put_up_second_fleet()
            case Scene.INTERRUPTED:
                await self._put_up_interrupted_move()
            case Scene.PIVOT:
                await self._put_up_pivot()
            case _:
                raise AssertionError(f"nothing to put up for {wanted}")
        await self._start_controllers()
        self.scene = wanted

    async def _put_up_fleet(self, *, clusters: int = 2) -> None:
        spec = FleetSpec(
            namespace=NAMESPACE,
            clusters=clusters,
            control_planes=1,
            workers=0,
            spare_hosts=1,
            workload_kubeconfig=self.pair.target.kubeconfig.read_text(),
        )
        await build(self.pair.on_source, spec)

    async def _put_up_second_fleet(self) -> None:
        spec = FleetSpec(
            namespace=_SECOND,
            cluster_name=_SECOND,
            host_name=_SECOND,
            control_planes=1,
            workers=0,
            spare_hosts=0,
        )
        await build(self.pair.on_source, spec)

    async def _start_controllers(self) -> None:
        for client in _clients(self.pair):
            await self._controllers.enter_async_context(PauseReporter(client))

    async def _put_up_interrupted_move(self) -> None:
        """Puts up a move that has waited in vain for a pause to be confirmed, and the controllers that then do so."""
        await self._put_up_fleet()
        outcome = await self._shell(
            f"{PROGRAM} move --to-kubeconfig target.kubeconfig -n {NAMESPACE} --pause-timeout 1 --on-failure keep"
        )
        assert outcome.exit_code == 4, outcome.output

    async def _put_up_pivot(self) -> None:
        """Puts up providers, operators and Ironic; on the target Ironic is stopped as docs/pivot.md says."""
        await self._put_up_fleet(clusters=1)
        for client in _clients(self.pair):
            for provider in default_providers():
                await deploy(client, provider.namespace, "controller-manager")
            await deploy(client, IRONIC_NAMESPACE, _OPERATOR)
            await deploy(client, IRONIC_NAMESPACE, _IRONIC)
        stopped = {"metadata": {"annotations": {"capi-mover.io/replicas": "1"}}, "spec": {"replicas": 0}}
        await self.pair.on_target.patch_merge(deployment(IRONIC_NAMESPACE, _IRONIC), stopped)
        for client in _clients(self.pair):
            await self._controllers.enter_async_context(Deployer(client))

    async def _clear(self) -> None:
        await self._controllers.aclose()
        async with asyncio.TaskGroup() as group:
            for client in _clients(self.pair):
                group.create_task(self._clear_one(client))

    async def _clear_one(self, client: AdminClient) -> None:
        """Takes off a cluster what commands and scenes have put there."""
        spaces = [item["metadata"]["name"] for item in await client.list_all(_NAMESPACES)]
        for space in set(spaces) - self.lasting:
            for key, obj in (await objects(client, space)).items():
                if key.name != "kube-root-ca.crt":
                    await _delete(client, f"{collection_path(obj.type, space)}/{key.name}")
        for item in await client.list_all(ALL_DEPLOYMENTS):
            await _delete(client, deployment(item["metadata"]["namespace"], item["metadata"]["name"]))
        for path in (_RECORDS, _LEASES):
            for item in await client.list_all(path):
                if item["metadata"]["name"].startswith("capi-mover"):
                    await _delete(client, f"{path}/{item['metadata']['name']}")
        await wait_for_collector(client)


async def stage_of(pair: Pair, folder: Path) -> Stage:
    """Returns a stage with nothing on it."""
    spaces = [{item["metadata"]["name"] for item in await one.list_all(_NAMESPACES)} for one in _clients(pair)]
    versions = Versions.from_environment()
    tools = [gobuild.binary(tool, versions).parent for tool in (Tool.KUBECTL, Tool.CLUSTERCTL)]
    programs = (Path(sys.executable).parent, *tools)
    return Stage(pair, folder, programs, lasting=frozenset.union(*map(frozenset, spaces)))


def _clients(pair: Pair) -> Iterable[AdminClient]:
    return pair.on_source, pair.on_target


def _scene_for(command: Command) -> Scene | None:
    """Returns the scene that a command needs; None if it goes on with what the one before it has left."""
    if " apply -k " in command.text:
        # The rights are in the namespaces that they are for.
        return Scene.FLEET
    name, *flags = command.ours or ("",)
    if name in ("", "restore", "release"):
        return None
    if name == "pivot":
        return Scene.PIVOTED if "--back" in flags else Scene.PIVOT
    return Scene.INTERRUPTED if name in ("status", "resume", "rollback") else Scene.FLEET


def _changes(command: Command) -> bool:
    """Returns whether a command leaves other things on the clusters than it has found."""
    ours = command.ours
    if not ours or len(command.parts) > 1 or "--keep-paused" in ours:
        return True
    return ours[0] not in _READING and "--dry-run" not in ours


async def _delete(client: AdminClient, path: str) -> None:
    """Deletes an object and its finalizers; it may be gone meanwhile."""
    try:
        await client.patch_merge(path, {"metadata": {"finalizers": None}})
        await client.delete(path)
    except AdminError as error:
        if error.status != 404:
            raise
