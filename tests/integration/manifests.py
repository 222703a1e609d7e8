"""The manifests of deploy/: built by the real kustomize, and applied."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.integration.programs import environment, output_of
from tests.testbed import gobuild
from tests.testbed.client import APPLY_PATCH, AdminClient
from tests.testbed.gobuild import Tool
from tests.testbed.versions import Versions

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDERS = sorted(path.name for path in DEPLOY.iterdir() if path.is_dir())
NAMESPACE = "capi-mover"
ACCOUNT = "capi-mover"


async def kustomized(folder: str) -> list[dict[str, Any]]:
    """Returns the manifests of a folder of deploy/, in the order in which kubectl would apply them."""
    program = await asyncio.to_thread(gobuild.binary, Tool.KUBECTL, Versions.from_environment())
    text = await output_of([program, "kustomize", DEPLOY / folder], environment(Path("/nonexistent")))
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


async def applied(client: AdminClient, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Any:
    """Returns an object as it is after a server-side apply that refuses fields which Kubernetes does not know."""
    params = {"fieldManager": "test", "force": "true", "fieldValidation": "Strict"}
    params |= {"dryRun": "All"} if dry_run else {}
    return await client.request("PATCH", path_of(manifest), manifest, params=params, content_type=APPLY_PATCH)


def path_of(manifest: Mapping[str, Any]) -> str:
    """Returns the URL path of a manifest; its plural is the kind with an s, as of all kinds in deploy/."""
    version, metadata = manifest["apiVersion"], manifest["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    scope = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{scope}/{manifest['kind'].lower()}s/{metadata['name']}"


async def with_namespaces(client: AdminClient, *names: str) -> None:
    """Creates namespaces that are missing."""
    for name in names:
        await applied(client, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
