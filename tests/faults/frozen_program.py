"""A mover that stops itself (SIGSTOP) right before one of its writes, and tells how it ended once it was let go on.

    python -m tests.faults.frozen_program SOURCE TARGET NAMESPACE LEASE_S PHASE NUMBER

It stops before write NUMBER, counted from 0, of those that it makes once the phase has begun; writes of leases are left
out. It ends with a line of JSON: the class of its error, the error, and how many writes it has sent since.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from mover.api import ClusterRef, move_async
from mover.errors import MoverError
from mover.events import Event, PhaseStarted
from mover.kube.transport import Request, Transport
from mover.models import MoveOptions, Phase


class _Stopper:
    """Counts the writes of the program, and stops it before one of them."""

    def __init__(self, phase: Phase, number: int) -> None:
        self.sent_after = 0
        self._phase = phase
        self._left = number
        self._has_begun = False
        self._has_stopped = False

    def __call__(self, event: Event) -> None:
        """Notes that the phase has begun."""
        self._has_begun = self._has_begun or (isinstance(event, PhaseStarted) and event.phase is self._phase)

    def install(self) -> None:
        """Has all writes pass here, before it is asked whether they may be sent."""
        allowed_s = Transport.allowed_s

        async def stopping(link: Transport, request: Request) -> float:
            is_own = request.is_write and not request.is_of_lease
            if is_own and self._has_begun and not self._has_stopped:
                self._left -= 1
                if self._left < 0:
                    self._has_stopped = True
                    os.kill(os.getpid(), signal.SIGSTOP)
            allowed = await allowed_s(link, request)
            self.sent_after += is_own and self._has_stopped
            return allowed

        Transport.allowed_s = stopping  # type: ignore[method-assign, assignment]


async def _run(arguments: list[str]) -> None:
    source, target, namespace, lease_s, phase, number = arguments
    stopper = _Stopper(Phase(phase), int(number))
    stopper.install()
    origin, goal = (ClusterRef(Path(file), lease_s=float(lease_s)) for file in (source, target))
    end: dict[str, object] = {"error": "", "text": ""}
    try:
        await move_async(origin, goal, MoveOptions(namespace=namespace, quiet_s=0.1), stopper)
    except MoverError as error:
        end = {"error": type(error).__name__, "text": error.paragraph()}
    sys.stdout.write(json.dumps({**end, "sent_after": stopper.sent_after}) + "\n")


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1:]))
