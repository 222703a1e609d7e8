"""Tests of what shells complete."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = (sys.executable, "-c", "from mover.cli import app; app(prog_name='capi-mover')")
KUBECONFIG = """
apiVersion: v1
kind: Config
contexts:
- {name: prod-east, context: {cluster: c, user: u}}
- {name: prod-west, context: {cluster: c, user: u}}
- {name: lab, context: {cluster: c, user: u}}
"""


def answered(*arguments: str, **given: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    done = subprocess.run(
        [*PROGRAM, *arguments], env={**kept, **given}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    return done.stdout


def completed(line: str, **given: str) -> list[str]:
    """Returns what bash completes at the end of a line."""
    words = line.split(" ")
    asked = {"_CAPI_MOVER_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return answered(**asked, **given).split()


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o default -F _capi_mover_completion capi-mover"),
        ("zsh", "#compdef capi-mover"),
        ("fish", "complete --command capi-mover --no-files"),
    ],
)
def test_each_shell_gets_a_script(shell: str, line: str) -> None:
    script = answered("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert line in script
    assert "_CAPI_MOVER_COMPLETE" in script


def test_commands_and_the_choices_of_flags_are_completed() -> None:
    assert set(completed("capi-mover r")) == {"restore", "release", "resume", "retire", "rollback", "rbac"}
    assert completed("capi-mover move --order-by ") == ["name", "size", "age"]
    assert completed("capi-mover move --log-format j") == ["json"]


def test_the_checks_that_can_be_left_out_are_completed_and_no_others() -> None:
    found = completed("capi-mover preflight --skip ")
    assert {"rollout", "sizes", "operators"} <= set(found)
    assert "hosts" not in found
    assert completed("capi-mover move --skip paused") == ["paused", "paused-objects"]


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    return file


def test_the_contexts_of_the_kubeconfig_that_is_meant_are_completed(kubeconfig: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("contexts: [{name: elsewhere}]")
    assert completed("capi-mover move --kubeconfig-context prod", KUBECONFIG=str(kubeconfig)) == [
        "prod-east",
        "prod-west",
    ]
    assert completed(
        f"capi-mover move --to-kubeconfig {other} --to-kubeconfig-context ", KUBECONFIG=str(kubeconfig)
    ) == ["elsewhere"]
    assert completed(f"capi-mover status --kubeconfig {other} --kubeconfig-context ") == ["elsewhere"]
    both = os.pathsep.join(map(str, (kubeconfig, other)))
    assert completed("capi-mover move --to-kubeconfig-context ", KUBECONFIG=both) == [
        "prod-east",
        "prod-west",
        "lab",
        "elsewhere",
    ]


@pytest.mark.parametrize("content", ["contexts: 5", "{", "[]", "contexts: [5, {name: 5}, {}]", "\x00"])
def test_what_is_no_kubeconfig_has_no_contexts(tmp_path: Path, content: str) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    assert completed(f"capi-mover move --kubeconfig {file} --kubeconfig-context ") == []


def test_a_kubeconfig_that_is_not_there_has_no_contexts() -> None:
    assert completed("capi-mover move --kubeconfig-context ", KUBECONFIG="/nowhere") == []
