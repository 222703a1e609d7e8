"""A fleet whose Clusters share a class, and some of whose hosts share a BMC's Secret."""

from __future__ import annotations

from tests.testbed.fleet import Fleet, FleetSpec, build
from tests.testbed.pair import Pair

BMC = "shared-bmc"


async def build_shared(pair: Pair, namespace: str, *, clusters: int) -> Fleet:
    """Returns clusters of one class, two hosts each and two spare ones; the first two share a BMC's Secret."""
    spec = FleetSpec(
        namespace=namespace,
        cluster_name=f"{namespace}-c",
        host_name=f"{namespace}-h",
        clusters=clusters,
        control_planes=1,
        workers=1,
        spare_hosts=2,
        topology=True,
        paused_conditions=False,
    )
    fleet = await build(pair.on_source, spec)
    hosts = f"/apis/metal3.io/v1alpha1/namespaces/{namespace}/baremetalhosts"
    owners = []
    for number in (1, 3):
        host = await pair.on_source.get(f"{hosts}/{namespace}-h-{number:04d}")
        name, uid = host["metadata"]["name"], host["metadata"]["uid"]
        owners.append({"apiVersion": host["apiVersion"], "kind": "BareMetalHost", "name": name, "uid": uid})
        bmc = {**host["spec"]["bmc"], "credentialsName": BMC}
        await pair.on_source.patch_merge(f"{hosts}/{name}", {"spec": {"bmc": bmc}})
    metadata = {"name": BMC, "ownerReferences": owners}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": "secret"}}
    await pair.on_source.create(f"/api/v1/namespaces/{namespace}/secrets", body)
    return fleet
