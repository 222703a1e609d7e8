"""Runs one program and writes what it used to a file: `launcher.py REPORT PROGRAM [ARGUMENT ...]`.

A small program of its own, because to the kernel the largest memory of a program begins with that of the one that
started it: a child of the benchmarks themselves would seem as large as they are.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path


def main(report: Path, command: list[str]) -> None:
    """Runs the program to its end; it does not outlive this one."""
    libc, own_pid = ctypes.CDLL(None), os.getpid()
    started = time.perf_counter()
    pid = os.fork()
    if not pid:
        if sys.platform == "linux":
            libc.prctl(1, signal.SIGKILL)  # the request for a signal at the death of the parent survives exec
        if os.getppid() == own_pid:
            os.execv(command[0], command)
        os._exit(1)
    _, status, usage = os.wait4(pid, 0)
    used = {
        "wall_s": time.perf_counter() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "status": os.waitstatus_to_exitcode(status),
    }
    report.write_text(json.dumps(used))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
