"""What everything was doing when a test stood still: threads, tasks, and the Python programs that it had started."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

_DUMP_TIMEOUT_S = 10.0


def every_stack() -> str:
    """Returns the stacks of all threads and tasks of this process, and what its descendants were at.

    Those of Python are asked with py-spy; of others the command line is shown.
    """
    parts = [*_threads(), *_tasks(), *(_program(pid) for pid in _descendants(os.getpid()))]
    return "\n".join(parts)


def _threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        yield f"--- thread {names.get(ident, ident)}\n{''.join(traceback.format_stack(frame))}"


def _tasks() -> Iterator[str]:
    loop = asyncio._get_running_loop()
    for task in asyncio.all_tasks(loop) if loop is not None else ():
        text = io.StringIO()
        task.print_stack(file=text)
        yield f"--- task {task.get_name()}\n{text.getvalue()}"


def _descendants(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = children.get(pid, [])
    for child in found:  # grows while it is read
        found.extend(children.get(child, []))
    yield from found


def _program(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return f"--- process {pid} has ended"
    said = _dump(pid) if "python" in Path(words[0]).name else ""
    return f"--- process {pid}: {' '.join(words)[:500]}\n{said}"


def _dump(pid: int) -> str:
    beside = Path(sys.executable).with_name("py-spy")
    program = str(beside) if beside.exists() else shutil.which("py-spy")
    if program is None:
        return "py-spy is not installed\n"
    command = [program, "dump", "--pid", str(pid)]
    try:
        said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_DUMP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"py-spy did not end in {_DUMP_TIMEOUT_S:g} s\n"
    return said.stdout or said.stderr
