"""Which server a kubeconfig and a context lead to, and how to be let in there.

The only module that imports `kubernetes`: its asyncio client reads kubeconfigs, runs exec plugins, and makes the
TLS session and the proxy settings.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mover.errors import UsageError
from mover.kube.cluster import Cluster
from mover.kube.transport import Session, Transport

IN_CLUSTER_CONTEXT = "in-cluster"
_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_CONNECTIONS = 256


class _Named(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: str


class _ContextBody(BaseModel):
    cluster: str
    user: str = ""
    namespace: str = ""


class _Context(_Named):
    context: _ContextBody


class _Kubeconfig(BaseModel):
    """The part of a kubeconfig that decides where it leads."""

    model_config = ConfigDict(extra="ignore")
    clusters: list[_Named] = Field(default_factory=list)
    contexts: list[_Context] = Field(default_factory=list)
    current_context: str = Field("", alias="current-context")


async def connect(name: str, kubeconfig: Path | None, context: str | None) -> Cluster:
    """Returns the cluster that `kubeconfig` and `context` lead to, ready for requests.

    Args:
        name: What messages call it: "source" or "target".
        kubeconfig: A file; None for `$KUBECONFIG`, else `~/.kube/config`, else the pod's service account.
        context: A context of the file; None for its current context.

    Raises:
        UsageError: The file or context is missing or cannot be used.
    """
    if kubeconfig is None and not _default_files() and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _connect_in_cluster(name)
    paths = [kubeconfig] if kubeconfig is not None else _default_files()
    chosen = _choose_context(name, paths, context)

    async def session() -> Session:
        return await _open_session(name, paths, chosen.name)

    return Cluster(name, chosen.name, chosen.context.namespace, Transport(name, session))


def _default_files() -> list[Path]:
    """Returns the files that kubectl would read; those of `$KUBECONFIG` even if they are missing."""
    named = os.environ.get("KUBECONFIG", "")
    if named:
        return [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    default = Path.home() / ".kube" / "config"
    return [default] if default.exists() else []


def _choose_context(name: str, paths: list[Path], context: str | None) -> _Context:
    existing = [path for path in paths if path.is_file()]
    if not existing:
        shown = ", ".join(map(str, paths)) or "~/.kube/config"
        raise UsageError(f"No kubeconfig for the {name} cluster: {shown} is not there", _flags_of(name))
    files = [_read(name, path) for path in existing]
    contexts = {found.name: found for file in reversed(files) for found in file.contexts}
    wanted = context or next((file.current_context for file in files if file.current_context), "")
    shown = ", ".join(map(str, existing))
    if not wanted:
        raise UsageError(f"The kubeconfig of the {name} cluster ({shown}) has no current context", _flags_of(name))
    if wanted not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        raise UsageError(
            f'The kubeconfig of the {name} cluster ({shown}) has no context "{wanted}"', f"It has: {known}"
        )
    return contexts[wanted]


def _flags_of(name: str) -> str:
    flag = "--to-kubeconfig" if name == "target" else "--kubeconfig"
    return f"Give it with {flag} and {flag}-context"


def _read(name: str, path: Path) -> _Kubeconfig:
    try:
        return _Kubeconfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError, OSError) as error:
        detail = " ".join(str(error).split())[:200]
        raise UsageError(f"The kubeconfig {path} of the {name} cluster cannot be read: {detail}") from error


async def _open_session(name: str, paths: list[Path], context: str) -> Session:
    """Returns a session with the credentials as they are now: read anew from the file, exec plugins run anew."""
    configuration = Configuration()
    files = os.pathsep.join(map(str, paths))
    try:
        loader = await load_kube_config(  # type: ignore[no-untyped-call]
            config_file=files, context=context, client_configuration=configuration, persist_config=False
        )
    except (ConfigException, ValueError, OSError) as error:
        raise UsageError(f'Context "{context}" of the {name} cluster ({files}) cannot be used: {error}') from error
    if not getattr(loader, "host", ""):
        raise UsageError(f'Context "{context}" of the {name} cluster ({files}) names no server')
    return await _session_of(name, configuration)


def _connect_in_cluster(name: str) -> Cluster:
    async def session() -> Session:
        configuration = Configuration()
        try:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except ConfigException as error:
            raise UsageError(f"The service account of the {name} cluster cannot be used: {error}") from error
        return await _session_of(name, configuration)

    namespace = _SERVICE_ACCOUNT_NAMESPACE.read_text().strip() if _SERVICE_ACCOUNT_NAMESPACE.exists() else ""
    return Cluster(name, IN_CLUSTER_CONTEXT, namespace, Transport(name, session))


class _Rest(RESTClientObject):
    """The client's TLS and proxy set-up, used for raw requests."""

    def session(self) -> aiohttp.ClientSession:
        """Returns a pooled session with the client's TLS settings."""
        pool: aiohttp.ClientSession = self._create_pool_manager()
        return pool

    def request_options(self) -> Mapping[str, Any]:
        """Returns what each request needs beside its own arguments."""
        options = {
            "proxy": self.proxy,
            "proxy_headers": self.proxy_headers,
            "server_hostname": self.configuration.tls_server_name,
        }
        return {key: value for key, value in options.items() if value}


async def _session_of(name: str, configuration: Configuration) -> Session:
    configuration.connection_pool_maxsize = _CONNECTIONS
    try:
        rest = _Rest(configuration)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"The certificates in the kubeconfig of the {name} cluster cannot be used: {error}") from error
    headers: dict[str, str] = {}

    async def authenticate() -> Mapping[str, str]:
        token = await configuration.get_api_key_with_prefix("BearerToken")
        return {**headers, "Authorization": token} if token else headers

    return Session(configuration.host, rest.session(), authenticate, rest.request_options())
