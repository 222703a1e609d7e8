"""Tests of the checks as a whole: their names, leaving them out, warnings, and how they are told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from graph import rules
from mover.checks import Findings, check_move
from mover.checks.registry import BEFORE_ALL, CHECKS, check_plan, require_skippable
from mover.errors import ForbiddenError, Problem, RefusedError, UsageError
from mover.models import MoveOptions
from mover.preflight_report import Told, lines, report_json
from tests.unit.mover_builders import Stage, make, plan_of
from tests.unit.scripted_server import failure

DOCS = Path(__file__).parents[2] / "docs" / "preflight.md"


def test_names_are_unique_and_every_check_says_why_it_matters() -> None:
    names = [check.name for check in CHECKS] + [name for name, _, _ in BEFORE_ALL]
    assert len(names) == len(set(names))
    assert all(check.question.endswith(("?", ".")) and check.why.endswith(".") for check in CHECKS)


def test_the_documentation_lists_every_check_and_which_are_never_skipped() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| (yes|no) \|$", DOCS.read_text(), re.MULTILINE)
    wanted = [(name, "no") for name, _, _ in BEFORE_ALL]
    assert rows == wanted + [(check.name, "no" if check.guards else "yes") for check in CHECKS]


@pytest.mark.parametrize("name", [check.name for check in CHECKS])
def test_what_guards_against_loss_is_never_left_out(name: str) -> None:
    check = next(check for check in CHECKS if check.name == name)
    if not check.guards:
        require_skippable([name])
        return
    with pytest.raises(UsageError, match=f"The check {name} is never skipped"):
        require_skippable([name])


def test_a_check_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(UsageError, match=r"no check nonsense(?s:.*)rollout"):
        require_skippable(["nonsense"])


UNPROVISIONED = make(rules.CLUSTER, "c", spec={"paused": True})


async def found(**options: Any) -> Findings:
    """Checks a Cluster that is paused, not provisioned, and there already."""
    stage = Stage(UNPROVISIONED)
    stage.target.put(UNPROVISIONED)
    clusters = stage.clusters()
    return await check_move(clusters.source, clusters.target, plan_of(UNPROVISIONED), MoveOptions(**options))


def names(problems: tuple[Problem, ...]) -> list[str]:
    return [problem.check for problem in problems]


async def test_a_check_that_is_left_out_finds_nothing_and_is_told() -> None:
    assert names((await found()).problems) == ["collisions", "provisioned", "paused"]
    without = await found(skip=("provisioned",))
    assert names(without.problems) == ["collisions", "paused"]
    assert without.skipped == ("provisioned",)
    assert "provisioned" not in without.checked


async def test_with_warn_only_what_guards_against_loss_stays_a_problem() -> None:
    told = await found(warn_only=True)
    assert names(told.problems) == ["collisions"]
    assert names(told.warnings) == ["provisioned", "paused"]


async def test_a_check_that_may_not_look_says_so() -> None:
    stage = Stage()
    stage.source.before = lambda request: failure(403, "Forbidden") if "deployments" in request.path else None
    clusters = stage.clusters()
    host = make(rules.BARE_METAL_HOST, "h", status={"provisioning": {"state": "available"}})
    told = await check_move(clusters.source, clusters.target, plan_of(host), MoveOptions())
    (warning,) = told.warnings
    assert warning.check == "operators"
    assert "could not be checked" in warning.what
    assert "--skip operators" in warning.remedy


async def test_who_may_not_even_read_the_target_is_told_all_rights_that_are_missing() -> None:
    stage = Stage()
    stage.target.before = lambda request: failure(403, "Forbidden") if request.path.endswith("/clusters") else None
    stage.target.denied = {("list", "clusters"), ("create", "clusters")}
    clusters = stage.clusters()
    told = await check_move(clusters.source, clusters.target, plan_of(make(rules.CLUSTER, "c")), MoveOptions())
    (problem,) = told.problems
    assert (problem.check, problem.cluster) == ("permissions", "target")
    assert "create, list" in problem.what


async def test_a_target_that_refuses_what_its_rules_allow_is_an_error() -> None:
    stage = Stage()
    stage.target.before = lambda request: failure(403, "Forbidden") if request.path.endswith("/clusters") else None
    clusters = stage.clusters()
    with pytest.raises(ForbiddenError):
        await check_move(clusters.source, clusters.target, plan_of(make(rules.CLUSTER, "c")), MoveOptions())


def test_checks_of_the_plan_alone_tell_no_warnings() -> None:
    assert {problem.check for problem in check_plan(plan_of(UNPROVISIONED), MoveOptions())} == {"provisioned", "paused"}
    assert check_plan(plan_of(UNPROVISIONED), MoveOptions(skip=("provisioned", "paused"))) == []


PROBLEM = Problem("rollout", "source", "Machine ns/m", "it is being remediated", "Wait")
WARNING = Problem("clocks", "target", "clock", "it is late", "Set it", is_warning=True)


def test_problems_are_told_with_their_question_why_it_matters_and_what_to_do() -> None:
    told = list(lines(Told([PROBLEM], [WARNING], ["rollout", "clocks"], ["sizes"], 7)))
    assert told[0].startswith("PROBLEM rollout: Is nothing rolled out, scaled or remediated? Half of the machines")
    assert told[1:3] == ["  - source: Machine ns/m: it is being remediated", "    Wait"]
    assert told[4].startswith("WARNING clocks: ")
    assert told[-2] == "Left out: sizes"
    assert told[-1] == "2 checks of 7 objects: 1 problems, 1 warnings; the move would be refused. Nothing was changed."


def test_nothing_found_is_told_as_such() -> None:
    assert list(lines(Told([], [], ["rollout"], [], 7))) == [
        "1 checks of 7 objects: 0 problems, 0 warnings; the move can begin. Nothing was changed."
    ]


def test_the_same_for_programs() -> None:
    value = report_json(Told([PROBLEM], [WARNING], ["rollout"], [], 7))
    assert value["ready"] is False
    assert value["problems"] == [
        {
            "check": "rollout",
            "severity": "error",
            "cluster": "source",
            "object": "Machine ns/m",
            "what": "it is being remediated",
            "why": "Half of the machines would be made by one side, half by the other.",
            "remedy": "Wait",
        }
    ]
    assert value["warnings"][0]["severity"] == "warning"


def test_a_refusal_lists_everything() -> None:
    assert str(RefusedError([PROBLEM])).endswith("  - source: Machine ns/m: it is being remediated. Wait")
