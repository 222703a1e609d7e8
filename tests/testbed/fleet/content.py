"""What is inside the objects: certificates, cloud-init, hardware, conditions; made up, and always the same."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterable
from typing import Any

from tests.testbed.fleet.model import FleetSpec, Tree
from tests.testbed.fleet.plan import HostPlan, MachinePlan

CREATED = "2026-01-12T08:00:00Z"
SETTLED = "2026-01-12T08:45:00Z"
CERTIFICATES_EXPIRE = "2027-01-12T08:00:00Z"

KUBERNETES_VERSION = "v1.36.3"
IMAGE_URL = "http://172.22.0.1/images/ubuntu-24.04-k8s-v1.36.3.raw"
IMAGE_CHECKSUM = "http://172.22.0.1/images/ubuntu-24.04-k8s-v1.36.3.raw.sha256sum"

BIOS_SETTINGS = {
    "BootMode": "Uefi",
    "LogicalProc": "Enabled",
    "NumaNodesPerSocket": "1",
    "SriovGlobalEnable": "Disabled",
}
WANTED_BIOS_SETTINGS = {"LogicalProc": "Disabled", "NumaNodesPerSocket": 2, "SriovGlobalEnable": "Enabled"}

_CPU_FLAGS = (
    "abm adx aes apic avx avx2 avx512bw avx512cd avx512dq avx512f avx512vl bmi1 bmi2 clflush clwb "
    "cmov constant_tsc cpuid cx16 cx8 de dtes64 erms f16c fma fpu fsgsbase fxsr ht hypervisor ibpb "
    "ibrs invpcid lahf_lm lm mca mce mmx movbe msr mtrr nopl nx pae pat pcid pclmulqdq pdpe1gb pge "
    "pni popcnt pse pse36 rdrand rdseed rdtscp sep smap smep sse sse2 sse4_1 sse4_2 ssse3"
)


def encoded(**entries: str) -> dict[str, str]:
    """Returns `entries` as the data of a Secret."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}


def pem(kind: str, seed: str) -> str:
    """Returns a block that looks like a PEM file of 2048 bits and says nothing."""
    raw = hashlib.shake_256(seed.encode()).digest(1200)
    text = base64.b64encode(raw).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join((f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""))


def key_pair(seed: str) -> dict[str, str]:
    """Returns the data of a Secret with a certificate and its key."""
    data = {"tls.crt": pem("CERTIFICATE", seed), "tls.key": pem("RSA PRIVATE KEY", f"{seed} key")}
    return encoded(**data)


def kubeconfig(name: str, endpoint: str) -> dict[str, str]:
    """Returns the data of a cluster's kubeconfig Secret."""
    authority = base64.b64encode(pem("CERTIFICATE", f"{name} ca").encode()).decode()
    text = (
        f"apiVersion: v1\nkind: Config\ncurrent-context: {name}-admin@{name}\n"
        f"clusters:\n- name: {name}\n  cluster:\n    certificate-authority-data: {authority}\n"
        f"    server: https://{endpoint}:6443\n"
        f"contexts:\n- name: {name}-admin@{name}\n  context:\n    cluster: {name}\n    user: {name}-admin\n"
        f"users:\n- name: {name}-admin\n  user: {{}}\n"
    )
    return encoded(value=text)


def user_data(machine: MachinePlan) -> dict[str, str]:
    """Returns the data of a bootstrap Secret: cloud-init of a usual size (about 10 KB)."""
    files = ("ca", "etcd/ca", "front-proxy-ca", "sa") if machine.control_plane else ("ca",)
    blocks = [
        f"- path: /etc/kubernetes/pki/{name}.crt\n  owner: root:root\n  permissions: '0640'\n  content: |\n"
        + "".join(f"    {line}\n" for line in pem("CERTIFICATE", f"{machine.cluster.name} {name}").splitlines())
        for name in files
    ]
    command = "init" if machine.first else "join"
    text = f"## template: jinja\n#cloud-config\n\nwrite_files:\n{''.join(blocks)}runcmd:\n- kubeadm {command}\n"
    return encoded(value=text, format="cloud-config")


def meta_data(machine: MachinePlan) -> dict[str, str]:
    """Returns the data of the metadata Secret that CAPM3 renders."""
    text = (
        f"ip: {machine.address}\nlocal-hostname: {machine.name}\nlocal_hostname: {machine.name}\n"
        f"metal3-name: {machine.host.name}\nmetal3-namespace: {machine.host.namespace}\n"
        f"name: {machine.name}\n"
        f"providerid: {machine.host.namespace}/{machine.host.name}/{machine.name}\n"
    )
    return encoded(metaData=text)


def network_data(machine: MachinePlan) -> dict[str, str]:
    """Returns the data of the network data Secret that CAPM3 renders."""
    text = (
        f"links:\n- ethernet_mac_address: {machine.host.mac}\n  id: enp1s0\n  mtu: 1500\n  type: phy\n"
        f"networks:\n- id: provisioning\n  ip_address: {machine.address}\n  link: enp1s0\n"
        "  netmask: 255.255.0.0\n  type: ipv4\nservices:\n- address: 10.64.0.2\n  type: dns\n"
    )
    return encoded(networkData=text)


def identity(text: str) -> str:
    """Returns the UUID that stands for `text` in a foreign system (Ironic's node, a machine ID)."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, text))


def image() -> dict[str, str]:
    """Returns the image of all hosts, as a BareMetalHost writes it."""
    return {"url": IMAGE_URL, "checksum": IMAGE_CHECKSUM, "checksumType": "sha256", "format": "raw"}


def hardware(host: HostPlan) -> dict[str, Any]:
    """Returns what an inspection of the host found."""
    return {
        "cpu": {
            "arch": "x86_64",
            "clockMegahertz": 2100,
            "count": 64,
            "flags": _CPU_FLAGS.split(),
            "model": "Xeon 5318Y",
        },
        "firmware": {"bios": {"date": "03/11/2025", "vendor": "Dell Inc.", "version": "2.19.1"}},
        "hostname": host.name,
        "nics": [_nic(host, number) for number in range(4)],
        "ramMebibytes": 262144,
        "storage": [_disk(host, number) for number in range(4)],
        "systemVendor": {
            "manufacturer": "Dell Inc.",
            "productName": "PowerEdge R650",
            "serialNumber": f"SN{host.number:06d}",
        },
    }


def conditions(spec: FleetSpec, entries: Iterable[tuple[str, str]], *, observed: bool = True) -> list[Tree]:
    """Returns True conditions of these (type, reason), and a Paused condition where the spec wants it.

    Args:
        spec: The fleet's spec.
        entries: Type and reason of each; a type that starts with "!" is a False one.
        observed: Whether they carry an observedGeneration, which is filled in when the status is written.
    """
    paused = (("!Paused", "NotPaused"),) if spec.paused_conditions else ()
    return [_condition(kind, reason, observed=observed) for kind, reason in (*entries, *paused)]


def _condition(kind: str, reason: str, *, observed: bool) -> Tree:
    status = "False" if kind.startswith("!") else "True"
    entry = {"type": kind.lstrip("!"), "status": status, "reason": reason, "message": ""}
    generation = {"observedGeneration": 0} if observed else {}
    return {**entry, "lastTransitionTime": SETTLED, **generation}


def _nic(host: HostPlan, number: int) -> dict[str, Any]:
    mac = host.mac if number == 0 else f"{host.mac[:3]}5{number}{host.mac[5:]}"
    return {
        "mac": mac,
        "model": "0x8086 0x159b",
        "name": f"enp{number + 1}s0",
        "pxe": number == 0,
        "speedGbps": 25,
        "vlanId": 0,
    }


def _disk(host: HostPlan, number: int) -> dict[str, Any]:
    serial = f"S{host.number:06d}{number}"
    return {
        "alternateNames": [f"/dev/nvme{number}n1", f"/dev/disk/by-id/nvme-{serial}"],
        "model": "SAMSUNG MZWLO1T9",
        "name": f"/dev/disk/by-path/pci-0000:c{number}:00.0-nvme-1",
        "rotational": False,
        "serialNumber": serial,
        "sizeBytes": 1920383410176,
        "type": "NVME",
        "wwn": f"eui.{host.number:012d}{number:04d}",
    }
