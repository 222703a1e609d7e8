"""Who holds a lease: the host, process and work that its holderIdentity names, and whether they are gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_at_work: set[str] = set()
"""What tells apart the leases that this process holds."""


def this_holder() -> str:
    """Returns who we are: host, process and the time the process started, so that a reused pid is not mistaken."""
    return f"{_host()}/{os.getpid()}/{started(os.getpid())}"


def begin_work(work: str) -> None:
    """Notes that this process holds a lease under that name of its work, or tries to."""
    _at_work.add(work)


def end_work(work: str) -> None:
    """Notes that it does not any more."""
    _at_work.discard(work)


def is_gone(holder: str) -> bool:
    """Returns whether a holder is known to be gone.

    It ran on this host, and its process does not run any more; or it is this process, which has given it up without
    reaching the cluster.
    """
    host, pid, since, work = _parts(holder)
    if host != _host() or not pid.isdigit():
        return False
    if started(int(pid)) != since:
        return True
    return int(pid) == os.getpid() and bool(work) and work not in _at_work


def is_at_work(holder: str) -> bool:
    """Returns whether a holder is this very process, and at work."""
    return holder.startswith(f"{this_holder()}/") and _parts(holder)[3] in _at_work


def started(pid: int) -> str:
    """Returns when a process was started, in clock ticks since boot; "" if none runs under that pid."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _parts(holder: str) -> tuple[str, str, str, str]:
    host, pid, since, work = (*holder.split("/"), "", "", "")[:4]
    return host, pid, since, work


def _host() -> str:
    """Returns what names a host and what it counts processes in: containers may share a name, but no pids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
        return f"{socket.gethostname()}.{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()
