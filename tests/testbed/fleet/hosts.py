"""The hosts: BareMetalHosts, what was found in them, their firmware settings, their BMCs' credentials."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from graph.resource import ResourceType
from tests.testbed.fleet import model
from tests.testbed.fleet.content import (
    BIOS_SETTINGS,
    CREATED,
    SETTLED,
    WANTED_BIOS_SETTINGS,
    encoded,
    hardware,
    identity,
    image,
)
from tests.testbed.fleet.model import Amendment, Draft, Owner, Tree, controlled_by
from tests.testbed.fleet.parts import CLUSTER_NAME_LABEL
from tests.testbed.fleet.plan import HostPlan, MachinePlan

HOST_FINALIZER = "baremetalhost.metal3.io"
HARDWARE_FINALIZER = "baremetalhost.metal3.io/hardwareData"
SECRET_FINALIZER = "baremetalhost.metal3.io/secret"
ENVIRONMENT_LABEL = {"environment.metal3.io": "baremetal"}
SCHEMA_NAME = "schema-6f2c1d7a"


_REGISTERED = Amendment(model.BMO_MANAGER, {"metadata": {"finalizers": [HOST_FINALIZER]}})


def host_drafts(host: HostPlan, machine: MachinePlan | None) -> Iterator[Draft]:
    """Yields a host, claimed by `machine` or by nobody, and what it owns."""
    yield _host(host, machine)
    yield _bmc_secret(host, machine)
    yield _hardware_data(host)
    yield _firmware_settings(host)


def schema_draft(namespace: str, hosts: Iterable[HostPlan]) -> Draft:
    """Returns the one FirmwareSchema of hosts of the same make; all their settings own it together."""
    choices = {"BootMode": ("Bios", "Uefi"), "LogicalProc": ("Enabled", "Disabled")}
    schema = {
        name: {"attribute_type": "Enumeration", "allowable_values": list(values), "read_only": False}
        for name, values in choices.items()
    }
    spec = {"hardwareVendor": "Dell Inc.", "hardwareModel": "PowerEdge R650", "schema": schema}
    owners = tuple(Owner(model.FIRMWARE_SETTINGS, host.name) for host in hosts)
    return Draft(
        model.FIRMWARE_SCHEMA,
        namespace,
        SCHEMA_NAME,
        {"spec": spec},
        manager=model.BMO_MANAGER,
        owners=owners,
    )


def _draft(host: HostPlan, resource: ResourceType, name: str, body: Tree, **rest: Any) -> Draft:
    return Draft(resource, host.namespace, name, body, **rest)


def _host(host: HostPlan, machine: MachinePlan | None) -> Draft:
    spec = {
        "online": machine is not None,
        "bootMACAddress": host.mac,
        "bootMode": "UEFI",
        "bmc": {
            "address": f"redfish-virtualmedia+https://172.22.0.1:8000/redfish/v1/Systems/{host.name}",
            "credentialsName": host.bmc_secret,
            "disableCertificateVerification": True,
        },
    }
    owned = machine is not None and machine.cluster.spec.host_owners
    return _draft(
        host,
        model.HOST,
        host.name,
        {"metadata": {"labels": {"rack": f"r{host.number // 40 + 1}"}}, "spec": spec},
        manager=model.USER_MANAGER,
        owners=(controlled_by(model.METAL3_MACHINE, machine.name),) if machine and owned else (),
        amendments=(_REGISTERED, _claim(machine, adopts=owned)) if machine else (_REGISTERED,),
        status=_host_status(host, provisioned=machine is not None),
        status_manager=model.BMO_MANAGER,
    )


def _claim(machine: MachinePlan, *, adopts: bool) -> Amendment:
    """Returns what CAPM3 writes into the host that a Metal3Machine claims (metal3machine_manager.go)."""
    namespace = machine.cluster.spec.namespace
    consumer = {
        "apiVersion": model.METAL3_MACHINE.api_version,
        "kind": model.METAL3_MACHINE.kind,
        "name": machine.name,
        "namespace": namespace,
    }
    spec = {
        "automatedCleaningMode": "metadata",
        "consumerRef": consumer,
        "image": image(),
        "userData": {"name": machine.name, "namespace": namespace},
        "metaData": {"name": f"{machine.name}-metadata", "namespace": namespace},
        "networkData": {"name": f"{machine.name}-networkdata", "namespace": namespace},
    }
    labels = {CLUSTER_NAME_LABEL: machine.cluster.name}
    return Amendment(model.CAPI_MANAGER, {"metadata": {"labels": labels}, "spec": spec}, adopts=adopts)


def _host_status(host: HostPlan, *, provisioned: bool) -> dict[str, Any]:
    done = {"start": CREATED, "end": SETTLED}
    never = {"start": None, "end": None}
    credentials = {
        "credentials": {"name": host.bmc_secret, "namespace": host.namespace},
        "credentialsVersion": str(1000 + host.number),
    }
    return {
        "operationalStatus": "OK",
        "errorCount": 0,
        "errorMessage": "",
        "goodCredentials": credentials,
        "triedCredentials": credentials,
        "hardware": hardware(host),
        "hardwareProfile": "unknown",
        "lastUpdated": SETTLED,
        "operationHistory": {
            "register": done,
            "inspect": done,
            "provision": done if provisioned else never,
            "deprovision": never,
        },
        "poweredOn": provisioned,
        "provisioning": _provisioning(host, provisioned=provisioned),
        "provisioningFailCount": 0,
    }


def _provisioning(host: HostPlan, *, provisioned: bool) -> dict[str, Any]:
    common = {
        "ID": identity(host.name),
        "bootMode": "UEFI",
        "rootDeviceHints": {"deviceName": "/dev/sda"},
        "raid": {"hardwareRAIDVolumes": None, "softwareRAIDVolumes": []},
    }
    if provisioned:
        return {**common, "state": "provisioned", "image": image()}
    return {**common, "state": "available", "image": {"url": ""}}


def _bmc_secret(host: HostPlan, machine: MachinePlan | None) -> Draft:
    """Returns the BMC's credentials; the host owns them, not as their controller (BMO secret_manager.go)."""
    cluster = {CLUSTER_NAME_LABEL: machine.cluster.name} if machine else {}
    patch = {"metadata": {"labels": {**ENVIRONMENT_LABEL, **cluster}, "finalizers": [SECRET_FINALIZER]}}
    return _draft(
        host,
        model.SECRET,
        host.bmc_secret,
        {"type": "Opaque", "data": encoded(username="admin", password=identity(f"{host.name} password"))},
        manager=model.USER_MANAGER,
        owners=(Owner(model.HOST, host.name),),
        amendments=(Amendment(model.BMO_MANAGER, patch, adopts=True),),
    )


def _hardware_data(host: HostPlan) -> Draft:
    return _draft(
        host,
        model.HARDWARE_DATA,
        host.name,
        {"metadata": {"finalizers": [HARDWARE_FINALIZER]}, "spec": {"hardware": hardware(host)}},
        manager=model.BMO_MANAGER,
        owners=(controlled_by(model.HOST, host.name),),
    )


def _firmware_settings(host: HostPlan) -> Draft:
    """Returns the host's BIOS settings, with settings that the user wants: a move must not lose them."""
    checked = {"lastTransitionTime": SETTLED, "message": "", "observedGeneration": 0, "reason": "Success"}
    status = {
        "conditions": [
            {"type": "ChangeDetected", "status": "True", **checked},
            {"type": "Valid", "status": "True", **checked},
        ],
        "lastUpdated": SETTLED,
        "schema": {"name": SCHEMA_NAME, "namespace": host.namespace},
        "settings": BIOS_SETTINGS,
    }
    return _draft(
        host,
        model.FIRMWARE_SETTINGS,
        host.name,
        {"spec": {"settings": WANTED_BIOS_SETTINGS}},
        manager=model.BMO_MANAGER,
        owners=(Owner(model.HOST, host.name),),
        status=status,
        status_manager=model.BMO_MANAGER,
    )
