"""CAPI's real controllers and webhooks beside a control plane: the three manager programs of CAPI's Go module.

They run as processes outside of the cluster, as a developer runs them: core, kubeadm bootstrap and kubeadm control
plane. Their webhook configurations are those of the module, with a URL on this machine instead of a Service.

Health and metrics are served on loopback. The programs have no flag for the address of their webhook server: it
listens on all addresses of the machine, on a port of the test bed's range, and answers admission reviews only.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.testbed import gobuild
from tests.testbed.client import AdminClient, AdminError
from tests.testbed.crds import CAPI_MODULE, first_folder
from tests.testbed.gobuild import Tool
from tests.testbed.kind import ManagementCluster
from tests.testbed.pki import Authority
from tests.testbed.processes import Child, free_port, stop_all
from tests.testbed.versions import Versions

_READY_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 5.0
_PROBE_TIMEOUT_S = 5.0
_POLL_S = 0.1
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_ADMISSION_METRIC = "apiserver_admission_webhook_admission_duration_seconds_count"
_PLURALS = {
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
}
# Nothing serves etcd or static pods behind a workload cluster of the test bed: KCP need not wait for them for long.
_NO_ETCD = ("--etcd-dial-timeout-duration=1s", "--etcd-call-timeout-duration=1s")
_TOPOLOGY = "--feature-gates=ClusterTopology=true"


@dataclass(frozen=True)
class _Provider:
    """One of CAPI's providers.

    Attributes:
        tool: Its program.
        prefix: What its kustomization puts before the names of its objects (config/default/kustomization.yaml).
        webhooks: Where its webhook configurations are in the module; the first folder that exists counts.
        defaulted: Path and kind of a resource that its webhooks set defaults in.
        flags: Flags of its own.
    """

    tool: Tool
    prefix: str
    webhooks: tuple[str, ...]
    defaulted: tuple[str, str]
    flags: tuple[str, ...] = ()


_PROVIDERS = (
    _Provider(
        Tool.CAPI_CORE,
        "capi-",
        ("core/config/webhook", "config/webhook"),
        ("cluster.x-k8s.io/v1beta2/namespaces/default/machines", "Machine"),
        (_TOPOLOGY,),
    ),
    _Provider(
        Tool.CAPI_BOOTSTRAP,
        "capi-kubeadm-bootstrap-",
        ("bootstrap/kubeadm/config/webhook",),
        ("bootstrap.cluster.x-k8s.io/v1beta2/namespaces/default/kubeadmconfigtemplates", "KubeadmConfigTemplate"),
    ),
    _Provider(
        Tool.CAPI_CONTROL_PLANE,
        "capi-kubeadm-control-plane-",
        ("controlplane/kubeadm/config/webhook",),
        ("controlplane.cluster.x-k8s.io/v1beta2/namespaces/default/kubeadmcontrolplanes", "KubeadmControlPlane"),
        (_TOPOLOGY, *_NO_ETCD),
    ),
)


@dataclass(frozen=True)
class AdmissionCount:
    """How often an API server asked a webhook about an operation, and how often the answer was no.

    Attributes:
        webhook: The webhook's name, e.g. "validation.machine.cluster.x-k8s.io".
        operation: E.g. "CREATE".
        asked: All questions; those that found no webhook server too.
        refused: Those that ended with a refusal, or without an answer.
    """

    webhook: str
    operation: str
    asked: int
    refused: int


class CapiManagers:
    """CAPI's managers beside one control plane; ended and started again on the same ports.

    Example:
        >>> with CapiManagers(plane, directory) as managers:
        ...     managers.start()
        ...     await managers.register(client)
    """

    def __init__(self, plane: ManagementCluster, directory: Path, versions: Versions | None = None) -> None:
        self._plane = plane
        self._versions = versions or Versions.from_environment()
        self._authority = Authority.create("capi-webhooks-ca")
        self._managers = [self._manager(provider, directory) for provider in _PROVIDERS]

    def _manager(self, provider: _Provider, directory: Path) -> _Manager:
        folder = directory / str(provider.tool)
        folder.mkdir(parents=True)
        self._authority.issue_server("webhook", ["127.0.0.1"]).write(folder, "webhook")
        return _Manager(provider, gobuild.binary(provider.tool, self._versions), folder)

    @property
    def logs(self) -> tuple[Path, ...]:
        """Returns the files that the managers log to."""
        return tuple(manager.log for manager in self._managers)

    def start(self) -> None:
        """Starts the managers and returns when their webhook servers answer; CAPI's CRDs have to be there.

        Raises:
            ProcessError: One of them ended or did not become ready.
        """
        for manager in self._managers:
            manager.launch(self._plane.kubeconfig)
        for manager in self._managers:
            manager.wait_ready()

    def stop(self) -> None:
        """Ends the managers; their webhooks stay registered. Safe to call again."""
        stop_all([manager.child for manager in self._managers if manager.child is not None], _STOP_TIMEOUT_S)

    async def register(self, client: AdminClient) -> None:
        """Creates the webhook configurations, and returns when the API server asks the webhooks."""
        module = gobuild.module_dir(CAPI_MODULE, self._versions.cluster_api)
        bodies = [body for manager in self._managers for body in manager.webhooks(module, self._authority.pem)]
        await asyncio.gather(*(client.create(f"{_ADMISSION}/{_PLURALS[body['kind']]}", body) for body in bodies))
        mutating = [body for body in bodies if body["kind"].startswith("Mutating")]
        await _until_asked(client, [{hook["name"] for hook in body["webhooks"]} for body in mutating])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Manager:
    """One manager program with its ports and files."""

    def __init__(self, provider: _Provider, program: Path, folder: Path) -> None:
        self._provider = provider
        self._program = program
        self._folder = folder
        self._health, self._metrics, self._webhook = free_port(), free_port(), free_port()
        self.child: Child | None = None
        self.log = folder / "manager.log"

    def launch(self, kubeconfig: Path) -> None:
        """Starts the program."""
        command = [
            str(self._program),
            f"--kubeconfig={kubeconfig}",
            "--leader-elect=false",
            f"--health-addr=127.0.0.1:{self._health}",
            f"--diagnostics-address=127.0.0.1:{self._metrics}",
            "--insecure-diagnostics=true",
            f"--webhook-port={self._webhook}",
            f"--webhook-cert-dir={self._folder}",
            "--webhook-cert-name=webhook.crt",
            "--webhook-key-name=webhook.key",
            *self._provider.flags,
        ]
        self.child = Child(command, self.log)

    def wait_ready(self) -> None:
        """Returns when the program's webhook server has started."""
        if self.child is None:
            raise ValueError(f"{self._provider.tool} was not started")
        self.child.wait_until(lambda: _answers(f"http://127.0.0.1:{self._health}/readyz"), _READY_TIMEOUT_S)

    def webhooks(self, module: Path, ca_pem: bytes) -> Iterator[dict[str, Any]]:
        """Yields the provider's webhook configurations, with the program's URL in place of the Service."""
        text = (first_folder(module, self._provider.webhooks) / "manifests.yaml").read_text()
        for body in yaml.safe_load_all(text):
            server = f"https://127.0.0.1:{self._webhook}"
            yield at_url(body, server, ca_pem, prefix=self._provider.prefix)


def at_url(body: Mapping[str, Any], server: str, ca_pem: bytes, *, prefix: str) -> dict[str, Any]:
    """Returns a webhook configuration whose webhooks are called at a URL instead of a Service.

    Args:
        body: A configuration as it is in a provider's config/webhook/manifests.yaml.
        server: The URL of the webhook server, without a path.
        ca_pem: The certificate that the server's certificate is verified with.
        prefix: What goes before the configuration's name.
    """
    authority = base64.b64encode(ca_pem).decode()
    webhooks = [
        {**hook, "clientConfig": {"url": server + hook["clientConfig"]["service"]["path"], "caBundle": authority}}
        for hook in body["webhooks"]
    ]
    return {**body, "metadata": {"name": prefix + body["metadata"]["name"]}, "webhooks": webhooks}


async def _until_asked(client: AdminClient, names: list[set[str]]) -> None:
    """Returns when one webhook of each set has been asked: the API server reads new configurations by and by."""
    async with asyncio.timeout(_READY_TIMEOUT_S):
        while not _all_asked(names, await admission_counts(client)):
            for provider in _PROVIDERS:
                await _provoke(client, *provider.defaulted)
            await asyncio.sleep(_POLL_S)  # nothing can be watched for "this configuration is in force now"


async def _provoke(client: AdminClient, path: str, kind: str) -> None:
    """Makes the API server ask about an object that is not stored; it is incomplete, so it is refused later on."""
    body = {"apiVersion": "/".join(path.split("/")[:2]), "kind": kind, "metadata": {"name": "probe"}}
    with contextlib.suppress(AdminError):
        await client.request("POST", f"/apis/{path}", body, params={"dryRun": "All"})


def _all_asked(names: Iterable[set[str]], counts: Iterable[AdmissionCount]) -> bool:
    asked = {count.webhook for count in counts}
    return all(found & asked for found in names)


async def admission_counts(client: AdminClient) -> tuple[AdmissionCount, ...]:
    """Returns how often the API server has asked each webhook, from the server's own metrics."""
    return parse_admission_counts(await client.get("/metrics"))


def parse_admission_counts(metrics: str) -> tuple[AdmissionCount, ...]:
    """Returns the counts in an API server's metrics (Prometheus text), sorted by webhook and operation."""
    counts: dict[tuple[str, str], list[int]] = {}
    for labels, value in re.findall(rf"^{_ADMISSION_METRIC}\{{(.*)\}} (\S+)$", metrics, re.MULTILINE):
        found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        asked_refused = counts.setdefault((found["name"], found["operation"]), [0, 0])
        asked_refused[0] += int(float(value))
        asked_refused[1] += int(float(value)) if found["rejected"] == "true" else 0
    return tuple(AdmissionCount(*key, *counts[key]) for key in sorted(counts))


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_PROBE_TIMEOUT_S) as response:
            return bool(response.status == 200)
    except (OSError, HTTPException):
        return False
