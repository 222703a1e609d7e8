"""A small real HTTP server on loopback that keeps objects the way an API server does."""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web

from graph.resource import Object, parse_object
from mover.errors import Call, ConnectionFailedError, ExpiredError, InvalidError
from mover.kube import LEASE_S, Cluster
from mover.kube import transport as kube_transport
from mover.kube.cluster import object_path
from mover.kube.flow import FlowLimits
from mover.kube.transport import Request, Session, Transport
from mover.names import RECORDS_NAMESPACE
from tests.unit.scripted_server import QUICK, Reply, answer, failure, lines, open_transport, serve


class Killed(BaseException):
    """The program is dead: nothing that it does after this reaches a server."""


class Fuse:
    """Kills a program at one of its writes; all programs of a test share the count.

    Attributes:
        writes: How many writes were begun.
    """

    def __init__(self, number: int = -1, *, answered: bool = False) -> None:
        """Blows at write `number`, counted from 0: before it is sent, or when the server has carried it out."""
        self.writes = 0
        self._number = number
        self._answered = answered
        self._blown = False

    def sends(self, *, is_write: bool) -> bool:
        """Returns whether the program dies of the answer to this request."""
        if self._blown:
            raise Killed
        if not is_write:
            return False
        self._blown = self.writes == self._number
        self.writes += 1
        if self._blown and not self._answered:
            raise Killed
        return self._blown


@dataclass
class _Sent:
    """The part of an HTTP request that the server looks at."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    is_broken_off: bool = False

    @property
    def transport(self) -> _Sent:
        """Returns what can be broken off."""
        return self

    def abort(self) -> None:
        """Breaks the connection off."""
        self.is_broken_off = True

    async def read(self) -> bytes:
        """Returns the body."""
        return self.body

    async def json(self) -> Any:
        """Returns the body as a tree."""
        return json.loads(self.body)


class DirectLink(Transport):
    """A transport without a network and without retries: the server is called."""

    def __init__(self, server: FakeApiServer, fuse: Fuse) -> None:
        async def no_session() -> Session:
            raise AssertionError

        super().__init__(server.name, no_session)
        self._fake = server
        self._fuse = fuse

    async def send(self, request: Request) -> bytes:
        """Returns the answer of the server, or raises what the real transport raises."""
        await asyncio.sleep(0)
        is_write = request.method != "GET" and not request.soon_told and not request.path.startswith(_REVIEWS)
        is_last = self._fuse.sends(is_write=is_write)
        await self.allowed_s(request)
        self.calls[request.method] += 1
        sent = _Sent(request.method, request.path, request.params, {"Accept": request.accept}, request.body or b"")
        response = await self._fake.handle(cast("web.Request", sent))
        if is_last:
            raise Killed
        call = Call(self._fake.name, request.method, request.subject)
        if sent.is_broken_off:
            raise ConnectionFailedError(call, "reset")
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        if response.status >= 300:
            raise kube_transport._error_of(call, response.status, response.headers, response.body)
        return response.body

    async def stream(self, request: Request, idle_s: float) -> AsyncIterator[bytes]:
        """Yields what changes; the server cannot tell what is there."""
        del idle_s
        call = Call(self._fake.name, "WATCH", request.path)
        if "sendInitialEvents" in request.params:
            raise InvalidError(call, 422, "Invalid", "forbidden")
        version, told = int(request.params["resourceVersion"]), 0
        self._fake.watchers += request.path.endswith("/leases")
        try:
            while True:
                if version < self._fake.forgotten:
                    raise ExpiredError(call, 410, "Expired", "too old")
                told = max(told, self._fake.index_after(version))
                while told < len(self._fake.history):
                    change = self._fake.history[told]
                    told += 1
                    version = max(version, change.version)
                    if _in_collection(change.path, request.path):
                        yield change.told(metadata_only="PartialObjectMetadata" in request.accept)
                await self._fake.next_change()
        finally:
            self._fake.watchers -= request.path.endswith("/leases")


@dataclass(frozen=True)
class Change:
    """One change of an object, as watches tell it."""

    version: int
    kind: str
    path: str
    body: bytes

    def told(self, *, metadata_only: bool) -> bytes:
        """Returns the line of a watch."""
        seen = _seen(json.loads(self.body), metadata_only=metadata_only)
        return json.dumps({"type": self.kind, "object": seen}).encode()


class FakeApiServer:
    """Objects by path, with resourceVersions, preconditions, patches, finalizers, paging, selectors, metadata only.

    A namespace that is deleted takes along what is in it.

    Attributes:
        bodies: The objects by the path of their URL.
        log: "METHOD path" of each request.
        before: Called with each request before it is carried out; its reply, if it gives one, is the answer.
        rehearsing: The same, for dry runs.
        kubernetes: The version that the server says it is of.
        metrics: What it tells of itself.
        lease_s: How long leases last that are taken on it.
        watchers: How many watches of leases are open.
        denied: (verb, resource) that its user may not do; nobody is an administrator then.
        history: What has changed, for watches; `put` is not among it.
        forgotten: Watches from an older version have expired.
        prepared: Whether somebody has made the namespace for the records of moves; it is none of `bodies`.
    """

    def __init__(self, name: str = "source") -> None:
        self.name = name
        self.bodies: dict[str, dict[str, Any]] = {}
        self.log: list[str] = []
        self.before: Callable[[web.Request], Reply | None] = lambda _: None
        self.rehearsing: Callable[[web.Request], Reply | None] = lambda _: None
        self._version = 100
        self.kubernetes = "v1.36.3"
        self.metrics = ""
        self.lease_s = LEASE_S
        self.watchers = 0
        self.denied: set[tuple[str, str]] = set()
        self.history: list[Change] = []
        self.forgotten = 0
        self._waiting: list[asyncio.Future[None]] = []
        self.prepared = True

    def index_after(self, version: int) -> int:
        """Returns where in the history that begins which came after a version."""
        return bisect_right(self.history, version, key=lambda change: change.version)

    async def next_change(self) -> None:
        """Returns when the history has grown, or some of it was forgotten."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def forget(self) -> None:
        """Lets all watches expire."""
        self.forgotten = self._version
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done() and not waiter.get_loop().is_closed():
                waiter.set_result(None)

    def _note(self, kind: str, path: str, body: dict[str, Any]) -> None:
        self.history.append(Change(int(body["metadata"]["resourceVersion"]), kind, path, json.dumps(body).encode()))
        self._wake()

    def put(self, *objects: Object) -> None:
        """Takes objects in as they are, UID and resourceVersion included."""
        for obj in objects:
            self.bodies[object_path(obj.type, obj.key)] = obj.body()

    def has(self, obj: Object) -> bool:
        """Returns whether there is an object of that key."""
        return object_path(obj.type, obj.key) in self.bodies

    def now(self, obj: Object) -> Object:
        """Returns the object of that key as it is here."""
        return parse_object(obj.type, self.bodies[object_path(obj.type, obj.key)])

    def change(self, obj: Object, **fields: Any) -> None:
        """Changes fields of an object, as some controller would."""
        path = object_path(obj.type, obj.key)
        body = self.bodies[path]
        merged = merge(body, fields)
        body.clear()
        body |= merged
        self._touch(body)
        self._note("MODIFIED", path, body)

    def writes(self) -> list[str]:
        """Returns the requests that could change something: no reads, rehearsals or reviews."""
        return [entry for entry in self.log if not entry.startswith(("GET", "DRY", f"POST {_REVIEWS}"))]

    @asynccontextmanager
    async def cluster(self, limits: FlowLimits | None = None) -> AsyncIterator[Cluster]:
        """Serves the objects and gives a cluster of them."""
        async with serve(self.handle) as url, open_transport(url, self.name, deque(["token"]), QUICK, limits) as link:
            yield Cluster(self.name, f"{self.name}-ctx", "", link, self.lease_s)

    def direct(self, fuse: Fuse | None = None) -> Cluster:
        """Returns a cluster of the objects that is reached without a network."""
        return Cluster(self.name, f"{self.name}-ctx", "", DirectLink(self, fuse or Fuse()), self.lease_s)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers a request."""
        rehearsal = "DRY " if _is_rehearsal(request) else ""
        self.log.append(f"{rehearsal}{request.method} {request.path}")
        reply = self.rehearsing(request) if rehearsal else self.before(request)
        if reply is None:
            body = json.loads(await request.read() or b"null")
            handle = getattr(self, f"_{request.method.lower()}")
            reply = handle(request, body)
        return await reply(request)

    def _get(self, request: web.Request, _body: Any) -> Reply:
        path = request.path
        if "watch" in request.query:
            metadata_only = "PartialObjectMetadata" in request.headers["Accept"]
            begins = "sendInitialEvents" in request.query
            return lines(*self._beginning(path, metadata_only=metadata_only) if begins else ())
        if path in ("/version", "/metrics"):
            return answer(200, {"gitVersion": self.kubernetes} if path == "/version" else self.metrics.encode())
        metadata_only = "PartialObjectMetadata" in request.headers["Accept"]
        if path in self.bodies:
            return answer(200, self.bodies[path])
        if self.prepared and path == f"/api/v1/namespaces/{RECORDS_NAMESPACE}":
            return answer(200, {"metadata": {"name": RECORDS_NAMESPACE, "uid": "prepared", "resourceVersion": "1"}})
        if path in _SERVED:
            return answer(200, {"resources": [_resource(*names) for names in _SERVED[path]]})
        if path in ("/api", "/apis"):
            return answer(200, {"items": self._discovered(path)})
        if _is_object(path):
            return failure(404, "NotFound")
        wanted = request.query.get("labelSelector", "")
        inside = [held for key, held in sorted(self.bodies.items()) if _in_collection(key, path)]
        found = [held for held in inside if _is_selected(held, wanted)]
        start, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", 500))
        items = [_seen(item, metadata_only=metadata_only) for item in found[start : start + limit]]
        token = str(start + limit) if start + limit < len(found) else ""
        return answer(200, {"metadata": {"resourceVersion": str(self._version), "continue": token}, "items": items})

    def _discovered(self, path: str) -> list[dict[str, Any]]:
        """Returns what the aggregated discovery tells: what Kubernetes serves itself, and the types of the CRDs."""
        served: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for root, names in _SERVED.items():
            group, _, version = root.removeprefix("/apis/").removeprefix("/api/").rpartition("/")
            served[group, version] = list(names)
        for key, body in self.bodies.items():
            if key.startswith("/apis/apiextensions.k8s.io/"):
                spec = body["spec"]
                names = spec["names"]
                found = served.setdefault((spec["group"], spec["versions"][0]["name"]), [])
                found.append((names["plural"], names["kind"]))
        return [
            {
                "metadata": {"name": group},
                "versions": [
                    {"version": version, "freshness": "Current", "resources": list(map(_discovery_of, names))}
                ],
            }
            for (group, version), names in served.items()
            if bool(group) is (path == "/apis")
        ]

    def _beginning(self, path: str, *, metadata_only: bool) -> list[dict[str, Any]]:
        """Returns the events by which a watch tells what is there."""
        inside = [held for key, held in sorted(self.bodies.items()) if _in_collection(key, path)]
        end = {"resourceVersion": str(self._version), "annotations": {"k8s.io/initial-events-end": "true"}}
        return [
            *({"type": "ADDED", "object": _seen(held, metadata_only=metadata_only)} for held in inside),
            {"type": "BOOKMARK", "object": {"metadata": end}},
        ]

    def _post(self, request: web.Request, body: Any) -> Reply:
        path = request.path
        if path.startswith(_REVIEWS):
            return answer(201, {"status": self._review(path.removeprefix(_REVIEWS), body["spec"])})
        key = f"{path}/{body['metadata']['name']}"
        if key in self.bodies:
            return failure(409, "AlreadyExists")
        if _is_rehearsal(request):
            return answer(201, {"metadata": body["metadata"]})
        body["metadata"] |= {"uid": f"{self.name}-{key}", "generation": 1}
        self.bodies[key] = body
        return self._wrote(request, body)

    def _review(self, kind: str, spec: Any) -> dict[str, Any]:
        if kind == "selfsubjectrulesreviews":
            return {"resourceRules": [], "incomplete": False}
        asked = spec.get("resourceAttributes")
        if asked is None:
            return {"allowed": bool(self.metrics)}
        if asked["verb"] == "*":
            return {"allowed": not self.denied}
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        return {"allowed": (asked["verb"], resource) not in self.denied}

    def _put(self, request: web.Request, body: Any) -> Reply:
        path = request.path
        held = self.bodies.get(path)
        if held is None:
            return failure(404, "NotFound")
        if not _holds(held, body["metadata"]):
            return failure(409, "Conflict")
        kept = {"generation": held["metadata"].get("generation", 1) + 1}
        status = {"status": held["status"]} if "status" in held else {}
        self.bodies[path] = {**body, **status, "metadata": {**body["metadata"], **kept}}
        return self._wrote(request, self.bodies[path])

    def _patch(self, request: web.Request, body: Any) -> Reply:
        path = request.path
        held = self.bodies.get(path.removesuffix("/status"))
        if held is None:
            return failure(404, "NotFound")
        if path.endswith("/status"):
            held["status"] = body[0]["value"]
            return self._wrote(request, held)
        if not _holds(held, body.get("metadata", {})):
            return failure(409, "Conflict")
        if _is_rehearsal(request):
            return answer(200, {"metadata": held["metadata"]})
        merged = merge(held, body)
        held.clear()
        held |= merged
        if held["metadata"].get("deletionTimestamp") and not held["metadata"].get("finalizers"):
            del self.bodies[path]
            self._touch(held)
            self._note("DELETED", path, held)
            return answer(200, {"metadata": held["metadata"]})
        return self._wrote(request, held, managed="managedFields" not in body.get("metadata", {}))

    def _delete(self, request: web.Request, body: Any) -> Reply:
        path = request.path
        held = self.bodies.get(path)
        if held is None:
            return failure(404, "NotFound")
        if not _holds(held, body.get("preconditions", {})):
            return failure(409, "Conflict")
        if _is_rehearsal(request):
            return answer(200, {"kind": "Status", "status": "Success"})
        if held["metadata"].get("finalizers"):
            held["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self._touch(held)
            self._note("MODIFIED", path, held)
        else:
            del self.bodies[path]
            self._touch(held)
            self._note("DELETED", path, held)
            for inside in [key for key in self.bodies if f"/namespaces/{path.rpartition('/')[2]}/" in key]:
                if path.startswith("/api/v1/namespaces/") and len(_parts(path)) == 2:
                    del self.bodies[inside]
        return answer(200, {"kind": "Status", "status": "Success"})

    def _wrote(self, request: web.Request, body: dict[str, Any], *, managed: bool = True) -> Reply:
        self._touch(body)
        if managed:
            sub = "status" if request.path.endswith("/status") else ""
            entry = {"manager": request.query["fieldManager"], "operation": "Update", "subresource": sub}
            entries = body["metadata"].setdefault("managedFields", [])
            if entry not in [{name: found.get(name) for name in entry} for found in entries]:
                entries.append({**entry, "fieldsV1": {"f:status" if sub else "f:spec": {}}})
        name = f"/{body['metadata']['name']}" if request.method == "POST" else ""
        kind = "ADDED" if request.method == "POST" else "MODIFIED"
        self._note(kind, request.path.removesuffix("/status") + name, body)
        return answer(200, {"metadata": body["metadata"]})

    def _touch(self, body: dict[str, Any]) -> None:
        self._version += 1
        for name in ("annotations", "labels", "finalizers"):
            if not body["metadata"].get(name, True):
                del body["metadata"][name]
        body["metadata"]["resourceVersion"] = str(self._version)


def merge(held: Any, patch: Any) -> Any:
    """Returns what a JSON merge patch (RFC 7386) makes of a value."""
    if not isinstance(patch, dict):
        return patch
    result = dict(held) if isinstance(held, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


_REVIEWS = "/apis/authorization.k8s.io/v1/"


def _seen(held: dict[str, Any], *, metadata_only: bool) -> dict[str, Any]:
    return {"metadata": held["metadata"]} if metadata_only else held


def _is_rehearsal(request: web.Request) -> bool:
    return "dryRun" in request.query


def _is_selected(held: Mapping[str, Any], selector: str) -> bool:
    labels = held["metadata"].get("labels") or {}
    name, equals, value = selector.partition("=")
    return not selector or (name in labels and (not equals or labels[name] == value))


def _holds(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    metadata = held["metadata"]
    return all(wanted.get(name) in (None, metadata.get(name)) for name in ("uid", "resourceVersion"))


def _parts(path: str) -> list[str]:
    return path.strip("/").split("/")[2 if path.startswith("/api/") else 3 :]


def _is_object(path: str) -> bool:
    parts = _parts(path)
    return len(parts) in {2, 4} or (len(parts) == 0)


def _in_collection(key: str, path: str) -> bool:
    own, of = _parts(key), _parts(path)
    same_group = key.split("/")[1 : -len(own)] == path.split("/")[1 : -len(of)]
    if own[:-1] == of:
        return same_group
    return same_group and len(of) == 1 and len(own) == 4 and own[2] == of[0]


_SERVED = {
    "/api/v1": (
        ("secrets", "Secret"),
        ("configmaps", "ConfigMap"),
        ("pods", "Pod"),
        ("serviceaccounts", "ServiceAccount"),
        ("events", "Event"),
    ),
    "/apis/apps/v1": (("deployments", "Deployment"),),
    "/apis/coordination.k8s.io/v1": (("leases", "Lease"),),
    "/apis/networking.k8s.io/v1": (("networkpolicies", "NetworkPolicy"),),
    "/apis/rbac.authorization.k8s.io/v1": (("roles", "Role"),),
    "/apis/batch/v1": (("jobs", "Job"),),
}
"""What Kubernetes serves itself, as its discovery tells it."""


def _discovery_of(names: tuple[str, str]) -> dict[str, Any]:
    plural, kind = names
    return {"resource": plural, "responseKind": {"kind": kind}, "scope": "Namespaced", "verbs": ["list", "get"]}


def _resource(plural: str, kind: str) -> dict[str, Any]:
    return {"name": plural, "kind": kind, "namespaced": True, "verbs": ["list"]}
