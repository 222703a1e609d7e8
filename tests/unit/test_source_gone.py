"""Tests of a source that is gone for good after the commit: the target is resumed without it, and it comes back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from graph import rules
from mover import api, cli
from mover.api import blocking
from mover.choices import OnFailure
from mover.errors import MoverError, StoppedError, UsageError
from mover.execute.given_up import GivenUpError, NoteInWayError
from mover.execute.journal import list_records, read_record
from mover.execute.run import InterruptedMoveError
from mover.execute.source_gone import CopiesNotWholeError
from mover.kube import Cluster
from mover.kube.cluster import object_path
from mover.models import MoveOptions, Phase, RollingOptions
from mover.pivot.models import PivotOptions
from mover.pivot.run import pivot as run_pivot
from mover.record import RecordError, encode
from mover.shard import Shard
from tests.unit.fake_apiserver import FakeApiServer, Fuse, Killed
from tests.unit.graph_builders import NAMESPACE
from tests.unit.mover_builders import CLUSTER, HOST, MACHINE, SMALL, Stage, lets_connect, make, refuse, write_record
from tests.unit.test_record import record

HERE, THERE = api.ClusterRef(context="source"), api.ClusterRef(context="target")
NOTE = f"/api/v1/namespaces/capi-mover/configmaps/capi-mover.{NAMESPACE}"


class Scene:
    """Two clusters, and the programs that reach both of them or the target alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = Stage()
        self.is_source_there = True
        self.fuse: Fuse | None = None

        async def connect(name: str, _: object, context: str, __: object = None) -> Cluster:
            assert self.is_source_there or context == "target", "the source is gone"
            return (self.stage.source if context == "source" else self.stage.target).direct(self.fuse)

        lets_connect(monkeypatch, connect)

    @property
    def target(self) -> FakeApiServer:
        """Returns the target."""
        return self.stage.target

    async def die(self, *, method: str = "DELETE", ending: str = "/baremetalhosts/h") -> None:
        """Lets the move die at a request to the source, by default while it deletes the originals; the source goes."""
        refuse(self.stage.source if method == "DELETE" else self.target, method, ending)
        with pytest.raises(InterruptedMoveError):
            await api.move_async(HERE, THERE, self.options, self.stage.events.append)
        self.stage.source.before = self.target.before = lambda _: None
        self.is_source_there = False

    @property
    def options(self) -> MoveOptions:
        """Returns what is asked for."""
        return self.stage.options.model_copy(update={"on_failure": OnFailure.KEEP})

    async def give_up(self) -> Any:
        """Resumes the target without the source."""
        return await api.resume_source_gone_async(THERE, self.source, NAMESPACE, self.stage.events.append)

    @property
    def source(self) -> str:
        """Returns the context of the source."""
        return self.stage.source.direct().context

    def copies(self) -> Mapping[str, Any]:
        """Returns all that is on the target, as it is there."""
        return {path: body for path, body in self.target.bodies.items() if "/leases/" not in path}


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def paused(server: FakeApiServer) -> list[str]:
    """Returns the names of the Cluster and the host if they are paused there."""
    cluster = server.bodies[object_path(CLUSTER.type, CLUSTER.key)]
    host = server.bodies[object_path(HOST.type, HOST.key)]
    names = ["cluster"] if cluster["spec"].get("paused") else []
    return [*names, *(["host"] if rules.HOST_PAUSED_ANNOTATION in host["metadata"].get("annotations", {}) else [])]


async def test_a_whole_target_is_resumed_without_its_source_and_keeps_a_note(scene: Scene) -> None:
    await scene.die()
    assert paused(scene.target) == ["cluster", "host"]
    report = await scene.give_up()
    assert paused(scene.target) == []
    assert (report.source, report.verified) == (scene.source, len(SMALL))
    note = await read_record(scene.target.direct(), NAMESPACE)
    assert note is not None
    assert (note.phase, note.source.uid, bool(note.source_gone)) == (Phase.DONE, "source-cluster", True)
    with pytest.raises(StoppedError, match=r"was given up on .* and the target resumed already"):
        await scene.give_up()


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("number", range(12))
async def test_giving_up_that_was_killed_is_finished_and_the_note_comes_before_the_first_resume(
    scene: Scene, number: int, answered: bool
) -> None:
    await scene.die()
    scene.fuse = Fuse(number, answered=answered)
    try:
        await scene.give_up()
    except Killed:
        found = await read_record(scene.target.direct(), NAMESPACE)
        assert found is not None
        assert found.source_gone or paused(scene.target) == ["cluster", "host"]
    scene.fuse = None
    scene.stage.drop_leases()
    with suppress(StoppedError):
        # Unless it was killed after its last write of the record.
        await scene.give_up()
    assert paused(scene.target) == []
    found = await read_record(scene.target.direct(), NAMESPACE)
    assert found is not None
    assert found.is_note


@pytest.mark.parametrize("change", ["missing", "not the copy that was recorded"])
async def test_a_target_that_is_not_whole_is_not_resumed(scene: Scene, change: str) -> None:
    await scene.die()
    path = object_path(MACHINE.type, MACHINE.key)
    if change == "missing":
        del scene.target.bodies[path]
    else:
        scene.target.change(MACHINE, spec={"providerID": "y"})
    before = dict(scene.copies())
    with pytest.raises(CopiesNotWholeError, match=f"Machine ns/m is {change}"):
        await scene.give_up()
    assert scene.copies() == before


async def test_before_the_commit_a_target_is_not_resumed_without_its_source(scene: Scene) -> None:
    await scene.die(method="POST", ending="/machines")
    before = dict(scene.copies())
    with pytest.raises(StoppedError, match="before its commit: the copies on the target may be incomplete"):
        await scene.give_up()
    assert scene.copies() == before


async def test_another_source_than_that_of_the_move_is_not_given_up(scene: Scene) -> None:
    await scene.die()
    before = dict(scene.copies())
    with pytest.raises(UsageError, match="and prod was confirmed"):
        await api.resume_source_gone_async(THERE, "prod", NAMESPACE)
    scene.is_source_there = True
    with pytest.raises(UsageError, match="has another target cluster"):
        await api.resume_source_gone_async(HERE, scene.source, NAMESPACE)
    with pytest.raises(UsageError, match="no record of a move of namespace other"):
        await api.resume_source_gone_async(THERE, scene.source, "other")
    assert scene.copies() == before


async def _move(options: MoveOptions) -> None:
    await api.move_async(HERE, THERE, options)


async def _preflight(options: MoveOptions) -> None:
    await api.preflight_async(HERE, THERE, options)


async def _roll(options: MoveOptions) -> None:
    await api.roll_async(HERE, THERE, options, RollingOptions())


async def _shard(options: MoveOptions) -> None:
    await api.move_shard_async(HERE, THERE, api.ShardMove(Shard(0, 1), options.model_copy(update={"namespace": None})))


async def _resume(_: MoveOptions) -> None:
    await api.resume_async(HERE, THERE, NAMESPACE)


async def _rollback(_: MoveOptions) -> None:
    await api.rollback_async(HERE, THERE, NAMESPACE)


async def _pivot(options: MoveOptions) -> None:
    await run_pivot(HERE, THERE, PivotOptions(move=options))


async def _dry_run(options: MoveOptions) -> None:
    await api.dry_run_async(HERE, THERE, [options])


@pytest.mark.parametrize("command", [_move, _preflight, _roll, _shard, _resume, _rollback, _pivot, _dry_run])
async def test_nothing_works_with_a_source_that_was_given_up(scene: Scene, command: Any) -> None:
    await scene.die()
    await scene.give_up()
    scene.is_source_there = True
    before = scene.stage.everything()
    text = rf"The source cluster {re.escape(scene.source)} was given up on 20.* capi-mover retire -n {NAMESPACE}"
    with pytest.raises(GivenUpError, match="was given up") as found:
        await command(scene.options)
    assert re.search(text, found.value.paragraph(), re.DOTALL)
    assert {path: body for path, body in scene.stage.everything().items() if "/leases/" not in path} == {
        path: body for path, body in before.items() if "/leases/" not in path
    }


async def test_a_source_that_is_back_from_before_the_commit_does_not_undo_the_move(scene: Scene) -> None:
    await scene.die()
    old = await read_record(scene.stage.source.direct(), NAMESPACE)
    assert old is not None
    await scene.give_up()
    restored = old.model_copy(update={"phase": Phase.CREATING, "moving": ()})
    write_record(scene.stage.source, encode(restored))
    scene.stage.drop_leases()
    before = dict(scene.copies())
    with pytest.raises(GivenUpError):
        await scene.stage.undo_recorded_on_the_source()
    with pytest.raises(GivenUpError):
        await scene.stage.go_on()
    assert {path: body for path, body in scene.copies().items() if path in before} == before


async def test_another_cluster_moves_other_namespaces_there_but_needs_the_place_of_the_note(scene: Scene) -> None:
    await scene.die()
    await scene.give_up()
    scene.is_source_there = True
    scene.stage.source.bodies["/api/v1/namespaces/kube-system"]["metadata"]["uid"] = "another"
    with pytest.raises(NoteInWayError, match="in the place where the record of a move of namespace ns goes"):
        await api.move_async(HERE, THERE, scene.options)
    with pytest.raises(MoverError, match=r"[Nn]othing|no namespace") as found:
        await api.move_async(HERE, THERE, scene.options.model_copy(update={"namespace": "other"}))
    assert not isinstance(found.value, GivenUpError | NoteInWayError)
    done = await api.retire_destroyed_async(THERE, NAMESPACE)
    assert done.removed == 0
    assert (await list_records(scene.target.direct())).readable == ()


async def test_a_source_that_has_come_back_is_retired(scene: Scene) -> None:
    await scene.die()
    await scene.give_up()
    copies = {path: body for path, body in scene.copies().items() if path != NOTE}
    scene.is_source_there = True
    left = [obj for obj in SMALL if object_path(obj.type, obj.key) in scene.stage.source.bodies]
    assert left
    done = await api.retire_async(HERE, THERE, NAMESPACE)
    assert done.removed == len(left)
    assert not [obj for obj in SMALL if object_path(obj.type, obj.key) in scene.stage.source.bodies]
    for server in (scene.stage.source, scene.target):
        assert (await list_records(server.direct())).readable == ()
    for obj in SMALL:
        path = object_path(obj.type, obj.key)
        assert scene.target.bodies[path] == copies[path]
    with pytest.raises(UsageError, match="no record of a move"):
        await api.retire_async(HERE, THERE, NAMESPACE)


@pytest.mark.parametrize("number", range(12))
async def test_retiring_that_was_killed_is_finished(scene: Scene, number: int) -> None:
    await scene.die()
    await scene.give_up()
    scene.is_source_there = True
    scene.fuse = Fuse(number)
    try:
        await api.retire_async(HERE, THERE, NAMESPACE)
    except Killed:
        scene.fuse = None
        scene.stage.drop_leases()
        with suppress(UsageError):
            # Unless it was killed after the note was gone.
            await api.retire_async(HERE, THERE, NAMESPACE)
    assert not [obj for obj in SMALL if object_path(obj.type, obj.key) in scene.stage.source.bodies]
    assert (await list_records(scene.target.direct())).readable == ()


async def test_an_original_without_a_copy_or_that_nobody_knows_of_is_not_deleted(scene: Scene) -> None:
    await scene.die()
    await scene.give_up()
    scene.is_source_there = True
    left = next(obj for obj in SMALL if object_path(obj.type, obj.key) in scene.stage.source.bodies)
    path = object_path(left.type, left.key)
    copy = scene.target.bodies.pop(path)
    before = dict(scene.stage.source.bodies)
    with pytest.raises(StoppedError, match="has no copy on the target any more"):
        await api.retire_async(HERE, THERE, NAMESPACE)
    scene.target.bodies[path] = copy
    new = make(rules.MACHINE, "new", owners=[left])
    scene.stage.source.put(new)
    with pytest.raises(StoppedError, match="Machine ns/new on the source was not there when it was given up"):
        await api.retire_async(HERE, THERE, NAMESPACE)
    del scene.stage.source.bodies[object_path(new.type, new.key)]
    assert set(scene.stage.source.bodies) - set(before) == set()
    assert set(before) - set(scene.stage.source.bodies) == set()


async def test_a_move_that_is_under_way_is_not_retired(scene: Scene) -> None:
    await scene.die()
    scene.is_source_there = True
    with pytest.raises(StoppedError, match=r"is under way \(phase deleting\)"):
        await api.retire_async(HERE, THERE, NAMESPACE)
    with pytest.raises(StoppedError, match=r"is under way \(phase deleting\)"):
        await api.retire_destroyed_async(THERE, NAMESPACE)


@pytest.mark.parametrize(
    ("phase", "when", "why"),
    [
        (Phase.DONE, "", "nothing is recorded of such a move"),
        (Phase.DONE, "yesterday", "source_gone"),
        (Phase.DELETING, "2026-01-01T00:00:00+00:00", "its source was given up, and it is in the phase deleting"),
    ],
)
async def test_a_note_with_a_wrong_field_is_refused_as_any_damaged_record(phase: Phase, when: str, why: str) -> None:
    stage = Stage()
    write_record(stage.target, encode(record().model_copy(update={"phase": phase, "source_gone": when})))
    with pytest.raises(RecordError, match=why):
        await read_record(stage.target.direct(), NAMESPACE)
    found = await list_records(stage.target.direct())
    assert (found.readable, len(found.unreadable)) == ((), 1)


def run(*words: str, typed: str = "") -> Result:
    """Runs the command line."""
    return CliRunner().invoke(cli.app, list(words), input=typed)


def given_up(scene: Scene, *words: str, typed: str = "") -> Result:
    """Runs the command that gives the source up."""
    return run("resume", "--source-gone", "--to-kubeconfig-context", "target", "-n", NAMESPACE, *words, typed=typed)


def test_giving_up_is_confirmed_on_a_terminal_or_by_a_flag(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    blocking.run(scene.die())
    result = given_up(scene)
    assert (result.exit_code, "confirm with --confirm-source-gone CONTEXT" in result.stderr) == (2, True)
    monkeypatch.setattr("mover.cli.interrupted.is_interactive", lambda: True)
    result = given_up(scene, typed="prod\n")
    assert (result.exit_code, "and prod was confirmed" in result.stderr) == (2, True)
    assert paused(scene.target) == ["cluster", "host"]
    result = given_up(scene, typed=f"{scene.source}\n")
    assert result.exit_code == 0, result.output
    assert "copies are there as recorded, and resumed" in result.stdout
    assert paused(scene.target) == []
    result = run("status", "--kubeconfig-context", "target")
    assert f"the source {scene.source} was given up on" in result.stdout
    assert "next: when it has come back, capi-mover retire" in result.stdout
    scene.is_source_there = True
    result = run("retire", "--kubeconfig-context", "source", "--to-kubeconfig-context", "target", "-n", NAMESPACE)
    assert result.exit_code == 0, result.output
    assert "the note is gone" in result.stdout


def test_the_flag_confirms_without_a_terminal(scene: Scene) -> None:
    blocking.run(scene.die())
    result = given_up(scene, "--confirm-source-gone", scene.source)
    assert result.exit_code == 0, result.output
    result = run("retire", "--source-destroyed", "--to-kubeconfig-context", "target", "-n", NAMESPACE)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("resume", "--source-gone"), "Please name what was moved"),
        (("resume", "--source-gone", "-n", "a", "--kubeconfig", "k"), "The source is not asked"),
        (("resume", "-n", "a", "--confirm-source-gone", "x"), "goes with --source-gone alone"),
        (("retire", "--source-destroyed"), "Please name what was moved"),
    ],
)
def test_what_does_not_go_together_is_refused(words: tuple[str, ...], why: str) -> None:
    result = run(*words)
    assert (result.exit_code, why in result.stderr) == (2, True)
