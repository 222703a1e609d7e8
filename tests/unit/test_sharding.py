"""Tests of moving the namespaces of a shard between two small management clusters."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from mover import api
from mover.api import sharding
from mover.choices import ExistingPolicy, OnFailure
from mover.discovery import NAMESPACES, SECRETS
from mover.errors import RefusedError, StoppedError, UsageError
from mover.events import Noted
from mover.execute.journal import read_record
from mover.execute.lease import LEASES, LeaseHeldError, held
from mover.execute.run import InterruptedMoveError, RolledBackError
from mover.models import MoveOptions, MoveReport, RollingOptions, RollingReport, UnitFate, UnitReport
from mover.moment import micro_time
from mover.record import SCOPE_ANNOTATION, encode
from mover.scope import shard_scope
from mover.shard import Shard
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.mover_builders import CLUSTER, crd, make, meanwhile, refuse, somebody_at_work, typed, write_record
from tests.unit.scripted_server import Reply, failure, until
from tests.unit.test_api import HERE, THERE, Library

TOTAL = 2
SPACES = tuple(f"team-{letter}" for letter in "abcdef")
MINE = tuple(space for space in SPACES if space in Shard(0, TOTAL))
OTHERS = tuple(space for space in SPACES if space not in MINE)
CLASS = (rules.CAPI_GROUP, "ClusterClass")


def cluster_in(namespace: str, **spec: object) -> Object:
    body = CLUSTER.body()
    metadata = {name: body["metadata"][name] for name in ("finalizers", "generation", "managedFields")}
    more = {"uid": f"{namespace}-c"}
    return make(
        rules.CLUSTER, "c", namespace=namespace, metadata={**metadata, **more}, spec=spec, status=body["status"]
    )


def home_of(namespace: str) -> tuple[Object, Object]:
    """Returns a namespace with a Cluster."""
    return make(NAMESPACES, namespace), cluster_in(namespace)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library(monkeypatch)
    found.stage.source.put(*(obj for space in SPACES for obj in home_of(space)))
    return found


def spaces_with_clusters(server: FakeApiServer, among: Iterable[str] = SPACES) -> list[str]:
    return [space for space in among if server.has(cluster_in(space))]


async def move(
    library: Library, index: int = 0, rolling: RollingOptions | None = None, **options: object
) -> tuple[MoveReport | RollingReport, ...]:
    given = library.stage.options.model_copy(update={"namespace": "", **options})
    asked = api.ShardMove(Shard(index, TOTAL), given, rolling)
    return await api.move_shard_async(HERE, THERE, asked, library.stage.events.append)


def test_the_names_are_in_both_shards() -> None:
    assert "ns" in Shard(0, TOTAL)
    assert len(MINE) >= 2
    assert OTHERS


async def test_a_shard_moves_its_own_namespaces_each_for_itself_and_no_others(library: Library) -> None:
    reports = await move(library)
    mine = ("ns", *MINE)
    assert tuple(report.namespace for report in reports) == mine
    assert spaces_with_clusters(library.stage.target) == list(MINE)
    assert spaces_with_clusters(library.stage.source) == list(OTHERS)
    leases = [
        path for server in (library.stage.source, library.stage.target) for path in server.bodies if "lease" in path
    ]
    assert leases == []
    assert Noted(f"Shard 0/2: {', '.join(mine)}") in library.stage.events


async def test_all_shards_together_move_all(library: Library) -> None:
    for index in range(TOTAL):
        await move(library, index)
    assert spaces_with_clusters(library.stage.source) == []
    assert spaces_with_clusters(library.stage.target) == list(SPACES)
    assert await move(library) == ()
    assert Noted("Shard 0/2: nothing to move") in library.stage.events


class Rolls:
    """Stands in for rolling moves, which need watches that tell something.

    Attributes:
        asked: The options of each.
        fate: What becomes of the unit of the next one.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[MoveOptions] = []
        self.fate = UnitFate.MOVED
        monkeypatch.setattr(sharding, "roll_async", self.roll)

    async def roll(self, *given: Any) -> RollingReport:
        """Returns the report of one unit."""
        options: MoveOptions = given[2]
        self.asked.append(options)
        unit = UnitReport(namespace=options.namespace or "", clusters=("c",), fate=self.fate)
        return RollingReport(source="a", target="b", namespace=options.namespace or "", units=(unit,))


async def test_a_shard_rolls_namespace_by_namespace(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    rolls = Rolls(monkeypatch)
    reports = await move(library, rolling=RollingOptions())
    assert [report.namespace for report in reports] == ["ns", *MINE]
    assert [asked.namespace for asked in rolls.asked] == ["ns", *MINE]


async def test_a_failed_unit_stops_no_other_namespace_unless_that_is_asked_for(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    Rolls(monkeypatch).fate = UnitFate.ROLLED_BACK
    assert len(await move(library, rolling=RollingOptions())) == len(["ns", *MINE])
    assert len(await move(library, rolling=RollingOptions(fail_fast=True))) == 1


async def test_namespaces_that_roll_are_checked_before_the_first_one_does(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolls = Rolls(monkeypatch)
    library.stage.target.put(cluster_in(MINE[-1], other="content"))
    with pytest.raises(RefusedError) as caught:
        await move(library, rolling=RollingOptions())
    assert {problem.subject for problem in caught.value.problems} == {f"Cluster {MINE[-1]}/c"}
    assert rolls.asked == []


async def test_a_namespace_with_a_unit_on_its_way_is_left_to_the_rolling_move(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(library.stage.target, "POST", "/machines")
    unit = {"clusters": ("c",), "on_failure": OnFailure.KEEP, "rolling": True}
    with pytest.raises(InterruptedMoveError):
        await api.move_async(HERE, THERE, library.stage.options.model_copy(update=unit))
    library.stage.target.before = lambda _: None
    asked = library.stage.options.model_copy(update={"rolling": True})
    for server in (library.stage.source, library.stage.target):
        found = await read_record(server.direct(), "ns/c")
        assert found is not None
        write_record(server, encode(found.model_copy(update={"options": asked})))
    rolls = Rolls(monkeypatch)
    await move(library, rolling=RollingOptions())
    assert [asked.namespace for asked in rolls.asked] == ["ns", *MINE]


async def test_only_what_holds_something_to_move_is_a_namespace_of_a_shard(library: Library) -> None:
    source = library.stage.source
    source.put(
        *(make(NAMESPACES, name) for name in ("empty", "labelled", "rooted", "hosts")),
        make(SECRETS, "x", namespace="empty"),
        make(SECRETS, "x", namespace="labelled", metadata={"labels": {rules.MOVE_LABEL: ""}}),
        make(SECRETS, "x", namespace="rooted", metadata={"labels": {rules.MOVE_HIERARCHY_LABEL: ""}}),
        make(rules.BARE_METAL_HOST, "x", namespace="hosts"),
    )
    found, _ = await api.dry_shard_async(HERE, None, api.ShardMove(Shard(0, 1)))
    assert found == tuple(sorted([*SPACES, "ns", "labelled", "rooted", "hosts"]))
    strict, _ = await api.dry_shard_async(HERE, None, api.ShardMove(Shard(0, 1), MoveOptions(strict_labels=True)))
    assert "hosts" not in strict
    assert source.writes() == []


async def test_problems_of_all_namespaces_are_told_before_the_first_one_moves(library: Library) -> None:
    for space in MINE[:2]:
        library.stage.target.put(cluster_in(space))
    library.stage.target.put(cluster_in(OTHERS[0]))
    before = library.stage.everything()
    with pytest.raises(RefusedError) as caught:
        await move(library)
    assert {problem.subject for problem in caught.value.problems} == {f"Cluster {space}/c" for space in MINE[:2]}
    assert library.stage.everything() == before


async def test_a_failure_says_what_has_moved_and_the_same_command_goes_on(library: Library) -> None:
    refuse(library.stage.target, "POST", f"/{MINE[1]}/clusters")
    with pytest.raises(api.SeriesStoppedError, match=f"Moved: ns, {MINE[0]}; stopped at {MINE[1]}") as caught:
        await move(library)
    assert "Move the shard again once that is mended" in str(caught.value)
    assert isinstance(caught.value.cause, RolledBackError)
    library.stage.target.before = lambda _: None
    await move(library)
    assert spaces_with_clusters(library.stage.target) == list(MINE)


async def test_an_interrupted_namespace_is_finished_though_its_originals_are_gone(library: Library) -> None:
    refuse(library.stage.source, "DELETE", f"/configmaps/capi-mover.{MINE[0]}", failure(422, "Invalid"))
    with pytest.raises(api.SeriesStoppedError) as caught:
        await move(library)
    assert isinstance(caught.value.cause, InterruptedMoveError)
    assert not library.stage.source.has(cluster_in(MINE[0]))
    library.stage.source.before = lambda _: None
    reports = await move(library)
    assert [report.namespace for report in reports] == list(MINE)
    assert spaces_with_clusters(library.stage.target) == list(MINE)


# --- Several movers ---------------------------------------------------------------------------------------------------


def lease_of(scope: str, name: str) -> Object:
    spec = {"holderIdentity": "elsewhere/1/2", "leaseDurationSeconds": 20, "renewTime": micro_time()}
    return make(LEASES, name, namespace="capi-mover", spec=spec, metadata={"annotations": {SCOPE_ANNOTATION: scope}})


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_second_mover_of_the_same_shard_is_refused(library: Library, side: str) -> None:
    before = library.stage.everything()
    refused = pytest.raises(LeaseHeldError, match=f"works on shard 0/2 of the {side} cluster")
    held_lease = lease_of(shard_scope(0, TOTAL), "capi-mover-shard.0.2")
    with somebody_at_work(getattr(library.stage, side), held_lease), refused:
        await move(library)
    assert library.stage.everything() == before


@pytest.mark.parametrize("scope", ["", shard_scope(0, 3), shard_scope(1, 5)])
async def test_all_at_once_and_another_division_keep_a_shard_away(library: Library, scope: str) -> None:
    with somebody_at_work(library.stage.target, lease_of(scope, "other")), pytest.raises(LeaseHeldError):
        await move(library)


async def test_another_shard_and_a_single_namespace_are_in_nobodys_way(library: Library) -> None:
    for server in (library.stage.source, library.stage.target):
        server.put(lease_of(shard_scope(1, TOTAL), "capi-mover-shard.1.2"), lease_of(OTHERS[0], f"x.{OTHERS[0]}"))
    await move(library)
    assert spaces_with_clusters(library.stage.target) == list(MINE)


async def test_a_shard_keeps_a_move_of_all_namespaces_away(library: Library) -> None:
    async with held(library.stage.source.direct(), shard_scope(0, TOTAL)):
        with pytest.raises(LeaseHeldError, match="works on shard 0/2"):
            await api.move_async(HERE, THERE, library.stage.options.model_copy(update={"namespace": ""}))


async def test_a_move_of_all_namespaces_that_was_left_stops_a_shard(library: Library) -> None:
    refuse(library.stage.target, "POST", "/clusters")
    whole = library.stage.options.model_copy(update={"namespace": "", "on_failure": OnFailure.KEEP})
    with pytest.raises(InterruptedMoveError):
        await api.move_async(HERE, THERE, whole)
    library.stage.target.before = lambda _: None
    with pytest.raises(StoppedError, match=r"of all namespaces is under way .*capi-mover resume"):
        await move(library)


async def test_a_shard_that_was_taken_over_undoes_what_it_is_at_and_says_why(library: Library) -> None:
    """The leases of the namespace are its own still."""
    source, path = (
        library.stage.source,
        "/apis/coordination.k8s.io/v1/namespaces/capi-mover/leases/capi-mover-shard.0.2",
    )
    other = lease_of(shard_scope(0, TOTAL), "capi-mover-shard.0.2")

    def taken() -> None:
        source.bodies[path] = {**other.body(), "metadata": {**other.body()["metadata"], "uid": "another"}}

    async def stand_still(request: web.Request) -> web.StreamResponse:
        before = len(source.log)
        await until(lambda: f"PUT {path}" in source.log[before:])
        # Answered once the lease is known to be lost, and the move is stopped.
        return await asyncio.Event().wait()  # type: ignore[return-value]

    def hold(request: web.Request) -> Reply | None:
        library.stage.target.before = lambda _: None
        return stand_still

    def taken_and_held() -> None:
        taken()
        library.stage.target.before = hold

    meanwhile(source, "PATCH", f"/{MINE[0]}/clusters/c", taken_and_held)
    options = library.stage.options.model_copy(update={"namespace": ""})
    source_ref, target_ref = (replace(place, lease_s=2.0) for place in (HERE, THERE))
    asked = api.ShardMove(Shard(0, TOTAL), options)
    with pytest.raises(StoppedError) as caught:
        await api.move_shard_async(source_ref, target_ref, asked)
    assert "The move was rolled back" in str(caught.value)
    assert "Another capi-mover has taken over the work on shard 0/2: elsewhere/1/2 holds" in str(caught.value)
    assert str(caught.value).endswith("Move the shard again")
    assert spaces_with_clusters(library.stage.target) == []
    assert source.bodies[path]["spec"]["holderIdentity"] == "elsewhere/1/2"


# --- What namespaces share --------------------------------------------------------------------------------------------


def class_in(namespace: str) -> Object:
    return make(CLASS, "shared", namespace=namespace, metadata={"uid": f"{namespace}-class"}, spec={"a": "b"})


def uses_class(library: Library, space: str, home: str) -> None:
    """Lets the Cluster of a namespace use a ClusterClass of another one."""
    for server in (library.stage.source, library.stage.target):
        server.put(crd(CLASS))
    topology = {"classRef": {"name": "shared", "namespace": home}}
    library.stage.source.put(class_in(home), cluster_in(space, topology=topology))


@pytest.mark.parametrize("index", range(TOTAL))
async def test_a_class_of_another_namespace_has_to_be_on_the_target_before(library: Library, index: int) -> None:
    """Whichever of the two namespaces is in the shard."""
    uses_class(library, MINE[0], OTHERS[0])
    with pytest.raises(RefusedError) as caught:
        await move(library, index)
    (problem,) = caught.value.problems
    space = (MINE[0], OTHERS[0])[index]
    assert (problem.check, problem.subject) == ("shard", f"ClusterClass {OTHERS[0]}/shared")
    assert problem.what == f"the namespace {space} shares it with others, and the target does not have it yet"
    assert problem.remedy.endswith(f"capi-mover move -n {space}")


async def test_what_one_namespace_has_brought_is_used_by_all_shards_and_leaves_with_its_own(library: Library) -> None:
    uses_class(library, MINE[0], OTHERS[0])
    alone = library.stage.options.model_copy(update={"namespace": OTHERS[0]})
    await api.move_async(HERE, THERE, alone)
    assert library.stage.source.has(class_in(OTHERS[0]))
    await move(library, 0)
    assert spaces_with_clusters(library.stage.target, MINE) == list(MINE)
    await move(library, 1, existing=ExistingPolicy.ADOPT)
    assert not library.stage.source.has(class_in(OTHERS[0]))
    assert spaces_with_clusters(library.stage.source) == []


async def test_a_shared_class_that_would_be_overwritten_is_refused(library: Library) -> None:
    uses_class(library, MINE[0], OTHERS[0])
    library.stage.target.put(make(CLASS, "shared", namespace=OTHERS[0], spec={"a": "other"}))
    with pytest.raises(RefusedError) as caught:
        await move(library, existing=ExistingPolicy.OVERWRITE)
    assert [problem.check for problem in caught.value.problems] == ["shard"]


async def test_a_cluster_scoped_identity_has_to_be_on_the_target_before(library: Library) -> None:
    kind = ("infrastructure.example.com", "Identity")
    identity = make(typed(kind, namespaced=False), "shared", namespace="")
    stage = library.stage
    body = crd(kind).body()
    body["spec"]["scope"] = "Cluster"
    body["metadata"]["labels"][rules.MOVE_HIERARCHY_LABEL] = ""
    for server in (stage.source, stage.target):
        server.bodies["/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + body["metadata"]["name"]] = body
    stage.source.put(identity)
    with pytest.raises(RefusedError) as caught:
        await move(library)
    assert {problem.check for problem in caught.value.problems} == {"shard"}
    stage.target.put(identity)
    await move(library)
    assert spaces_with_clusters(stage.target) == list(MINE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clusters": ("c",), "namespace": "ns"}, "A shard is of whole namespaces"),
        ({"to_namespace": "x"}, "Several namespaces cannot become one"),
    ],
)
async def test_what_does_not_go_with_a_shard_is_a_usage_error(
    library: Library, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        await move(library, **options)


async def test_a_rolling_shard_takes_the_options_of_a_rolling_move_only(library: Library) -> None:
    with pytest.raises(UsageError, match="cannot be included in a rolling move"):
        await move(library, rolling=RollingOptions(), include_referenced=True)
