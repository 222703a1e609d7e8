"""What `import mover` promises: its names and their signatures, types, and that it costs nothing until it is used."""

from __future__ import annotations

import asyncio
import inspect
import os
import pkgutil
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import mover
from mover.api.blocking import blocking
from tests.documents import DOCS, python_of

SURFACE = Path(__file__).with_name("library_surface.txt")
"""Each name with its signature. A change of this file is a change for everybody who uses the library.

`python -m tests.unit.test_library` writes it anew."""

FUNCTIONS = sorted(name.removesuffix("_async") for name in mover.__all__ if name.endswith("_async"))
HEAVY = ("kubernetes", "networkx", "pydantic", "asyncio", "typer", "orjson")


def _shown(name: str) -> str:
    value = getattr(mover, name)
    if isinstance(value, FunctionType):
        kind = "async def" if inspect.iscoroutinefunction(value) else "def"
        return f"{kind} {name}{_signature(value)}"
    if not isinstance(value, type):
        return name
    if issubclass(value, Exception):
        return f"class {name}({', '.join(base.__name__ for base in value.__bases__)})"
    if value is mover.Record:
        # Its fields say of each what may stand in it: that is for its own tests.
        return f"class {name}({', '.join(mover.Record.model_fields)})"
    return f"class {name}: {' '.join(value)}" if issubclass(value, StrEnum) else f"class {name}{_signature(value)}"


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    text = str(signature.replace(parameters=[_named(each) for each in signature.parameters.values()]))
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)


def _named(parameter: inspect.Parameter) -> inspect.Parameter:
    """Returns the parameter with a default that reads the same everywhere."""
    default = parameter.default
    return parameter.replace(default=_Text(default.__name__)) if isinstance(default, FunctionType) else parameter


class _Text:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def test_the_names_and_signatures_are_those_that_were_promised() -> None:
    assert [_shown(name) for name in mover.__all__] == SURFACE.read_text().splitlines()


def test_every_name_is_listed() -> None:
    assert set(mover.__all__) <= set(dir(mover))
    assert mover.__all__ == sorted(mover.__all__)


def test_no_module_has_the_name_of_something_that_is_promised() -> None:
    modules = {module.name for module in pkgutil.iter_modules(mover.__path__)}
    assert not modules & set(mover.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mover' has no attribute 'shove'"):
        _ = mover.shove  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_there_to_wait_for_and_to_be_awaited(name: str) -> None:
    plain, awaited = getattr(mover, name), getattr(mover, f"{name}_async")
    assert inspect.signature(plain) == inspect.signature(awaited)
    assert (plain.__name__, plain.__doc__) == (name, awaited.__doc__)
    assert not inspect.iscoroutinefunction(plain)
    assert inspect.iscoroutinefunction(awaited)


def test_importing_it_loads_nothing_that_costs_time() -> None:
    code = f"import sys, mover; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("set_up", "shown"), [("pass", ""), ("logging.basicConfig()", "WARNING:capi-mover.x:careful\n")]
)
def test_it_logs_only_for_programs_that_have_set_up_logging(set_up: str, shown: str) -> None:
    code = f"import logging, mover; {set_up}; mover.OnFailure; logging.getLogger('capi-mover.x').warning('careful')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == shown


PROGRAM = """
from pathlib import Path

import mover


def listener(event: mover.Event) -> None:
    if isinstance(event, mover.ObjectDone):
        reveal_type(event.phase)


def marked(body: dict[str, object]) -> dict[str, object]:
    return body


mutator: mover.Mutator = marked
source, target = mover.ClusterRef(Path("a")), mover.ClusterRef(Path("b"))
options = mover.MoveOptions(namespace="ns", on_failure=mover.OnFailure.KEEP)
reveal_type(mover.plan(source, options))
reveal_type(mover.preflight(source, target, options).problems)
reveal_type(mover.roll(source, target, options, mover.RollingOptions(parallel=3)).failed)
reveal_type(mover.__version__)
try:
    reveal_type(mover.move(source, target, options, listener, [mutator]))
except mover.RefusedError as error:
    reveal_type(error.problems)


async def main() -> None:
    reveal_type(await mover.status_async(source))


mover.move(source)
mover.shove(source)
"""
REVEALED = {
    9: "mover.models.Phase",
    19: "mover.planning.Plan",
    20: "tuple[mover.errors.Problem, ...]",
    21: "tuple[mover.models.UnitReport, ...]",
    22: "str",
    24: "mover.models.MoveReport",
    26: "tuple[mover.errors.Problem, ...]",
    30: "mover.execute.journal.Records",
}


@pytest.mark.timeout(600)  # mypy begins without a cache
def test_a_strict_type_checker_knows_all_of_it(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    used = "\n".join(f"mover.{name}" for name in mover.__all__)
    tmp_path.joinpath("program.py").write_text(f"{PROGRAM}{used}\n")
    tmp_path.joinpath("documented.py").write_text(python_of((DOCS / "library.md").read_text()))
    tmp_path.joinpath("mypy.ini").write_text("[mypy]\nstrict = true\n")
    assert request.config.cache is not None
    cache = request.config.cache.mkdir("mypy-library")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        "--cache-dir",
        str(cache),
        "program.py",
        "documented.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert done.stdout.splitlines() == [
        *(f'program.py:{line}: note: Revealed type is "{text}"' for line, text in REVEALED.items()),
        "program.py:33: error: Too few arguments  [call-arg]",
        'program.py:34: error: Module has no attribute "shove"  [attr-defined]',
    ]


async def test_inside_a_running_event_loop_the_plain_form_is_refused() -> None:
    with pytest.raises(mover.UsageError) as raised:
        mover.status(mover.ClusterRef())
    assert str(raised.value) == "mover.status() was called in a running event loop. Await mover.status_async() there"


async def _answer_async(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


async def _struck_async(number: int) -> None:
    """Is hit by a signal while it waits."""
    os.kill(os.getpid(), number)
    await asyncio.Event().wait()


async def _careful_async(number: int) -> None:
    """Says itself what became of it, as a move does."""
    try:
        await _struck_async(number)
    except asyncio.CancelledError:
        raise mover.StoppedError("undone", "again") from None


answer, struck, careful = blocking(_answer_async), blocking(_struck_async), blocking(_careful_async)


def test_the_plain_form_works_in_any_thread() -> None:
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(answer(1)))
    thread.start()
    thread.join(timeout=30)
    assert answers == [2]


def test_ctrl_c_stops_the_plain_form() -> None:
    with pytest.raises(KeyboardInterrupt):
        struck(signal.SIGINT)


def test_sigterm_stops_the_plain_form_and_is_left_as_it_was() -> None:
    with pytest.raises(mover.StoppedError, match="Stopped by SIGTERM"):
        struck(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_a_move_makes_of_a_signal_is_what_the_caller_gets(number: int) -> None:
    with pytest.raises(mover.StoppedError, match="undone"):
        careful(number)


def test_a_handler_of_the_program_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(number: int, frame: object) -> None:
        raise LookupError(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(LookupError):
            struck(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    SURFACE.write_text("".join(f"{_shown(name)}\n" for name in mover.__all__))
