"""A test that stands still fails with the stacks of everything that it waits for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_STILL = """
import asyncio, subprocess, sys, threading

async def waits_for_a_task():
    await asyncio.Event().wait()

def waits_for_a_thread(done):
    done.wait()

async def test_stands_still():
    done = threading.Event()
    threading.Thread(target=waits_for_a_thread, args=(done,), daemon=True).start()
    program = subprocess.Popen([sys.executable, "-c", "def waits_elsewhere():\\n input()\\nwaits_elsewhere()"],
                               stdin=subprocess.PIPE)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits_for_a_task())
    finally:
        program.kill()
        program.communicate()
"""


def test_a_test_that_stands_still_shows_all_threads_tasks_and_programs(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_timeout_set_timer as _timer\npytest_timeout_set_timer = _timer\n"
    )
    (tmp_path / "test_still.py").write_text(_STILL)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "1", "--timeout", "3", "-o",
               "asyncio_mode=auto", "--rootdir", str(tmp_path), str(tmp_path / "test_still.py")]  # fmt: skip
    said = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert said.returncode == 1, said.stdout + said.stderr
    for name in ("waits_for_a_thread", "waits_for_a_task", "waits_elsewhere", "stands still"):
        assert name in said.stdout, said.stdout
