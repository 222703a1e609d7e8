"""Tests of the references between Metal3 objects."""

from __future__ import annotations

from typing import Any

import pytest

from graph import rules
from graph.references import references
from graph.rules import GroupKind
from tests.unit.graph_builders import WIDGET, make


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        (
            rules.BARE_METAL_HOST,
            {
                "consumerRef": {
                    "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
                    "kind": "Metal3Machine",
                    "name": "m",
                    "namespace": "machines",
                },
                "bmc": {"credentialsName": "bmc"},
                "userData": {"name": "u"},
                "networkData": {"name": "n", "namespace": "other"},
                "metaData": {"name": "d"},
                "preprovisioningNetworkDataName": "p",
            },
            [
                ("spec.consumerRef", "Metal3Machine machines/m"),
                ("spec.bmc.credentialsName", "Secret ns/bmc"),
                ("spec.userData", "Secret ns/u"),
                ("spec.networkData", "Secret other/n"),
                ("spec.metaData", "Secret ns/d"),
                ("spec.preprovisioningNetworkDataName", "Secret ns/p"),
            ],
        ),
        (rules.BARE_METAL_HOST, {}, []),
        (rules.BARE_METAL_HOST, {"userData": {}, "bmc": None, "consumerRef": None}, []),
        (rules.HARDWARE_DATA, {}, [("metadata.name", "BareMetalHost ns/x")]),
        (rules.IP_CLAIM, {"pool": {"name": "p"}}, [("spec.pool", "IPPool ns/p")]),
        (
            rules.IP_ADDRESS,
            {"pool": {"name": "p"}, "claim": {"name": "c"}},
            [("spec.pool", "IPPool ns/p"), ("spec.claim", "IPClaim ns/c")],
        ),
        (rules.METAL3_MACHINE, {"dataTemplate": {"name": "t"}}, [("spec.dataTemplate", "Metal3DataTemplate ns/t")]),
        (WIDGET, {"userData": {"name": "u"}}, []),
    ],
)
def test_an_object_names_others(kind: GroupKind, spec: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found = references(make(kind, "x", spec=spec))
    assert [(reference.field, str(reference.key)) for reference in found] == expected


def test_the_group_of_a_reference_is_in_its_api_version() -> None:
    pool = {"apiVersion": "ipam.cluster.x-k8s.io/v1beta1", "kind": "InClusterIPPool", "name": "p"}
    (reference,) = references(make(rules.IP_CLAIM, "x", spec={"pool": pool}))
    assert reference.key.group == "ipam.cluster.x-k8s.io"
    assert reference.key.kind == "InClusterIPPool"
