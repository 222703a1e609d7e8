"""Tests of the writes that are rehearsed on both servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object, ResourceType
from mover.checks.rehearsal import rehearse_creation, rehearse_removal
from mover.checks.scene import Scene, look
from mover.discovery import NAMESPACES
from mover.models import MoveOptions
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import make, plan_of
from tests.unit.scripted_server import Reply, failure

CLUSTER = make(rules.CLUSTER, "c", metadata={"finalizers": ["capi"]})
MACHINES = [make(rules.MACHINE, f"m{i}", owners=[CLUSTER], metadata={"finalizers": ["x"]}) for i in range(15)]
WEBHOOKS = ResourceType(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)


def asked_about(operation: str, plural: str) -> Object:
    rule = {"operations": [operation], "apiGroups": ["*"], "resources": [plural]}
    return make(WEBHOOKS, "guard", webhooks=[{"name": "guard.example.org", "rules": [rule]}])


class Stage:
    """A source with a Cluster and its Machines, and a target with or without their namespace."""

    def __init__(self, *, namespace: bool = True) -> None:
        self.source, self.target = FakeApiServer("source"), FakeApiServer("target")
        self.plan = plan_of(CLUSTER, *MACHINES)
        self.source.put(CLUSTER, *MACHINES)
        if namespace:
            self.target.put(make(NAMESPACES, "ns"))

    async def scene(self, **options: Any) -> Scene:
        """Returns what the checks look at."""
        return await look(self.source.direct(), self.target.direct(), self.plan, MoveOptions(**options))

    async def creation(self) -> list[str]:
        """Returns what is told of the creation: E for a problem, W for a warning."""
        return [
            f"{'W' if p.is_warning else 'E'} {p.subject}: {p.what}" for p in await rehearse_creation(await self.scene())
        ]

    async def removal(self) -> list[str]:
        """Returns what is told of the removal."""
        return [f"{p.subject}: {p.what}" for p in await rehearse_removal(await self.scene())]


def dry(server: FakeApiServer, method: str) -> list[str]:
    return [entry.rpartition("/")[2] for entry in server.log if entry.startswith(f"DRY {method}")]


def replies(server: FakeApiServer, method: str, reply: Reply, ending: str = "") -> None:
    def rehearsing(request: web.Request) -> Reply | None:
        return reply if request.method == method and request.path.endswith(ending) else None

    server.rehearsing = rehearsing


async def test_one_object_of_each_kind_is_rehearsed_where_nobody_is_asked() -> None:
    stage = Stage()
    assert await stage.creation() == []
    assert sorted(dry(stage.target, "POST")) == ["clusters", "machines"]
    assert not stage.target.writes()


async def test_every_object_of_a_kind_is_rehearsed_that_anybody_is_asked_about() -> None:
    stage = Stage()
    stage.target.put(asked_about("CREATE", "machines"))
    assert await stage.creation() == []
    assert dry(stage.target, "POST").count("machines") == len(MACHINES)
    assert dry(stage.target, "POST").count("clusters") == 1


async def test_who_may_not_see_the_configurations_rehearses_everything() -> None:
    stage = Stage()

    def before(request: web.Request) -> Reply | None:
        return failure(403, "Forbidden") if "admissionregistration" in request.path else None

    stage.target.before = before
    await stage.creation()
    assert dry(stage.target, "POST").count("machines") == len(MACHINES)


@pytest.mark.parametrize("status", [403, 422])
async def test_a_refusal_is_told_with_the_servers_words(status: int) -> None:
    stage = Stage()
    replies(stage.target, "POST", failure(status, "Refused", "not on a Thursday"), "machines")
    assert await stage.creation() == ["E Machine ns/m0: the server would refuse this: not on a Thursday"]


async def test_many_refusals_of_a_kind_are_not_all_told() -> None:
    stage = Stage()
    stage.target.put(asked_about("CREATE", "machines"))
    replies(stage.target, "POST", failure(403, "Forbidden"), "machines")
    told = await stage.creation()
    assert len(told) == 11
    assert told[-1].endswith("5 more are refused")


async def test_a_webhook_that_does_not_answer_is_asked_about_one_object_and_named() -> None:
    stage = Stage()
    stage.target.put(asked_about("CREATE", "machines"))
    replies(stage.target, "POST", failure(500, "InternalError", "failed calling webhook"), "machines")
    (told,) = await stage.creation()
    assert "there is no answer to this: failed calling webhook" in told
    assert "asked: validatingwebhookconfiguration/guard" in told
    assert dry(stage.target, "POST").count("machines") == 1


async def test_what_is_on_the_target_already_is_not_rehearsed() -> None:
    stage = Stage()
    stage.target.put(*MACHINES)
    await stage.creation()
    assert dry(stage.target, "POST") == ["clusters"]


async def test_copies_for_a_namespace_that_is_not_there_are_rehearsed_in_one_that_is() -> None:
    stage = Stage(namespace=False)
    assert await stage.creation() == []
    posts = [entry for entry in stage.target.log if entry.startswith("DRY POST")]
    assert all("/namespaces/default/" in entry for entry in posts)
    assert len(posts) == 2


async def test_who_may_not_do_so_is_told_that_nothing_was_rehearsed() -> None:
    stage = Stage(namespace=False)
    stage.target.denied = {("create", "machines")}
    (told,) = await stage.creation()
    assert told.startswith("W ns: the namespace is not there yet, so this could not be rehearsed: Machine")
    assert dry(stage.target, "POST") == ["clusters"]


async def test_the_patch_that_strips_is_rehearsed_for_one_object_of_each_kind() -> None:
    stage = Stage()
    assert await stage.removal() == []
    assert sorted(dry(stage.source, "PATCH")) == ["c", "m0"]
    assert not dry(stage.source, "DELETE")
    assert not stage.source.writes()


async def test_a_patch_that_is_refused_is_told() -> None:
    stage = Stage()
    replies(stage.source, "PATCH", failure(403, "Forbidden", "frozen"), "m0")
    assert await stage.removal() == ["Machine ns/m0: the server would refuse this: frozen"]


def gone(_: web.Request) -> Reply | None:
    return failure(404, "NotFound")


def changed(_: web.Request) -> Reply | None:
    return failure(409, "Conflict")


@pytest.mark.parametrize("meanwhile", [gone, changed])
async def test_an_object_that_went_or_changed_meanwhile_is_no_problem(
    meanwhile: Callable[[web.Request], Reply | None],
) -> None:
    stage = Stage()
    stage.source.rehearsing = meanwhile
    assert await stage.removal() == []


async def test_where_webhooks_look_at_deletions_they_have_to_answer_but_may_refuse() -> None:
    stage = Stage()
    stage.source.put(asked_about("DELETE", "machines"))
    replies(stage.source, "DELETE", failure(403, "Forbidden"))
    assert await stage.removal() == []
    assert dry(stage.source, "DELETE") == ["m0"]
    replies(stage.source, "DELETE", failure(500, "InternalError", "failed calling webhook"))
    (told,) = await stage.removal()
    assert "asked: validatingwebhookconfiguration/guard" in told
