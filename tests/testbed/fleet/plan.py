"""Which machine of which cluster is on which host, and what everything is called: always the same for a spec."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from tests.testbed.fleet.model import FleetSpec

# The letters of Kubernetes' generated names (apimachinery util/rand).
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIXES = len(_LETTERS) ** 5
_FIRST_ADDRESS = ipaddress.IPv4Address("10.64.0.100")
_ADDRESSES_PER_CLUSTER = 1 << 16


@dataclass(frozen=True, slots=True)
class HostPlan:
    """A host: `number` counts all hosts of the fleet from 0."""

    namespace: str
    name: str
    number: int

    @property
    def mac(self) -> str:
        """Returns the MAC address it boots from."""
        return ":".join(("52", "54", "00", *(f"{byte:02x}" for byte in self.number.to_bytes(3, "big"))))

    @property
    def bmc_secret(self) -> str:
        """Returns the name of the Secret with its BMC's credentials."""
        return f"{self.name}-bmc-secret"


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """A machine; Machine, Metal3Machine, KubeadmConfig, bootstrap Secret and data claim share its name.

    Attributes:
        name: Its name.
        cluster: The plan of its cluster.
        control_plane: Whether it is in the control plane.
        first: Whether it is the one that initialized the cluster.
        data_index: Its index in its Metal3DataTemplate.
        address: Its address from the pool.
        host: The host that it claims.
    """

    name: str
    cluster: ClusterPlan
    control_plane: bool
    first: bool
    data_index: int
    address: str
    host: HostPlan

    @property
    def role(self) -> str:
        """Returns "controlplane" or "workers", as in the names of templates."""
        return "controlplane" if self.control_plane else "workers"

    @property
    def template(self) -> str:
        """Returns the name of its Metal3MachineTemplate."""
        return f"{self.cluster.name}-{self.role}"

    @property
    def data_template(self) -> str:
        """Returns the name of its Metal3DataTemplate."""
        return f"{self.template}-template"

    @property
    def data(self) -> str:
        """Returns the name of its Metal3Data."""
        return f"{self.data_template}-{self.data_index}"

    @property
    def ip_claim(self) -> str:
        """Returns the name of its IPClaim."""
        return f"{self.data}-{self.cluster.pool}"

    @property
    def ip_address(self) -> str:
        """Returns the name of its IPAddress."""
        return f"{self.cluster.pool}-{self.address.replace('.', '-')}"

    @property
    def provider_id(self) -> str:
        """Returns the provider ID as CAPM3 sets it."""
        return f"metal3://{self.cluster.spec.namespace}/{self.host.name}/{self.name}"


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """A workload cluster: `index` counts the clusters of the fleet from 0."""

    spec: FleetSpec
    index: int

    @property
    def name(self) -> str:
        """Returns the name of Cluster, Metal3Cluster, KubeadmControlPlane."""
        return f"{self.spec.cluster_name}-{self.index + 1}"

    @property
    def deployment(self) -> str:
        """Returns the name of the MachineDeployment."""
        return f"{self.name}-md-0"

    @property
    def machine_set(self) -> str:
        """Returns the name of the MachineSet."""
        return f"{self.deployment}-{self.template_hash}"

    @property
    def template_hash(self) -> str:
        """Returns the hash that tells its MachineSets apart."""
        return _suffix(self.index, 3)

    @property
    def pool(self) -> str:
        """Returns the name of the IPPool."""
        return f"{self.name}-pool"

    @property
    def first_address(self) -> ipaddress.IPv4Address:
        """Returns the first address of the pool."""
        return _FIRST_ADDRESS + self.index * _ADDRESSES_PER_CLUSTER

    @property
    def endpoint(self) -> str:
        """Returns the virtual address of its API server."""
        return str(self.first_address - 90)

    def machines(self) -> tuple[MachinePlan, ...]:
        """Returns its machines, the control plane's first."""
        return tuple(map(self._machine, range(self.spec.control_planes + self.spec.workers)))

    def _machine(self, number: int) -> MachinePlan:
        spec = self.spec
        control_plane = number < spec.control_planes
        base = self.name if control_plane else self.machine_set
        return MachinePlan(
            name=f"{base}-{_suffix(self.index, number + 10)}",
            cluster=self,
            control_plane=control_plane,
            first=number == 0,
            data_index=number if control_plane else number - spec.control_planes,
            address=str(self.first_address + number),
            host=host_plan(spec, self.index * (spec.control_planes + spec.workers) + number),
        )


def clusters(spec: FleetSpec) -> tuple[ClusterPlan, ...]:
    """Returns the plans of all clusters."""
    return tuple(ClusterPlan(spec, index) for index in range(spec.clusters))


def spare_hosts(spec: FleetSpec) -> Iterator[HostPlan]:
    """Yields the hosts that nobody claims; their numbers follow those of the claimed ones."""
    return (host_plan(spec, number) for number in range(spec.machines, spec.hosts))


def host_plan(spec: FleetSpec, number: int) -> HostPlan:
    """Returns the plan of the fleet's host `number`."""
    return HostPlan(spec.namespace, f"{spec.host_name}-{number + 1:04d}", number)


def _suffix(cluster: int, number: int) -> str:
    """Returns five letters as a name generator would add, different for each pair of small numbers."""
    value = (7919 * (number + 1) + 1_000_003 * cluster) % _SUFFIXES
    letters = []
    for _ in range(5):
        value, digit = divmod(value, len(_LETTERS))
        letters.append(_LETTERS[digit])
    return "".join(letters)
