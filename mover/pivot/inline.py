"""Kubeconfigs out of Secrets: data and nothing else.

Whoever can write Secrets in a namespace can write such a kubeconfig. An exec plugin in it would be a program that runs
as the administrator, a path a file of the administrator's machine that is sent elsewhere. What is left is where it
leads: that is said before anything is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from mover.errors import UsageError
from mover.names import is_shown, shown
from mover.untrusted import UntrustedError, parse_yaml

LONGEST: Final = 1024 * 1024
"""A Secret holds no more (bytes)."""

_CLUSTER = frozenset(
    {
        "server",
        "certificate-authority-data",
        "tls-server-name",
        "insecure-skip-tls-verify",
        "proxy-url",
        "disable-compression",
    }
)
_USER = frozenset({"client-certificate-data", "client-key-data", "token", "username", "password"})
_CONTEXT = frozenset({"cluster", "user", "namespace"})
_EXTENSIONS = "extensions"
_KEYS = frozenset(
    {"apiVersion", "kind", "clusters", "contexts", "users", "current-context", "preferences", "extensions"}
)
_WHY: Final = {
    "exec": "starts a program (exec)",
    "auth-provider": "starts an auth-provider",
    "tokenFile": "names a file (tokenFile)",
    "client-certificate": "names a file (client-certificate)",
    "client-key": "names a file (client-key)",
    "certificate-authority": "names a file (certificate-authority)",
}
_REMEDY = "Look at it; if it is meant so, save it to a file and give that with --to-kubeconfig"


@dataclass(frozen=True, slots=True)
class Inline:
    """A kubeconfig that holds all that it needs.

    Attributes:
        text: The kubeconfig, written anew: what was checked is what is used.
        server: The address it leads to.
    """

    text: str
    server: str


def inline_kubeconfig(text: str, origin: str) -> Inline:
    """Returns a kubeconfig that was found in a cluster.

    Args:
        text: What was found.
        origin: Where, for messages.

    Raises:
        UsageError: It is none, or it does more than to hold data.
    """
    try:
        return _checked(text)
    except UntrustedError as error:
        raise UsageError(f"The kubeconfig in the {origin} is not used: {error}", _REMEDY) from error


def _checked(text: str) -> Inline:
    if len(text.encode()) > LONGEST:
        raise UntrustedError(f"it is larger than {LONGEST} bytes")
    config = parse_yaml(text)
    if not isinstance(config, dict) or not set(config) <= _KEYS:
        raise UntrustedError("it is no kubeconfig")
    clusters, users, contexts = (_entries(config, f"{one}s", one) for one in ("cluster", "user", "context"))
    kept = {
        "clusters": _kept("cluster", clusters, _CLUSTER),
        "users": _kept("user", users, _USER),
        "contexts": _kept("context", contexts, _CONTEXT),
    }
    current = config.get("current-context")
    servers = {name: _server(name, body) for name, body in clusters.items()}
    server = servers.get(str(contexts.get(current, {}).get("cluster"))) if isinstance(current, str) else None
    if server is None:
        raise UntrustedError("its current context leads to no cluster of it")
    whole = {"apiVersion": "v1", "kind": "Config", **kept, "current-context": current}
    return Inline(orjson.dumps(whole).decode(), server)


def _entries(config: Mapping[str, Any], many: str, one: str) -> dict[str, Mapping[str, Any]]:
    """Returns the bodies of one of a kubeconfig's lists, by name."""
    found = config.get(many) or []
    bodies: dict[str, Mapping[str, Any]] = {}
    for entry in found if isinstance(found, list) else [None]:
        name, body = (entry.get("name"), entry.get(one)) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not is_shown(name, 300) or not isinstance(body, dict) or name in bodies:
            raise UntrustedError(f"its {many} are no list of different ones, each with a name")
        bodies[name] = body
    return bodies


def _kept(one: str, bodies: Mapping[str, Mapping[str, Any]], allowed: frozenset[str]) -> list[dict[str, Any]]:
    """Returns entries with what is data in them; what a program has noted for itself (extensions) is left out."""
    kept = []
    for name, body in bodies.items():
        for field, value in body.items():
            _require_data(f'the {one} "{name}"', field, value, allowed)
        kept.append({"name": name, one: {field: value for field, value in body.items() if field in allowed}})
    return kept


def _require_data(what: str, field: object, value: object, allowed: frozenset[str]) -> None:
    if field in _WHY:
        raise UntrustedError(f"{what} {_WHY[str(field)]}, and what others can write must not do that")
    if field not in allowed and field != _EXTENSIONS:
        raise UntrustedError(f"{what} has the field {shown(str(field))}, which is not known")
    if field in allowed and not isinstance(value, str | bool):
        raise UntrustedError(f"the field {field} of {what} is no text")


def _server(name: str, body: Mapping[str, Any]) -> str:
    server = body.get("server")
    try:
        url = urlsplit(server) if isinstance(server, str) and is_shown(server, 300) else None
        host = url.hostname if url else None
    except ValueError:
        url = host = None
    if url is None or url.scheme != "https" or not host or url.username or url.password:
        raise UntrustedError(f'the server of the cluster "{name}" is no https address')
    return url.geturl()
