"""The `move` command as a plugin of clusterctl and of kubectl: its help, its errors, its completions."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from mover import cli
from mover.cli.plugins import CLUSTERCTL, KUBECTL, completions, kubectl_complete_capi_move, plugin


def run(program: str, *arguments: str) -> Result:
    return CliRunner().invoke(plugin(program), arguments, prog_name=program, env={"COLUMNS": "200", "TERM": "dumb"})


@pytest.mark.parametrize("program", [CLUSTERCTL, KUBECTL])
def test_the_help_calls_the_plugin_as_the_user_does(program: str) -> None:
    shown = run(program, "--help").output
    assert f"Usage: {program} [OPTIONS]\n" in shown
    assert f"Example: {program} --to-kubeconfig=target-kubeconfig.yaml -n metal3\n" in shown
    assert "capi-mover" not in shown


def test_a_plugin_takes_every_flag_of_the_command() -> None:
    command = get_command(cli.app).commands["move"]  # type: ignore[attr-defined]
    flags = {flag for option in command.params for flag in option.opts}
    assert flags == {flag for option in get_command(plugin(KUBECTL)).params for flag in option.opts}
    assert {"--to-kubeconfig", "-n", "--dry-run"} <= flags


@pytest.mark.parametrize("program", [CLUSTERCTL, KUBECTL])
def test_errors_and_exit_codes_are_those_of_the_command(program: str) -> None:
    result = run(program, "-n", "ns")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: Please specify a target cluster using the --to-kubeconfig flag")
    assert f"Try '{program} -h' for help." in run(program, "--no").stderr


@pytest.mark.parametrize(
    ("words", "found", "directive"),
    [
        (["--restore-st"], ["--restore-status"], 4),
        (["-A", "--all-"], ["--all-namespaces", "--all-hosts"], 4),
        (["--restore-status", ""], ["all", "metal3", "none"], 4),
        (["--restore-status", "m"], ["metal3"], 4),
        (["--to-kubeconfig", ""], [], 0),
        (["--kubeconfig-context", ""], [], 4),
        (["--dry-run", ""], [], 4),
        ([""], [], 4),
        ([], [], 4),
    ],
    ids=str,
)
def test_a_word_is_completed_by_what_stands_before_it(words: list[str], found: list[str], directive: int) -> None:
    lines, then = completions(words)
    assert ([line.partition("\t")[0] for line in lines], then) == (found, directive)


def test_completions_are_printed_as_kubectl_reads_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["kubectl_complete-capi_move", "--dry"])
    kubectl_complete_capi_move()
    assert (
        capsys.readouterr().out
        == "--dry-run\tShow what would be done and whether it would be refused; change nothing, write no file.\n:4\n"
    )


def test_the_programs_are_installed_under_the_names_that_are_looked_for() -> None:
    installed = {point.name: point.value for point in entry_points(group="console_scripts")}
    assert {name: value for name, value in installed.items() if value.startswith("mover.")} == {
        "capi-mover": "mover.cli:main",
        "clusterctl-pymove": "mover.cli.plugins:clusterctl_pymove",
        "kubectl-capi_move": "mover.cli.plugins:kubectl_capi_move",
        "kubectl_complete-capi_move": "mover.cli.plugins:kubectl_complete_capi_move",
    }
