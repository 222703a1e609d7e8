"""How many requests a tool makes, and which: counted by the API servers in their audit log.

The tool is a user of its own (`USER`), and the servers write down the requests of that user alone: what the garbage
collector and the benchmark itself ask for is not in it. A request is counted once, also one that is refused or tried
again, when the server is done with it; a watch when it begins.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from tests.testbed import rights
from tests.testbed.client import AdminClient

USER = "benchmarked-tool"
ADMINISTRATORS = "system:masters"
_TIMEOUT_S = 120.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Calls:
    """Requests by verb.

    Attributes:
        by_verb: Verb (get, list, watch, create, update, patch, delete) -> requests. "discovery" is what asks for no
            resource, such as which resources there are.
        rehearsed: The same for requests with dryRun, which change nothing; they are not among the others.
    """

    by_verb: Mapping[str, int]
    rehearsed: Mapping[str, int]


def server_arguments(folder: Path) -> tuple[str, ...]:
    """Returns the flags that make API servers write the tool's requests to one log in the folder."""
    return (
        *rights.audit_arguments(folder, [USER]),
        "--audit-log-mode=batch",  # no request waits until its line is written
        "--audit-log-batch-buffer-size=1000000",  # what does not fit is left out of the log
        "--audit-log-maxsize=1000000",  # one file, however large
    )


def count(lines: Iterable[bytes]) -> Calls:
    """Returns the requests that are in an audit log, whole or in part."""
    plain: Counter[str] = Counter()
    rehearsed: Counter[str] = Counter()
    seen: set[str] = set()
    for line in lines:
        event = orjson.loads(line)
        if event["auditID"] in seen:
            continue
        seen.add(event["auditID"])
        (rehearsed if _is_dry_run(event) else plain)[_verb(event)] += 1
    return Calls(dict(sorted(plain.items())), dict(sorted(rehearsed.items())))


def _verb(event: Mapping[str, Any]) -> str:
    return str(event["verb"]) if event.get("objectRef") else "discovery"


def _is_dry_run(event: Mapping[str, Any]) -> bool:
    return "All" in parse_qs(urlsplit(event["requestURI"]).query).get("dryRun", ())


class AuditLog:
    """The log of the tool's requests to some servers.

    Args:
        folder: The folder that `server_arguments` was given.
        clients: A client of each server that is the tool's user.
    """

    def __init__(self, folder: Path, clients: Sequence[AdminClient]) -> None:
        self._path = folder / "audit.log"
        self._clients = clients

    async def end(self) -> int:
        """Returns the position after the last request so far, when all of them are in the log.

        A last request of our own is looked for: the servers write in the order in which they are done.
        """
        mark = f"mark-{uuid.uuid4()}"
        start = self._path.stat().st_size if self._path.exists() else 0
        for client in self._clients:
            await client.get(f"/version?{mark}")
        # Nothing tells when a line is written.
        async with asyncio.timeout(_TIMEOUT_S):
            while True:
                if self._read(start).count(mark.encode()) == len(self._clients):
                    return self._path.stat().st_size
                await asyncio.sleep(_POLL_S)

    async def calls_since(self, position: int) -> Calls:
        """Returns the requests after a position that `end` has returned."""
        await self.end()
        return count(line for line in self._read(position).splitlines() if b'"/version?mark-' not in line)

    def _read(self, start: int) -> bytes:
        if not self._path.exists():
            return b""
        with self._path.open("rb") as log:
            log.seek(start)
            return log.read()
