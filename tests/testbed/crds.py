"""CAPI's CRDs as `clusterctl init` leaves them in a management cluster, and how CRDs are installed.

The files are those of the Go module sigs.k8s.io/cluster-api. They are the input of CAPI's kustomizations, so
the labels these add, and those clusterctl adds, are put on here.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.testbed.client import AdminClient, AdminError

CAPI_MODULE = "sigs.k8s.io/cluster-api"
CRDS_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
INSTALL_TIMEOUT_S = 60.0

CLUSTERCTL_LABEL = "clusterctl.cluster.x-k8s.io"
CORE_LABEL = "clusterctl.cluster.x-k8s.io/core"
PROVIDER_LABEL = "cluster.x-k8s.io/provider"

# config/crd/kustomization.yaml of each of CAPI's providers: the contracts it serves, with their versions.
CONTRACT_LABELS = {"cluster.x-k8s.io/v1beta1": "v1beta1", "cluster.x-k8s.io/v1beta2": "v1beta2"}

# Manifest label of the provider -> where its CRDs are in the module; the first folder that exists counts
# (the core provider's moved with v1.14).
CAPI_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "cluster-api": ("core/config/crd/bases", "config/crd/bases"),
    "bootstrap-kubeadm": ("bootstrap/kubeadm/config/crd/bases",),
    "control-plane-kubeadm": ("controlplane/kubeadm/config/crd/bases",),
}
INVENTORY_FILE = "cmd/clusterctl/config/crd/bases/clusterctl.cluster.x-k8s.io_providers.yaml"

# What a new resource answers before it is served: it is not routed yet, or its storage is (re)initializing.
_NOT_YET = frozenset({404, 429, 503})

Crd = dict[str, Any]


def capi_crds(module: Path) -> tuple[Crd, ...]:
    """Returns the CRDs of CAPI's three providers and of clusterctl's inventory.

    Args:
        module: Root of the Go module sigs.k8s.io/cluster-api, e.g. in the module cache.
    """
    found = [
        labelled(crd, {**provider_labels(provider), **CONTRACT_LABELS})
        for provider, folders in CAPI_FOLDERS.items()
        for crd in read_crds(first_folder(module, folders))
    ]
    # clusterctl installs this one itself, without the label that makes its objects part of a move
    # (clusterctl client/cluster/inventory.go, createObj).
    inventory = without_conversion(_parsed(module / INVENTORY_FILE)[0])
    return (*found, labelled(inventory, {CORE_LABEL: "inventory"}))


def provider_labels(provider: str) -> dict[str, str]:
    """Returns the labels of all of a provider's components (clusterctl components.go, getCommonLabels)."""
    return {CLUSTERCTL_LABEL: "", PROVIDER_LABEL: provider}


def read_crds(folder: Path) -> tuple[Crd, ...]:
    """Returns the CRDs in the YAML files of `folder`, in the order of the names, without conversion."""
    files = map(_parsed, sorted(folder.glob("*.yaml")))
    return tuple(without_conversion(body) for bodies in files for body in bodies if body)


def without_conversion(crd: Mapping[str, Any]) -> Crd:
    """Returns the CRD without its conversion webhook, which nobody runs in the test bed."""
    spec = {key: value for key, value in crd["spec"].items() if key != "conversion"}
    kept = {key: value for key, value in crd.items() if key != "status"}
    return {**kept, "spec": spec}


def labelled(crd: Mapping[str, Any], labels: Mapping[str, str]) -> Crd:
    """Returns the CRD with `labels` added to those that it has."""
    metadata = crd["metadata"]
    return {**crd, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}}


def storage_version(crd: Mapping[str, Any]) -> str:
    """Returns the name of the CRD's storage version."""
    return next(str(version["name"]) for version in crd["spec"]["versions"] if version["storage"])


def list_path(crd: Mapping[str, Any]) -> str:
    """Returns the path that lists the CRD's objects of all namespaces."""
    spec = crd["spec"]
    return f"/apis/{spec['group']}/{storage_version(crd)}/{spec['names']['plural']}"


async def install(
    client: AdminClient, crds: Iterable[Mapping[str, Any]], *, timeout_s: float = INSTALL_TIMEOUT_S
) -> None:
    """Creates the CRDs that are missing and returns when every one is Established and served.

    Raises:
        TimeoutError: Some CRD was not served in time.
        ExceptionGroup: The server refused some; it holds the AdminErrors.
    """
    async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
        for crd in crds:
            group.create_task(_install_one(client, crd))


@functools.cache
def _parsed(path: Path) -> tuple[Any, ...]:
    """Returns the documents of a YAML file, shared: not to be changed. With libyaml if it is there: they have 2 MB."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return tuple(yaml.load_all(path.read_text(), Loader=loader))


async def _install_one(client: AdminClient, crd: Mapping[str, Any]) -> None:
    try:
        await client.create(CRDS_PATH, crd, manager="clusterctl")
    except AdminError as error:
        if error.reason != "AlreadyExists":
            raise
    await _wait_served(client, list_path(crd))


async def _wait_served(client: AdminClient, path: str) -> None:
    """Waits until `path` can be listed: the server answers 404 there until the CRD is Established."""
    for delay_s in _delays():
        try:
            await client.list(path, limit="1")
        except AdminError as error:
            if error.status not in _NOT_YET:
                raise
        else:
            return
        await asyncio.sleep(delay_s)  # the API has no watch for "this resource is served now"


def _delays() -> Iterator[float]:
    """Yields the seconds between looks: dozens of CRDs are waited for at once, on a server that is busy."""
    yield from (0.1, 0.2, 0.4)
    yield from itertools.repeat(0.8)


def first_folder(module: Path, folders: Iterable[str]) -> Path:
    """Returns the first of the folders that exists in CAPI's module.

    Raises:
        FileNotFoundError: None of them is there.
    """
    for folder in folders:
        if (module / folder).is_dir():
            return module / folder
    raise FileNotFoundError(f"{module}: none of {', '.join(folders)} is there: not cluster-api's module?")
