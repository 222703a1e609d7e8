"""Dry runs write nothing, whatever they are combined with, and refuse what the real command would refuse."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from aiohttp import web
from typer.testing import CliRunner, Result

from graph import rules
from mover import api, cli
from mover.api import blocking
from mover.discovery import NAMESPACES
from mover.kube import Cluster
from mover.models import MoveOptions
from mover.shard import Shard
from tests.unit.directory_builders import age_key
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.graph_builders import NAMESPACE
from tests.unit.mover_builders import CLUSTER, HOST, MACHINE, Stage, lets_connect, make, refuse
from tests.unit.scripted_server import Reply, failure
from tests.unit.test_pivot_run import BMO, IRONIC, deploys

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
FORMS: dict[str, Sequence[tuple[str, ...]]] = {
    "move": [
        ("-n", NAMESPACE),
        ("-n", NAMESPACE, "-n", "other"),
        ("-A",),
        ("-A", "--shard", "0/1"),
        ("-n", NAMESPACE, "--rolling"),
        ("-A", "--shard", "0/1", "--rolling"),
        ("-n", NAMESPACE, "--cluster", "c"),
        ("--plan", "saved.plan"),
        ("-n", NAMESPACE, "--to-directory", "new"),
        ("--from-directory", "old"),
    ],
    "backup": [("new", "-n", NAMESPACE)],
    "restore": [("old", "--to-kubeconfig", "target")],
    "pivot": [("-n", NAMESPACE, "--to-kubeconfig", "target"), ("-n", NAMESPACE, "--to-kubeconfig", "target", "--back")],
}
"""The forms of each command that has a dry run; everything else is added to them."""

VALUES = {
    "--kubeconfig": "source",
    "--kubeconfig-context": "x",
    "--to-kubeconfig": "target",
    "--to-kubeconfig-context": "y",
    "--namespace": NAMESPACE,
    "--shard": "0/1",
    "--cluster": "c",
    "--selector": "a=b",
    "--hosts": "a=b",
    "--plan": "saved.plan",
    "--to-directory": "new",
    "--from-directory": "old",
    "--paused": "keep",
    "--to-namespace": "elsewhere",
    "--records-namespace": "moves",
    "--restore-status": "metal3",
    "--on-failure": "keep",
    "--timeout": "60",
    "--wait-hosts": "1",
    "--skip": "rollout",
    "--parallel-units": "3",
    "--order-by": "size",
    "--pause-timeout": "1",
    "--max-requests": "4",
    "--hide-api-warnings": "all",
    "--v": "1",
    "--output": "json",
    "--log-format": "json",
    "--metrics-file": "metrics",
    "--report": "report.html",
    "--encrypt-to": RECIPIENT,
    "--identity": "key",
    "--ironic": "baremetal-operator-system/ironic",
    "--operator": "baremetal-operator-system/baremetal-operator-controller-manager",
    "--ironic-operator": "a/b",
    "--stable": "0",
    "--step-timeout": "5",
}
"""A value for each option that takes one; a new option needs one here, too."""


def commands() -> dict[str, Any]:
    """Returns the commands by name."""
    return dict(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]


def options_of(command: str) -> list[tuple[str, ...]]:
    """Returns all options of a command as words, each with its value if it takes one."""
    found: list[tuple[str, ...]] = []
    for option in commands()[command].params:
        flag = next((name for name in option.opts if name.startswith("--")), None)
        if flag is None or flag == "--dry-run":
            continue
        value = "stable" if (command, flag) == ("pivot", "--skip") else "" if option.is_flag else VALUES[flag]
        found.append((flag,) if option.is_flag else (flag, value))
    return found


class Sealed:
    """Two clusters of which every write is refused, and a folder with a saved plan and a backup.

    Attributes:
        stage: The clusters.
        folder: The working directory; temporary files are in it, too.
        written: The writes that were tried.
    """

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage, self.folder = stage, folder
        self.written: list[str] = []
        for server in (stage.source, stage.target):
            server.before = self._refusing(server, server.before)

    def _refusing(
        self, server: FakeApiServer, before: Callable[[web.Request], Reply | None]
    ) -> Callable[[web.Request], Reply | None]:
        def refused(request: web.Request) -> Reply | None:
            if request.method != "GET" and "/authorization.k8s.io/" not in request.path:
                self.written.append(f"{server.name}: {request.method} {request.path}")
                return failure(403, "Forbidden")
            return before(request)

        return refused

    def files(self) -> dict[str, bytes]:
        """Returns all files with their contents, and all folders."""
        return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(self.folder.rglob("*"))}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    """Returns two clusters with Ironic and an operator, and a folder with a saved plan, a backup and an identity."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stage = Stage(make(NAMESPACES, "other"))
    for server in (stage.source, stage.target):
        server.put(IRONIC, BMO)
        server.bodies["/readyz"] = {}
        deploys(server)

    async def connect(name: str, *_: object) -> Cluster:
        return (stage.target if name == "target" else stage.source).direct()

    lets_connect(monkeypatch, connect)
    options = MoveOptions(namespace=NAMESPACE, quiet_s=0.0, pause_timeout_s=5)
    source = api.ClusterRef()
    blocking.plan(source, options, save_to=tmp_path / "saved.plan")
    blocking.backup(source, tmp_path / "old", options)
    age_key(tmp_path)
    return stage


@pytest.fixture
def sealed(stage: Stage, tmp_path: Path) -> Sealed:
    """Returns the clusters, of which every write is refused from now on."""
    return Sealed(stage, tmp_path)


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.app, words, env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def changes_nothing(sealed: Sealed, *words: str) -> Result:
    """Runs a command, and returns its result; nothing was written, and it ended as a dry run may."""
    before = sealed.files()
    result = run(*words)
    shown = f"{' '.join(words)}: {result.output}"
    assert sealed.written == [], shown
    assert sealed.files() == before, shown
    assert isinstance(result.exception, SystemExit | None), shown
    assert result.exit_code in (0, 2, 3), shown
    return result


def forms() -> Iterator[tuple[str, ...]]:
    """Yields the forms of all commands, those of a move with a target and without one where that is possible."""
    for command, known in FORMS.items():
        for form in known:
            if "--from-directory" not in form:
                yield (command, *form, "--dry-run")
            if command == "move" and "--to-directory" not in form:
                yield (command, *form, "--to-kubeconfig", "target", "--dry-run")


BASIC = [form for form in forms() if {"-A", "other", "--rolling", "--plan", "--cluster", "--back"}.isdisjoint(form)]
"""Forms with which every single flag is tried; the others are tried with flags in combinations."""


def test_each_command_that_writes_has_a_dry_run_or_refuses_the_flag_by_name(sealed: Sealed) -> None:
    for command in set(commands()) - set(FORMS):
        result = changes_nothing(sealed, command, "--dry-run")
        assert (result.exit_code, "--dry-run" in result.stderr) == (2, True), command


@pytest.mark.parametrize("form", BASIC, ids=" ".join)
def test_a_dry_run_writes_nothing_with_any_of_the_other_flags(sealed: Sealed, form: tuple[str, ...]) -> None:
    ended = [changes_nothing(sealed, *form, *option).exit_code for option in options_of(form[0])]
    assert ended.count(0) > len(ended) / 3


@pytest.mark.parametrize("form", list(forms()), ids=" ".join)
def test_a_dry_run_writes_nothing_with_flags_in_any_combination(sealed: Sealed, form: tuple[str, ...]) -> None:
    dice, known = random.Random(7), options_of(form[0])
    ended = [changes_nothing(sealed, *form).exit_code]
    for count in (2, 3, 5, 8):
        words = [word for option in dice.sample(known, min(count, len(known))) for word in option]
        ended.append(changes_nothing(sealed, *form, *words).exit_code)
    assert ended[0] == 0


@pytest.mark.parametrize("flag", ["--metrics-file", "--report"])
@pytest.mark.parametrize("command", FORMS)
def test_a_file_that_tells_of_what_was_done_is_refused_by_name(sealed: Sealed, command: str, flag: str) -> None:
    if not any(flag in option.opts for option in commands()[command].params):
        return
    form = next(form for form in forms() if form[0] == command)
    result = changes_nothing(sealed, *form, flag, "file")
    assert result.exit_code == 2
    assert f"Please specify only one of {flag} and --dry-run" in result.stderr


def paused(stage: Stage) -> None:
    """Somebody has paused the Cluster."""
    stage.source.change(CLUSTER, spec={"paused": True})


def in_transition(stage: Stage) -> None:
    """A host is about to be inspected."""
    stage.source.change(HOST, status={"provisioning": {"state": "inspecting"}})


def unprovisioned(stage: Stage) -> None:
    """A Machine has no node yet."""
    stage.source.change(MACHINE, status={"nodeRef": None})


def taken(stage: Stage) -> None:
    """The target has a Machine of that name, which is not equal."""
    stage.target.put(make(rules.MACHINE, MACHINE.key.name, metadata={"uid": "theirs"}, spec={"other": 1}))


def foreign(stage: Stage) -> None:
    """A file in the directory of the backup is in no manifest."""
    del stage
    Path("old", "more.yaml").write_text("{}")


def occupied(stage: Stage) -> None:
    """The directory of the backup is not empty."""
    del stage
    Path("new").mkdir()
    Path("new", "file").write_text("here")


def refusing_policy(stage: Stage) -> None:
    """A policy of the target takes no Machine."""

    def refuse(request: web.Request) -> Reply | None:
        return failure(403, "Forbidden") if request.method == "POST" and request.path.endswith("/machines") else None

    stage.target.rehearsing = refuse


MOVES = [form for form in FORMS["move"] if not {"--to-directory", "--from-directory", "other"} & set(form)]
SAVES = [("move", "--to-directory", "new", "-n", NAMESPACE), ("backup", "new", "-n", NAMESPACE)]
LOADS = [("move", "--from-directory", "old", "--to-kubeconfig", "target"), ("restore", "old")]


@pytest.mark.parametrize("form", MOVES, ids=" ".join)
@pytest.mark.parametrize("wrong", [paused, unprovisioned])
@pytest.mark.parametrize("target", [("--to-kubeconfig", "target"), ()], ids=["target", "alone"])
def test_a_dry_run_of_a_move_ends_with_the_refusal_of_the_move(
    stage: Stage, form: tuple[str, ...], wrong: Callable[[Stage], None], target: tuple[str, ...]
) -> None:
    wrong(stage)
    dry = run("move", *form, *target, "--dry-run")
    real = run("move", *form, "--to-kubeconfig", "target")
    assert (real.exit_code, dry.exit_code) == (3, 3), dry.output
    assert dry.stderr.splitlines()[1] in real.stderr


@pytest.mark.parametrize("form", MOVES, ids=" ".join)
@pytest.mark.parametrize("wrong", [taken, refusing_policy])
def test_what_the_target_says_against_a_move_is_found_by_its_dry_run(
    stage: Stage, form: tuple[str, ...], wrong: Callable[[Stage], None]
) -> None:
    wrong(stage)
    dry = run("move", *form, "--to-kubeconfig", "target", "--dry-run")
    real = run("move", *form, "--to-kubeconfig", "target")
    assert (real.exit_code, dry.exit_code) == (3, 3), dry.output
    assert dry.stderr == real.stderr


@pytest.mark.parametrize("form", SAVES, ids=" ".join)
@pytest.mark.parametrize(("wrong", "exit_code"), [(unprovisioned, 3), (in_transition, 3), (paused, 3), (occupied, 2)])
def test_a_dry_run_of_a_backup_ends_with_the_refusal_of_the_backup(
    stage: Stage, form: tuple[str, ...], wrong: Callable[[Stage], None], exit_code: int
) -> None:
    wrong(stage)
    dry, real = run(*form, "--dry-run"), run(*form)
    assert (real.exit_code, dry.exit_code) == (exit_code, exit_code), dry.output
    assert dry.stderr == real.stderr


@pytest.mark.parametrize("form", LOADS, ids=" ".join)
def test_a_dry_run_of_a_restore_ends_with_the_refusal_of_the_restore(stage: Stage, form: tuple[str, ...]) -> None:
    foreign(stage)
    dry, real = run(*form, "--dry-run"), run(*form)
    assert (real.exit_code, dry.exit_code) == (3, 3), dry.output
    assert dry.stderr == real.stderr


@pytest.mark.parametrize("form", LOADS, ids=" ".join)
def test_a_dry_run_of_a_restore_tells_what_is_there_and_what_would_be_refused(
    sealed: Sealed, form: tuple[str, ...]
) -> None:
    taken(sealed.stage)
    result = changes_nothing(sealed, *form, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "1 objects are there already and would be left as they are:\n  Machine ns/m" in result.stdout
    assert "The namespace ns would be created." in result.stdout
    sealed.stage.target.bodies.popitem()
    refusing_policy(sealed.stage)
    result = changes_nothing(sealed, *form, "--dry-run")
    assert result.exit_code == 3
    assert "Machine ns/m: the server would refuse this" in result.stderr


def test_a_dry_run_tells_of_the_interrupted_move_that_would_be_finished_first(stage: Stage, tmp_path: Path) -> None:
    move = ("move", "-n", NAMESPACE, "--to-kubeconfig", "target")
    refuse(stage.source, "DELETE", f"/machines/{MACHINE.key.name}")
    assert run(*move).exit_code == 4
    sealed = Sealed(stage, tmp_path)
    result = changes_nothing(sealed, *move, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "was interrupted in the phase deleting; it would be finished first" in result.stdout
    assert (
        json.loads(changes_nothing(sealed, *move, "--dry-run", "-o", "json").stdout)["first"][0]["scope"] == NAMESPACE
    )
    assert changes_nothing(sealed, "move", "-n", NAMESPACE, "--dry-run").exit_code == 3


async def test_the_dry_run_of_a_shard_tells_its_namespaces(sealed: Sealed) -> None:
    found = await api.dry_shard_async(api.ClusterRef(), api.ClusterRef(), api.ShardMove(Shard(0, 1)))
    assert found[0] == (NAMESPACE,)
    assert [one.findings.problems for one in found[1]] == [()]
    assert sealed.written == []


@pytest.mark.parametrize("flags", [(), ("--to-kubeconfig", "target")])
def test_the_dry_run_of_a_series_refuses_what_is_of_one_namespace(sealed: Sealed, flags: tuple[str, ...]) -> None:
    words = ("move", "-n", NAMESPACE, "-n", "other", "--dry-run", "--to-namespace", "x", *flags)
    assert "cannot become one" in changes_nothing(sealed, *words).stderr
