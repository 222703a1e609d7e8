"""Moves of single Clusters between two small management clusters: what goes, and how they are found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from graph import rules
from graph.resource import Object
from mover import api
from mover.api import ClusterRef, SeriesStoppedError
from mover.checks import check_move
from mover.checks.ties import check_left_dependents, check_split
from mover.choices import ExistingPolicy, OnFailure
from mover.discovery import NAMESPACES, SECRETS
from mover.errors import RefusedError, StoppedError, UsageError
from mover.execute.journal import Records
from mover.execute.run import InterruptedMoveError, RolledBackError, start
from mover.kube import Cluster
from mover.models import MoveOptions, MoveReport, Phase
from mover.planning import Rules, make_plan
from mover.record import Identity, name_of
from mover.report import status_lines
from mover.transform import joined_owners, without_owners
from mover.verify import source_drift
from tests.unit.mover_builders import (
    CA,
    CLUSTER,
    HOST,
    LOOSE,
    MACHINE,
    PROVISIONED,
    Stage,
    crd,
    inventory,
    lets_connect,
    make,
    meanwhile,
    refuse,
)
from tests.unit.test_record import record

HERE, THERE = ClusterRef(Path("source")), ClusterRef(Path("target"))
OTHER = make(rules.CLUSTER, "d", spec={"n": 2}, status=PROVISIONED, labels={"env": "prod"})
OTHER_MACHINE = make(rules.MACHINE, "n", owners=[OTHER], status={"nodeRef": {"name": "n"}})
BOTH = make(SECRETS, "both", owners=[CLUSTER, OTHER], data={"a": "eA=="})
ONLY = MoveOptions(namespace="ns", clusters=("c",), quiet_s=0.0, pause_timeout_s=5.0)
KEPT = ONLY.model_copy(update={"on_failure": OnFailure.KEEP})


class Library:
    """The library, connected to a stage with two Clusters; a kubeconfig's name says to which side."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = Stage(OTHER, OTHER_MACHINE, BOTH)
        lets_connect(monkeypatch, self.connect)

    async def connect(self, name: str, kubeconfig: Path | None, context: str | None, _most: int | None) -> Cluster:
        """Returns the cluster of that name."""
        assert (name, context) in (("source", None), ("target", None))
        server = self.stage.source if str(kubeconfig) == "source" else self.stage.target
        cluster = server.direct()
        cluster.default_namespace = "ns"
        return cluster

    async def move(self, options: MoveOptions = ONLY) -> MoveReport:
        """Moves from one to the other."""
        return await api.move_async(HERE, THERE, options)

    async def interrupt(self, options: MoveOptions = ONLY) -> None:
        """Leaves a move in the phase creating."""
        refuse(self.stage.target, "POST", "/machines")
        with pytest.raises(InterruptedMoveError):
            await self.move(options.model_copy(update={"on_failure": OnFailure.KEEP}))
        self.stage.target.before = lambda _: None


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    return Library(monkeypatch)


def version(library: Library, obj: Object) -> str:
    path = next(path for path in library.stage.source.bodies if path.endswith(f"s/{obj.key.name}") and "/ns/" in path)
    return str(library.stage.source.bodies[path]["metadata"]["resourceVersion"])


async def test_one_cluster_moves_and_the_other_is_not_touched(library: Library) -> None:
    before = [version(library, obj) for obj in (OTHER, OTHER_MACHINE, BOTH)]
    report = await library.move()
    assert report.clusters == ("c",)
    stage = library.stage
    assert all(stage.target.has(obj) and not stage.source.has(obj) for obj in (CLUSTER, MACHINE, CA))
    assert all(stage.source.has(obj) and not stage.target.has(obj) for obj in (OTHER, OTHER_MACHINE, HOST, LOOSE))
    assert [version(library, obj) for obj in (OTHER, OTHER_MACHINE, BOTH)] == before


async def test_what_both_use_is_on_both_sides_each_with_its_own_owner(library: Library) -> None:
    await library.move()
    copy = library.stage.target.bodies["/api/v1/namespaces/ns/secrets/both"]
    assert [owner["name"] for owner in copy["metadata"]["ownerReferences"]] == ["c"]
    assert library.stage.source.has(BOTH)


async def test_the_rest_follows_with_spare_hosts_on_request(library: Library) -> None:
    await library.move(ONLY.model_copy(update={"all_hosts": True}))
    assert library.stage.target.has(HOST)
    with pytest.raises(RefusedError, match=r"Secret ns/both: an object of that kind and name is there already"):
        await library.move(ONLY.model_copy(update={"clusters": ()}))
    await library.move(ONLY.model_copy(update={"clusters": (), "existing": ExistingPolicy.ADOPT}))
    assert library.stage.target.has(OTHER_MACHINE)
    assert not library.stage.source.has(BOTH)
    owners = library.stage.target.bodies["/api/v1/namespaces/ns/secrets/both"]["metadata"]["ownerReferences"]
    assert sorted(owner["name"] for owner in owners) == ["c", "d"]


@pytest.mark.parametrize("names", [(), ("c",)])
async def test_an_interrupted_move_is_found_by_its_namespace_or_its_cluster(
    library: Library, names: tuple[str, ...]
) -> None:
    await library.interrupt()
    (record,) = (await api.status_async(HERE)).readable
    assert (record.scope, record.namespace, record.clusters) == ("ns/c", "ns", ("c",))
    report = await api.resume_async(HERE, THERE, "ns", clusters=names)
    assert report.clusters == ("c",)
    assert library.stage.target.has(MACHINE)
    assert library.stage.source.has(OTHER)


async def test_an_interrupted_move_is_undone(library: Library) -> None:
    was = Stage(OTHER, OTHER_MACHINE, BOTH).everything()
    await library.interrupt()
    await api.rollback_async(HERE, THERE, "ns", clusters=["c"])
    assert library.stage.everything() == was


async def test_another_name_than_that_under_way_is_refused_and_told_what_is(library: Library) -> None:
    await library.interrupt()
    with pytest.raises(UsageError, match=r"No move of Cluster d .* Under way: Cluster c of namespace ns"):
        await api.resume_async(HERE, THERE, "ns", clusters=["d"])


async def test_the_same_move_again_finishes_what_was_begun(library: Library) -> None:
    await library.interrupt()
    await library.move(KEPT)
    assert library.stage.target.has(MACHINE)


async def test_a_selector_means_what_it_meant_when_the_move_was_begun(library: Library) -> None:
    chosen = ONLY.model_copy(update={"clusters": (), "selector": "env=prod"})
    await library.interrupt(chosen)
    library.stage.source.change(CLUSTER, metadata={"labels": {"env": "prod"}})
    report = await library.move(chosen.model_copy(update={"on_failure": OnFailure.KEEP}))
    assert report.clusters == ("d",)
    assert library.stage.source.has(CLUSTER)


@pytest.mark.parametrize(
    "other", [{"clusters": ()}, {"clusters": ("d",)}, {"clusters": (), "namespace": ""}], ids=["all", "d", "everything"]
)
async def test_a_move_that_overlaps_with_one_under_way_is_refused_by_name(
    library: Library, other: dict[str, object]
) -> None:
    await library.interrupt()
    writes = len(library.stage.source.writes())
    with pytest.raises(RefusedError, match=r"Cluster c of namespace ns: the move \w+ of its objects is under way"):
        await library.move(ONLY.model_copy(update=other))
    assert len(library.stage.source.writes()) == writes


async def test_a_move_that_overlaps_and_was_begun_after_the_preflight_stops_this_one(library: Library) -> None:
    clusters = library.stage.clusters()
    found = await library.stage.findings()
    await library.interrupt()
    with pytest.raises(StoppedError, match=r"The move \w+ of Cluster c of namespace ns is under way on the source"):
        await start(clusters, found, library.stage.options, lambda _: None)
    assert not [path for path in library.stage.source.bodies if path.endswith("leases/capi-mover.ns")]


async def test_the_record_has_a_name_of_its_own(library: Library) -> None:
    await library.interrupt()
    name = f"/api/v1/namespaces/capi-mover/configmaps/{name_of('ns/c')}"
    assert name in library.stage.source.bodies
    assert name in library.stage.target.bodies


async def test_namespaces_move_one_after_the_other(library: Library) -> None:
    library.stage.source.put(make(NAMESPACES, "ns2"), make(rules.CLUSTER, "e", namespace="ns2", status=PROVISIONED))
    plain = ONLY.model_copy(update={"clusters": ()})
    reports = await api.move_each_async(HERE, THERE, ["ns", "ns2"], plain)
    assert [report.namespace for report in reports] == ["ns", "ns2"]


async def test_no_namespace_moves_if_one_of_them_is_refused(library: Library) -> None:
    library.stage.source.put(make(NAMESPACES, "ns2"), make(rules.CLUSTER, "e", namespace="ns2"))
    with pytest.raises(RefusedError, match="Cluster ns2/e"):
        await api.move_each_async(HERE, THERE, ["ns", "ns2"], ONLY.model_copy(update={"clusters": ()}))
    assert library.stage.source.writes() == library.stage.target.writes() == []


async def test_a_series_that_stops_says_what_is_done_and_what_is_not(library: Library) -> None:
    spaces = ["ns", "ns2", "ns3"]
    for space in spaces[1:]:
        cluster = make(rules.CLUSTER, "e", namespace=space, status=PROVISIONED)
        library.stage.source.put(make(NAMESPACES, space), cluster)
    refuse(library.stage.target, "POST", "/ns2/clusters")
    with pytest.raises(SeriesStoppedError, match="Moved: ns; stopped at ns2; ns3 not begun") as stopped:
        await api.move_each_async(HERE, THERE, spaces, ONLY.model_copy(update={"clusters": ()}))
    assert [report.namespace for report in stopped.value.reports] == ["ns"]


@pytest.mark.parametrize(
    ("spaces", "change", "error"),
    [
        (["ns", "ns"], {"clusters": ()}, "given twice"),
        (["ns", "ns2"], {}, "one namespace"),
        (["ns", "ns2"], {"clusters": (), "to_namespace": "new"}, "cannot become one"),
    ],
)
async def test_a_series_that_makes_no_sense_is_refused(
    library: Library, spaces: list[str], change: dict[str, object], error: str
) -> None:
    with pytest.raises(UsageError, match=error):
        await api.move_each_async(HERE, THERE, spaces, ONLY.model_copy(update=change))


async def test_a_directory_takes_no_single_clusters(library: Library, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="A directory holds whole namespaces"):
        await api.backup_async(HERE, tmp_path, ONLY)


RULES = Rules(clusters=frozenset({CLUSTER.key}))


def test_what_cannot_be_split_is_a_problem_with_a_way_out() -> None:
    pool = make(rules.IP_POOL, "p")
    claims = [
        make(rules.IP_CLAIM, one.key.name, owners=[one], spec={"pool": {"name": "p"}}) for one in (CLUSTER, OTHER)
    ]
    machine = make(rules.MACHINE, "m", owners=[CLUSTER, OTHER])
    found = check_split(make_plan(inventory(CLUSTER, OTHER, pool, *claims, machine), RULES))
    assert [(problem.check, problem.subject) for problem in found] == [
        ("split", "Machine ns/m"),
        ("split", "IPPool ns/p"),
    ]
    assert "Cluster ns/c, which moves, and to Cluster ns/d, which stays" in found[0].what
    assert "give each a IPPool of its own" in found[1].remedy


def test_what_is_kept_must_not_lose_its_last_owner() -> None:
    secret = make(SECRETS, "s", owners=[CLUSTER])
    user = make(rules.MACHINE, "n", owners=[OTHER], spec={"secretRef": {"name": "s"}})
    (found,) = check_left_dependents(make_plan(inventory(CLUSTER, OTHER, secret, user), RULES))
    assert found.subject == "Secret ns/s"
    assert "the garbage collector deletes it once Cluster c moved. Cluster ns/d, which stays, uses it" in found.what


async def test_a_sharing_that_began_after_the_preflight_stops_the_move(library: Library) -> None:
    """The staying Cluster's machine comes to name the moving one's CA while the source is paused."""
    clusters = library.stage.clusters()
    plan = await api.plan_async(HERE, ONLY)
    findings = await check_move(clusters.source, clusters.target, plan, ONLY)
    library.stage.source.change(OTHER_MACHINE, spec={"secretRef": {"name": "c-ca"}})
    with pytest.raises(StoppedError, match="Secret ns/c-ca of the source cluster came to be shared meanwhile"):
        await start(clusters, findings, ONLY, lambda _: None)
    assert library.stage.source.has(CLUSTER)
    assert not library.stage.target.has(CLUSTER)


async def test_what_staying_clusters_make_meanwhile_is_in_nobodys_way(library: Library) -> None:
    plan = await api.plan_async(HERE, ONLY)
    source = library.stage.source
    source.put(make(rules.MACHINE, "new", owners=[OTHER]))
    assert not (await source_drift(source.direct(), plan)).appeared
    labelled = make(rules.MACHINE, "ours", labels={rules.CLUSTER_NAME_LABEL: "c"})
    owned = make(rules.MACHINE, "owned", owners=[MACHINE])
    source.put(labelled, owned)
    appeared = (await source_drift(source.direct(), plan)).appeared
    assert [obj.key for obj in appeared] == [labelled.key, owned.key]


def test_a_body_forgets_owners_and_who_manages_them() -> None:
    managed: list[dict[str, Any]] = [
        {
            "manager": "m",
            "fieldsV1": {"f:metadata": {"f:ownerReferences": {".": {}, 'k:{"uid":"u"}': {}, 'k:{"uid":"v"}': {}}}},
        },
        {"manager": "n", "fieldsV1": {"f:data": {}}},
    ]
    body: dict[str, Any] = {
        "metadata": {"ownerReferences": [{"uid": "u"}, {"uid": "v"}], "managedFields": managed},
        "data": {"a": "b"},
    }
    left = without_owners(body, {"u"})
    assert left["metadata"]["ownerReferences"] == [{"uid": "v"}]
    references = left["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:ownerReferences"]
    assert references == {".": {}, 'k:{"uid":"v"}': {}}
    assert left["metadata"]["managedFields"][1] == managed[1]
    assert left["data"] == body["data"]
    assert len(body["metadata"]["ownerReferences"]) == 2


def test_owners_of_both_sides_are_joined_but_there_is_one_controller() -> None:
    ours: list[dict[str, Any]] = [{"uid": "a", "controller": True}]
    theirs: list[dict[str, Any]] = [{"uid": "a"}, {"uid": "b"}, {"uid": "c", "controller": True}]
    assert joined_owners(ours, theirs) == [{"uid": "a", "controller": True}, {"uid": "b"}]
    assert joined_owners([], theirs) == theirs


async def test_phases_are_recorded_under_the_scope(library: Library) -> None:
    await library.interrupt()
    (record,) = (await api.status_async(THERE)).readable
    assert record.phase is Phase.CREATING


async def test_a_shared_class_that_was_adopted_is_not_left_paused_by_a_rollback(library: Library) -> None:
    kind = make(rules.CLUSTER_CLASS, "k")
    for server in (library.stage.source, library.stage.target):
        server.put(crd(rules.CLUSTER_CLASS), kind)
    library.stage.target.put(make(NAMESPACES, "ns"))
    library.stage.source.change(CLUSTER, spec={"topology": {"class": "k"}})
    await library.interrupt(ONLY.model_copy(update={"existing": ExistingPolicy.ADOPT}))
    bodies = library.stage.target.bodies
    path = next(path for path in bodies if path.endswith(f"/ns/{kind.type.plural}/k"))
    assert rules.PAUSED_ANNOTATION in library.stage.target.bodies[path]["metadata"]["annotations"]
    await api.rollback_async(HERE, THERE, "ns")
    assert not library.stage.target.bodies[path]["metadata"].get("annotations")
    assert library.stage.target.has(kind)


@pytest.mark.parametrize(
    ("scope", "title", "flags"),
    [
        ("", "All namespaces: move abc", " --all-namespaces"),
        ("ns", "Namespace ns: move abc", " -n ns"),
        ("ns/c,d", "Clusters c, d of namespace ns: move abc", " -n ns --cluster c --cluster d"),
    ],
)
def test_the_status_names_what_moves_and_the_flags_to_go_on_with(scope: str, title: str, flags: str) -> None:
    side = Identity(uid="u", context="x")
    known = record(id="abc", phase=Phase.DELETING, scope=scope, source=side, target=side)
    first, *_, last = status_lines(Records((known,)))
    assert first.startswith(title)
    assert last.endswith(f"--to-kubeconfig-context x{flags}")


async def test_what_was_copied_and_came_to_belong_to_others_stops_a_resume_and_goes_with_the_rollback(
    library: Library,
) -> None:
    await library.interrupt(ONLY.model_copy(update={"all_hosts": True}))
    library.stage.source.change(HOST, metadata={"labels": {rules.CLUSTER_NAME_LABEL: "d"}})
    with pytest.raises(InterruptedMoveError, match="Secret ns/h-bmc was to move, but belongs to none"):
        await library.move(KEPT.model_copy(update={"all_hosts": True}))
    await api.rollback_async(HERE, THERE, "ns")
    assert library.stage.source.has(HOST)
    assert not library.stage.target.has(HOST)


@pytest.mark.parametrize("had", [BOTH, CA], ids=["used as it is", "adopted"])
async def test_a_rollback_leaves_what_the_target_had_though_its_original_has_changed_meanwhile(
    library: Library, had: Object
) -> None:
    """A Cluster that has moved before may use it there."""
    source, target = library.stage.source, library.stage.target
    found = make(SECRETS, had.key.name, metadata={"uid": "of-the-target"}, data=had.body()["data"])
    target.put(make(NAMESPACES, "ns"), found)
    meanwhile(target, "POST", "/machines", lambda: source.change(had, data={"a": "eQ=="}))

    def before(request: web.Request) -> None:
        if request.method == "GET" and request.path.endswith("/machines") and target.has(MACHINE):
            source.change(MACHINE, spec={"changed": len(source.log)})

    source.before = before
    with pytest.raises(RolledBackError, match="kept changing"):
        await library.move(ONLY.model_copy(update={"existing": ExistingPolicy.ADOPT}))
    assert not target.has(MACHINE)
    assert target.now(found).uid == "of-the-target"
    assert (target.now(found) == found) is (had is BOTH)


async def test_what_is_used_on_the_target_as_it_is_does_not_follow_its_original(library: Library) -> None:
    """Its original is not paused and may change at any time; that holds nothing up."""
    source, target = library.stage.source, library.stage.target
    found = make(SECRETS, "both", metadata={"uid": "of-the-target"}, data=BOTH.body()["data"])
    target.put(make(NAMESPACES, "ns"), found)

    def before(request: web.Request) -> None:
        if request.method == "GET" and request.path.endswith("/secrets") and target.has(MACHINE):
            source.change(BOTH, data={"a": str(len(source.log))})

    source.before = before
    await library.move()
    assert target.now(found) == found
    assert not source.has(MACHINE)
