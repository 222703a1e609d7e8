"""Which server a kubeconfig and a context lead to, and how to be let in there.

The only module that imports `kubernetes`: its asyncio client reads kubeconfigs, runs exec plugins, and makes the
TLS session and the proxy settings.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_kube_config
from kubernetes.aio.config.incluster_config import InClusterConfigLoader
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mover.errors import UsageError
from mover.kube.cluster import Cluster
from mover.kube.flow import FlowLimits
from mover.kube.transport import Session, Transport

log = logging.getLogger("capi-mover.kube")

IN_CLUSTER_CONTEXT = "in-cluster"
"""The name of the pod's own cluster, reached as its service account; as a context it asks for just that."""

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CONNECTIONS = 256


def _text(value: Any) -> Any:
    """Returns "" for the null that kubectl writes."""
    return value or ""


def _entries(value: Any) -> Any:
    return value or []


_Text = Annotated[str, BeforeValidator(_text)]


class _Named(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: str


class _ContextBody(BaseModel):
    cluster: str
    user: _Text = ""
    namespace: _Text = ""


class _Context(_Named):
    context: _ContextBody


class _User(_Named):
    user: Annotated[dict[str, Any], BeforeValidator(lambda value: value or {})] = {}


class _Kubeconfig(BaseModel):
    """The part of a kubeconfig that decides where it leads."""

    model_config = ConfigDict(extra="ignore")
    clusters: Annotated[list[_Named], BeforeValidator(_entries)] = []
    contexts: Annotated[list[_Context], BeforeValidator(_entries)] = []
    users: Annotated[list[_User], BeforeValidator(_entries)] = []
    current_context: Annotated[_Text, Field(alias="current-context")] = ""


@dataclass(frozen=True, slots=True)
class _Choice:
    """A context, and the files it was found in."""

    context: _Context
    files: tuple[Path, ...]

    @property
    def shown(self) -> str:
        """Returns how a message names it."""
        return f'Context "{self.context.name}" ({", ".join(map(str, self.files))})'


async def connect(name: str, kubeconfig: Path | None, context: str | None, max_requests: int | None = None) -> Cluster:
    """Returns the cluster that `kubeconfig` and `context` lead to, ready for requests.

    Args:
        name: What messages call it: "source" or "target".
        kubeconfig: A file; None for `$KUBECONFIG`, else `~/.kube/config`, else the pod's service account.
        context: A context of the file; None for its current context. Without a file of that context "in-cluster" asks
            for the pod's service account, whatever kubeconfigs there are.
        max_requests: How many requests may be under way at once, at most; None for the default.

    Raises:
        UsageError: The file or context is missing or cannot be used.
    """
    limits = FlowLimits.up_to(max_requests) if max_requests is not None else FlowLimits()
    paths = [kubeconfig] if kubeconfig is not None else _default_files()
    if kubeconfig is None and _means_service_account(name, paths, context):
        return _connect_in_cluster(name, limits)
    chosen = _choose_context(name, paths, context)

    async def session() -> Session:
        return await _open_session(name, chosen)

    context_body = chosen.context.context
    return Cluster(name, chosen.context.name, context_body.namespace, Transport(name, session, limits=limits))


def _default_files() -> list[Path]:
    """Returns the files that kubectl would read; those of `$KUBECONFIG` even if they are missing."""
    named = os.environ.get("KUBECONFIG", "")
    if named:
        return [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    default = Path.home() / ".kube" / "config"
    return [default] if default.exists() else []


def _means_service_account(name: str, defaults: Iterable[Path], context: str | None) -> bool:
    """Returns whether the service account is meant: it was asked for, or there is nothing else, as for kubectl."""
    if context == IN_CLUSTER_CONTEXT:
        files = [_read(name, path) for path in defaults if path.is_file()]
        return not any(found.name == context for file in files for found in file.contexts)
    return context is None and not list(defaults) and bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def _choose_context(name: str, paths: list[Path], context: str | None) -> _Choice:
    existing = [path for path in paths if path.is_file()]
    if not existing:
        shown = ", ".join(map(str, paths)) or "~/.kube/config"
        raise UsageError(f"No kubeconfig for the {name} cluster: {shown} is not there", _flags_of(name))
    files = {path: _read(name, path) for path in existing}
    shown = ", ".join(map(str, existing))
    contexts = {found.name: found for file in reversed(files.values()) for found in file.contexts}
    wanted = context or next((file.current_context for file in files.values() if file.current_context), "")
    if not wanted:
        raise UsageError(f"The kubeconfig of the {name} cluster ({shown}) has no current context", _flags_of(name))
    if wanted not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        what = f'The kubeconfig of the {name} cluster ({shown}) has no context "{wanted}"'
        raise UsageError(what, f"It has: {known}. {_flags_of(name)}")
    # The client cannot merge an empty file.
    choice = _Choice(contexts[wanted], tuple(path for path, file in files.items() if file.contexts or file.clusters))
    _require_user(name, choice, {user.name: user for file in files.values() for user in file.users})
    return choice


def _require_user(name: str, choice: _Choice, users: Mapping[str, _User]) -> None:
    user = choice.context.context.user
    if user not in users or not users[user].user:
        what = f'{choice.shown} of the {name} cluster has no credentials: the user "{user}" is not in the kubeconfig'
        raise UsageError(what, _flags_of(name))


def _flags_of(name: str) -> str:
    flag = "--to-kubeconfig" if name == "target" else "--kubeconfig"
    return f"Give it with {flag} and {flag}-context"


def _read(name: str, path: Path) -> _Kubeconfig:
    try:
        return _Kubeconfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError, OSError, RecursionError) as error:
        detail = " ".join(str(error).split())[:200]
        raise UsageError(
            f"The kubeconfig {path} of the {name} cluster cannot be read: {detail}", _flags_of(name)
        ) from error


async def _open_session(name: str, choice: _Choice) -> Session:
    """Returns a session with the credentials as they are now: read anew from the file, exec plugins run anew."""
    configuration = Configuration()
    try:
        loader = await load_kube_config(  # type: ignore[no-untyped-call]
            config_file=os.pathsep.join(map(str, choice.files)),
            context=choice.context.name,
            client_configuration=configuration,
            persist_config=False,
        )
        if not getattr(loader, "host", ""):
            raise UsageError(f"{choice.shown} of the {name} cluster names no server", _flags_of(name))
        return await _session_of(name, configuration)
    except (ConfigException, ValueError, OSError) as error:
        raise UsageError(f"{choice.shown} of the {name} cluster cannot be used: {error}", _flags_of(name)) from error


def _connect_in_cluster(name: str, limits: FlowLimits) -> Cluster:
    _require_service_account(name)

    async def session() -> Session:
        configuration = Configuration()
        files = (str(_SERVICE_ACCOUNT / name) for name in ("token", "ca.crt"))
        loader = InClusterConfigLoader(*files)  # type: ignore[no-untyped-call]
        try:
            # The kubelet renews the token before it ends: the loader reads the file again each minute.
            loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
            return await _session_of(name, configuration)
        except (ConfigException, OSError) as error:
            raise UsageError(
                f"The service account of the {name} cluster cannot be used: {error}", _flags_of(name)
            ) from error

    file = _SERVICE_ACCOUNT / "namespace"
    namespace = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    return Cluster(name, IN_CLUSTER_CONTEXT, namespace, Transport(name, session, limits=limits))


def _require_service_account(name: str) -> None:
    """Raises UsageError outside of a pod, and in one that has no token."""
    if not (os.environ.get("KUBERNETES_SERVICE_HOST") and os.environ.get("KUBERNETES_SERVICE_PORT")):
        what = "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod"
    elif not (_SERVICE_ACCOUNT / "token").is_file():
        what = f"{_SERVICE_ACCOUNT / 'token'} is not there: the pod has automountServiceAccountToken: false"
    else:
        return
    raise UsageError(
        f"There is neither a kubeconfig for the {name} cluster nor a service account: {what}", _flags_of(name)
    )


class _Rest(RESTClientObject):
    """The client's TLS and proxy set-up, used for raw requests."""

    def session(self) -> aiohttp.ClientSession:
        """Returns a pooled session with the client's TLS settings, which asks the environment nothing.

        aiohttp would look for a proxy and a netrc file anew for each request, in threads. Nor does it keep cookies.
        """
        self.configuration.client_session_kwargs = {"trust_env": False, "cookie_jar": aiohttp.DummyCookieJar()}
        pool: aiohttp.ClientSession = self._create_pool_manager()
        return pool

    def request_options(self) -> Mapping[str, Any]:
        """Returns what each request needs beside its own arguments.

        A proxy that the kubeconfig names goes before those of the environment.
        """
        options = {
            "proxy": self.proxy or _proxy_from_environment(self.configuration.host),
            "proxy_headers": self.proxy_headers,
            "server_hostname": self.configuration.tls_server_name,
        }
        return {key: value for key, value in options.items() if value}


def _proxy_from_environment(server: str) -> str:
    """Returns the proxy that `HTTPS_PROXY` and its like name for a server, "" without one or if `NO_PROXY` has it."""
    url = urlsplit(server)
    # An entry with a port needs one to be compared with, an IPv6 address none.
    if proxy_bypass(url.hostname or "") or proxy_bypass(url.netloc):
        return ""
    proxy = getproxies().get(url.scheme, "")
    if urlsplit(proxy).scheme == "https":
        log.warning("The proxy for %s is left out: proxies that are reached by HTTPS are not supported", server)
        return ""
    return proxy


async def _session_of(name: str, configuration: Configuration) -> Session:
    configuration.connection_pool_maxsize = _CONNECTIONS
    rest = _Rest(configuration)

    async def authenticate() -> Mapping[str, str]:
        try:
            token = await configuration.get_api_key_with_prefix("BearerToken")
        except (ConfigException, OSError) as error:
            raise UsageError(
                f"The credentials of the {name} cluster cannot be read any more: {error}",
                "Put them back, then give the same command again: it goes on where this one stopped",
            ) from error
        # A token file usually ends with a newline.
        return {"Authorization": token.strip()} if token else {}

    return Session(configuration.host, rest.session(), authenticate, rest.request_options())
