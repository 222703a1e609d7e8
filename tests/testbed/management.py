"""Management clusters: control planes with the CRDs and the provider inventory that `clusterctl init` leaves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from mover.names import RECORDS_NAMESPACE
from tests.durations import counted
from tests.testbed import gobuild, kind
from tests.testbed.client import AdminClient
from tests.testbed.controlplane import ControlPlaneOptions
from tests.testbed.crds import CAPI_MODULE, Crd, capi_crds, install
from tests.testbed.kind import ManagementCluster
from tests.testbed.metal3_crds import metal3_crds
from tests.testbed.providers import default_providers, install_providers
from tests.testbed.versions import Versions


def start_management_pair(
    names: tuple[str, str],
    directory: Path,
    versions: Versions | None = None,
    options: ControlPlaneOptions | None = None,
) -> tuple[ManagementCluster, ManagementCluster]:
    """Returns two control planes that are ready as source and target of a move."""
    versions = versions or Versions.from_environment()
    pair = kind.start_two(names, directory, versions, options)
    try:
        with counted("management clusters (CRDs and providers)", len(pair)):
            asyncio.run(initialise_all([plane.kubeconfig for plane in pair], versions))
            for plane in pair:
                # The garbage collector looks for new resource types only now and then; a fresh one knows them at once.
                plane.restart_controller_manager()
    except BaseException:
        for plane in pair:
            plane.stop()
        raise
    return pair


async def initialise_all(kubeconfigs: Iterable[Path], versions: Versions) -> None:
    """Initialises several management clusters at once; see `initialise`."""
    crds = management_crds(versions)
    await asyncio.gather(*(initialise(kubeconfig, crds, versions) for kubeconfig in kubeconfigs))


def management_crds(versions: Versions) -> tuple[Crd, ...]:
    """Returns the CRDs of a management cluster: CAPI's own, and Metal3's (the full ones from METAL3_CRDS)."""
    module = gobuild.module_dir(CAPI_MODULE, versions.cluster_api)
    full = os.environ.get("METAL3_CRDS")
    return (*capi_crds(module), *metal3_crds(Path(full) if full else None))


async def initialise(kubeconfig: Path, crds: Iterable[Crd], versions: Versions) -> None:
    """Installs the CRDs and the provider inventory, as `clusterctl init` would, and prepares where records are kept.

    A namespace that a mover makes goes with each move, and the next one waits for that: it has a test of its own.
    """
    async with AdminClient(kubeconfig) as client:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RECORDS_NAMESPACE}}
        await client.create("/api/v1/namespaces", space)
        await install(client, crds)
        await install_providers(client, default_providers(versions.cluster_api))
