"""Small objects and plans for tests of the mover, on top of those for the graph."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object, ObjectKey, ResourceType, parse_object
from graph.rules import GroupKind
from mover.api import places, planning
from mover.checks import Findings, check_move
from mover.discovery import CONFIG_MAPS, CRDS, NAMESPACES, SECRETS, Inventory, Provider, discover
from mover.events import Event
from mover.execute.forward import Outcome
from mover.execute.journal import find, read_record
from mover.execute.run import Clusters, go_on, start, undo
from mover.kube import Cluster
from mover.kube.cluster import object_path
from mover.models import MoveOptions
from mover.moment import micro_time
from mover.planning import Plan, make_plan
from mover.record import NAMESPACE as RECORDS
from mover.record import Encoded, Record
from tests.unit import graph_builders
from tests.unit.fake_apiserver import FakeApiServer, Fuse
from tests.unit.graph_builders import NAMESPACE, WIDGET
from tests.unit.scripted_server import Reply, failure, until


def typed(kind: GroupKind = WIDGET, *, has_status: bool = True, **flags: bool) -> ResourceType:
    """Returns the type of the kind as discovery would give it, with a status subresource unless said otherwise."""
    return replace(graph_builders.resource_type(kind, **flags), has_status=has_status)


def make(
    kind: GroupKind | ResourceType,
    name: str = "x",
    *,
    namespace: str = NAMESPACE,
    owners: Iterable[Object | Mapping[str, Any]] = (),
    metadata: Mapping[str, Any] | None = None,
    **body: Any,
) -> Object:
    """Returns an object as a server would hold it, at resourceVersion 1; `metadata` goes over what is made up."""
    made = kind if isinstance(kind, ResourceType) else typed(kind)
    found = graph_builders.make(made, name, namespace=namespace, owners=owners, **body)
    whole = found.body()
    whole["metadata"] |= {"resourceVersion": "1", **(metadata or {})}
    whole["metadata"] = {field: value for field, value in whole["metadata"].items() if value}
    return parse_object(made, {field: value for field, value in whole.items() if value != {} or field == "metadata"})


def annotated(kind: GroupKind, name: str = "x", **annotations: str) -> Object:
    """Returns an object of the kind with the annotations, given as `{"name": "value"}` by `**`."""
    return make(kind, name, metadata={"annotations": annotations})


def inventory(*objects: Object, namespace: str = NAMESPACE, **more: Any) -> Inventory:
    """Returns the inventory of a namespace that holds the objects."""
    types = tuple(sorted({obj.type for obj in objects}))
    providers: tuple[Provider, ...] = more.get("providers", ())
    shared: frozenset[ObjectKey] = more.get("shared_classes", frozenset())
    return Inventory(namespace, types, tuple(sorted(objects, key=lambda obj: obj.key)), providers, shared)


def plan_of(*objects: Object, namespace: str = NAMESPACE, **more: Any) -> Plan:
    """Returns the plan of moving what a namespace holds."""
    return make_plan(inventory(*objects, namespace=namespace, **more))


def crd(kind: GroupKind, *, contract: bool = False, labelled: bool = True) -> Object:
    """Returns the CRD of a kind as a provider installs it, with a status subresource."""
    made = typed(kind)
    labels = {rules.CLUSTERCTL_LABEL: ""} if labelled else {}
    spec = {
        "group": made.group,
        "scope": "Namespaced",
        "names": {"kind": made.kind, "plural": made.plural},
        "versions": [{"name": made.version, "storage": True, "subresources": {"status": {}}}],
    }
    metadata = {"labels": {**labels, **({rules.CONTRACT_LABEL: "v1"} if contract else {})}}
    return make(CRDS, f"{made.plural}.{made.group}", metadata=metadata, spec=spec)


ENTRIES = [{"manager": "kubectl", "operation": "Update", "subresource": "", "fieldsV1": {"f:spec": {"f:own": {}}}}]
PROVISIONED = {
    "infrastructureReady": True,
    "controlPlaneReady": True,
    "observedGeneration": 3,
    "conditions": [{"type": "ControlPlaneInitialized", "status": "True"}],
}


def _held(kind: GroupKind | ResourceType, name: str, *owners: Object, **more: Any) -> Object:
    metadata = {"managedFields": ENTRIES, "generation": 3, **more.pop("metadata", {})}
    return make(kind, name, owners=owners, metadata=metadata, **more)


CLUSTER = _held(rules.CLUSTER, "c", metadata={"finalizers": ["capi"]}, spec={"n": 1}, status=PROVISIONED)
MACHINE = _held(
    rules.MACHINE,
    "m",
    CLUSTER,
    metadata={"finalizers": ["capi"], "labels": {"a": "b"}},
    spec={"providerID": "x"},
    status={"nodeRef": {"name": "n"}},
)
CA = _held(SECRETS, "c-ca", CLUSTER, data={"tls.key": "a2V5"})
INLINE_KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://c.example.org:6443", certificate-authority-data: Y2E=}}]
users: [{name: c-admin, user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}}]
contexts: [{name: c-admin@c, context: {cluster: c, user: c-admin}}]
current-context: c-admin@c
preferences: {}
"""
"""A kubeconfig as Cluster API writes it."""
KUBECONFIG = _held(
    SECRETS, "c-kubeconfig", CLUSTER, data={"value": base64.b64encode(INLINE_KUBECONFIG.encode()).decode()}
)
HOST = _held(
    rules.BARE_METAL_HOST,
    "h",
    metadata={"finalizers": ["bmo"]},
    spec={"online": True},
    status={"provisioning": {"state": "provisioned"}, "poweredOn": True},
)
HARDWARE = _held(rules.HARDWARE_DATA, "h", HOST, spec={"hardware": {"cpu": 4}})
BMC = _held(SECRETS, "h-bmc", HOST, data={"password": "eA=="})
LOOSE = _held(SECRETS, "loose", data={"a": "eA=="})
SMALL = (CLUSTER, MACHINE, CA, KUBECONFIG, HOST, HARDWARE, BMC)
"""What the small move moves: a Cluster with a Machine and its Secrets, a host with its HardwareData and Secret."""


class Stage:
    """Two management clusters on small API servers, and the small move between them.

    Attributes:
        source: Has the objects.
        target: Has the same CRDs, and no namespace of that name.
        events: What the listener was told.
        options: Of every move that is started here.
    """

    def __init__(self, *more: Object, **options: Any) -> None:
        """`more` objects are on the source, too."""
        self.source, self.target = FakeApiServer("source"), FakeApiServer("target")
        self.options = MoveOptions(**{"namespace": NAMESPACE, "quiet_s": 0.0, "pause_timeout_s": 5.0, **options})
        self.events: list[Event] = []
        installed = [
            crd(rules.CLUSTER, contract=True),
            crd(rules.MACHINE),
            crd(rules.BARE_METAL_HOST, labelled=False),
            crd(rules.HARDWARE_DATA, labelled=False),
        ]
        for server in (self.source, self.target):
            own = {"uid": f"{server.name}-cluster"}
            server.put(*installed, make(NAMESPACES, "default"))
            server.put(make(NAMESPACES, "kube-system", metadata=own))
        self.source.put(make(NAMESPACES, NAMESPACE, metadata={"labels": {"a": "b"}}), *SMALL, LOOSE, *more)

    def everything(self) -> dict[str, dict[str, Any]]:
        """Returns all objects of both clusters by path, without resourceVersions, field managers and generations.

        Events are left out: they tell of what has been, and nothing depends on them.
        """
        bodies = [
            (f"{server.name}: {path}", body)
            for server in (self.source, self.target)
            for path, body in sorted(server.bodies.items())
            if "/events.k8s.io/" not in path
        ]
        return {path: _without_versions(body) for path, body in bodies}

    def drop_leases(self) -> None:
        """Does what time does to the leases of a program that was killed or could not reach a cluster."""
        for server in (self.source, self.target):
            server.bodies.pop(f"/apis/coordination.k8s.io/v1/namespaces/capi-mover/leases/capi-mover.{NAMESPACE}", None)

    def clusters(self, fuse: Fuse | None = None) -> Clusters:
        """Returns both clusters as one program reaches them."""
        return Clusters(self.source.direct(fuse), self.target.direct(fuse))

    async def findings(self) -> Findings:
        """Returns what the preflight finds: nothing against the move."""
        clusters = self.clusters()
        plan = make_plan(await discover(clusters.source, NAMESPACE))
        found = await check_move(clusters.source, clusters.target, plan, self.options)
        assert found.problems == ()
        return found

    async def move(
        self, fuse: Fuse | None = None, clusters: Clusters | None = None, findings: Findings | None = None
    ) -> Outcome:
        """Moves what the preflight has accepted."""
        accepted = findings or await self.findings()
        return await start(clusters or self.clusters(fuse), accepted, self.options, self.events.append)

    async def record(self) -> Record | None:
        """Returns the record that counts."""
        clusters = self.clusters()
        return (await find(clusters.source, clusters.target, NAMESPACE)).newest

    async def go_on(self, fuse: Fuse | None = None) -> Outcome:
        """Finishes the recorded move."""
        record = await self.record()
        assert record is not None
        return await go_on(self.clusters(fuse), record, (), self.events.append)

    async def undo(self, fuse: Fuse | None = None) -> None:
        """Undoes the recorded move."""
        record = await self.record()
        assert record is not None
        await undo(self.clusters(fuse), record, (), self.events.append)

    async def undo_recorded_on_the_source(self) -> None:
        """Undoes the move that the source's record tells of."""
        record = await read_record(self.source.direct(), NAMESPACE)
        assert record is not None
        await undo(self.clusters(), record, (), self.events.append)


def _without_versions(body: Mapping[str, Any]) -> dict[str, Any]:
    dropped = ("resourceVersion", "managedFields", "generation")
    metadata = {name: value for name, value in body["metadata"].items() if name not in dropped}
    # The copy's generation is not the same when it was mended.
    status = {name: value for name, value in body.get("status", {}).items() if name != "observedGeneration"}
    return {**body, "metadata": metadata, "status": status}


def managers(server: FakeApiServer) -> dict[str, set[tuple[str, str, str]]]:
    """Returns who manages each object of the namespace that moves, by path."""
    found: dict[str, set[tuple[str, str, str]]] = {}
    for path, body in server.bodies.items():
        if f"/namespaces/{NAMESPACE}/" in path and "/events.k8s.io/" not in path:
            entries = body["metadata"].get("managedFields") or ()
            found[path] = {(entry["manager"], entry["operation"], entry["subresource"]) for entry in entries}
    return found


def write_record(server: FakeApiServer, encoded: Encoded) -> None:
    """Puts a record on a server as some program has left it."""
    for body in (*encoded.chunks, encoded.head):
        made = make(CONFIG_MAPS, body["metadata"]["name"], namespace=RECORDS).body()
        server.put(parse_object(CONFIG_MAPS, {**body, "metadata": {**made["metadata"], **body["metadata"]}}))


@contextmanager
def somebody_at_work(server: FakeApiServer, lease: Object) -> Iterator[None]:
    """Lets somebody hold a lease who renews it as soon as somebody else watches it."""
    marked = {"annotations": lease.annotations}
    spec = {"holderIdentity": "elsewhere/1/2", "leaseDurationSeconds": 20, "renewTime": micro_time()}
    held = make(lease.type, lease.key.name, namespace=lease.key.namespace, metadata=marked, spec=spec)
    server.put(held)

    async def renew() -> None:
        while True:
            await until(lambda: bool(server.watchers))
            server.change(held, spec={"renewTime": micro_time()})
            await until(lambda: not server.watchers)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        server.bodies.pop(object_path(held.type, held.key))


def refuse(server: FakeApiServer, method: str, ending: str, reply: Reply | None = None) -> None:
    """Lets the server refuse what has that method and an URL path with that ending, for good."""

    def before(request: web.Request) -> Reply | None:
        matches = request.method == method and request.path.endswith(ending)
        return (reply or failure(403, "Forbidden")) if matches else None

    server.before = before


def meanwhile(server: FakeApiServer, method: str, ending: str, happens: Callable[[], object]) -> None:
    """Lets something happen once, just before such a request is carried out."""
    armed = [True]

    def before(request: web.Request) -> Reply | None:
        if armed and request.method == method and request.path.endswith(ending):
            armed.clear()
            happens()
        return None

    server.before = before


def lets_connect(monkeypatch: pytest.MonkeyPatch, connect: Callable[..., Awaitable[Cluster]]) -> None:
    """Lets the library connect to the clusters that `connect` returns."""
    for module in (places, planning):
        monkeypatch.setattr(module, "connect", connect)
