"""Tests of how an object is found from what a user types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from graph import rules
from mover.errors import UsageError
from mover.lookup import find_object
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import CLUSTER, HOST, LOOSE, make, plan_of
from tests.unit.scripted_server import Reply, answer

ADDRESS = make(rules.IP_ADDRESS, "a")
OTHER_ADDRESS = make(("ipam.cluster.x-k8s.io", "IPAddress"), "a", metadata={"uid": "other"})
ELSEWHERE = make(rules.CLUSTER_CLASS, "class", namespace="elsewhere")
PLAN = plan_of(CLUSTER, HOST, LOOSE, ADDRESS, OTHER_ADDRESS, ELSEWHERE)


def _group(name: str, *resources: Mapping[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name} if name else {}, "versions": [{"version": "v1", "resources": list(resources)}]}


HOSTS = {
    "resource": "baremetalhosts",
    "singularResource": "baremetalhost",
    "responseKind": {"kind": "BareMetalHost"},
    "shortNames": ["bmh"],
}
DEPLOYMENTS = {"resource": "deployments", "singularResource": "deployment", "responseKind": {"kind": "Deployment"}}
PODS = {"resource": "pods", "singularResource": "pod", "responseKind": {"kind": "Pod"}}
SERVED = {
    "/api": [_group("", PODS)],
    "/apis": [
        _group("metal3.io", HOSTS),
        _group("apps", DEPLOYMENTS),
        {"metadata": {"name": "gone"}, "versions": [{"version": "v1", "freshness": "Stale"}]},
    ],
}


@pytest.fixture
def server() -> FakeApiServer:
    made = FakeApiServer()

    def discovery(request: web.Request) -> Reply | None:
        if request.path not in SERVED:
            return None
        assert "as=APIGroupDiscoveryList" in request.headers["Accept"]
        return answer(200, {"items": SERVED[request.path]})

    made.before = discovery
    return made


@pytest.mark.parametrize(
    "text",
    [
        "BareMetalHost/h",
        "baremetalhost/h",
        "baremetalhosts/h",
        "baremetalhosts.metal3.io/h",
        "bmh/h",
        "BMH.metal3.io/h",
    ],
)
async def test_a_kind_goes_by_all_the_names_that_the_server_knows(server: FakeApiServer, text: str) -> None:
    assert await find_object(server.direct(), PLAN, text) == HOST


async def test_a_kind_that_the_crds_name_needs_no_discovery(server: FakeApiServer) -> None:
    await find_object(server.direct(), PLAN, "secrets/loose")
    assert server.log == []


async def test_two_kinds_of_one_name_are_told_apart_by_their_group(server: FakeApiServer) -> None:
    with pytest.raises(UsageError, match=r"ipaddresss\.ipam\.cluster\.x-k8s\.io.*ipaddresss\.ipam\.metal3\.io"):
        await find_object(server.direct(), PLAN, "ipaddress/a")
    assert await find_object(server.direct(), PLAN, "ipaddress.ipam.metal3.io/a") == ADDRESS


async def test_the_namespace_that_is_asked_for_comes_first(server: FakeApiServer) -> None:
    assert await find_object(server.direct(), PLAN, "clusterclass/class") == ELSEWHERE
    own = make(rules.CLUSTER_CLASS, "class")
    assert await find_object(server.direct(), plan_of(own, ELSEWHERE), "clusterclass/class") == own
    with pytest.raises(UsageError, match="--namespace"):
        await find_object(server.direct(), plan_of(own, ELSEWHERE, namespace=""), "clusterclass/class")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h", '"h" names no object. Give it as KIND/NAME'),
        ("/h", "names no object"),
        ("secret/", "names no object"),
        ("secret/ns/h", "names no object"),
        ("secret/lose", 'There is no object "secret/lose". Close matches: loose'),
        ("secret/x", 'There is no object "secret/x". There are: loose'),
        ("secrt/loose", 'no kind "secrt". Kinds that may move: Secret'),
        ("bmh.apps/h", 'no kind "bmh.apps"'),
        ("deployment/h", "No object of the type deployments.apps moves: the type is not read"),
        ("pod/h", "No object of the type pods moves"),
    ],
)
async def test_what_is_not_there_is_said_with_what_is(server: FakeApiServer, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        await find_object(server.direct(), PLAN, text)
