"""The provider inventory of a management cluster: what `clusterctl init` writes down about what it installed.

`clusterctl move` needs the CRD of Cluster to store the contract's version, and wants every provider of the source
on the target at the same or a newer version (clusterctl client/cluster/{inventory,mover}.go).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.testbed.client import AdminClient, AdminError
from tests.testbed.crds import CORE_LABEL, provider_labels

API_VERSION = "clusterctl.cluster.x-k8s.io/v1alpha3"
CAPI_VERSION = "v1.14.2"
METAL3_VERSION = "v1.14.0"

_PREFIXES = {
    "CoreProvider": "",
    "BootstrapProvider": "bootstrap-",
    "ControlPlaneProvider": "control-plane-",
    "InfrastructureProvider": "infrastructure-",
    "IPAMProvider": "ipam-",
}


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that `clusterctl init` installed.

    Attributes:
        name: As clusterctl lists it, e.g. "kubeadm".
        type: As in the inventory, e.g. "BootstrapProvider".
        namespace: Where it runs.
        version: With the leading v.
    """

    name: str
    type: str
    namespace: str
    version: str

    @property
    def manifest_label(self) -> str:
        """Returns the name of the inventory object (clusterctl api/v1alpha3/labels.go, ManifestLabel)."""
        return _PREFIXES[self.type] + self.name

    def body(self) -> dict[str, Any]:
        """Returns the inventory object (clusterctl components.go, InventoryObject)."""
        labels = {**provider_labels(self.manifest_label), CORE_LABEL: "inventory"}
        return {
            "apiVersion": API_VERSION,
            "kind": "Provider",
            "metadata": {"name": self.manifest_label, "namespace": self.namespace, "labels": labels},
            "providerName": self.name,
            "type": self.type,
            "version": self.version,
        }


def default_providers(capi: str = CAPI_VERSION, metal3: str = METAL3_VERSION) -> tuple[Provider, ...]:
    """Returns CAPI's three providers at version `capi`, and CAPM3 and Metal3's IPAM at version `metal3`."""
    return (
        Provider("cluster-api", "CoreProvider", "capi-system", capi),
        Provider("kubeadm", "BootstrapProvider", "capi-kubeadm-bootstrap-system", capi),
        Provider("kubeadm", "ControlPlaneProvider", "capi-kubeadm-control-plane-system", capi),
        Provider("metal3", "InfrastructureProvider", "capm3-system", metal3),
        Provider("metal3", "IPAMProvider", "metal3-ipam-system", metal3),
    )


async def install_providers(client: AdminClient, providers: Iterable[Provider] = default_providers()) -> None:
    """Creates the providers' namespaces and inventory objects, but none that is there already."""
    async with asyncio.TaskGroup() as group:
        for provider in providers:
            group.create_task(_install_one(client, provider))


async def ensure_namespace(client: AdminClient, name: str) -> None:
    """Creates the namespace if it is missing."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await _create_missing(client, "/api/v1/namespaces", body)


async def _install_one(client: AdminClient, provider: Provider) -> None:
    await ensure_namespace(client, provider.namespace)
    path = f"/apis/{API_VERSION}/namespaces/{provider.namespace}/providers"
    await _create_missing(client, path, provider.body())


async def _create_missing(client: AdminClient, path: str, body: dict[str, Any]) -> None:
    try:
        await client.create(path, body, manager="clusterctl")
    except AdminError as error:
        if error.reason != "AlreadyExists":
            raise
