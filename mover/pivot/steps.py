"""The steps of a pivot: each looks at what it finds, and says what is left to do.

That is what makes a pivot resumable, and what a dry run shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from graph.resource import Object
from mover.api import move_async
from mover.concurrency import all_of
from mover.models import MoveReport
from mover.pivot.checks import find_problems
from mover.pivot.choices import Step
from mover.pivot.memory import forget, remember
from mover.pivot.places import find_workloads, provider_deployments
from mover.pivot.scene import Scene, Todo
from mover.pivot.stable import wait_stable
from mover.pivot.states import read_stateful, wait_for_states, why_changed
from mover.pivot.workloads import (
    pods_left,
    shown,
    start,
    start_patch,
    stop,
    stop_patch,
    wait_for,
    why_running,
    why_unavailable,
)


async def look_check(scene: Scene) -> Todo:
    """Returns what stands against the pivot."""
    problems = await find_problems(scene)
    return Todo(("both clusters, the providers, Ironic, its operator, the objects",), _nothing, tuple(problems))


async def _nothing() -> None:
    """Looking was all."""


async def look_stop_ironic(scene: Scene) -> Todo:
    """Returns what of Ironic is to be stopped on the source, and what manages it, which must go first."""
    workloads = await find_workloads(scene.source, scene.options)
    return await _look_stop(scene, workloads.ironic_parts)


async def look_stop_operator(scene: Scene) -> Todo:
    """Returns whether the baremetal-operator is to be stopped on the source."""
    operator = (await find_workloads(scene.source, scene.options)).operator
    return await _look_stop(scene, (operator,) if operator else ())


async def _look_stop(scene: Scene, parts: tuple[Object, ...]) -> Todo:
    left = await all_of(_is_left(scene, part) for part in parts)
    if not any(left):
        return Todo(tuple(f"{part.key} is stopped already" for part in parts) or ("there is nothing to stop",))
    lines = tuple(
        f"stop {part.key} ({shown(part)})" if is_left else f"{part.key} is stopped already"
        for part, is_left in zip(parts, left, strict=True)
    )
    return Todo(lines, partial(_stop_all, scene, parts))


async def _is_left(scene: Scene, part: Object) -> bool:
    return bool(stop_patch(part) or why_running(part) or await pods_left(scene.source, part))


async def _stop_all(scene: Scene, parts: Iterable[Object]) -> None:
    """Stops one after the other: an operator that still runs would start again what it manages."""
    for part in parts:
        await stop(scene.source, part, scene.options.timeout_s, scene.listener)


async def look_start(scene: Scene) -> Todo:
    """Returns what of Ironic and the operator is to be started on the target, or waited for."""
    parts = (await find_workloads(scene.target, scene.options)).all_parts
    lines = tuple(map(_start_line, parts)) or ("there is nothing to start",)
    if not any(start_patch(part) or why_unavailable(part) for part in parts):
        return Todo(lines)
    return Todo(lines, partial(_start_all, scene, parts))


def _start_line(part: Object) -> str:
    if start_patch(part):
        return f"start {part.key} ({shown(part)})"
    why = why_unavailable(part)
    return f"wait for {part.key}: {why}" if why else f"{part.key} runs already"


async def _start_all(scene: Scene, parts: tuple[Object, ...]) -> None:
    for part in parts:
        await start(scene.target, part)
    await wait_for(scene.target, parts, why_unavailable, scene.options.timeout_s, scene.listener)


async def look_stable(scene: Scene) -> Todo:
    """Returns what is waited for on the target."""
    line = f"the target's Deployments are available, and both API servers ready for {scene.options.stable_s:g} s on end"
    return Todo((f"wait until {line}",), partial(_wait_stable, scene))


async def _wait_stable(scene: Scene) -> None:
    options = scene.options
    providers = [obj for found in (await provider_deployments(scene.target)).values() for obj in found]
    own = () if options.skips(Step.START) else (await find_workloads(scene.target, options)).all_parts
    awaited = {obj.key: obj for obj in (*providers, *own) if start_patch(obj) is None}
    parts = sorted(awaited.values(), key=lambda obj: obj.key)
    await wait_for(scene.target, parts, why_unavailable, options.timeout_s, scene.listener)
    await wait_stable((scene.source, scene.target), options.stable_s, options.timeout_s)


async def look_move(scene: Scene, reports: list[MoveReport]) -> Todo:
    """Returns whether there is something to move; the report of the move goes to `reports`."""
    moved = scene.plan.selection.moved
    if scene.record is not None:
        line = f"finish the move {scene.record.id}, interrupted in the phase {scene.record.phase}"
    elif moved:
        line = f"move {len(moved)} objects"
    else:
        return Todo(("nothing is left on the source",))

    async def act() -> None:
        await remember(scene.source, scene.memory_now(), scene.recalled)
        source, target = scene.refs
        options = scene.options.move.model_copy(update={"namespace": scene.scope})
        reports.append(await move_async(source, target, options, scene.listener))

    return Todo((line,), act)


async def look_verify(scene: Scene) -> Todo:
    """Returns which objects must be on the target in the state they had; the memory goes when they are."""
    states = scene.memory_now().state_map()
    different = [obj for obj in await read_stateful(scene.target, states) if why_changed(obj, states)]
    line = f"{len(states)} hosts, machines and Clusters are in the state they had on the source"
    lines = (f"check that {line}", *(f"{obj.key}: {why_changed(obj, states)}" for obj in different))

    async def act() -> None:
        await wait_for_states(scene.target, states, scene.options.timeout_s, scene.listener)

    return Todo(lines, act)


async def forget_all(scene: Scene) -> None:
    """Removes the memory: the pivot is done."""
    await forget(scene.source, scene.scope)
