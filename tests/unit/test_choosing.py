"""Tests of which Clusters and hosts are meant by names and selectors."""

from __future__ import annotations

import pytest

from graph import rules
from graph.resource import Object
from mover.choosing import Choice, choose, chooses
from mover.errors import UsageError
from mover.models import MoveOptions
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import inventory, make
from tests.unit.scripted_server import failure

A, B = make(rules.CLUSTER, "a"), make(rules.CLUSTER, "b")
SPARE, OTHER = make(rules.BARE_METAL_HOST, "s"), make(rules.BARE_METAL_HOST, "t")
CLAIMED = make(rules.BARE_METAL_HOST, "h", spec={"consumerRef": {"name": "m"}})
INVENTORY = inventory(A, B, SPARE, OTHER, CLAIMED)


async def chosen(server: FakeApiServer | None = None, **options: object) -> Choice:
    asked = MoveOptions.model_validate({"namespace": "ns", **options})
    return await choose((server or FakeApiServer()).direct(), INVENTORY, asked)


def answering(*objects: Object) -> FakeApiServer:
    """Returns a server that has these objects with the label env=prod."""
    server = FakeApiServer()
    for obj in objects:
        server.put(make(obj.type, obj.key.name, labels={"env": "prod"}))
    return server


async def test_without_names_and_selectors_the_whole_namespace_is_meant() -> None:
    assert await chosen() == Choice()


async def test_clusters_are_chosen_by_name_and_spare_hosts_stay() -> None:
    assert await chosen(clusters=("a",)) == Choice(frozenset({A.key}))


async def test_all_hosts_are_those_that_nobody_claims() -> None:
    assert (await chosen(clusters=("a",), all_hosts=True)).hosts == {SPARE.key, OTHER.key}


async def test_an_unknown_name_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"There is no Cluster c, d in the namespace ns\. There are: a, b"):
        await chosen(clusters=("d", "a", "c"))


async def test_a_selector_is_left_to_the_server() -> None:
    server = answering(B)
    assert await chosen(server, selector="env=prod") == Choice(frozenset({B.key}))
    (asked,) = server.log
    assert "clusters" in asked


async def test_a_selector_that_selects_nothing_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"The selector x=y selects no Cluster in the namespace ns\. There are: a, b"):
        await chosen(answering(), selector="x=y")


async def test_a_selector_that_is_none_is_an_error() -> None:
    server = FakeApiServer()
    server.before = lambda _: failure(400, "BadRequest")
    with pytest.raises(UsageError, match="'==' is no label selector"):
        await chosen(server, selector="==")


async def test_hosts_are_chosen_by_selector_among_those_that_nobody_claims() -> None:
    assert (await chosen(answering(SPARE, CLAIMED), clusters=("a",), hosts="env=prod")).hosts == {SPARE.key}
    with pytest.raises(UsageError, match=r"The selector env=prod selects no spare host .* There are: s, t"):
        await chosen(answering(CLAIMED), clusters=("a",), hosts="env=prod")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"all_hosts": True}, "With a whole namespace all of them move"),
        ({"hosts": "a=b"}, "With a whole namespace all of them move"),
        ({"clusters": ("a",), "hosts": "a=b", "all_hosts": True}, "only one of --hosts and --all-hosts"),
        ({"clusters": ("a",), "selector": "a=b"}, "only one of --cluster and --selector"),
        ({"clusters": ("a",), "namespace": ""}, "Single Clusters are of one namespace"),
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, object], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        chooses(MoveOptions.model_validate(options))
