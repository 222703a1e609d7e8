"""Tests of the command line: flags, exit codes, and errors without tracebacks."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from graph.explain import Explanation, explain
from graph.resource import ResourceType
from mover import api, cli
from mover.checks import Findings
from mover.choices import ExistingPolicy, PausedPolicy, RestoreStatus, UnitOrder
from mover.cli.terminal import new_view
from mover.directory import new_manifest
from mover.errors import Call, ForbiddenError, Problem, RefusedError
from mover.events import Listener, Noted
from mover.execute.backup import BackupResult
from mover.execute.restore import RestoreResult
from mover.models import KindCount, MoveOptions, MoveReport, Phase, RollingOptions, RollingReport, UnitFate, UnitReport
from mover.planning import Plan
from mover.shard import Shard
from tests.unit.mover_builders import make, plan_of, typed

MISSING = "/nowhere/kubeconfig"


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keeps kubeconfigs out of the tests."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def refusal(result: Result, exit_code: int = 2) -> str:
    """Returns the error, which is one line on stderr, with no traceback."""
    assert result.exit_code == exit_code, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--to-directory", "d", "--to-kubeconfig", "k"), "--to-directory and --to-kubeconfig"),
        (("--from-directory", "d", "--to-directory", "e"), "--from-directory and --to-directory"),
        (("--from-directory", "d", "--kubeconfig", "k"), "--from-directory and --kubeconfig"),
        (("--plan", "p", "--to-directory", "d"), "--plan and --to-directory"),
        (("--plan", "p", "--from-directory", "d", "--to-kubeconfig", "k"), "--plan and --from-directory"),
        (("--to-kubeconfig", "k", "--adopt", "--overwrite"), "--adopt and --overwrite"),
        (("--to-kubeconfig", "k", "-n", "ns", "-A"), "--namespace and --all-namespaces"),
        (("--copy-ahead", "--to-directory", "d"), "--copy-ahead and --to-directory"),
        (("--copy-ahead", "--from-directory", "d", "--to-kubeconfig", "k"), "--copy-ahead and --from-directory"),
        (("--report", "r", "--dry-run"), "--report and --dry-run"),
        (("--metrics-file", "r", "--dry-run"), "--metrics-file and --dry-run"),
        (("--report", "r", "--to-directory", "d"), "--report and --to-directory"),
        (("--report", "r", "--from-directory", "d", "--to-kubeconfig", "k"), "--report and --from-directory"),
    ],
)
def test_flags_that_exclude_each_other_are_refused_by_name(flags: tuple[str, ...], named: str) -> None:
    assert refusal(run("move", *flags)) == f"Please specify only one of {named}"


@pytest.mark.parametrize("flags", [(), ("-n", "ns"), ("--kubeconfig", MISSING)])
def test_a_move_needs_a_target_or_a_dry_run(flags: tuple[str, ...]) -> None:
    assert "--to-kubeconfig" in refusal(run("move", *flags))
    assert "--dry-run" in refusal(run("move", *flags))


def test_a_directory_is_target_enough_but_a_source_must_be_there() -> None:
    error = refusal(run("move", "--to-directory", "d", "--kubeconfig", MISSING))
    assert error.startswith(f"No kubeconfig for the source cluster: {MISSING} is not there")


def test_from_a_directory_a_target_must_be_there(tmp_path: Path) -> None:
    error = refusal(run("move", "--from-directory", str(tmp_path), "--to-kubeconfig", MISSING))
    assert error.startswith(f"No kubeconfig for the target cluster: {MISSING} is not there")


def test_a_missing_kubeconfig_of_the_source_is_named() -> None:
    error = refusal(run("move", "--kubeconfig", MISSING, "--to-kubeconfig", MISSING))
    assert error.startswith(f"No kubeconfig for the source cluster: {MISSING} is not there")


def test_a_missing_kubeconfig_of_the_target_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text(
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {token: t}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\ncurrent-context: c\n"
    )
    error = refusal(run("move", "--kubeconfig", str(source), "--to-kubeconfig", MISSING))
    assert error.startswith(f"No kubeconfig for the target cluster: {MISSING} is not there")
    assert "--to-kubeconfig" in error


def test_a_dry_run_needs_no_target_but_a_source() -> None:
    assert "No kubeconfig for the source cluster" in refusal(run("move", "--dry-run"))


@pytest.mark.parametrize("arguments", [("-n",), ("-v", "x"), ("-v", "-1"), ("--hide-api-warnings", "some"), ("--no",)])
def test_flags_that_cannot_be_understood_are_usage_errors(arguments: tuple[str, ...]) -> None:
    result = run("move", *arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("move", "--help"), ("move", "-h")])
def test_help_is_there_at_each_level(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    "flag",
    [
        "--kubeconfig",
        "--kubeconfig-context",
        "--to-kubeconfig",
        "--to-kubeconfig-context",
        "--namespace",
        "-n",
        "--dry-run",
        "--to-directory",
        "--from-directory",
        "--hide-api-warnings",
        "-v",
    ],
)
def test_move_has_each_flag_of_clusterctl_move(flag: str) -> None:
    words = run("move", "--help").output.replace("│", " ").replace(",", " ").split()
    assert flag in words


class Library:
    """Stands in for the library: keeps what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[object] = []
        self.error: Exception | KeyboardInterrupt | None = None
        monkeypatch.setattr(api, "move_async", self.move)
        self.save_to: Path | None = None
        self.plan_file: Path | None = None
        monkeypatch.setattr(api, "plan_async", self.plan)
        monkeypatch.setattr(api, "explain_async", self.explain)
        self.problems: tuple[Problem, ...] = ()
        monkeypatch.setattr(api, "preflight_async", self.preflight)
        monkeypatch.setattr(api, "roll_async", self.roll)
        monkeypatch.setattr(api, "move_shard_async", self.move_shard)
        monkeypatch.setattr(api, "dry_run_async", self.dry_run)
        monkeypatch.setattr(api, "dry_shard_async", self.dry_shard)
        self.fates: dict[str, UnitFate] = {"a": UnitFate.MOVED, "b": UnitFate.MOVED}

    async def roll(
        self,
        source: api.ClusterRef,
        target: api.ClusterRef,
        options: MoveOptions,
        rolling: RollingOptions,
        _listener: Listener,
    ) -> RollingReport:
        """Returns a report of units of one Cluster each, with the fates that are set; the next time all move."""
        self.asked += [source, target, options, rolling]
        fates, self.fates = self.fates, dict.fromkeys(self.fates, UnitFate.MOVED)
        units = tuple(
            UnitReport(namespace="ns", clusters=(name,), fate=fate, error="" if fate is UnitFate.MOVED else "it broke")
            for name, fate in fates.items()
        )
        return RollingReport(source="here", target="there", namespace=options.namespace or "", units=units)

    async def move_shard(
        self, source: api.ClusterRef, target: api.ClusterRef, asked: api.ShardMove, listener: Listener
    ) -> tuple[MoveReport | RollingReport, ...]:
        """Returns the report of one namespace."""
        self.asked.append(asked)
        if asked.rolling is not None:
            return (await self.roll(source, target, asked.of("ns"), asked.rolling, listener),)
        return (await self.move(source, target, asked.of("ns"), listener, plan_file=None),)

    async def dry_run(
        self,
        source: api.ClusterRef,
        target: api.ClusterRef | None,
        each: list[MoveOptions],
        _listener: Listener,
        *,
        plan_file: Path | None,
    ) -> tuple[api.DryRun, ...]:
        """Returns the plan of `plan` for each, with the problems that are set."""
        self.asked += [source, target, *each]
        self.plan_file = plan_file
        plan = plan_of(make(("cluster.x-k8s.io", "Cluster"), "c"), make(("", "Secret"), "loose"))
        return tuple(api.DryRun(Findings(plan, self.problems, (), {}, {})) for _ in each)

    async def dry_shard(
        self, source: api.ClusterRef, target: api.ClusterRef | None, asked: api.ShardMove, listener: Listener
    ) -> tuple[tuple[str, ...], tuple[api.DryRun, ...]]:
        """Returns two namespaces for the first shard, none for others."""
        found = ("one", "two") if asked.shard.index == 0 else ()
        each = [asked.of(name) for name in found]
        return found, await self.dry_run(source, target, each, listener, plan_file=None)

    async def preflight(
        self, source: api.ClusterRef, target: api.ClusterRef, options: MoveOptions, *, plan_file: Path | None
    ) -> Findings:
        """Returns findings with the problems that are set, or raises what it was told to."""
        self.asked += [source, target, options]
        self.plan_file = plan_file
        if self.error:
            raise self.error
        return Findings(plan_of(), self.problems, (), {}, {}, ("identity",))

    async def move(
        self,
        source: api.ClusterRef,
        target: api.ClusterRef,
        options: MoveOptions,
        _listener: Listener,
        *,
        plan_file: Path | None,
    ) -> MoveReport:
        """Returns a report, or raises what it was told to."""
        self.asked += [source, target, options]
        self.plan_file = plan_file
        if self.error:
            raise self.error
        return MoveReport(source="here", target="there", namespace="ns", moved=(KindCount(kind="Machine", count=2),))

    async def plan(
        self,
        source: api.ClusterRef,
        options: MoveOptions,
        *,
        save_to: Path | None = None,
        plan_file: Path | None = None,
    ) -> Plan:
        """Returns a plan of one Cluster and a Secret that stays."""
        self.asked += [source, options]
        self.save_to, self.plan_file = save_to, plan_file
        cluster = make(("cluster.x-k8s.io", "Cluster"), "c")
        return plan_of(cluster, make(("", "Secret"), "loose"))

    async def explain(self, source: api.ClusterRef, wanted: str, options: MoveOptions) -> Explanation:
        """Returns why the Secret of the plan stays."""
        self.asked += [source, wanted, options]
        plan = plan_of(make(("", "Secret"), "loose"))
        return explain(plan.selection, plan.creation, plan.deletion, plan.selection.left[0].uid)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    return Library(monkeypatch)


def test_flags_reach_the_library(library: Library) -> None:
    flags = ("--kubeconfig", "a", "--kubeconfig-context", "b", "--to-kubeconfig", "c", "--to-kubeconfig-context", "d")
    result = run("move", *flags, "-n", "ns")
    assert result.exit_code == 0, result.output
    assert library.asked == [
        api.ClusterRef(Path("a"), "b"),
        api.ClusterRef(Path("c"), "d"),
        MoveOptions(namespace="ns"),
    ]
    assert "Moved namespace ns from here to there: 2 objects" in result.stdout


def test_a_limit_of_requests_holds_for_both_clusters(library: Library) -> None:
    flags = ("--kubeconfig", "a", "--to-kubeconfig", "c", "--max-requests")
    assert run("move", *flags, "5").exit_code == 0
    assert library.asked[:2] == [api.ClusterRef(Path("a"), None, 5), api.ClusterRef(Path("c"), None, 5)]
    assert run("move", *flags, "0").exit_code == 2


@pytest.mark.parametrize("flags", [(), ("-n", "")])
def test_without_a_namespace_that_of_the_context_is_asked_for(library: Library, flags: tuple[str, ...]) -> None:
    run("move", "--to-kubeconfig", "c", *flags)
    assert library.asked[-1] == MoveOptions(namespace=None)


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (("--adopt",), MoveOptions(existing=ExistingPolicy.ADOPT)),
        (("--overwrite",), MoveOptions(existing=ExistingPolicy.OVERWRITE)),
        (("--leave-behind",), MoveOptions(leave_behind=True)),
        (("--restore-status", "metal3"), MoveOptions(restore_status=RestoreStatus.METAL3)),
        (("--pause-timeout", "5"), MoveOptions(pause_timeout_s=5)),
        (("-A",), MoveOptions(namespace="")),
        (("--cluster", "a", "--cluster", "b"), MoveOptions(clusters=("a", "b"))),
        (("--selector", "a=b", "--hosts", "c=d"), MoveOptions(selector="a=b", hosts="c=d")),
        (("--cluster", "a", "--all-hosts"), MoveOptions(clusters=("a",), all_hosts=True)),
        (("--skip", "rollout", "--skip", "sizes"), MoveOptions(skip=("rollout", "sizes"))),
        (("--warn-only",), MoveOptions(warn_only=True)),
        (("--include-referenced",), MoveOptions(include_referenced=True)),
    ],
)
def test_each_option_of_a_move_has_its_flag(library: Library, flags: tuple[str, ...], options: MoveOptions) -> None:
    run("move", "--to-kubeconfig", "c", *flags)
    assert library.asked[-1] == options


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (("-n", "ns"), MoveOptions(namespace="ns")),
        (("-A",), MoveOptions(namespace="")),
        (("--cluster", "a", "--all-hosts"), MoveOptions(clusters=("a",), all_hosts=True)),
        (("--selector", "a=b", "--hosts", "c=d"), MoveOptions(selector="a=b", hosts="c=d")),
        (("--paused", "keep"), MoveOptions(paused=PausedPolicy.KEEP)),
        (("--adopt",), MoveOptions(existing=ExistingPolicy.ADOPT)),
        (("--overwrite",), MoveOptions(existing=ExistingPolicy.OVERWRITE)),
        (("--to-namespace", "b"), MoveOptions(to_namespace="b")),
        (("--leave-behind",), MoveOptions(leave_behind=True)),
        (("--strict-labels",), MoveOptions(strict_labels=True)),
        (("--skip", "rollout", "--warn-only"), MoveOptions(skip=("rollout",), warn_only=True)),
        (("--include-referenced",), MoveOptions(include_referenced=True)),
    ],
)
def test_each_option_of_a_preflight_has_its_flag(
    library: Library, flags: tuple[str, ...], options: MoveOptions
) -> None:
    result = run("preflight", "--kubeconfig", "a", "--to-kubeconfig", "c", "--plan", "saved", *flags)
    assert result.exit_code == 0, result.output
    assert library.asked == [api.ClusterRef(Path("a"), None), api.ClusterRef(Path("c"), None), options]
    assert library.plan_file == Path("saved")
    assert result.stdout.endswith("the move can begin. Nothing was changed.\n")


def test_a_preflight_that_finds_problems_leaves_with_3_in_every_format(library: Library) -> None:
    library.problems = (Problem("rollout", "source", "Machine ns/m", "it is being remediated", "Wait"),)
    result = run("preflight", "--to-kubeconfig", "c")
    assert result.exit_code == 3
    assert "source: Machine ns/m: it is being remediated" in result.stdout
    result = run("preflight", "--to-kubeconfig", "c", "-o", "json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["problems"][0]["object"] == "Machine ns/m"


def test_a_preflight_that_cannot_begin_says_so_in_every_format(library: Library) -> None:
    library.error = RefusedError([Problem("connection", "target", "there", "no answer", "Start it")])
    result = run("preflight", "--to-kubeconfig", "c", "-o", "json")
    assert result.exit_code == 3
    value = json.loads(result.stdout)
    assert (value["ready"], value["checked"], value["problems"][0]["check"]) == (False, [], "connection")


@pytest.mark.parametrize("flags", [(), ("--to-kubeconfig", "c", "--adopt", "--overwrite")])
def test_a_preflight_that_is_asked_for_nonsense_is_refused(library: Library, flags: tuple[str, ...]) -> None:
    assert "Please specify" in refusal(run("preflight", *flags))
    assert library.asked == []


def test_several_namespaces_move_as_a_series_with_a_summary_each(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def move_each(
        source: api.ClusterRef, target: api.ClusterRef, namespaces: list[str], options: MoveOptions, _: Listener
    ) -> tuple[MoveReport, ...]:
        library.asked += [namespaces, options]
        return tuple(MoveReport(source="here", target="there", namespace=name) for name in namespaces)

    monkeypatch.setattr(api, "move_each_async", move_each)
    result = run("move", "--to-kubeconfig", "c", "-n", "one", "-n=two")
    assert library.asked[0] == ["one", "two"]
    assert [name in result.stdout for name in ("Moved namespace one", "Moved namespace two")] == [True, True]


def test_what_a_series_has_moved_is_told_though_a_later_one_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    async def move_each(*_: object) -> tuple[MoveReport, ...]:
        done = [MoveReport(source="here", target="there", namespace="one")]
        raise api.SeriesStoppedError(["one", "two"], done, RefusedError([]))

    monkeypatch.setattr(api, "move_each_async", move_each)
    asked = ("move", "--to-kubeconfig", "c", "-n", "one", "-n", "two")
    assert "Moved namespace one from here" in run(*asked).stdout
    report, error = told(run(*asked, "-o", "json"))
    assert report["report"]["namespace"] == "one"
    assert (error["type"], error["exit_code"]) == ("error", 3)


def test_a_dry_run_shows_the_plan_of_each_namespace(library: Library) -> None:
    run("move", "--dry-run", "-n", "one", "-n", "two")
    assert [asked for asked in library.asked if isinstance(asked, MoveOptions)] == [
        MoveOptions(namespace="one"),
        MoveOptions(namespace="two"),
    ]


def test_a_directory_holds_one_namespace_or_all() -> None:
    assert refusal(run("move", "--to-directory", "d", "-n", "one", "-n", "two")).startswith("A directory holds one")


@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_an_interrupted_move_is_named_by_its_clusters_too(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    asked: list[object] = []

    async def act(*given: object, clusters: list[str]) -> MoveReport:
        asked.extend([given[2], clusters])
        return MoveReport(source="here", target="there", namespace="ns", clusters=("a",))

    monkeypatch.setattr(api, f"{command}_async", act)
    assert run(command, "-n", "ns", "--cluster", "a").exit_code == 0
    assert run(command, "-A").exit_code == 0
    assert asked == ["ns", ["a"], "", ()]


def test_a_context_of_the_same_kubeconfig_is_target_enough(library: Library) -> None:
    assert run("move", "--to-kubeconfig-context", "d").exit_code == 0
    assert library.asked[1] == api.ClusterRef(None, "d")


def test_a_dry_run_shows_the_plan_and_moves_nothing(library: Library) -> None:
    result = run("move", "--dry-run", "--to-kubeconfig", "c")
    assert result.exit_code == 0, result.output
    assert library.asked == [api.ClusterRef(None, None), api.ClusterRef(Path("c")), MoveOptions()]
    assert "nothing is changed" in result.stdout
    assert "1 objects would move, 0 would be copied and kept, 1 stay." in result.stdout


def test_a_move_and_a_dry_run_go_by_a_saved_plan(library: Library) -> None:
    assert run("move", "--to-kubeconfig", "c", "--plan", "saved").exit_code == 0
    assert library.plan_file == Path("saved")
    assert run("move", "--dry-run", "--plan", "other").exit_code == 0
    assert library.plan_file == Path("other")


def test_a_dry_run_that_finds_problems_shows_the_plan_and_leaves_with_3(library: Library) -> None:
    library.problems = (Problem("paused", "source", "Cluster ns/c", "it is paused", "Resume it"),)
    result = run("move", "--dry-run", "-n", "ns")
    assert result.exit_code == 3
    assert "1 objects would move" in result.stdout
    assert "Cluster ns/c: it is paused. Resume it" in result.stderr
    result = run("move", "--dry-run", "-n", "ns", "-o", "json")
    assert result.exit_code == 3
    assert json.loads(result.stdout.rsplit("\n", 2)[-2])["problems"][0]["check"] == "paused"


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("tree", "   Secret ns/loose: It has no owner, and no label moves it."),
        ("table", "1        1        move    Cluster.cluster.x-k8s.io   ns          c       Cluster ns/c is the root"),
        ("json", '      "fate": "move",'),
        ("yaml", "  fate: move"),
        ("mermaid", "flowchart TD"),
        ("dot", "digraph objects {"),
        ("html", "<!doctype html>"),
    ],
)
def test_a_plan_is_printed_as_asked_for(library: Library, output: str, line: str) -> None:
    result = run("plan", "--kubeconfig", "a", "-n", "ns", "--strict-labels", "-o", output)
    assert result.exit_code == 0, result.output
    assert library.asked == [api.ClusterRef(Path("a"), None), MoveOptions(namespace="ns", strict_labels=True)]
    assert any(printed.startswith(line) for printed in result.stdout.splitlines()), result.stdout
    assert library.save_to is None


def test_a_plan_is_saved_to_the_file_that_is_named(library: Library) -> None:
    assert run("plan", "--save", "file").exit_code == 0
    assert library.save_to == Path("file")


def test_an_explanation_is_printed_for_people_or_for_programs(library: Library) -> None:
    result = run("explain", "secret/loose", "--kubeconfig", "a", "-n", "ns")
    assert library.asked == [api.ClusterRef(Path("a"), None), "secret/loose", MoveOptions(namespace="ns")]
    assert result.stdout.startswith("Secret ns/loose (secrets) stays.")
    assert json.loads(run("explain", "secret/loose", "-o", "json").stdout)["rule"] == "not-in-hierarchy"


DOCS = Path(__file__).parents[2] / "docs" / "rbac"


@pytest.mark.parametrize("side", ["source", "target"])
def test_the_manifests_of_the_docs_are_those_that_are_printed(side: str) -> None:
    result = run("rbac", "--side", side, "-n", "metal3", "--service-account", "capi-mover/capi-mover")
    assert result.exit_code == 0, result.output
    assert result.stdout == (DOCS / f"{side}.yaml").read_text()


def test_both_sides_are_printed_as_one_stream() -> None:
    both = run("rbac", "-n", "metal3", "--service-account", "capi-mover/capi-mover").stdout
    assert both == "---\n".join((DOCS / f"{side}.yaml").read_text() for side in ("source", "target"))


def test_the_types_of_a_cluster_are_granted_if_one_is_named(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    async def types(source: api.ClusterRef) -> tuple[tuple[ResourceType, ...], tuple[str, ...]]:
        assert source == api.ClusterRef(Path("a"), None)
        return (typed(),), ("credentials",)

    monkeypatch.setattr(api, "types_async", types)
    flags = ("--user", "jane", "--kubeconfig", "a", "-n", "here", "--to-namespace", "there")
    found = list(yaml.safe_load_all(run("rbac", *flags).stdout))
    assert {manifest["metadata"].get("namespace") for manifest in found} == {
        None,
        "capi-mover",
        "here",
        "credentials",
        "there",
    }
    granted = {resource for manifest in found for rule in manifest.get("rules", ()) for resource in rule["resources"]}
    assert {"widgets", "widgets/status", "widgets/finalizers"} <= granted
    assert not {"machines", "clusters"} & granted


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Please specify either --service-account NAMESPACE/NAME or --user NAME"),
        (("--user", "u", "--service-account", "a/b"), "Please specify either --service-account"),
        (("--service-account", "a"), "--service-account: a is not NAMESPACE/NAME"),
        (("--service-account", "a/b/c"), "a/b/c is not NAMESPACE/NAME"),
    ],
)
def test_rights_are_granted_to_one_user_or_service_account(flags: tuple[str, ...], message: str) -> None:
    assert message in refusal(run("rbac", *flags))


def test_an_error_of_the_library_is_shown_with_its_exit_code(library: Library) -> None:
    library.error = RefusedError([Problem("paused", "source", "Cluster ns/c", "it is paused", "Resume it")])
    result = run("move", "--to-kubeconfig", "c")
    assert result.exit_code == 3
    assert result.stderr.startswith("Error: The move was not started")
    assert "Traceback" not in result.output


def test_an_interrupt_is_said_and_is_no_success(library: Library) -> None:
    library.error = KeyboardInterrupt()
    assert refusal(run("move", "--to-kubeconfig", "c"), exit_code=4) == "Stopped by Ctrl-C"


def test_a_fault_of_our_own_is_not_hidden(library: Library) -> None:
    library.error = ZeroDivisionError("ours")
    assert isinstance(run("move", "--to-kubeconfig", "c").exception, ZeroDivisionError)


FINALIZER = 'metadata.finalizers: "x": prefer a domain-qualified finalizer name including a path (/) to avoid conflicts'


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        ("default", ["deprecated"]),
        ("all", []),
        ("none", [FINALIZER, "deprecated"]),
    ],
)
def test_api_warnings_are_hidden_as_asked_for(
    library: Library, caplog: pytest.LogCaptureFixture, hidden: str, shown: list[str]
) -> None:
    run("move", "--to-kubeconfig", "c", "--hide-api-warnings", hidden)
    for text in (FINALIZER, "deprecated"):
        logging.getLogger("capi-mover.api-warnings").warning("%s", text)
    assert [record.getMessage() for record in caplog.records] == shown


@pytest.mark.parametrize(
    ("verbosity", "level"),
    [("0", logging.WARNING), ("2", logging.WARNING), ("3", logging.INFO), ("5", logging.DEBUG)],
)
def test_verbosity_sets_what_is_logged(library: Library, verbosity: str, level: int) -> None:
    run("move", "--to-kubeconfig", "c", "-v", verbosity)
    assert logging.getLogger("capi-mover").level == level


class Terminal(io.StringIO):
    """A file that takes itself for a terminal."""

    def isatty(self) -> bool:
        """Returns True."""
        return True


def test_bars_are_for_terminals_and_lines_for_everything_else() -> None:
    real = Console(file=Terminal(), _environ={"TERM": "xterm"})
    assert type(new_view(real, 0)).__name__ == "BarView"
    dumb = Console(file=Terminal(), _environ={"TERM": "dumb"})
    assert type(new_view(dumb, 0)).__name__ == "LineView"
    assert type(new_view(Console(file=io.StringIO(), force_terminal=True), 0)).__name__ == "LineView"
    assert type(new_view(Console(file=io.StringIO()), 0)).__name__ == "LineView"


@pytest.mark.parametrize(
    "heavy", ["kubernetes", "networkx", "rich", "aiohttp", "pydantic", "asyncio", "prometheus_client"]
)
def test_the_command_line_starts_without_loading_what_help_does_not_need(heavy: str) -> None:
    code = f"import sys, mover.cli; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_help_text_that_nobody_looks_at_on_a_terminal_is_not_drawn() -> None:
    code = (
        "import sys, mover.cli; mover.cli.app(['move', '--help'], standalone_mode=False); print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("Usage: ")
    assert done.stdout.endswith("False\n")


def test_a_command_that_only_reads_is_stopped_by_sigterm_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def struck(_: api.ClusterRef) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    monkeypatch.setattr(api, "status_async", struck)
    assert refusal(run("status"), exit_code=4).startswith("Stopped by SIGTERM")


def test_the_version_is_that_of_the_package() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"capi-mover {metadata.version('capi-mover')}\n")


def test_a_rolling_move_is_asked_for_with_its_options(library: Library) -> None:
    how = ("--parallel-units", "5", "--fail-fast", "--order-by", "age", "--copy-ahead")
    result = run("move", "--kubeconfig", "a", "--to-kubeconfig", "c", "-n", "ns", "--cluster", "x", "--rolling", *how)
    assert result.exit_code == 0, result.output
    assert library.asked == [
        api.ClusterRef(Path("a"), None),
        api.ClusterRef(Path("c"), None),
        MoveOptions(namespace="ns", clusters=("x",), copy_ahead=True),
        RollingOptions(parallel=5, fail_fast=True, order=UnitOrder.AGE),
    ]
    assert "2 of 2 units moved from here to there" in result.stdout


def test_a_rolling_move_takes_two_at_once_by_name_unless_it_is_told_otherwise(library: Library) -> None:
    assert run("move", "--to-kubeconfig", "c", "--rolling").exit_code == 0
    assert library.asked[-1] == RollingOptions(parallel=2, fail_fast=False, order=UnitOrder.NAME)


@pytest.mark.parametrize("fate", [fate for fate in UnitFate if fate is not UnitFate.MOVED])
def test_a_unit_that_did_not_move_is_in_the_table_and_is_no_success(library: Library, fate: UnitFate) -> None:
    library.fates["b"] = fate
    result = run("move", "--to-kubeconfig", "c", "-n", "ns", "--rolling")
    assert result.exit_code == 4, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["UNIT", "FATE", "OBJECTS", "PAUSED"] in lines
    assert ["Cluster", "a", "of", "namespace", "ns", "moved"] in lines
    assert ["Cluster", "b", "of", "namespace", "ns", str(fate)] in lines
    assert "Cluster b of namespace ns: it broke" in result.stdout
    assert "Give the same command again" in result.stdout


def test_namespaces_roll_one_after_the_other_and_the_next_one_whatever_became_of_the_first(library: Library) -> None:
    library.fates["b"] = UnitFate.ROLLED_BACK
    assert run("move", "--to-kubeconfig", "c", "-n", "one", "-n", "two", "--rolling").exit_code == 4
    assert [asked.namespace for asked in library.asked if isinstance(asked, MoveOptions)] == ["one", "two"]


def test_no_further_namespace_rolls_after_a_failure_with_fail_fast(library: Library) -> None:
    library.fates["b"] = UnitFate.ROLLED_BACK
    assert run("move", "--to-kubeconfig", "c", "-n", "one", "-n", "two", "--rolling", "--fail-fast").exit_code == 4
    assert [asked.namespace for asked in library.asked if isinstance(asked, MoveOptions)] == ["one"]


def test_a_dry_run_of_a_rolling_move_shows_the_units_and_moves_nothing(library: Library) -> None:
    result = run("move", "--dry-run", "--to-kubeconfig", "c", "--rolling", "-n", "ns")
    assert result.exit_code == 0, result.output
    rolling = MoveOptions(namespace="ns", rolling=True)
    assert library.asked == [api.ClusterRef(None, None), api.ClusterRef(Path("c")), rolling]
    assert "nothing is changed" in result.stdout
    assert "1 units, in this order:" in result.stdout
    assert "Cluster c of namespace ns: 1 objects" in result.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--to-kubeconfig", "c", "--plan", "p"), "--rolling and --plan"),
        (("--to-directory", "d"), "leave out --rolling"),
        (("--from-directory", "d", "--to-kubeconfig", "c"), "leave out --rolling"),
        (("--to-kubeconfig", "c", "-n", "one", "-n", "two", "--cluster", "a"), "Single Clusters are of one namespace"),
        (("--to-kubeconfig", "c", "-n", "one", "-n", "two", "-l", "a=b"), "Single Clusters are of one namespace"),
    ],
)
def test_what_does_not_go_with_rolling_is_refused(library: Library, flags: tuple[str, ...], message: str) -> None:
    assert message in refusal(run("move", "--rolling", *flags))
    assert library.asked == []


@pytest.mark.parametrize("flags", [("--parallel-units", "0"), ("--order-by", "colour")])
def test_a_rolling_move_is_not_asked_for_nonsense(library: Library, flags: tuple[str, ...]) -> None:
    assert run("move", "--rolling", "--to-kubeconfig", "c", *flags).exit_code == 2
    assert library.asked == []


def told(result: Result) -> list[dict[str, Any]]:
    """Returns the lines that programs are told, all of them JSON; nothing else is printed."""
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_what_becomes_of_an_interrupted_move_is_told_to_programs(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    async def act(source: object, target: object, scope: object, listener: Listener, **_: object) -> MoveReport:
        listener(Noted("on its way"))
        return MoveReport(source="here", target="there", namespace="ns")

    monkeypatch.setattr(api, f"{command}_async", act)
    result = run(command, "-n", "ns", "-o", "json")
    assert result.exit_code == 0
    assert [line["type"] for line in told(result)] == ["note", "report"]


def test_directories_are_told_to_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, phases = plan_of(make(("cluster.x-k8s.io", "Cluster"), "c")), {Phase.CREATING: 1.0}

    async def backup(*_: object, **given: object) -> BackupResult:
        return BackupResult(plan, new_manifest("ns", "uid", "here", source_paused=False), phases, 2.0)

    async def restore(*_: object, **given: object) -> RestoreResult:
        return RestoreResult(plan, None, 1, (), (), (), phases)

    monkeypatch.setattr(api, "backup_async", backup)
    monkeypatch.setattr(api, "restore_async", restore)
    assert told(run("backup", "saved", "-o", "json"))[-1]["report"] == {
        "directory": "saved",
        "objects": 1,
        "seconds": {"creating": 1.0},
        "paused_s": 2.0,
        "still_paused": False,
    }
    for command in (("restore", "saved"), ("move", "--from-directory", "saved")):
        (line,) = told(run(*command, "--to-kubeconfig", "c", "-o", "json"))
        assert (line["kind"], line["report"]["created"]) == ("restore", 1)


def test_a_move_and_its_error_are_told_to_programs(library: Library) -> None:
    (line,) = told(run("move", "--to-kubeconfig", "c", "-o", "json"))
    assert (line["type"], line["kind"]) == ("report", "move")
    library.error = RefusedError([Problem("paused", "source", "Cluster ns/c", "it is paused", "Resume it")])
    result = run("move", "--to-kubeconfig", "c", "-o", "json")
    assert result.exit_code == 3
    (line,) = told(result)
    assert (line["type"], line["exit_code"], line["problems"][0]["check"]) == ("error", 3, "paused")


def test_flags_that_exclude_each_other_are_told_to_programs() -> None:
    result = run("move", "--to-directory", "d", "--to-kubeconfig", "k", "-o", "json")
    assert result.exit_code == 2
    (line,) = told(result)
    assert line["text"] == "Please specify only one of --to-directory and --to-kubeconfig"


def test_a_rolling_move_is_told_to_programs_with_each_namespace(library: Library) -> None:
    library.fates["b"] = UnitFate.ROLLED_BACK
    result = run("move", "--to-kubeconfig", "c", "-n", "one", "-n", "two", "--rolling", "-o", "json")
    assert result.exit_code == 4
    first, second = told(result)
    assert [unit["fate"] for unit in first["report"]["units"]] == ["moved", "rolled-back"]
    assert second["report"]["namespace"] == "two"


def test_a_dry_run_prints_the_plan_for_programs_as_plan_does(library: Library) -> None:
    shown, planned = (
        json.loads(run(*asked, "-n", "ns", "-o", "json").stdout) for asked in (("move", "--dry-run"), ("plan",))
    )
    assert shown == {**planned, "problems": [], "warnings": [], "first": []}
    units = json.loads(run("move", "--dry-run", "-n", "ns", "--rolling", "-o", "json").stdout)
    assert [unit["unit"] for unit in units["units"]] == ["ns/c"]


def commands() -> dict[str, Any]:
    """Returns the commands by name."""
    return dict(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]


def examples(text: str) -> list[list[str]]:
    """Returns the command lines of the examples of a help text, up to a pipe."""
    found = re.findall(r"Example: capi-mover ([^\n|>]+(?:\n(?!\s*\n)[^\n|>]+)*)", text)
    return [shlex.split(example) for example in found]


@pytest.mark.parametrize("command", list(commands()))
def test_each_command_has_examples_that_it_understands(command: str) -> None:
    found = examples(inspect.cleandoc(commands()[command].help))
    assert found
    for name, *arguments in found:
        assert name == command
        commands()[command].make_context(name, arguments)


def test_each_flag_has_a_help_text() -> None:
    missing = [
        (name, parameter.name)
        for name, command in commands().items()
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert missing == []


def test_an_error_that_came_before_anything_was_changed_says_what_to_do(library: Library) -> None:
    library.error = ForbiddenError(Call("source", "GET", "/apis"), 403, "Forbidden", "you may not")
    assert refusal(run("move", "--to-kubeconfig", "c")) == (
        "source: GET /apis: 403 Forbidden: you may not. The rights that are needed are printed by: capi-mover rbac"
    )


def test_a_shard_is_moved_with_the_options_of_a_move(library: Library) -> None:
    result = run("move", "--to-kubeconfig", "c", "-A", "--shard", "3/4", "--adopt")
    assert result.exit_code == 0, result.output
    options = MoveOptions(namespace="", existing=ExistingPolicy.ADOPT)
    assert library.asked[0] == api.ShardMove(Shard(3, 4), options)
    assert "Machine" in result.stdout


@pytest.mark.parametrize(("fate", "exit_code"), [(UnitFate.MOVED, 0), (UnitFate.ROLLED_BACK, 4)])
def test_a_shard_rolls_and_a_unit_that_did_not_move_is_no_success(
    library: Library, fate: UnitFate, exit_code: int
) -> None:
    library.fates["b"] = fate
    result = run("move", "--to-kubeconfig", "c", "-A", "--shard", "0/4", "--rolling", "--parallel-units", "3")
    assert result.exit_code == exit_code, result.output
    assert library.asked[0] == api.ShardMove(Shard(0, 4), MoveOptions(namespace=""), RollingOptions(parallel=3))
    assert "units moved from here to there" in result.stdout


def test_a_dry_run_of_a_shard_shows_its_namespaces_and_their_plans(library: Library) -> None:
    result = run("move", "--dry-run", "-A", "--shard", "0/2")
    assert result.exit_code == 0, result.output
    assert "Shard 0/2: one, two" in result.stdout
    assert library.asked[1] is None
    assert [asked.namespace for asked in library.asked if isinstance(asked, MoveOptions)] == ["one", "two"]
    assert run("move", "--dry-run", "-A", "--shard", "1/2").stdout == "Shard 1/2: nothing to move\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--shard", "0/2", "-n", "ns"), "only one of --shard and --namespace"),
        (("--shard", "0/2"), "please specify --all-namespaces"),
        (("-A", "--shard", "2/2"), "2/2 is not INDEX/TOTAL with an INDEX from 0 to TOTAL-1"),
        (("-A", "--shard", "0/0"), "0/0 is not INDEX/TOTAL"),
        (("-A", "--shard", "x"), "x is not INDEX/TOTAL"),
        (("-A", "--shard", "0/2", "--cluster", "a"), "A shard is of whole namespaces"),
        (("-A", "--shard", "0/2", "-l", "a=b"), "A shard is of whole namespaces"),
        (("-A", "--shard", "0/2", "--to-namespace", "x"), "--shard and --to-namespace"),
        (("-A", "--shard", "0/2", "--plan", "x"), "leave out --shard"),
    ],
)
def test_what_does_not_go_with_a_shard_is_refused(library: Library, flags: tuple[str, ...], message: str) -> None:
    assert message in refusal(run("move", "--to-kubeconfig", "c", *flags))
    assert library.asked == []


@pytest.mark.parametrize("flag", ["--to-directory", "--from-directory"])
def test_a_directory_is_of_one_move_and_not_of_a_shard(library: Library, flag: str) -> None:
    assert "leave out --shard" in refusal(run("move", "-A", "--shard", "0/2", flag, "d"))


@pytest.mark.parametrize("rolling", [(), ("--rolling",)])
def test_a_page_tells_of_a_move_and_of_one_that_failed(
    library: Library, tmp_path: Path, rolling: tuple[str, ...]
) -> None:
    file = tmp_path / "move.html"
    flags = ("--kubeconfig", "a", "--to-kubeconfig", "c", "-n", "ns", "--report", str(file), *rolling)
    assert run("move", *flags).exit_code == 0
    assert "Moved in" in file.read_text()
    library.error = RefusedError([Problem("identity", "target", "the thing", "is wrong", "Mend it")])
    library.fates = {"a": UnitFate.MOVED, "b": UnitFate.ROLLED_BACK}
    assert run("move", *flags).exit_code == (4 if rolling else 3)
    assert ("1 of 2 units moved" if rolling else "the thing") in file.read_text()


def test_a_page_tells_of_a_resumed_move(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def resume(*_: object, **__: object) -> MoveReport:
        return MoveReport(source="here", target="there", namespace="ns", verified=3)

    monkeypatch.setattr(api, "resume_async", resume)
    file = tmp_path / "move.html"
    assert run("resume", "--to-kubeconfig", "c", "--report", str(file)).exit_code == 0
    assert "3 copies" in file.read_text()


@pytest.mark.parametrize("name", ["", "nowhere/move.html"])
def test_a_move_does_not_begin_if_its_page_cannot_be_written(library: Library, tmp_path: Path, name: str) -> None:
    result = run("move", "--kubeconfig", "a", "--to-kubeconfig", "c", "--report", str(tmp_path / name))
    assert "cannot be written" in refusal(result)
    assert library.asked == []
