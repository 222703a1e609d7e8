"""Moving the units of a plan: so many at once, each with its own record, failing and undone by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from graph.resource import Object
from graph.rules import CLUSTER
from graph.unit import Unit, units
from mover.checks import Findings, check_unit
from mover.choices import UnitOrder
from mover.discovery import again, find_type
from mover.errors import MoverError, RefusedError, StoppedError, SupersededError
from mover.events import (
    Event,
    InUnit,
    Listener,
    Noted,
    ObjectDone,
    PhaseEnded,
    PhaseStarted,
    RollingStarted,
    UnitEnded,
    UnitStarted,
    Waiting,
)
from mover.execute.copying import create_namespaces, missing_namespaces
from mover.execute.forward import Outcome
from mover.execute.run import Claims, Clusters, InterruptedMoveError, RolledBackError, begin, claimed, require_alone
from mover.kube import Live, LiveCluster
from mover.models import MoveOptions, RollingOptions, UnitFate, UnitReport
from mover.planning import Plan, make_plan
from mover.rolling.queue import UnitQueue
from mover.rolling.world import World
from mover.scope import described, scope_of

Move = Callable[[Listener], Awaitable[Outcome]]
"""Moves a unit and tells of it."""


async def roll(
    clusters: Clusters, plan: Plan, options: MoveOptions, rolling: RollingOptions, listener: Listener
) -> tuple[UnitReport, ...]:
    """Moves what a plan selects unit by unit, then all that is left, and returns what became of each.

    Args:
        clusters: The source and the target.
        plan: The whole of what moves, accepted by the preflight; its rules name what the target has already.
        options: Of each unit's move.
        rolling: How many at once, and in which order.
        listener: Told of units, and of what the operator should know of each.

    Raises:
        LeaseHeldError: Another mover works on the same objects.
        StoppedError: Stopped by a signal; the units that were at work are undone or can be resumed.
        SupersededError: Another program has taken over; nothing more is done to any unit.
    """
    async with AsyncExitStack() as stack:
        claims = await stack.enter_async_context(claimed(clusters, plan.scope, listener))
        await require_alone(clusters, plan.scope)
        # Made by no unit: one that is undone would take it away from under the others.
        missing = await missing_namespaces(clusters.target, plan)
        await create_namespaces(clusters.source, clusters.target, plan, missing)
        types = plan.inventory.types
        source = await stack.enter_async_context(Live(clusters.source, plan.inventory.namespace, types))
        goal = plan.inventory.namespace if options.to_namespace is None else options.to_namespace
        target = await stack.enter_async_context(Live(clusters.target, goal, types))
        work = _Roll(clusters, (source, target), claims, plan, options, listener)
        return await work.run(rolling)


class _Roll:
    """One rolling move."""

    def __init__(
        self,
        clusters: Clusters,
        lives: tuple[Live, Live],
        claims: Claims,
        plan: Plan,
        options: MoveOptions,
        listener: Listener,
    ) -> None:
        self._clusters = clusters
        self._lives = lives
        self._claims = claims
        self._plan = plan
        self._options = options
        self._listener = listener
        self._units = units(plan.selection)
        self._ended: list[UnitReport] = []

    async def run(self, rolling: RollingOptions) -> tuple[UnitReport, ...]:
        """Moves everything and returns what became of it."""
        found = in_order(self._units, self._plan, rolling.order)
        queue = UnitQueue(found, self._plan.rules.brought)
        self._listener(RollingStarted(len(found)))
        try:
            workers = min(rolling.parallel, len(found))
            await _to_their_end([self._work(queue, rolling) for _ in range(workers)], queue.stop)
        except asyncio.CancelledError as error:
            if self._claims.are_anothers:
                raise
            raise self._stopped(queue) from error
        if self._claims.target.lost is not None:
            raise self._stopped(queue) from self._claims.target.lost
        skipped = [
            UnitReport(namespace=unit.namespace, clusters=unit.names, fate=UnitFate.NOT_BEGUN) for unit in queue.waiting
        ]
        all_moved = not skipped and all(report.fate is UnitFate.MOVED for report in self._ended)
        if all_moved and self._plan.rules.clusters is None:
            await self._move_rest()
        return (*self._ended, *skipped)

    async def _work(self, queue: UnitQueue, rolling: RollingOptions) -> None:
        """Moves one unit after the other; a cancelled worker undoes its unit and takes no other."""
        try:
            while (unit := await queue.take()) is not None:
                report = await self._reported(
                    scope_of(unit.namespace, unit.names), unit, len(unit.objects), self._mover(unit, queue)
                )
                queue.done(unit, moved=report.fate is UnitFate.MOVED)
                if (rolling.fail_fast and report.fate is not UnitFate.MOVED) or self._claims.target.lost is not None:
                    queue.stop()
        except BaseException:
            # Its unit is not done, and others may be waiting for that.
            queue.stop()
            raise

    def _mover(self, unit: Unit, queue: UnitQueue) -> Move:
        """Returns what moves a unit; it reads and judges the unit anew when it begins."""
        world = World(unit, self._plan.selection.graph)
        source, target = self._lives
        clusters = Clusters(LiveCluster(source, world.on_source), LiveCluster(target, world.on_target))
        needed = queue.needed_by_others(unit)

        async def move(listener: Listener) -> Outcome:
            rules = replace(
                self._plan.rules,
                clusters=unit.clusters,
                hosts=unit.hosts,
                shared=unit.shared if await self._have_others_come() else needed,
                brought=self._plan.rules.brought | unit.shared,
            )
            known = replace(self._plan.inventory, namespace=unit.namespace, objects=())
            plan = make_plan(await again(clusters.source, known), rules)
            return await self._carry_out(clusters, await check_unit(clusters.target, plan, self._options), listener)

        return move

    async def _have_others_come(self) -> bool:
        """Returns whether there are Clusters on the source that were not there: they may use what units share."""
        resource = find_type(self._plan.inventory.types, CLUSTER)
        if resource is None:
            return False
        found = await LiveCluster(self._lives[0], lambda _: True).list(resource, self._plan.inventory.namespace)
        return any(obj.uid not in self._plan.selection.graph.objects for obj in found.objects)

    async def _move_rest(self) -> None:
        """Moves what belongs to no unit, and what something of it shared with them."""
        try:
            findings = await self._rest()
        except MoverError as error:
            namespace = self._plan.inventory.namespace
            refused = UnitReport(namespace=namespace, clusters=(), fate=UnitFate.REFUSED, error=str(error))
            self._ended.append(refused)
            return
        plan = findings.plan
        left = [obj for obj in plan.selection.selected if obj.uid not in findings.used]

        async def move(listener: Listener) -> Outcome:
            return await self._carry_out(self._clusters, findings, listener)

        if left:
            await self._reported(plan.scope, None, len(left), move)

    async def _rest(self) -> Findings:
        """Returns what is left on the source to move, and what stands against it."""
        known = replace(self._plan.inventory, objects=())
        brought = self._plan.rules.brought.union(*(unit.shared for unit in self._units))
        rules = replace(self._plan.rules, brought=brought)
        plan = make_plan(await again(self._clusters.source, known), rules)
        return await check_unit(self._clusters.target, plan, self._options)

    async def _carry_out(self, clusters: Clusters, findings: Findings, listener: Listener) -> Outcome:
        if findings.problems:
            raise RefusedError(findings.problems)
        return await begin(clusters, self._claims, findings, self._options, listener)

    async def _reported(self, scope: str, unit: Unit | None, total: int, move: Move) -> UnitReport:
        """Returns what became of a unit (None: of the rest); what goes wrong with it goes wrong with no other."""
        self._listener(UnitStarted(scope, total))
        started = time.monotonic()
        known: dict[str, Any]
        try:
            outcome = await move(_told_of(scope, self._listener))
            known = {"fate": UnitFate.MOVED, "objects": outcome.created, "paused_s": outcome.paused_s}
        except SupersededError:
            raise
        except MoverError as error:
            known = {"fate": _fate_after(error), "error": str(error)}
        report = UnitReport(
            namespace=self._plan.inventory.namespace if unit is None else unit.namespace,
            clusters=() if unit is None else unit.names,
            seconds=time.monotonic() - started,
            **known,
        )
        self._listener(UnitEnded(scope, report.fate, report.seconds))
        self._ended.append(report)
        return report

    def _stopped(self, queue: UnitQueue) -> StoppedError:
        counts = ", ".join(
            f"{sum(report.fate is fate for report in self._ended)} {fate}"
            for fate in (UnitFate.MOVED, UnitFate.ROLLED_BACK, UnitFate.STOPPED)
        )
        lost = self._claims.target.lost
        return StoppedError(
            f"{'Stopped by a signal' if lost is None else lost.what}. Units: {counts}, {len(queue.waiting)} not begun",
            "Give the same command again to go on",
        )


def in_order(found: Iterable[Unit], plan: Plan, order: UnitOrder) -> list[Unit]:
    """Returns the units in the order that is asked for; those of equal rank by name."""

    def rank(unit: Unit) -> tuple[float, str]:
        if order is UnitOrder.SIZE:
            return len(unit.objects), ""
        if order is UnitOrder.AGE:
            clusters = (obj for obj in map(plan.selection.graph.by_key, unit.clusters) if obj is not None)
            return 0, min(map(_created, clusters))
        return 0, ""

    return sorted(found, key=rank)


def _created(obj: Object) -> str:
    """Returns when an object was created (RFC 3339, UTC: the strings are in the order of the times)."""
    return obj.body()["metadata"].get("creationTimestamp") or ""


def _fate_after(error: MoverError) -> UnitFate:
    if isinstance(error, RolledBackError):
        return UnitFate.ROLLED_BACK
    return UnitFate.STOPPED if isinstance(error, InterruptedMoveError) else UnitFate.REFUSED


def _told_of(scope: str, listener: Listener) -> Listener:
    """Returns a listener for one unit: its steps are told as steps of that unit, many go at once."""

    def tell(event: Event) -> None:
        match event:
            case Noted(text):
                listener(Noted(f"{described(scope)}: {text}"))
            case PhaseStarted() | ObjectDone() | Waiting() | PhaseEnded():
                listener(InUnit(scope, event))

    return tell


async def _to_their_end(works: Iterable[Coroutine[Any, Any, None]], stop: Callable[[], None]) -> None:
    """Waits for all of them; when it is cancelled they are, once, and what they do about that is waited for.

    `stop` is called before: a worker that has undone its unit does not know any more that it was cancelled.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await _wait(tasks)
    except asyncio.CancelledError:
        stop()
        for task in tasks:
            task.cancel()
        await _wait(tasks)
        raise
    for task in tasks:
        task.result()


async def _wait(tasks: list[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks)
