"""CRDs of the test bed: which there are, how they are labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.testbed.crds import CORE_LABEL, INVENTORY_FILE, capi_crds, list_path, without_conversion
from tests.testbed.metal3_crds import FULL_CRDS_VARIABLE, KINDS, metal3_crds
from tests.testbed.providers import default_providers


def crd(group: str, plural: str, **metadata: Any) -> dict[str, Any]:
    versions = [{"name": "v1beta1", "storage": False}, {"name": "v1beta2", "storage": True}]
    names = {"plural": plural, "kind": plural.title()}
    spec = {"group": group, "names": names, "versions": versions, "conversion": {"strategy": "Webhook"}}
    return {"metadata": {"name": f"{plural}.{group}", **metadata}, "spec": spec, "status": {"conditions": None}}


def write(folder: Path, name: str, body: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(body))


@pytest.fixture(params=["core/config/crd/bases", "config/crd/bases"])
def module(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write(tmp_path / request.param, "a.yaml", crd("cluster.x-k8s.io", "clusters"))
    write(tmp_path / "bootstrap/kubeadm/config/crd/bases", "b.yaml", crd("bootstrap", "configs"))
    write(tmp_path / "controlplane/kubeadm/config/crd/bases", "c.yaml", crd("controlplane", "planes"))
    inventory = tmp_path / INVENTORY_FILE
    write(inventory.parent, inventory.name, crd("clusterctl.cluster.x-k8s.io", "providers"))
    return tmp_path


def labels(body: dict[str, Any]) -> dict[str, str]:
    return dict(body["metadata"].get("labels") or {})


def test_capi_crds_are_labelled_as_components_of_their_providers(module: Path) -> None:
    cluster, config, plane, _ = capi_crds(module)
    assert labels(cluster) == {
        "clusterctl.cluster.x-k8s.io": "",
        "cluster.x-k8s.io/provider": "cluster-api",
        "cluster.x-k8s.io/v1beta1": "v1beta1",
        "cluster.x-k8s.io/v1beta2": "v1beta2",
    }
    assert labels(config)["cluster.x-k8s.io/provider"] == "bootstrap-kubeadm"
    assert labels(plane)["cluster.x-k8s.io/provider"] == "control-plane-kubeadm"


def test_the_inventory_is_no_part_of_a_move(module: Path) -> None:
    assert labels(capi_crds(module)[-1]) == {CORE_LABEL: "inventory"}


def test_no_crd_asks_for_a_conversion_webhook(module: Path) -> None:
    assert all("conversion" not in body["spec"] for body in capi_crds(module))


def test_a_folder_that_is_not_cluster_api_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not cluster-api's module"):
        capi_crds(tmp_path)


def test_dropping_the_conversion_leaves_the_given_crd_as_it_is() -> None:
    given = crd("g", "things")
    assert "conversion" not in without_conversion(given)["spec"]
    assert "conversion" in given["spec"]


def test_objects_are_listed_at_the_storage_version() -> None:
    assert list_path(crd("g.io", "things")) == "/apis/g.io/v1beta2/things"


def small_crds(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    monkeypatch.delenv(FULL_CRDS_VARIABLE, raising=False)
    return {body["spec"]["names"]["kind"]: body for body in metal3_crds()}


def test_every_metal3_kind_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(small_crds(monkeypatch)) == len(KINDS) == 25


def test_only_labelled_metal3_kinds_take_part_in_clusterctls_move(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = small_crds(monkeypatch)
    seen = {kind for kind, body in bodies.items() if "clusterctl.cluster.x-k8s.io" in labels(body)}
    of_group = {kind for kind in seen if bodies[kind]["spec"]["group"] == "metal3.io"}
    assert of_group == {"BareMetalHost", "HardwareData"}
    assert {kind for kind, body in bodies.items() if "ipam" in body["spec"]["group"]} <= seen
    assert labels(bodies["HostFirmwareSettings"]) == {}


@pytest.mark.parametrize(
    ("suffix", "kinds"),
    [
        ("move", {"BareMetalHost", "HardwareData", "Metal3DataTemplate"}),
        ("move-hierarchy", {"BareMetalHost"}),
    ],
)
def test_forced_moves_are_labelled_as_metal3_does(
    monkeypatch: pytest.MonkeyPatch, suffix: str, kinds: set[str]
) -> None:
    label = f"clusterctl.cluster.x-k8s.io/{suffix}"
    assert {kind for kind, body in small_crds(monkeypatch).items() if label in labels(body)} == kinds


def test_full_crds_get_the_labels_of_the_small_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = small_crds(monkeypatch)["BareMetalHost"]
    full = {**small, "metadata": {"name": "baremetalhosts.metal3.io", "labels": {"other": "kept"}}}
    write(tmp_path, "host.yaml", full)
    monkeypatch.setenv(FULL_CRDS_VARIABLE, str(tmp_path))
    (body,) = metal3_crds()
    assert labels(body) == {**labels(small), "other": "kept"}


def test_providers_are_named_as_clusterctl_names_them() -> None:
    names = [provider.body()["metadata"]["name"] for provider in default_providers()]
    assert names == [
        "cluster-api",
        "bootstrap-kubeadm",
        "control-plane-kubeadm",
        "infrastructure-metal3",
        "ipam-metal3",
    ]
