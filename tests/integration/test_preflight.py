"""What the preflight finds out about the objects that are to move, between two real API servers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graph import rules
from graph.resource import ObjectKey
from mover.api import move_async, preflight_async
from mover.checks.registry import CHECKS
from mover.errors import RefusedError
from tests.integration import preflight_cases as cases
from tests.integration import test_preflight_refusals as refusals
from tests.integration import test_preflight_servers as servers
from tests.integration.preflight_cases import CASES
from tests.integration.preflight_scene import Case, Scene, assert_found, make_scene
from tests.testbed.pair import Pair

REPOSITORY = Path(__file__).parents[2]
PROGRAM = "from mover.cli import main; main()"
TIMEOUT_S = 60.0


ELSEWHERE = {"permissions", "clocks", "versions"}
"""In tests of their own; an older Kubernetes is not to be had at a low price, so `versions` never finds anything."""


def test_every_check_has_a_case() -> None:
    made = {case.check for case in (*CASES, *refusals.CASES, *servers.CASES)}
    assert made | ELSEWHERE == {check.name for check in CHECKS}
    assert not made & ELSEWHERE


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_what_is_wrong_with_an_object_is_found_and_nothing_else(case: Case, pair: Pair, namespace: str) -> None:
    await assert_found(case, pair, namespace)


async def test_what_is_named_is_taken_along_on_request_and_stays_as_well(pair: Pair, namespace: str) -> None:
    scene = await make_scene(pair, namespace)
    async with cases.NAMED(scene):
        asked = replace(scene, options=scene.options.model_copy(update={"include_referenced": True}))
        found = await preflight_async(asked.source, asked.target, asked.options)
        assert (found.problems, found.warnings) == ((), ())
        named = ObjectKey(*rules.SECRET, namespace, cases.SECRET_NOBODY_OWNS)
        assert [obj.key for obj in found.plan.selection.kept] == [named]
        await move_async(asked.source, asked.target, asked.options)
    source, target = await pair.source_objects(namespace), await pair.target_objects(namespace)
    assert named in source
    assert target[named].body()["data"] == source[named].body()["data"]
    assert set(scene.fleet.movable) | {named} == set(target)


async def _program(scene: Scene, *flags: str) -> tuple[int, Any, str]:
    """Returns how `capi-mover preflight` ended: its exit code, what it printed for machines, what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", PROGRAM, "preflight", "-n", scene.namespace, "-o", "json", *flags),
        *("--kubeconfig", str(scene.source.kubeconfig), "--to-kubeconfig", str(scene.target.kubeconfig)),
        env={name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ},
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        printed, said = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, json.loads(printed) if printed else None, said.decode()


MANY = {
    "collisions",
    "outside-owners",
    "left-dependents",
    "references",
    "provisioned",
    "deleting",
    "rollout",
    "hosts",
    "paused",
    "block-move",
    "cycles",
    "paused-objects",
}


def _first_of_each() -> list[Case]:
    first: dict[str, Case] = {}
    for case in CASES:
        if case.check in MANY:
            first.setdefault(case.check, case)
    return list(first.values())


async def test_all_that_is_wrong_is_told_at_once_and_a_move_refuses_with_the_same(pair: Pair, namespace: str) -> None:
    scene = await make_scene(pair, namespace)
    async with AsyncExitStack() as stack:
        for case in _first_of_each():
            await stack.enter_async_context(case.spoil(scene))
        before = await scene.versions()
        code, told, said = await _program(scene)
        assert (code, said) == (3, "")
        found = await preflight_async(scene.source, scene.target, scene.options)
        with pytest.raises(RefusedError) as caught:
            await move_async(scene.source, scene.target, scene.options)
        assert await scene.versions() == before
    assert not told["ready"]
    assert {one["check"] for one in told["problems"] + told["warnings"]} == MANY
    assert len({one["check"] for one in told["problems"]}) >= 10
    assert all(one["why"] and one["remedy"] and one["severity"] == "error" for one in told["problems"])
    assert [(one["check"], one["object"]) for one in told["problems"]] == [
        (problem.check, problem.subject) for problem in found.problems
    ]
    assert caught.value.problems == found.problems


async def test_a_check_is_left_out_or_only_warns_unless_it_guards_against_loss(pair: Pair, namespace: str) -> None:
    scene = await make_scene(pair, namespace)
    async with cases.ROLLING(scene):
        code, told, _ = await _program(scene, "--skip", "rollout")
        assert (code, told["ready"], told["skipped"], told["warnings"]) == (0, True, ["rollout"], [])
        code, told, said = await _program(scene, "--skip", "collisions")
        assert (code, told) == (2, None)
        assert said.startswith("Error: The check collisions is never skipped")
        async with cases.COLLIDING(scene):
            code, told, _ = await _program(scene, "--warn-only")
    assert code == 3
    assert [one["check"] for one in told["problems"]] == ["collisions"]
    assert [one["check"] for one in told["warnings"]] == ["rollout"]
