"""Tests of kubeconfigs: where they lead, and what is said of each mistake in one line."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from kubernetes.aio.config import incluster_config

from mover.errors import ApiError, UsageError
from mover.kube import Cluster, connect
from mover.kube import kubeconfig as kube_config
from mover.kube.flow import FlowLimits
from mover.kube.transport import Session
from tests.testbed.pki import Authority
from tests.unit.mover_builders import typed
from tests.unit.scripted_server import Script, answer, failure, serve

NOT_PEM = base64.b64encode(b"this is no certificate").decode()


@pytest.fixture(autouse=True)
def no_other_kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keeps the files of whoever runs the tests out of them."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def config(name: str = "one", server: str = "http://127.0.0.1:1", **more: Any) -> dict[str, Any]:
    """Returns a kubeconfig with one cluster, user and context of the same name; `more` goes over it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": {"token": f"token-{name}"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
        "current-context": name,
        **more,
    }


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


async def first_request(path: Path | None, context: str | None = None, name: str = "source") -> None:
    """Goes as far as a move does before it reads anything."""
    async with await connect(name, path, context) as cluster:
        await cluster.get_json("/version")


def complaint(caught: pytest.ExceptionInfo[UsageError]) -> str:
    text = str(caught.value)
    assert text.count("\n") == 0, "one line"
    return text


MISTAKES: Mapping[str, tuple[object, str]] = {
    "malformed YAML": ("clusters: [", "cannot be read"),
    "something else": ("just a sentence", "cannot be read"),
    "a list": ("- a\n- b\n", "cannot be read"),
    "a context without a cluster": (config(contexts=[{"name": "one", "context": {}}]), "cannot be read"),
    "empty": ("", "no current context"),
    "no current context": (config(**{"current-context": ""}), "no current context"),
    "a current context that is not there": (config(**{"current-context": "two"}), 'no context "two"'),
    "no such cluster": (config(clusters=[]), 'Context "one"'),
    "no server": (config(clusters=[{"name": "one", "cluster": {"insecure-skip-tls-verify": True}}]), "names no server"),
    "a CA that is not base64": (
        config(clusters=[{"name": "one", "cluster": {"server": "https://h", "certificate-authority-data": "a"}}]),
        "cannot be used",
    ),
    "a CA that is not a certificate": (
        config(clusters=[{"name": "one", "cluster": {"server": "https://h", "certificate-authority-data": NOT_PEM}}]),
        "cannot be used",
    ),
    "a CA file that is missing": (
        config(clusters=[{"name": "one", "cluster": {"server": "https://h", "certificate-authority": "/nowhere/ca"}}]),
        "/nowhere/ca",
    ),
    "a client certificate that is none": (
        config(
            "one",
            "https://h",
            users=[{"name": "one", "user": {"client-certificate-data": NOT_PEM, "client-key-data": NOT_PEM}}],
        ),
        "cannot be used",
    ),
    "a client key that is missing": (
        config("one", "https://h", users=[{"name": "one", "user": {"client-key": "/nowhere/key"}}]),
        "/nowhere/key",
    ),
    "a token file that is missing": (
        config(users=[{"name": "one", "user": {"tokenFile": "/nowhere/token"}}]),
        "/nowhere/token",
    ),
}


@pytest.mark.parametrize(("content", "said"), MISTAKES.values(), ids=MISTAKES.keys())
async def test_each_mistake_in_a_kubeconfig_is_one_line_that_names_its_file_and_cluster(
    tmp_path: Path, content: object, said: str
) -> None:
    path = write(tmp_path / "config", content)
    with pytest.raises(UsageError) as caught:
        await first_request(path)
    text = complaint(caught)
    assert said in text
    assert "source cluster" in text
    assert str(path) in text


async def test_a_file_that_is_missing_is_named_with_the_flag_that_gives_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        await connect("source", tmp_path / "nothing", None)
    assert str(tmp_path / "nothing") in complaint(caught)
    assert "with --kubeconfig and" in complaint(caught)


async def test_a_directory_is_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        await connect("source", tmp_path, None)


async def test_a_mistake_about_the_target_names_the_targets_flags(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        await connect("target", tmp_path / "nothing", None)
    assert "target cluster" in complaint(caught)
    assert "--to-kubeconfig and --to-kubeconfig-context" in complaint(caught)


async def test_without_any_kubeconfig_the_default_place_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        await connect("source", None, None)
    assert "~/.kube/config is not there" in complaint(caught)


async def test_a_kubeconfig_without_a_current_context_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        await connect("source", write(tmp_path / "config", config(**{"current-context": ""})), None)
    assert "--kubeconfig-context" in complaint(caught)


async def test_a_context_that_is_missing_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path / "config", config(contexts=[*config("b")["contexts"], *config("a")["contexts"]]))
    with pytest.raises(UsageError) as caught:
        await connect("source", path, "two")
    assert 'has no context "two". It has: a, b. Give it with --kubeconfig' in complaint(caught)


async def test_the_context_that_is_asked_for_wins_over_the_current_one(tmp_path: Path) -> None:
    two = {"name": "two", "context": {"cluster": "one", "user": "one"}}
    path = write(tmp_path / "config", config(contexts=[*config()["contexts"], two]))
    asked, current = await connect("source", path, "two"), await connect("source", path, None)
    assert (asked.context, asked.default_namespace) == ("two", "")
    assert (current.context, current.default_namespace) == ("one", "ns-one")


async def test_without_a_flag_the_file_in_the_home_directory_is_read(tmp_path: Path) -> None:
    write(tmp_path / "home/.kube/config", config("home"))
    assert (await connect("source", None, None)).context == "home"


async def test_the_environments_files_win_over_the_one_in_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "home/.kube/config", config("home"))
    monkeypatch.setenv("KUBECONFIG", str(write(tmp_path / "other", config("other"))))
    assert (await connect("source", None, None)).context == "other"


async def test_environments_files_that_are_all_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "home/.kube/config", config("home"))
    monkeypatch.setenv("KUBECONFIG", f"/nowhere/a{os.pathsep}/nowhere/b")
    with pytest.raises(UsageError) as caught:
        await connect("source", None, None)
    assert "/nowhere/a, /nowhere/b is not there" in complaint(caught)


def several(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, paths)))


@pytest.mark.parametrize(
    "other",
    [
        None,
        "",
        "apiVersion: v1\nkind: Config\nclusters: null\ncontexts: null\nusers: null\n",
        "apiVersion: v1\nkind: Config\ncurrent-context: null\npreferences: {}\n",
    ],
    ids=["missing", "empty", "with null lists as kubectl writes them", "with a null current context"],
)
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
async def test_a_file_of_several_that_has_nothing_does_not_spoil_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str | None, first: bool
) -> None:
    script = Script(answer(200, {"gitVersion": "v1"}))
    async with serve(script) as url:
        good = write(tmp_path / "good", config(server=url))
        bad = tmp_path / "bad" if other is None else write(tmp_path / "bad", other)
        several(monkeypatch, *((bad, good) if first else (good, bad)))
        await first_request(None)
    assert script.requests[0].headers["Authorization"] == "Bearer token-one"


async def test_of_several_files_the_first_that_has_a_context_or_a_current_one_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = write(tmp_path / "1", config("one")), write(tmp_path / "2", config("two"))
    mine = {"name": "one", "context": {"cluster": "two", "user": "two", "namespace": "other"}}
    write(two, config("two", contexts=[*config("two")["contexts"], mine]))
    several(monkeypatch, one, two)
    first = await connect("source", None, None)
    assert (first.context, first.default_namespace) == ("one", "ns-one")
    assert (await connect("source", None, "two")).default_namespace == "ns-two"


async def test_requests_go_to_the_contexts_server_with_its_users_token(tmp_path: Path) -> None:
    script = Script(answer(200, {"gitVersion": "v1"}))
    async with serve(script) as url:
        await first_request(write(tmp_path / "config", config(server=url + "/")))
    assert script.requests[0].path == "/version"
    assert script.requests[0].headers["Authorization"] == "Bearer token-one"


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "https://127.0.0.1:1"])
@pytest.mark.parametrize(
    ("user", "users"),
    [("", []), ("nobody", config()["users"]), ("one", [{"name": "one", "user": {}}]), ("one", [{"name": "one"}])],
    ids=["no user", "a user that is not there", "a user without anything", "a user that is only a name"],
)
async def test_a_context_without_credentials_is_refused_whatever_its_server(
    tmp_path: Path, user: str, users: list[Any], server: str
) -> None:
    contexts = [{"name": "one", "context": {"cluster": "one", "user": user}}]
    path = write(tmp_path / "config", config(server=server, contexts=contexts, users=users))
    with pytest.raises(UsageError) as caught:
        await connect("target", path, None)
    text = complaint(caught)
    assert text.startswith(f'Context "one" ({path}) of the target cluster has no credentials')
    assert f'"{user}"' in text
    assert "--to-kubeconfig-context" in text


async def test_a_token_file_may_end_with_a_newline_as_editors_write_it(tmp_path: Path) -> None:
    token = write(tmp_path / "token", "from-file\n")
    script = Script(answer(200, {}))
    async with serve(script) as url:
        users = [{"name": "one", "user": {"tokenFile": str(token)}}]
        await first_request(write(tmp_path / "config", config(server=url, users=users)))
    assert script.requests[0].headers["Authorization"] == "Bearer from-file"


async def test_credentials_that_were_refused_are_read_from_the_file_again(tmp_path: Path) -> None:
    script = Script(failure(401, "Unauthorized"), answer(200, {}))
    async with serve(script) as url:
        path = write(tmp_path / "config", config(server=url))
        async with await connect("source", path, None) as cluster:
            write(path, config(server=url, users=[{"name": "one", "user": {"token": "stale"}}]))
            original = script.replies[0]

            async def refuse_and_renew(request: Any) -> Any:
                write(path, config(server=url, users=[{"name": "one", "user": {"token": "fresh"}}]))
                return await original(request)

            script.replies[0] = refuse_and_renew
            await cluster.get_json("/version")
    assert [sent.headers["Authorization"] for sent in script.requests] == ["Bearer stale", "Bearer fresh"]


async def test_an_exec_plugin_is_run_for_its_token(tmp_path: Path) -> None:
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-plugin"},
    }
    plugin = write(tmp_path / "plugin", f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
    plugin.chmod(0o700)
    spec = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "interactiveMode": "Never",
    }
    script = Script(answer(200, {}))
    async with serve(script) as url:
        path = write(tmp_path / "config", config(server=url, users=[{"name": "one", "user": {"exec": spec}}]))
        await first_request(path)
    assert script.requests[0].headers["Authorization"] == "Bearer from-plugin"


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes this process one of a pod; returns the folder that the kubelet keeps the service account in."""
    folder = tmp_path / "serviceaccount"
    write(folder / "token", "first")
    write(folder / "ca.crt", Authority.create("ca").pem.decode())
    write(folder / "namespace", "own")
    monkeypatch.setattr(kube_config, "_SERVICE_ACCOUNT", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    return folder


async def test_in_a_pod_without_a_kubeconfig_the_service_account_is_used(account: Path) -> None:
    cluster = await connect("source", None, None)
    assert (cluster.context, cluster.default_namespace) == ("in-cluster", "own")


async def test_a_pod_without_a_service_account_token_is_told_so_beside_the_flags(account: Path) -> None:
    (account / "token").unlink()
    with pytest.raises(UsageError) as caught:
        await connect("target", None, None)
    assert "neither a kubeconfig for the target cluster nor a service account" in complaint(caught)
    assert f"{account / 'token'} is not there: the pod has automountServiceAccountToken: false" in complaint(caught)
    assert "--to-kubeconfig" in complaint(caught)


async def test_a_service_account_that_cannot_be_used_is_a_usage_error(account: Path) -> None:
    (account / "ca.crt").unlink()
    async with await connect("source", None, None) as cluster:
        with pytest.raises(UsageError, match=r"service account of the source cluster cannot be used: .*certification"):
            await cluster.get(typed(), "ns", "x")


async def test_in_a_pod_a_kubeconfig_that_is_given_still_wins(
    tmp_path: Path, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "config", config())
    assert (await connect("source", path, None)).context == "one"
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert (await connect("source", None, None)).context == "one"


async def test_the_context_in_cluster_means_the_service_account_whatever_kubeconfigs_there_are(
    tmp_path: Path, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write(tmp_path / "config", config())))
    cluster = await connect("source", None, "in-cluster")
    assert (cluster.context, cluster.default_namespace) == ("in-cluster", "own")
    # Of a file that is given it is a context like any other.
    with pytest.raises(UsageError, match='has no context "in-cluster"'):
        await connect("source", tmp_path / "config", "in-cluster")
    several(monkeypatch, write(tmp_path / "named", config("in-cluster")))
    assert (await connect("source", None, "in-cluster")).default_namespace == "ns-in-cluster"


async def test_outside_of_a_pod_the_context_in_cluster_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        await connect("source", None, "in-cluster")
    assert "KUBERNETES_SERVICE_PORT are not set: this is no pod" in complaint(caught)


async def test_in_a_pod_another_context_is_not_taken_for_the_service_account(account: Path) -> None:
    with pytest.raises(UsageError, match="No kubeconfig for the source cluster"):
        await connect("source", None, "prod")


async def test_a_token_that_the_kubelet_has_renewed_is_used_within_a_minute(
    account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock()
    monkeypatch.setattr(incluster_config, "datetime", clock)
    async with _open(account) as session:
        assert await session.authenticate() == {"Authorization": "bearer first"}
        write(account / "token", "second\n")
        clock.now_at += clock.timedelta(seconds=61)
        assert await session.authenticate() == {"Authorization": "bearer second"}


async def test_a_token_that_is_refused_is_read_again_at_once(account: Path) -> None:
    async with _open(account) as session:
        write(account / "token", "second")
        assert await session.authenticate() == {"Authorization": "bearer first"}
    async with _open(account) as session:
        assert await session.authenticate() == {"Authorization": "bearer second"}


async def test_a_token_that_has_gone_is_told_as_such(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock()
    monkeypatch.setattr(incluster_config, "datetime", clock)
    async with _open(account) as session:
        (account / "token").unlink()
        clock.now_at += clock.timedelta(seconds=61)
        with pytest.raises(UsageError, match="credentials of the source cluster cannot be read any more"):
            await session.authenticate()


class _Clock:
    """Stands for the module `datetime` where the client looks at the time."""

    timedelta = timedelta

    def __init__(self) -> None:
        self.now_at = datetime(2026, 1, 1, tzinfo=UTC)

    @property
    def datetime(self) -> Self:
        """Returns what has `now`."""
        return self

    def now(self) -> Any:
        """Returns the time."""
        return self.now_at


@asynccontextmanager
async def _open(account: Path) -> AsyncIterator[Session]:
    """Gives the session that the first request opens."""
    async with await connect("source", None, None) as cluster:
        yield await cluster.link._current_session()


async def test_a_cluster_is_sent_as_many_requests_at_once_as_was_asked_for(tmp_path: Path, account: Path) -> None:
    path = write(tmp_path / "config", config())
    assert (await connect("source", path, None, 3)).link.flow.limit == 3
    assert (await connect("source", path, None)).link.flow.limit == FlowLimits().start
    assert (await connect("source", None, None, 3)).link.flow.limit == 3


async def test_nothing_is_opened_before_the_first_request(tmp_path: Path) -> None:
    cluster: Cluster = await connect("source", write(tmp_path / "config", config()), None)
    assert cluster.server == ""


class Proxy:
    """A proxy that lets nothing through and keeps what it was asked.

    Attributes:
        address: "127.0.0.1:PORT".
        asked: The lines of each request.
    """

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[list[str]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._refuse, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.decode().strip().split("\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


@pytest.fixture
def no_other_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the proxies of whoever runs the tests out of them."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def asked_of(proxy: Proxy, path: Path) -> list[str]:
    """Returns what the proxy is asked for by a first request, none if it is not asked."""
    async with await connect("source", path, None) as cluster:
        with pytest.raises(ApiError):
            await cluster.version()
    return proxy.asked[0] if proxy.asked else []


@pytest.mark.usefixtures("no_other_proxy")
async def test_the_environments_proxy_is_used_with_its_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{proxy.address}")
        asked = await asked_of(proxy, write(tmp_path / "config", config(server="https://capi.invalid:6443")))
    assert asked[0] == "CONNECT capi.invalid:6443 HTTP/1.1"
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:secret').decode()}" in asked


@pytest.mark.usefixtures("no_other_proxy")
@pytest.mark.parametrize("but", ["127.0.0.1", "*", "example.com,127.0.0.1:1"])
async def test_a_server_that_no_proxy_names_is_reached_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, but: str
) -> None:
    async with Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv("NO_PROXY", but)
        assert await asked_of(proxy, write(tmp_path / "config", config(server="https://127.0.0.1:1"))) == []


@pytest.mark.usefixtures("no_other_proxy")
async def test_the_kubeconfigs_proxy_goes_before_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "*")
        server = {"server": "https://capi.invalid:6443", "proxy-url": f"http://{proxy.address}"}
        content = config(clusters=[{"name": "one", "cluster": server}])
        assert (await asked_of(proxy, write(tmp_path / "config", content)))[0].startswith("CONNECT capi.invalid:6443")


@pytest.mark.usefixtures("no_other_proxy")
async def test_a_proxy_that_is_reached_by_https_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"https://{proxy.address}")
        assert await asked_of(proxy, write(tmp_path / "config", config(server="https://127.0.0.1:1"))) == []
    assert "not supported" in caplog.text


async def test_a_netrc_file_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", str(write(tmp_path / "netrc", "default login me password secret\n")))
    script = Script(answer(200, {}))
    async with serve(script) as url:
        await first_request(write(tmp_path / "config", config(server=url)))
    assert script.requests[0].headers["Authorization"] == "Bearer token-one"
