"""Doubles of Metal3's controllers, which are in no package registry: small, with the rules that a move depends on.

They do to objects what the controllers do, and note in a journal what these would have done to the machines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from tests.testbed.client import AdminClient
from tests.testbed.doubles.bmo import HostOperator
from tests.testbed.doubles.capm3 import MachineController
from tests.testbed.doubles.journal import Action, Entry, Journal

__all__ = ["Action", "Controllers", "Entry", "HostOperator", "Journal", "MachineController"]

SETTLE_TIMEOUT_S = 60.0


class Controllers:
    """Metal3's controllers on both clusters of a move, from `async with` to its end, with one journal.

    Args:
        source: A client of the source.
        target: A client of the target.
        latency_s: How long each action and each reaction takes, in seconds.
        namespaces: The namespaces to look at; all if None.
        uses_block_move: Whether CAPM3 puts `block-move` on claimed hosts while they are not paused.

    Attributes:
        journal: What was done to machines and addresses; the clusters are called "source" and "target" in it.

    Example:
        >>> async with Controllers(source, target) as controllers:
        ...     await move()
        ...     await controllers.settled()
        >>> assert not controllers.journal.harm()
    """

    def __init__(
        self,
        source: AdminClient,
        target: AdminClient,
        *,
        latency_s: float = 0.05,
        namespaces: Collection[str] | None = None,
        uses_block_move: bool = False,
    ) -> None:
        self.journal = Journal()
        self._running = [
            controller
            for cluster, client in (("source", source), ("target", target))
            for controller in (
                HostOperator(client, self.journal, cluster=cluster, latency_s=latency_s, namespaces=namespaces),
                MachineController(
                    client,
                    self.journal,
                    cluster=cluster,
                    latency_s=latency_s,
                    namespaces=namespaces,
                    uses_block_move=uses_block_move,
                ),
            )
        ]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for controller in self._running:
                await stack.enter_async_context(controller)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def settled(self, timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Returns when no controller has anything left to do.

        Raises:
            TimeoutError: They still write to each other's objects after `timeout_s` seconds.
        """
        async with asyncio.timeout(timeout_s):
            before = await self._versions()
            while (now := await self._versions()) != before:
                before = now

    async def _versions(self) -> list[Mapping[str, int]]:
        return [await controller.caught_up() for controller in self._running]
