"""Tests of the library's coroutines between two small management clusters."""

from __future__ import annotations

from pathlib import Path

import pytest

from mover import api
from mover.api import ClusterRef
from mover.choices import OnFailure
from mover.errors import RefusedError, UsageError
from mover.events import Noted, Traffic
from mover.execute.journal import Records
from mover.execute.run import InterruptedMoveError
from mover.kube import Cluster
from mover.models import MoveOptions, MoveReport, Phase
from tests.unit.fake_apiserver import Fuse, Killed
from tests.unit.mover_builders import CLUSTER, MACHINE, SMALL, Stage, lets_connect, make, refuse

HERE, THERE = ClusterRef(Path("source")), ClusterRef(Path("target"))


class Library:
    """The library, connected to a stage; the name of the kubeconfig says to which of its clusters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = Stage()
        self.namespace = "ns"
        self.opened: list[Cluster] = []
        lets_connect(monkeypatch, self.connect)

    async def connect(self, name: str, kubeconfig: Path | None, context: str | None, _most: int | None) -> Cluster:
        """Returns the cluster of that name."""
        assert (name, context) in (("source", None), ("target", None))
        assert str(kubeconfig) in ("source", "target")
        server = self.stage.source if str(kubeconfig) == "source" else self.stage.target
        cluster = server.direct()
        cluster.default_namespace = self.namespace
        self.opened.append(cluster)
        return cluster

    async def move(self, options: MoveOptions | None = None) -> MoveReport:
        """Moves from one to the other."""
        return await api.move_async(HERE, THERE, options or self.stage.options, self.stage.events.append)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    return Library(monkeypatch)


async def test_a_move_reports_what_it_did(library: Library) -> None:
    report = await library.move()
    counts = {entry.kind: entry.count for entry in report.moved}
    assert sum(counts.values()) == len(SMALL) == report.verified
    assert (report.source, report.target, report.namespace) == ("source-ctx", "target-ctx", "ns")
    assert [left.object for left in report.left] == ["Secret ns/loose"]
    assert set(report.seconds) > {Phase.PREFLIGHT, Phase.CREATING, Phase.DELETING}
    assert report.calls["GET"] > 0
    assert sum(report.calls.values()) == len(library.stage.source.log) + len(library.stage.target.log)


async def test_the_calls_of_each_cluster_are_told_at_the_end_of_a_move_and_of_one_that_fails(library: Library) -> None:
    report = await library.move()
    told = [event for event in library.stage.events if isinstance(event, Traffic)]
    assert sorted(event.cluster for event in told) == ["source", "target"]
    logs = {"source": library.stage.source.log, "target": library.stage.target.log}
    for event in told:
        assert sum(event.calls.values()) == len(logs[event.cluster])
    assert sum(told[0].calls.values()) + sum(told[1].calls.values()) == sum(report.calls.values())
    library.stage.events.clear()
    with pytest.raises(UsageError):
        await library.move(MoveOptions(namespace="nowhere"))
    assert [event.cluster for event in library.stage.events if isinstance(event, Traffic)] == ["target", "source"]


async def test_a_plan_reads_only(library: Library) -> None:
    plan = await api.plan_async(HERE)
    assert [obj.key for obj in plan.selection.moved] == sorted(obj.key for obj in SMALL)
    assert library.stage.source.writes() == []


async def test_without_a_namespace_the_contexts_one_is_moved_else_default(library: Library) -> None:
    options = library.stage.options.model_copy(update={"namespace": None})
    library.namespace = ""
    assert (await api.plan_async(HERE)).inventory.namespace == "default"
    library.namespace = "ns"
    assert (await library.move(options)).namespace == "ns"


async def test_a_namespace_that_is_not_there_is_a_usage_error(library: Library) -> None:
    with pytest.raises(UsageError, match='no namespace "nowhere"'):
        await api.plan_async(HERE, MoveOptions(namespace="nowhere"))


@pytest.fixture
async def saved(library: Library, tmp_path: Path) -> Path:
    """Returns the file of a plan of the stage as it is."""
    await api.plan_async(HERE, save_to=tmp_path / "plan")
    return tmp_path / "plan"


async def test_an_unchanged_source_is_moved_by_its_plan(library: Library, saved: Path) -> None:
    library.stage.source.change(MACHINE, status={"nodeRef": {"name": "another"}})
    options = library.stage.options.model_copy(update={"namespace": None})
    report = await api.move_async(HERE, THERE, options, plan_file=saved)
    assert (report.namespace, report.verified) == ("ns", len(SMALL))


async def test_a_changed_source_is_refused_beside_all_other_problems_and_nothing_is_changed(
    library: Library, saved: Path
) -> None:
    library.stage.source.change(MACHINE, spec={"providerID": "y"}, status={"nodeRef": None})
    with pytest.raises(RefusedError) as caught:
        await api.move_async(HERE, THERE, library.stage.options, plan_file=saved)
    assert [(problem.check, problem.subject) for problem in caught.value.problems] == [
        ("plan", str(MACHINE.key)),
        ("provisioned", str(MACHINE.key)),
    ]
    with pytest.raises(RefusedError, match="changed since the plan was saved: spec"):
        await api.plan_async(HERE, plan_file=saved)
    assert library.stage.source.writes() == library.stage.target.writes() == []


async def test_a_plan_of_another_cluster_or_none_at_all_is_a_usage_error(library: Library, saved: Path) -> None:
    with pytest.raises(UsageError, match="another cluster"):
        await api.move_async(THERE, HERE, library.stage.options, plan_file=saved)
    with pytest.raises(UsageError, match="another cluster"):
        await api.plan_async(THERE, plan_file=saved)
    with pytest.raises(UsageError, match="No such file or directory"):
        await api.move_async(HERE, THERE, library.stage.options, plan_file=saved.with_name("nowhere"))


async def test_a_move_that_was_begun_by_a_plan_is_finished_by_the_same_command_only(
    library: Library, saved: Path
) -> None:
    refuse(library.stage.target, "POST", "/machines")
    options = library.stage.options.model_copy(update={"on_failure": OnFailure.KEEP})
    with pytest.raises(InterruptedMoveError):
        await api.move_async(HERE, THERE, options, plan_file=saved)
    library.stage.target.before = lambda _: None
    other = saved.with_name("other")
    await api.plan_async(HERE, save_to=other)
    with pytest.raises(UsageError, match="was not begun by this plan"):
        await api.move_async(HERE, THERE, options, plan_file=other)
    report = await api.move_async(HERE, THERE, options, plan_file=saved)
    assert report.verified == len(SMALL)


async def test_an_explanation_is_of_the_object_that_is_named(library: Library) -> None:
    why = await api.explain_async(HERE, "machine/m", MoveOptions(namespace="ns"))
    assert why.obj.key == MACHINE.key
    assert library.stage.source.writes() == []


async def test_a_refused_move_changes_nothing(library: Library) -> None:
    library.stage.source.change(MACHINE, status={"nodeRef": None})
    with pytest.raises(RefusedError, match="its node is still being provisioned"):
        await library.move()
    assert library.stage.source.writes() == library.stage.target.writes() == []


def kept(library: Library) -> MoveOptions:
    """Returns the options of a move that is left as it is when it fails."""
    return library.stage.options.model_copy(update={"on_failure": OnFailure.KEEP})


async def interrupt(library: Library) -> None:
    refuse(library.stage.target, "POST", "/machines")
    with pytest.raises(InterruptedMoveError):
        await library.move(kept(library))
    library.stage.target.before = lambda _: None


async def test_a_move_that_was_interrupted_is_finished_by_moving_again(library: Library) -> None:
    await interrupt(library)
    report = await library.move(kept(library))
    assert report.verified == len(SMALL)
    assert library.stage.target.has(MACHINE)
    assert not library.stage.source.has(CLUSTER)
    notes = [event.text for event in library.stage.events if isinstance(event, Noted)]
    assert any("was interrupted in the phase creating; it is finished now" in note for note in notes)


async def test_an_interrupted_move_is_finished_by_resume(library: Library) -> None:
    await interrupt(library)
    report = await api.resume_async(HERE, THERE, "ns")
    assert report.namespace == "ns"
    assert library.stage.target.has(MACHINE)
    assert await api.status_async(HERE) == Records()


async def test_an_interrupted_move_is_undone_by_rollback(library: Library) -> None:
    was = Stage().everything()
    await interrupt(library)
    await api.rollback_async(HERE, THERE)
    assert library.stage.everything() == was


async def test_an_interrupted_rollback_is_finished_before_a_move_begins(library: Library) -> None:
    await interrupt(library)
    with pytest.raises(Killed):
        await library.stage.undo(Fuse(8))
    library.stage.drop_leases()
    found = await library.stage.record()
    assert found is not None
    assert found.is_rolling_back
    report = await library.move(kept(library))
    notes = [event.text for event in library.stage.events if isinstance(event, Noted)]
    assert any("A rollback of the move" in note for note in notes)
    assert report.verified == len(SMALL)
    assert not library.stage.source.has(CLUSTER)


@pytest.mark.parametrize("namespace", ["ns", ""])
async def test_without_a_record_there_is_nothing_to_resume_or_undo(library: Library, namespace: str) -> None:
    what = "namespace ns" if namespace else "all namespaces"
    for act in (api.resume_async, api.rollback_async):
        with pytest.raises(UsageError, match=f"No move of {what} is under way"):
            await act(HERE, THERE, namespace)


async def test_the_status_of_either_cluster_shows_the_move(library: Library) -> None:
    await interrupt(library)
    one, other = await api.status_async(HERE), await api.status_async(THERE)
    assert one == other
    assert [(record.scope, record.phase) for record in one.readable] == [("ns", Phase.CREATING)]


async def test_clusters_that_differ_are_told_apart_by_object(library: Library) -> None:
    found = await api.diff_async(HERE, HERE)
    assert found == []
    library.stage.target.put(make(CLUSTER.type, "c", spec={"n": 2}))
    library.stage.target.bodies["/api/v1/namespaces/ns"] = library.stage.source.bodies["/api/v1/namespaces/ns"]
    subjects = {difference.subject for difference in await api.diff_async(HERE, THERE)}
    assert {"Cluster ns/c", "Machine ns/m", "Secret ns/c-ca"} <= subjects


def test_a_place_is_a_kubeconfig_with_or_without_a_context(tmp_path: Path) -> None:
    odd = tmp_path / "a@b"
    odd.touch()
    assert api.place_of("k") == ClusterRef(Path("k"))
    assert api.place_of("k@user@cluster") == ClusterRef(Path("k"), "user@cluster")
    assert api.place_of(str(odd)) == ClusterRef(odd)


async def test_what_the_move_records_is_not_told_as_left_behind(library: Library) -> None:
    """All namespaces are moved, and the record is in one of them."""
    report = await library.move(library.stage.options.model_copy(update={"namespace": ""}))
    assert [left.object for left in report.left if "capi-mover" in left.object] == []
