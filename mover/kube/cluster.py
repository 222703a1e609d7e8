"""A cluster as the mover sees it: lists, watches, and the few kinds of writes a move needs.

Reading is open to every stage; only the executor's modules call the writing methods.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import orjson

from graph.resource import Object, ObjectKey, ResourceType, parse_object
from mover import errors
from mover.kube import transport
from mover.kube.transport import Request, Transport
from mover.names import RECORDS_NAMESPACE, is_segment, is_subdomain, shown

PAGE_SIZE = 500
LEASE_S = 20.0
_RELISTS = 5
_ENDS_BEGINNING = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Page:
    """All objects of a type at one resourceVersion of the list."""

    objects: tuple[Object, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change that a watch saw: ADDED, MODIFIED, DELETED or BOOKMARK."""

    kind: str
    object: Object

    @classmethod
    def of_bookmark(cls, resource: ResourceType, version: str, *, ends_beginning: bool = False) -> WatchEvent:
        """Returns a bookmark: all up to that resourceVersion has been told."""
        annotations = {_ENDS_BEGINNING: "true"} if ends_beginning else {}
        metadata = {"name": "", "resourceVersion": version, "annotations": annotations}
        return cls("BOOKMARK", parse_object(resource, {"metadata": metadata}))

    @property
    def ends_beginning(self) -> bool:
        """Returns whether all that was there when the watch began has been told by now."""
        return self.kind == "BOOKMARK" and self.object.annotations.get(_ENDS_BEGINNING) == "true"


@dataclass(frozen=True, slots=True)
class Written:
    """What the server says of an object it has just written."""

    uid: str
    resource_version: str
    generation: int
    managed_fields: Sequence[Mapping[str, Any]] = field(default=(), repr=False)


class Cluster:
    """One API server, reached with one user's credentials.

    Attributes:
        name: "source" or "target", or what the caller calls it.
        context: The kubeconfig context it was reached by.
        default_namespace: The context's namespace, "" if it names none.
        lease_s: How long a lease lasts that is taken on it, in seconds.
        records_namespace: Where the records and the leases of moves are kept on it.
        may_leave_records: Whether that namespace was used, and is one that a mover has made.
    """

    def __init__(
        self, name: str, context: str, default_namespace: str, link: Transport, lease_s: float = LEASE_S
    ) -> None:
        self.name = name
        self.context = context
        self.default_namespace = default_namespace
        self.link = link
        self.lease_s = lease_s
        self.records_namespace = RECORDS_NAMESPACE
        self.may_leave_records = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.link.close()

    @property
    def server(self) -> str:
        """Returns the server's URL, "" before the first request."""
        return self.link.server

    async def get_json(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """Returns the parsed answer to GET `path`."""
        return await self._json(Request("GET", path, params or {}))

    async def discovery(self, path: str) -> Sequence[Mapping[str, Any]]:
        """Returns the API groups that are served below `/api` or `/apis`, with all their resources (Kubernetes 1.30).

        An API whose own server is away is among them without its resources.
        """
        found = await self._json(Request("GET", path, accept=transport.DISCOVERY))
        return found.get("items") or ()

    async def get(self, resource: ResourceType, namespace: str, name: str) -> Object:
        """Returns one object.

        Raises:
            NotFoundError: There is none of that name.
        """
        key = ObjectKey(resource.group, resource.kind, namespace, name)
        return parse_object(resource, await self.get_json(object_path(resource, key)))

    async def list(self, resource: ResourceType, namespace: str = "") -> Page:
        """Returns all objects of a type, read in pages; namespace "" reads all namespaces.

        A continue token that expires in the middle (410) starts the list again, so that it is of one moment.
        """
        return await self._list(resource, namespace, transport.JSON)

    async def list_metadata(self, resource: ResourceType, namespace: str = "") -> Page:
        """Returns all objects of a type without spec and status: a fraction of the bytes of `list`."""
        return await self._list(resource, namespace, transport.METADATA_LIST)

    async def list_names(self, path: str, params: Mapping[str, str] | None = None) -> Sequence[Mapping[str, Any]]:
        """Returns the parsed items of a list at `path`, all pages of it."""
        items: list[Mapping[str, Any]] = []
        token = ""
        while True:
            query = {**(params or {}), "limit": str(PAGE_SIZE), **({"continue": token} if token else {})}
            answer = await self.get_json(path, query)
            items.extend(answer.get("items") or ())
            token = (answer.get("metadata") or {}).get("continue") or ""
            if not token:
                return items

    async def watch(
        self,
        resource: ResourceType,
        namespace: str,
        resource_version: str,
        timeout_s: float,
        *,
        metadata_only: bool = False,
    ) -> AsyncGenerator[WatchEvent]:
        """Yields what changes after `resource_version`, for at most `timeout_s` seconds.

        Args:
            resource: The type.
            namespace: Where; "" watches all namespaces.
            resource_version: From where on: that of a list, or of an object; "" to be told first of all that is there
                (KEP 3157, Kubernetes 1.34, and 1.32 by default).
            timeout_s: How long, in seconds.
            metadata_only: Whether the objects come without spec and status.

        Raises:
            ExpiredError: The resourceVersion is too old; list again.
            ConnectionFailedError: The watch broke off; list again.
            InvalidError: The server cannot tell what is there; list it.
        """
        seconds = max(1, int(timeout_s))
        beginning = {} if resource_version else {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        params = {
            "watch": "1",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
            **beginning,
        }
        accept = transport.METADATA_ONLY if metadata_only else transport.JSON
        request = Request("GET", collection_path(resource, namespace), params, accept=accept)
        async for line in self.link.stream(request, idle_s=seconds + 5.0):
            yield self._event_of(resource, request.path, self._parsed("WATCH", request.path, line))

    async def review(self, kind: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the status that the server gives to a review of the user's own rights; nothing is stored.

        Args:
            kind: "SelfSubjectAccessReview" or "SelfSubjectRulesReview" (authorization.k8s.io/v1).
            spec: What is asked.
        """
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        path = f"/apis/authorization.k8s.io/v1/{kind.lower()}s"
        status: Mapping[str, Any] = (await self._json(Request("POST", path, body=orjson.dumps(body))))["status"]
        return status

    async def version(self) -> str:
        """Returns the version of Kubernetes, such as "v1.34.4"; the answer is not waited for long."""
        return str((await self._json(Request("GET", "/version", soon_told=True)))["gitVersion"])

    async def metrics(self) -> str:
        """Returns the API server's own metrics as Prometheus text."""
        return (await self.link.send(Request("GET", "/metrics", accept="text/plain"))).decode()

    async def rehearse_create(self, resource: ResourceType, body: Mapping[str, Any], *, manager: str) -> None:
        """Lets the server do all of a creation but to store it, and refuse fields that it does not know.

        Raises:
            AlreadyExistsError: There is one of that name; everything else went well.
            TransientError: The server, or a webhook that it asks, did not answer; told after some seconds.
        """
        request = Request(
            "POST",
            collection_path(resource, body["metadata"].get("namespace", "")),
            _rehearsed(manager),
            orjson.dumps(body),
            accept=transport.METADATA_ONLY,
            created=body["metadata"]["name"],
            soon_told=True,
        )
        await self._json(request)

    async def rehearse_patch(
        self, resource: ResourceType, key: ObjectKey, patch: Mapping[str, Any], *, manager: str
    ) -> None:
        """Lets the server do all of a JSON merge patch but to store it; see `rehearse_create`."""
        request = Request(
            "PATCH",
            object_path(resource, key),
            _rehearsed(manager),
            orjson.dumps(patch),
            transport.MERGE_PATCH,
            transport.METADATA_ONLY,
            soon_told=True,
        )
        await self._json(request)

    async def rehearse_delete(self, resource: ResourceType, key: ObjectKey, *, uid: str) -> None:
        """Lets the server do all of a deletion but to delete; see `rehearse_create`."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}, "dryRun": ["All"]}
        # With a body the server does not look at the query; whoever else sees the request shall know what it is.
        path, params = object_path(resource, key), {"dryRun": "All"}
        await self._json(Request("DELETE", path, params, orjson.dumps(options), soon_told=True))

    async def create(self, resource: ResourceType, body: Mapping[str, Any], *, manager: str) -> Written:
        """Creates an object.

        Raises:
            AlreadyExistsError: There is one of that name (also when an earlier answer was lost on its way).
        """
        namespace = body["metadata"].get("namespace", "")
        request = Request(
            "POST",
            collection_path(resource, namespace),
            _written_by(manager),
            orjson.dumps(body),
            accept=transport.METADATA_ONLY,
            created=body["metadata"]["name"],
        )
        return _written(await self._json(request))

    async def create_event(self, events: ResourceType, body: Mapping[str, Any], *, manager: str) -> None:
        """Creates an Event, of which nothing depends: it is tried for some seconds only.

        Raises:
            AlreadyExistsError: There is one of that name.
        """
        metadata = body["metadata"]
        request = Request(
            "POST",
            collection_path(events, metadata["namespace"]),
            {"fieldManager": manager},
            orjson.dumps(body),
            accept=transport.METADATA_ONLY,
            created=metadata["name"],
            soon_told=True,
        )
        await self.link.send(request)

    async def replace(self, resource: ResourceType, body: Mapping[str, Any], *, manager: str) -> Written:
        """Replaces an object by `body`, whose UID and resourceVersion must be the object's.

        Raises:
            ConflictError: It has changed meanwhile.
        """
        metadata = body["metadata"]
        key = ObjectKey(resource.group, resource.kind, metadata.get("namespace", ""), metadata["name"])
        request = Request(
            "PUT",
            object_path(resource, key),
            _written_by(manager),
            orjson.dumps(body),
            accept=transport.METADATA_ONLY,
        )
        return _written(await self._json(request))

    async def merge_patch(
        self,
        resource: ResourceType,
        key: ObjectKey,
        patch: Mapping[str, Any],
        *,
        manager: str,
    ) -> Written:
        """Changes an object by a JSON merge patch (RFC 7386).

        Raises:
            ConflictError: The patch names a resourceVersion that is not the object's any more.
        """
        request = Request(
            "PATCH",
            object_path(resource, key),
            _written_by(manager),
            orjson.dumps(patch),
            transport.MERGE_PATCH,
            transport.METADATA_ONLY,
        )
        return _written(await self._json(request))

    async def set_status(self, resource: ResourceType, key: ObjectKey, status: Any, *, manager: str) -> Written:
        """Replaces an object's status as a whole, through the status subresource."""
        request = Request(
            "PATCH",
            object_path(resource, key) + "/status",
            _written_by(manager),
            orjson.dumps([{"op": "add", "path": "/status", "value": status}]),
            transport.JSON_PATCH,
            transport.METADATA_ONLY,
        )
        return _written(await self._json(request))

    async def delete(self, resource: ResourceType, key: ObjectKey, *, uid: str, resource_version: str = "") -> None:
        """Deletes exactly the object of that UID, in the state of that resourceVersion if one is given.

        Raises:
            NotFoundError: It is gone already.
            ConflictError: It is another object, or it has changed.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, **({"resourceVersion": resource_version} if resource_version else {})},
            "propagationPolicy": "Background",
        }
        await self.link.send(Request("DELETE", object_path(resource, key), {}, orjson.dumps(options)))

    async def _json(self, request: Request) -> Any:
        return self._parsed(request.method, request.path, await self.link.send(request))

    def _parsed(self, verb: str, path: str, answer: bytes) -> Any:
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            call = errors.Call(self.name, verb, path)
            what = "the answer is not JSON: is that the address of an API server?"
            raise errors.InvalidError(call, 200, "", what) from error

    async def _list(self, resource: ResourceType, namespace: str, accept: str) -> Page:
        for attempt in range(_RELISTS):
            try:
                return await self._list_once(resource, namespace, accept)
            except errors.ExpiredError:
                if attempt == _RELISTS - 1:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _list_once(self, resource: ResourceType, namespace: str, accept: str) -> Page:
        objects: list[Object] = []
        token = ""
        while True:
            found, token, version = await self._list_part(resource, namespace, accept, token)
            objects.extend(found)
            if not token:
                return Page(tuple(objects), version)

    async def _list_part(
        self, resource: ResourceType, namespace: str, accept: str, token: str
    ) -> tuple[Sequence[Object], str, str]:
        """Returns the objects of one page, the token of the next one, "" at the end, and the list's version.

        The parsed answer is several times as large as its objects: it is not held while the next one is waited for.
        """
        params = {"limit": str(PAGE_SIZE), **({"continue": token} if token else {})}
        answer = await self._json(Request("GET", collection_path(resource, namespace), params, accept=accept))
        metadata = answer.get("metadata") or {}
        objects = [parse_object(resource, item) for item in answer.get("items") or ()]
        return objects, metadata.get("continue") or "", metadata.get("resourceVersion") or ""

    def _event_of(self, resource: ResourceType, path: str, event: Mapping[str, Any]) -> WatchEvent:
        body = event["object"]
        if event["type"] == "ERROR":
            call = errors.Call(self.name, "WATCH", path)
            status = int(body.get("code") or 500)
            kind = errors.ExpiredError if status == 410 else errors.ServerError
            raise kind(call, status, str(body.get("reason") or ""), str(body.get("message") or ""))
        if event["type"] == "BOOKMARK":
            body = {"metadata": {"name": "", **body.get("metadata", {})}}
        return WatchEvent(event["type"], parse_object(resource, body))


def collection_path(resource: ResourceType, namespace: str = "") -> str:
    """Returns the URL path of a type's collection, of one namespace or of all.

    Raises:
        InvalidNameError: One of its parts is no name, and would lead elsewhere.
    """
    root = group_path(resource.group, resource.version)
    scope = f"/namespaces/{_segment(namespace, 'namespace')}" if resource.namespaced and namespace else ""
    return f"{root}{scope}/{_segment(resource.plural, 'resource')}"


def object_path(resource: ResourceType, key: ObjectKey) -> str:
    """Returns the URL path of an object.

    Raises:
        InvalidNameError: One of its parts is no name, and would lead elsewhere.
    """
    return f"{collection_path(resource, key.namespace)}/{_segment(key.name, 'name')}"


def group_path(group: str, version: str) -> str:
    """Returns the URL path of an API group in one version, as of the core group ("").

    Raises:
        InvalidNameError: One of them is no name.
    """
    if not group:
        return f"/api/{_segment(version, 'version')}"
    if not is_subdomain(group):
        raise errors.InvalidNameError("group", shown(group))
    return f"/apis/{group}/{_segment(version, 'version')}"


def _segment(name: str, what: str) -> str:
    """Returns a name as one part of a path: whatever it holds, it leads nowhere else."""
    if not is_segment(name):
        raise errors.InvalidNameError(what, shown(name))
    return quote(name, safe="")


def _written_by(manager: str) -> Mapping[str, str]:
    """Returns the query of a write: the rehearsal has asked for unknown fields, and every copy is read back."""
    return {"fieldManager": manager, "fieldValidation": "Ignore"}


def _rehearsed(manager: str) -> Mapping[str, str]:
    return {"fieldManager": manager, "dryRun": "All", "fieldValidation": "Strict"}


def _written(answer: Mapping[str, Any]) -> Written:
    metadata = answer["metadata"]
    return Written(
        uid=metadata["uid"],
        resource_version=metadata.get("resourceVersion") or "",
        generation=int(metadata.get("generation") or 0),
        managed_fields=metadata.get("managedFields") or (),
    )
