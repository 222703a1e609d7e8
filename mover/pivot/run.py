"""A pivot from its first step to its last.

Order, on which the rest rests: Ironic leaves the source before anything else changes, so that nothing there can act
on a host; the source's operator stays until the move is done, since its webhook has to answer the pause; Ironic and the
operator run on the target before it is given a host.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from mover.api import ClusterRef
from mover.api.places import opened
from mover.errors import MoverError, RefusedError, StoppedError, SupersededError, UsageError, VerificationError
from mover.events import Listener, Noted, ignore
from mover.execute.journal import read_record
from mover.kube import Cluster
from mover.models import MoveReport
from mover.pivot import steps
from mover.pivot.choices import Step
from mover.pivot.kubeconfig import find_kubeconfig, private_file
from mover.pivot.memory import Recalled, recall, require_same
from mover.pivot.models import Outcome, PivotOptions, PivotReport, StepReport
from mover.pivot.scene import Place, Scene, Todo, look_around, scope_of

Look = Callable[[], Awaitable[Todo]]


class PivotStoppedError(StoppedError):
    """A pivot stopped at a step after something may have been changed; run again, it goes on from there.

    Attributes:
        step: The step it stopped at.
        cause: What it failed with.
    """

    def __init__(self, step: Step, cause: BaseException) -> None:
        why = "Stopped by a signal" if isinstance(cause, asyncio.CancelledError) else str(cause)
        super().__init__(f"{why}\nThe pivot stopped at the step {step}", "Go on with the same command")
        self.step = step
        self.cause = cause
        if isinstance(cause, MoverError) and cause.exit_code == VerificationError.exit_code:
            self.exit_code = cause.exit_code


async def pivot(
    source: ClusterRef, target: ClusterRef | None, options: PivotOptions | None = None, listener: Listener = ignore
) -> PivotReport:
    """Moves a cluster's objects from `source` to `target`, with Ironic and the baremetal-operator around it.

    Run again after an interruption it goes on: every step looks at what it finds.

    Args:
        source: Where the objects are; on the way back the cluster itself.
        target: Where they go; None for the cluster that the kubeconfig Secret on the source leads to.
        options: What to do, and how.
        listener: Told of every step (Noted) and of the move, in the event loop's thread.

    Raises:
        UsageError: A kubeconfig, context, namespace or Cluster is not there; nothing was changed.
        RefusedError: Something stands against the pivot; nothing was changed.
        PivotStoppedError: It stopped on its way, and can be gone on with.
        ApiError: A cluster refused a request before anything was changed.
    """
    options = options or PivotOptions()
    progress = _Progress(options, listener)
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(opened("source", source, listener))
        recalled = await _recalled(origin, options, listener)
        place = await _find_target((origin, target), recalled, options, progress, stack)
        goal = await stack.enter_async_context(opened("target", place.ref, listener))
        scene = await look_around((origin, goal), (source, place.ref), (place, recalled), options, listener)
        moves = await _run(scene, progress)
        return PivotReport(
            source=origin.context,
            target=goal.context,
            namespace=scene.scope,
            steps=tuple(progress.reports),
            move=moves[0] if moves else None,
            problems=tuple(progress.problems),
        )


async def _recalled(source: Cluster, options: PivotOptions, listener: Listener) -> Recalled | None:
    """Returns what an interrupted pivot has left, and says so before anything is done.

    Raises:
        StoppedError: It is not what a pivot writes, or it was asked for something else.
    """
    recalled = await recall(source, scope_of(source, options))
    if recalled is not None:
        require_same(recalled, options)
        listener(Noted(recalled.told()))
    return recalled


async def _find_target(
    ends: tuple[Cluster, ClusterRef | None],
    recalled: Recalled | None,
    options: PivotOptions,
    progress: _Progress,
    stack: AsyncExitStack,
) -> Place:
    """Returns the way to the target; its kubeconfig is in a private file for as long as `stack` is open."""
    source, target = ends
    if target is not None:
        progress.end(Step.KUBECONFIG, Outcome.FOUND_DONE, ("the target is given",))
        return Place(target)
    if options.back or options.skips(Step.KUBECONFIG):
        why = "The kubeconfig Secret of a Cluster leads to the cluster itself" if options.back else "No target is given"
        raise UsageError(why, "Give the target with --to-kubeconfig")
    scope = scope_of(source, options)
    memory = recalled.memory if recalled else None
    is_moving = await read_record(source, scope) is not None
    found = await find_kubeconfig(source, scope, options.cluster, memory, is_moving=is_moving)
    path = stack.enter_context(private_file(found.text))
    progress.end(
        Step.KUBECONFIG,
        Outcome.DONE,
        (f"the target is the Cluster {found.cluster} at {found.server} ({found.origin})",),
    )
    ref = ClusterRef(path, records_namespace=source.records_namespace)
    return Place(ref, found.cluster, found.text)


async def _run(scene: Scene, progress: _Progress) -> list[MoveReport]:
    """Runs all steps after the first; returns the report of the move, if there was one."""
    moves: list[MoveReport] = []
    await progress.run(Step.CHECK, partial(steps.look_check, scene))
    await progress.run(Step.STOP_IRONIC, partial(steps.look_stop_ironic, scene))
    await progress.run(Step.START, partial(steps.look_start, scene))
    await progress.run(Step.STABLE, partial(steps.look_stable, scene))
    await progress.run(Step.MOVE, partial(steps.look_move, scene, moves))
    await progress.run(Step.STOP_OPERATOR, partial(steps.look_stop_operator, scene))
    await progress.run(Step.VERIFY, partial(steps.look_verify, scene))
    if not scene.options.dry_run and not scene.options.skips(Step.MOVE):
        await steps.forget_all(scene)
    return moves


class _Progress:
    """Runs steps, and keeps and tells what became of them.

    Attributes:
        reports: One for each step so far.
        problems: What a dry run found against the pivot.
    """

    def __init__(self, options: PivotOptions, listener: Listener) -> None:
        self.reports: list[StepReport] = []
        self.problems: list[str] = []
        self._options = options
        self._listener = listener

    async def run(self, step: Step, look: Look) -> None:
        """Looks what is to be done and does it.

        Raises:
            RefusedError: Something stands against going on.
            PivotStoppedError: A step failed after the first check.
        """
        if self._options.skips(step):
            self.end(step, Outcome.SKIPPED, ())
            return
        if step is Step.CHECK or self._options.dry_run:
            await self._run(step, look)
            return
        try:
            await self._run(step, look)
        except SupersededError:
            raise
        except (MoverError, asyncio.CancelledError) as error:
            raise PivotStoppedError(step, error) from error

    async def _run(self, step: Step, look: Look) -> None:
        started = time.monotonic()
        todo = await look()
        self._refuse(todo)
        if todo.act is None:
            self.end(step, Outcome.FOUND_DONE, todo.lines)
        elif self._options.dry_run:
            self.end(step, Outcome.PLANNED, todo.lines)
        else:
            self._tell(step, todo.lines)
            await todo.act()
            self._keep(
                StepReport(step=step, outcome=Outcome.DONE, lines=todo.lines, seconds=time.monotonic() - started)
            )

    def _refuse(self, todo: Todo) -> None:
        if todo.problems and not self._options.dry_run:
            raise RefusedError(todo.problems)
        self.problems += map(str, todo.problems)
        for problem in todo.problems:
            self._listener(Noted(f"This would be refused: {problem}"))

    def end(self, step: Step, outcome: Outcome, lines: tuple[str, ...]) -> None:
        """Keeps and tells what became of a step that took no time."""
        self._tell(step, lines)
        self._keep(StepReport(step=step, outcome=outcome, lines=lines))

    def _tell(self, step: Step, lines: tuple[str, ...]) -> None:
        for line in lines:
            self._listener(Noted(f"{step}: {line}"))

    def _keep(self, report: StepReport) -> None:
        self.reports.append(report)
        took = f" in {report.seconds:.1f} s" if report.outcome is Outcome.DONE else ""
        self._listener(Noted(f"{report.step}: {report.outcome}{took}"))
