"""Which Cluster becomes the target, and where its kubeconfig comes from."""

from __future__ import annotations

import base64
import stat

import pytest

from graph import rules
from mover.discovery import SECRETS
from mover.errors import UsageError
from mover.kube import Cluster
from mover.pivot.kubeconfig import Found, choose_cluster, find_kubeconfig, kubeconfig_of, private_file
from mover.pivot.memory import Memory
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.graph_builders import NAMESPACE
from tests.unit.mover_builders import crd, make

ONE, OTHER = make(rules.CLUSTER, "one"), make(rules.CLUSTER, "other")
TEXT = "kind: Config\n"
SECRET = make(SECRETS, "one-kubeconfig", data={"value": base64.b64encode(TEXT.encode()).decode()})
MEMORY = Memory(cluster="one", kubeconfig="kind: Old\n")


def source(*objects: object) -> Cluster:
    """Returns a management cluster with these objects."""
    server = FakeApiServer()
    server.put(crd(rules.CLUSTER, contract=True), *objects)  # type: ignore[arg-type]
    return server.direct()


def test_the_only_cluster_is_chosen() -> None:
    assert choose_cluster([ONE], "", NAMESPACE) is ONE


def test_the_named_cluster_is_chosen() -> None:
    assert choose_cluster([ONE, OTHER], "other", NAMESPACE) is OTHER


def test_of_several_clusters_one_must_be_named() -> None:
    with pytest.raises(
        UsageError, match=rf"2 Clusters are in .*: {NAMESPACE}/one, {NAMESPACE}/other\. Say with --cluster"
    ):
        choose_cluster([ONE, OTHER], "", NAMESPACE)


def test_a_cluster_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=rf'no Cluster "two" is in .*; there is: {NAMESPACE}/one'):
        choose_cluster([ONE], "two", NAMESPACE)


def test_without_any_cluster_there_is_no_target() -> None:
    with pytest.raises(UsageError, match="no Cluster is on the source cluster; there is: none"):
        choose_cluster([], "", "")


async def test_the_kubeconfig_is_that_of_the_clusters_secret() -> None:
    found = await find_kubeconfig(source(ONE, SECRET), NAMESPACE, "", None)
    assert found == Found("one", TEXT, f"Secret {NAMESPACE}/one-kubeconfig")


async def test_a_missing_secret_is_told() -> None:
    with pytest.raises(UsageError, match=f"There is no Secret {NAMESPACE}/one-kubeconfig on the source cluster"):
        await find_kubeconfig(source(ONE), NAMESPACE, "", None)


@pytest.mark.parametrize("objects", [(), (OTHER,), (ONE,), (ONE, OTHER)])
async def test_what_the_move_has_taken_along_is_remembered(objects: tuple[object, ...]) -> None:
    found = await find_kubeconfig(source(*objects), NAMESPACE, "", MEMORY)
    assert (found.cluster, found.text) == ("one", MEMORY.kubeconfig)


async def test_the_secret_goes_before_the_memory() -> None:
    assert (await find_kubeconfig(source(ONE, OTHER, SECRET), NAMESPACE, "", MEMORY)).text == TEXT


async def test_the_memory_of_another_cluster_does_not_help() -> None:
    with pytest.raises(UsageError, match='no Cluster "two"'):
        await find_kubeconfig(source(), NAMESPACE, "two", MEMORY)


@pytest.mark.parametrize("data", [{}, {"value": "%%%"}, {"value": base64.b64encode(b"\xff\xfe").decode()}])
def test_a_secret_without_a_kubeconfig_is_told(data: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="holds no kubeconfig"):
        kubeconfig_of(make(SECRETS, "one-kubeconfig", data=data))


def test_the_file_is_private_and_goes_away() -> None:
    with private_file(TEXT) as path:
        assert path.read_text() == TEXT
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
