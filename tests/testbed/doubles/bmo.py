"""A double of the baremetal operator (BMO): its rules for BareMetalHosts, with a journal instead of machines.

The rules are those read in baremetal-operator's BareMetalHost controller and measured around moves:

- with the annotation `baremetalhost.metal3.io/paused`, whatever its value, it returns before everything else;
- the annotation `baremetalhost.metal3.io/status` is used only while `.status.lastUpdated` is missing: it replaces the
  whole status, and `hardware` then comes from the HardwareData of the same name. Else the annotation is deleted;
- a host that is being deleted and has the operator's finalizer is deprovisioned, or powered off, and let go;
- a host without status is registered and inspected (it reboots); one with an image that it does not have is written;
- a host that it meets for the first time is registered, and adopted if it is provisioned.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from graph import rules
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.doubles.controller import Controller, annotations_of, key_of, uid_of
from tests.testbed.doubles.journal import Action, Entry, Journal
from tests.testbed.pause_reporter import object_path
from tests.testbed.witness import Body, read

FINALIZER = "baremetalhost.metal3.io"
DETACHED_ANNOTATION = "baremetalhost.metal3.io/detached"
MANAGER = "baremetal-operator"
_API_VERSION = "metal3.io/v1alpha1"
_PASSING = frozenset({404, 409})


@dataclass(frozen=True, slots=True)
class Step:
    """What the operator does to a host in one reconciliation.

    Attributes:
        actions: What it does to the machine, in this order.
        reason: Why.
        body: The host to write afterwards; None if it stays as it is.
        of_status: Whether it is the status that is written, else everything but the status.
    """

    actions: tuple[Action, ...]
    reason: str
    body: Body | None = None
    of_status: bool = False


def what_to_do(host: Body, *, is_known: bool = False) -> Step | None:
    """Returns the next step for a host, None if there is nothing to do.

    Args:
        host: The whole host.
        is_known: Whether this operator has registered it already since it runs.
    """
    if rules.HOST_PAUSED_ANNOTATION in annotations_of(host):
        return None
    if (step := _annotation_step(host)) is not None:
        return step
    finalizers = host["metadata"].get("finalizers") or []
    if host["metadata"].get("deletionTimestamp"):
        return _removal(host) if FINALIZER in finalizers else None
    if FINALIZER not in finalizers:
        return Step((), "its finalizer is missing", _with_metadata(host, finalizers=[*finalizers, FINALIZER]))
    return None if DETACHED_ANNOTATION in annotations_of(host) else _machine_step(host, is_known=is_known)


def _annotation_step(host: Body) -> Step | None:
    """Takes a saved status over, or deletes it (BMO: used while LastUpdated is zero)."""
    annotations = annotations_of(host)
    if rules.HOST_STATUS_ANNOTATION not in annotations:
        return None
    if not _status(host).get("lastUpdated"):
        saved = json.loads(annotations[rules.HOST_STATUS_ANNOTATION])
        return Step((), "its saved status is taken over", {**host, "status": saved}, of_status=True)
    rest = {name: value for name, value in annotations.items() if name != rules.HOST_STATUS_ANNOTATION}
    return Step((), "its status is there already", _with_metadata(host, annotations=rest))


def _removal(host: Body) -> Step:
    left = [name for name in host["metadata"]["finalizers"] if name != FINALIZER]
    body = _with_metadata(host, finalizers=left)
    if DETACHED_ANNOTATION in annotations_of(host) or _is_external(host):
        return Step((Action.DELETE,), "it is being deleted; its machine is not ours", body)
    first = Action.DEPROVISION if _state(host) == "provisioned" else Action.POWER_OFF
    return Step((first, Action.DELETE), "it is being deleted", body)


def _machine_step(host: Body, *, is_known: bool) -> Step | None:
    if _is_external(host):
        return None if is_known else _adoption(host, Action.ADOPT)
    if _status(host).get("operationalStatus") == "error":
        return None if is_known else Step((Action.REGISTER,), "its registration is tried again")
    return _next_state(host) or _acquaintance(host, is_known=is_known) or _power_step(host)


def _next_state(host: Body) -> Step | None:
    """Returns the step to the next state, None if the host is where its spec wants it."""
    wanted, has = _image(host["spec"]), _image(_status(host).get("provisioning") or {})
    match _state(host):
        case "":
            return Step((Action.REGISTER,), "it has no status", _registered(host), of_status=True)
        case "inspecting":
            return _to_state(host, Action.INSPECT, "it has not been inspected", "available")
        case "available" | "ready" if wanted:
            return _to_state(host, Action.PROVISION, f"its disk is written: {wanted}", "provisioned", poweredOn=True)
        case "provisioned" if wanted != has:
            return _to_state(host, Action.DEPROVISION, "its image is not that of its spec", "available")
    return None


def _acquaintance(host: Body, *, is_known: bool) -> Step | None:
    if is_known:
        return None
    adopts = (Action.ADOPT,) if _state(host) == "provisioned" else ()
    return Step((Action.REGISTER, *adopts), "the operator meets it for the first time")


def _adoption(host: Body, *actions: Action) -> Step:
    reason = "it is externally provisioned"
    if _status(host):
        return Step(actions, reason)
    status = _registered(host)["status"]
    external = {**status, "provisioning": {**status["provisioning"], "state": "externally provisioned"}}
    return Step(actions, reason, {**host, "status": external}, of_status=True)


def _power_step(host: Body) -> Step | None:
    if host["spec"].get("online") or not _status(host).get("poweredOn"):
        return None
    body = {**host, "status": {**_status(host), "poweredOn": False}}
    return Step((Action.POWER_OFF,), "spec.online is false", body, of_status=True)


def _to_state(host: Body, action: Action, reason: str, state: str, **changes: Any) -> Step:
    image = host["spec"].get("image") if state == "provisioned" else None
    provisioning = {**_status(host)["provisioning"], "state": state, "image": image or {"url": ""}}
    status = {**_status(host), "provisioning": provisioning, **changes}
    return Step((action,), reason, {**host, "status": status}, of_status=True)


def _registered(host: Body) -> Body:
    """Returns the host with the status that registration gives it."""
    status = {
        "operationalStatus": "OK",
        "errorCount": 0,
        "errorMessage": "",
        "hardwareProfile": "unknown",
        "operationHistory": {},
        "poweredOn": False,
        "provisioning": {"ID": uid_of(host), "state": "inspecting", "image": {"url": ""}},
    }
    return {**host, "status": status}


def _with_metadata(host: Body, **fields: Any) -> Body:
    return {**host, "metadata": {**host["metadata"], **fields}}


def _status(host: Body) -> Mapping[str, Any]:
    return host.get("status") or {}


def _state(host: Body) -> str:
    return str((_status(host).get("provisioning") or {}).get("state") or "")


def _image(holder: Mapping[str, Any]) -> str:
    return str((holder.get("image") or {}).get("url") or "")


def _is_external(host: Body) -> bool:
    return bool(host["spec"].get("externallyProvisioned"))


class HostOperator(Controller):
    """Reconciles the BareMetalHosts of one cluster; see `Controller`.

    It decides by what it has seen last, as a controller with a cache does, and writes with that resourceVersion.

    Args:
        client: A client of the cluster.
        journal: Where its actions are noted, each when it begins.
        cluster: The cluster's name in the journal.
        latency_s: How long each action takes, in seconds.
        namespaces: The namespaces to look at; all if None.
    """

    def __init__(
        self,
        client: AdminClient,
        journal: Journal,
        *,
        cluster: str = "",
        latency_s: float = 0.05,
        namespaces: Collection[str] | None = None,
    ) -> None:
        super().__init__(client, [rules.BARE_METAL_HOST], latency_s=latency_s, namespaces=namespaces)
        self._journal = journal
        self._cluster = cluster
        self._known: set[str] = set()

    def _changed(self, body: Body) -> None:
        self._spawn(self._reconcile(body))

    async def _reconcile(self, noticed: Body) -> None:
        uid = uid_of(noticed)
        async with self._locks[uid]:
            host = self._objects[rules.BARE_METAL_HOST].get(key_of(noticed))
            if host is None or uid_of(host) != uid:
                return
            step = what_to_do(host, is_known=uid in self._known)
            if step is not None:
                await self._perform(host, step)

    async def _perform(self, host: Body, step: Step) -> None:
        for action in step.actions:
            self._journal.add(Entry(self._cluster, "/".join(key_of(host)), action, step.reason))
            await asyncio.sleep(self.latency_s)
        if {Action.REGISTER, Action.ADOPT} & {*step.actions}:
            self._known.add(uid_of(host))
            await self._ensure(host, "HostFirmwareSettings", "hostfirmwaresettings", {"settings": {}})
        if Action.INSPECT in step.actions:
            await self._ensure(host, "HardwareData", "hardwaredata", {"hardware": {"hostname": key_of(host)[1]}})
        if step.body is not None:
            await self._write(await self._completed(step.body) if step.of_status else step.body, step)
        elif step.actions:
            self._changed(host)  # nothing is written, so no event calls for the next step

    async def _ensure(self, host: Body, kind: str, plural: str, spec: Body) -> None:
        """Creates an object of the host's name that the host owns, unless there is one."""
        namespace, name = key_of(host)
        owner = {"apiVersion": _API_VERSION, "kind": "BareMetalHost", "name": name, "uid": uid_of(host)}
        body = {
            "apiVersion": _API_VERSION,
            "kind": kind,
            "metadata": {"name": name, "ownerReferences": [owner]},
            "spec": spec,
        }
        try:
            await self._client.create(f"/apis/{_API_VERSION}/namespaces/{namespace}/{plural}", body, manager=MANAGER)
        except AdminError as error:
            if error.status not in _PASSING:
                raise

    async def _completed(self, host: Body) -> Body:
        """Returns the host with the time, and with its hardware from its HardwareData if its status has none."""
        status = {**host["status"], "lastUpdated": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        if not status.get("hardware"):
            namespace, name = key_of(host)
            data = await read(self._client, f"/apis/{_API_VERSION}/namespaces/{namespace}/hardwaredata/{name}")
            found = ((data or {}).get("spec") or {}).get("hardware")
            status |= {"hardware": found} if found else {}
        return {**host, "status": status}

    async def _write(self, body: Body, step: Step) -> None:
        path = object_path(self._types[rules.BARE_METAL_HOST], body)
        target = f"{path}/status" if step.of_status else path
        try:
            written: Body | None = await self._client.request("PUT", target, body, params={"fieldManager": MANAGER})
        except AdminError as error:
            if error.status not in _PASSING:
                raise
            written = await read(self._client, path)
        if written is not None:
            self._remember(rules.BARE_METAL_HOST, written)
