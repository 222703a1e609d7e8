"""Tests of the exception tree: what each error says, and with which exit code."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import mover.api  # noqa: F401 - all errors are to be known
from mover import errors

ROOT = Path(__file__).parents[2]
CALL = errors.Call("source", "PATCH", "/apis/example.org/v1/widgets/w")


def api_errors() -> list[type[errors.ApiError]]:
    return [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.ApiError)]


def test_the_tree_in_the_docstring_names_every_error_once() -> None:
    drawn = re.findall(r"^ *[│ ]*(?:├── |└── |    )(\w+Error)\b", str(errors.__doc__), re.MULTILINE)
    classes = [
        name for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.MoverError)
    ]
    assert sorted(drawn) == sorted(classes)


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (errors.UsageError, 2),
        (errors.RefusedError, 3),
        (errors.StoppedError, 4),
        (errors.PauseTimeoutError, 4),
        (errors.BlockedError, 4),
        (errors.VerificationError, 5),
        (errors.ApiError, 2),
    ],
)
def test_each_outcome_has_its_exit_code(kind: type[errors.MoverError], exit_code: int) -> None:
    assert kind.exit_code == exit_code


def test_only_throttling_server_failures_and_lost_connections_are_worth_another_try() -> None:
    transient = {kind for kind in api_errors() if issubclass(kind, errors.TransientError)}
    assert transient == {
        errors.TransientError,
        errors.ThrottledError,
        errors.ServerError,
        errors.ConnectionFailedError,
    }


def test_an_api_error_names_cluster_verb_path_status_and_message() -> None:
    error = errors.ForbiddenError(CALL, 403, "Forbidden", "user may not")
    assert str(error) == "source: PATCH /apis/example.org/v1/widgets/w: 403 Forbidden: user may not"


def test_an_api_error_without_a_reason_has_no_gap_in_its_message() -> None:
    assert str(errors.ServerError(CALL, 502, "", "bad gateway")).endswith("widgets/w: 502: bad gateway")


def test_a_lost_connection_has_no_status_in_its_message() -> None:
    error = errors.ConnectionFailedError(CALL, "no answer (reset)")
    assert (error.status, str(error)) == (0, "source: PATCH /apis/example.org/v1/widgets/w: no answer (reset)")


def test_a_throttled_error_knows_how_long_to_wait() -> None:
    assert errors.ThrottledError(CALL, 429, "", "", 3.0).retry_after_s == 3.0
    assert errors.ThrottledError(CALL, 429, "", "").retry_after_s == 0.0


def test_a_usage_error_says_what_to_do_only_if_there_is_something() -> None:
    assert str(errors.UsageError("No file", "Give it with --x")) == "No file. Give it with --x"
    assert str(errors.UsageError("No file")) == "No file"


def test_a_refusal_lists_every_problem_with_its_remedy() -> None:
    problems = [errors.Problem("paused", "source", f"Cluster ns/{name}", "it is paused", "Resume it") for name in "ab"]
    assert str(errors.RefusedError(problems)).splitlines() == [
        "The move was not started, nothing was changed. 2 problem(s):",
        "  - source: Cluster ns/a: it is paused. Resume it",
        "  - source: Cluster ns/b: it is paused. Resume it",
    ]


def test_a_pause_timeout_names_five_objects_and_counts_the_rest() -> None:
    error = errors.PauseTimeoutError([f"o{number}" for number in range(7)], 1.5)
    assert "After 1.5 s" in str(error)
    assert "o0; o1; o2; o3; o4; and 2 more" in str(error)
    assert len(error.waiting) == 7
    assert "more" not in errors.PauseTimeoutError([f"o{number}" for number in range(5)], 1.5).what


def test_a_difference_says_what_each_side_has() -> None:
    assert str(errors.Difference("Secret ns/s", "data.a", "1", "")) == "Secret ns/s: data.a: source 1, target nothing"
    assert str(errors.Difference("Secret ns/s", "", "there", "")) == "Secret ns/s: source there, target nothing"


def test_a_verification_error_shows_twenty_differences_and_counts_the_rest() -> None:
    found = [errors.Difference(f"Widget w{number}", "spec", "1", "2") for number in range(22)]
    lines = str(errors.VerificationError(found)).splitlines()
    assert lines[0] == "22 difference(s) between source and target; nothing was deleted:"
    assert len(lines) == 22
    assert lines[-1] == "  … and 2 more"
    assert "more" not in str(errors.VerificationError(found[:20]))


def test_the_paragraph_says_once_what_to_do() -> None:
    assert errors.StoppedError("It stopped", "Go on").paragraph() == "It stopped. Go on"
    assert errors.UsageError("Nonsense").paragraph() == "Nonsense"
    unauthorized = errors.UnauthorizedError(CALL, 401, "Unauthorized", "who are you")
    assert unauthorized.paragraph() == f"{unauthorized}. {unauthorized.remedy}"
    refused = errors.RefusedError([errors.Problem("c", "source", "s", "w", "r")])
    assert refused.paragraph().splitlines()[-1] == "Mend that, then give the same command again"


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (errors.UnauthorizedError, "Renew the credentials"),
        (errors.ForbiddenError, "capi-mover rbac"),
        (errors.ServerError, "Once the API server answers again"),
        (errors.InvalidError, "Mend that"),
    ],
)
def test_what_to_do_depends_on_what_the_server_says(kind: type[errors.ApiError], remedy: str) -> None:
    assert remedy in kind.remedy


def all_errors(base: type[errors.MoverError] = errors.MoverError) -> list[type[errors.MoverError]]:
    return [base, *(kind for below in base.__subclasses__() for kind in all_errors(below))]


def test_every_error_says_what_to_do() -> None:
    given = (errors.UsageError, errors.StoppedError)
    silent = [kind.__name__ for kind in all_errors()[1:] if not kind.remedy and not issubclass(kind, given)]
    assert silent == []


GIVEN = ("UsageError", "StoppedError", "BlockedError", "InterruptedMoveError")


@pytest.mark.parametrize("folder", ["graph", "mover"])
def test_every_error_that_is_given_what_to_do_is_given_it(folder: str) -> None:
    silent = []
    for file in sorted((ROOT / folder).rglob("*.py")):
        calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
        for call in calls:
            is_error = isinstance(call.func, ast.Name) and call.func.id in GIVEN
            if is_error and len(call.args) + len(call.keywords) < 2 and not asks(call.args[0]):
                silent.append(f"{file.relative_to(ROOT)}:{call.lineno}")
    assert not silent, "\n".join(silent)


def asks(text: ast.expr) -> bool:
    """Returns whether an error asks for what is to be done: those of flags do, as clusterctl's."""
    if isinstance(text, ast.Name):  # Of mover.cli.terminal.fail.
        return True
    first = text.values[0] if isinstance(text, ast.JoinedStr) else text
    return isinstance(first, ast.Constant) and str(first.value).startswith("Please ")
