"""What stands against a pivot, which steps are done, and how it stops."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from mover.errors import Difference, UsageError, VerificationError
from mover.events import ignore
from mover.pivot.checks import check_ironic_stoppable, check_providers_run, check_target
from mover.pivot.choices import IRONIC_OPERATOR_PLACE, OPERATOR_PLACE, Step
from mover.pivot.models import Outcome, PivotOptions
from mover.pivot.places import Workloads
from mover.pivot.run import PivotStoppedError, _Progress
from mover.pivot.scene import Todo
from mover.pivot.stable import wait_stable
from mover.pivot.workloads import REPLICAS_ANNOTATION, NotReadyError
from tests.unit.fake_apiserver import FakeApiServer
from tests.unit.scripted_server import answer, failure
from tests.unit.test_pivot_workloads import IRONIC_OWNER, deployment

BMO = deployment("baremetal-operator-controller-manager")
IRONIC = deployment("ironic")
"""Both run."""


def subjects(problems: list[object]) -> list[str]:
    """Returns what the problems are about."""
    return [str(problem.subject) for problem in problems]  # type: ignore[attr-defined]


def test_a_target_with_ironic_and_operator_running_is_good() -> None:
    assert check_target(Workloads((IRONIC,), None, BMO), OPERATOR_PLACE) == []


def test_a_target_whose_ironic_a_pivot_has_stopped_is_good() -> None:
    stopped = deployment("ironic", replicas=0, annotations={REPLICAS_ANNOTATION: "1"})
    assert check_target(Workloads((stopped,), None, BMO), OPERATOR_PLACE) == []


def test_what_is_missing_on_the_target_is_named() -> None:
    problems = check_target(Workloads((), None, None), OPERATOR_PLACE)
    assert subjects([*problems]) == ["Ironic", OPERATOR_PLACE]
    assert all("--skip start" in problem.remedy for problem in problems)


def test_what_somebody_has_stopped_on_the_target_is_named() -> None:
    problems = check_target(Workloads((deployment("ironic", replicas=0),), None, BMO), OPERATOR_PLACE)
    assert [problem.what for problem in problems] == ["it is scaled to 0, and not by a pivot"]


def test_ironic_must_be_found_on_the_source() -> None:
    assert check_ironic_stoppable(Workloads((IRONIC,), None, BMO), IRONIC_OPERATOR_PLACE) == []
    assert subjects([*check_ironic_stoppable(Workloads((), None, BMO), IRONIC_OPERATOR_PLACE)]) == ["Ironic"]
    named = Workloads((), None, BMO, missing=("a/b",))
    assert subjects([*check_ironic_stoppable(named, IRONIC_OPERATOR_PLACE)]) == ["a/b"]


def test_ironic_of_an_operator_that_is_not_found_is_not_stopped() -> None:
    owned = deployment("ironic-service", owners=[IRONIC_OWNER])
    problems = check_ironic_stoppable(Workloads((owned,), None, BMO), "a/irso")
    assert subjects([*problems]) == ["a/irso"]
    assert check_ironic_stoppable(Workloads((owned,), deployment("irso"), BMO), "a/irso") == []


def test_a_provider_must_have_a_deployment_that_is_available() -> None:
    found = {"good": (IRONIC,), "none": (), "bad": (deployment("ironic", availableReplicas=0),)}
    assert subjects([*check_providers_run(found)]) == ["namespace none", str(IRONIC.key)]


def test_what_a_pivot_has_stopped_in_a_providers_namespace_is_not_the_providers() -> None:
    stopped = deployment("ironic", replicas=0, annotations={REPLICAS_ANNOTATION: "1"})
    assert check_providers_run({"shared": (IRONIC, stopped)}) == []


def test_without_the_move_the_operator_stays_and_nothing_is_verified() -> None:
    options = PivotOptions(skip=frozenset({Step.MOVE}))
    assert [step for step in Step if options.skips(step)] == [Step.MOVE, Step.STOP_OPERATOR, Step.VERIFY]


def test_a_place_has_a_namespace_and_a_name() -> None:
    with pytest.raises(ValidationError):
        PivotOptions(operator="baremetal-operator-controller-manager")


async def test_a_step_that_is_skipped_does_not_even_look() -> None:
    progress = _Progress(PivotOptions(skip=frozenset({Step.STABLE})), ignore)

    async def look() -> Todo:
        raise AssertionError

    await progress.run(Step.STABLE, look)
    assert [report.outcome for report in progress.reports] == [Outcome.SKIPPED]


async def test_a_step_without_anything_to_do_is_found_done() -> None:
    progress = _Progress(PivotOptions(), ignore)

    async def look() -> Todo:
        return Todo(("all is well",))

    await progress.run(Step.STABLE, look)
    assert [(report.outcome, report.lines) for report in progress.reports] == [(Outcome.FOUND_DONE, ("all is well",))]


@pytest.mark.parametrize("error", [NotReadyError("target", ["x"], 3), asyncio.CancelledError()])
async def test_a_failure_names_the_step_and_how_to_go_on(error: BaseException) -> None:
    async def look() -> Todo:
        raise error

    with pytest.raises(PivotStoppedError, match=r"stopped at the step start\. Go on with the same command") as caught:
        await _Progress(PivotOptions(), ignore).run(Step.START, look)
    assert caught.value.exit_code == 4
    assert caught.value.cause is error


async def test_before_anything_is_changed_an_error_is_shown_as_it_is() -> None:
    async def look() -> Todo:
        raise UsageError("x")

    with pytest.raises(UsageError):
        await _Progress(PivotOptions(), ignore).run(Step.CHECK, look)


def test_copies_that_differ_keep_their_exit_code() -> None:
    cause = VerificationError([Difference("a", "b", "c", "d")])
    assert PivotStoppedError(Step.MOVE, cause).exit_code == cause.exit_code


async def test_a_server_is_stable_when_it_was_ready_long_enough() -> None:
    server = FakeApiServer()
    answers = iter([failure(500, "x"), answer(200, {})])
    server.before = lambda request: next(answers, answer(200, {})) if request.path == "/readyz" else None
    await wait_stable((server.direct(),), 0.15, 5)
    assert server.log.count("GET /readyz") >= 2


async def test_a_server_that_is_never_ready_is_not_stable() -> None:
    server = FakeApiServer()
    server.before = lambda _: failure(500, "x")
    with pytest.raises(NotReadyError, match="source cluster: its API server was not ready for 1 s on end"):
        await wait_stable((server.direct(),), 1, 0.3)
