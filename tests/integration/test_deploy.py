"""The manifests of deploy/, built by kustomize and judged by a real API server."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import yaml

from tests.integration.manifests import FOLDERS, NAMESPACE, applied, kustomized, with_namespaces
from tests.testbed.client import AdminError
from tests.testbed.pair import Pair

MOVED = "metal3"
CREDENTIALS = "capm3-system"


def pod_of(job: Mapping[str, Any], index: int | None) -> dict[str, Any]:
    """Returns the Pod that the controller would make of a Job."""
    template = copy.deepcopy(job["spec"]["template"])
    annotations = {} if index is None else {"batch.kubernetes.io/job-completion-index": str(index)}
    metadata = {**template["metadata"], "name": "pod", "namespace": NAMESPACE, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def jobs(manifests: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return (manifest for manifest in manifests if manifest["kind"] == "Job")


@pytest.mark.parametrize("folder", FOLDERS)
async def test_the_api_server_takes_every_manifest(pair: Pair, folder: str) -> None:
    manifests = await kustomized(folder)
    assert manifests
    # What is in a namespace can only be rehearsed if that is there.
    await with_namespaces(pair.on_source, NAMESPACE, MOVED, CREDENTIALS)
    for manifest in manifests:
        found = await applied(pair.on_source, manifest, dry_run=True)
        assert found["metadata"]["name"] == manifest["metadata"]["name"]


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder.startswith("job")])
async def test_the_pods_are_allowed_where_only_restricted_ones_are(pair: Pair, folder: str) -> None:
    manifests = await kustomized(folder)
    (job,) = jobs(manifests)
    (space,) = (manifest for manifest in manifests if manifest["kind"] == "Namespace")
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = pod_of(job, 0 if folder == "job-shards" else None)
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    await applied(pair.on_source, space)
    await pair.on_source.request("POST", pods, pod, params={"dryRun": "All", "fieldValidation": "Strict"})
    open_one = copy.deepcopy(pod)
    del open_one["spec"]["containers"][0]["securityContext"]
    with pytest.raises(AdminError, match="violates PodSecurity"):
        await pair.on_source.request("POST", pods, open_one, params={"dryRun": "All"})


async def test_a_job_by_kubeconfigs_has_no_token_and_no_rights() -> None:
    manifests = await kustomized("job-kubeconfigs")
    (job,) = jobs(manifests)
    assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert {manifest["kind"] for manifest in manifests} == {"Namespace", "ServiceAccount", "Job"}


async def test_a_field_that_kubernetes_does_not_know_is_found(pair: Pair) -> None:
    """That the test above can fail."""
    (job,) = jobs(await kustomized("job"))
    wrong = yaml.safe_load(yaml.safe_dump(job).replace("podReplacementPolicy", "podReplacementPolizy"))
    await with_namespaces(pair.on_source, NAMESPACE)
    with pytest.raises(AdminError, match="podReplacementPolizy"):
        await applied(pair.on_source, wrong, dry_run=True)
