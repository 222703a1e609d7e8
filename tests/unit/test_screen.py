"""Tests of what is on a real terminal, and of what is written where there is none."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Mapping
from fcntl import ioctl
from functools import cache
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tests.unit.acting_program")
MOVE = ("move", "--to-kubeconfig", "target")
CURSOR = re.compile(r"\x1b\[[0-9]*[AKJ]")
COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-9]|4[0-9]|9[0-7]|10[0-7])(;[0-9;]*)?m")
CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment without what says how a terminal is to be treated, but for what is given."""
    ours = {"NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES", "TERM", "COLORTERM"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **given}


@cache
def screen(*arguments: str, columns: int = 120, **given: str) -> str:
    """Returns all that the program has written to a terminal."""
    master, slave = os.openpty()
    ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    program = subprocess.Popen(
        [*PROGRAM, *arguments], cwd=ROOT, env=environment(given), stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    written = b""
    try:
        while chunk := _read(master):
            written += chunk
    finally:
        os.close(master)
        program.wait(60)
    return written.decode()


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # The other end is closed.
        return b""


@cache
def piped(*arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Returns what the program has written to pipes."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=ROOT,
        env=environment(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def frames(written: str) -> list[str]:
    """Returns the lines of all frames, without codes."""
    return CODE.sub("", written).replace("\r", "\n").splitlines()


def test_a_terminal_shows_a_bar_for_each_phase_with_its_time() -> None:
    written = screen(*MOVE)
    assert CURSOR.search(written)
    assert COLOUR.search(written)
    last = [line for line in frames(written) if "2/2" in line]
    assert re.search(r"Pausing the source +\S+ +2/2 0:0\d", last[0])
    assert re.search(r"Creating on the target +\S+ +2/2 0:0\d", last[-1])
    assert "A note" in frames(written)


def test_a_terminal_shows_what_is_waited_for_and_how_long_already() -> None:
    assert "  0:00 Waiting for BareMetalHost ns/node-1: block-move is set" in frames(screen(*MOVE))


def test_a_rolling_move_shows_a_bar_for_each_unit_at_work_with_its_phase() -> None:
    lines = frames(screen(*MOVE, "--rolling"))
    assert any("Moving units" in line and "0/2" in line for line in lines)
    assert any("Cluster a of namespace ns: Creating on the target" in line and "1/2" in line for line in lines)
    waiting = "  0:00 Cluster b of namespace ns: waiting for BareMetalHost ns/node-1: block-move is set"
    assert waiting in lines
    assert "Cluster a of namespace ns: moved after 1.5 s" in lines
    at_the_end = [line for line in lines if "Moving units" in line][-1]
    assert "2/2" in at_the_end
    assert not any("Creating" in line for line in lines[lines.index(at_the_end) :])


def test_no_line_of_a_narrow_terminal_is_broken() -> None:
    lines = frames(screen(*MOVE, columns=60))
    assert not [line for line in lines if len(line) > 60 and "Waiting" in line]
    assert any(line.startswith("  0:00 Waiting for BareMetalHost") and line.endswith("…") for line in lines)


def test_no_color_leaves_the_bars_and_takes_the_colours() -> None:
    written = screen(*MOVE, NO_COLOR="1")
    assert CURSOR.search(written)
    assert not COLOUR.search(written)


def test_a_dumb_terminal_gets_lines() -> None:
    written = screen(*MOVE, TERM="dumb")
    assert "\x1b" not in written
    assert "Creating on the target (2 objects)" in written


def test_without_a_terminal_there_are_neither_bars_nor_colours() -> None:
    done = piped(*MOVE, "--rolling")
    assert "\x1b" not in done.stdout + done.stderr
    assert "Moving 2 units" in done.stdout


def test_what_forces_colours_forces_no_bars() -> None:
    assert not CURSOR.search(piped(*MOVE, FORCE_COLOR="1").stdout)


def test_json_is_the_same_on_a_terminal_as_in_a_pipe() -> None:
    def types(text: str) -> list[str]:
        return [json.loads(line)["type"] for line in text.splitlines()]

    assert types(screen(*MOVE, "-o", "json")) == types(piped(*MOVE, "-o", "json").stdout)


@pytest.mark.parametrize("flags", [(), ("-o", "json")])
def test_a_move_whose_reader_goes_away_goes_on_to_its_end(flags: tuple[str, ...], tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    file = tmp_path / "metrics"
    done = subprocess.run(
        [*PROGRAM, *MOVE, "--metrics-file", str(file), *flags],
        cwd=ROOT,
        env=environment({}),
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")
    assert 'capi_mover_result{result="done"} 1.0' in file.read_text()
