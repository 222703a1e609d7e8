"""The library for programs that have no event loop of their own: its coroutines as plain functions."""

from __future__ import annotations

import asyncio
import functools
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from mover.api.directories import backup_async, diff_async, release_async, restore_async
from mover.api.interrupted import resume_async, rollback_async, status_async
from mover.api.moving import move_async, move_each_async, preflight_async
from mover.api.planning import explain_async, plan_async
from mover.api.rolling import roll_async
from mover.api.sharding import move_shard_async
from mover.api.source_gone import resume_source_gone_async, retire_async
from mover.errors import StoppedError, UsageError

P = ParamSpec("P")
T = TypeVar("T")


def blocking(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Returns a coroutine function of the library, `NAME_async`, as a plain function `NAME`; see `run`."""
    name = function.__name__.removesuffix("_async")

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        _require_no_loop(name)
        return run(function(*args, **kwargs))

    call.__name__ = call.__qualname__ = name
    return call


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Returns what a coroutine returns, run in an event loop of its own.

    The first Ctrl-C stops it at a safe point; so does SIGTERM in the main thread, unless the program has a handler.

    Raises:
        StoppedError: SIGTERM stopped it where that had no further consequences.
        KeyboardInterrupt: Ctrl-C did.
    """

    async def stoppable() -> T:
        _stop_at_sigterm()
        return await coroutine

    try:
        return asyncio.run(stoppable())
    except asyncio.CancelledError as error:
        raise StoppedError("Stopped by SIGTERM", "See what is under way with: capi-mover status") from error


def _stop_at_sigterm() -> None:
    task = asyncio.current_task()
    # Only the main thread hears signals, and a handler of the program that called us is not ours to replace.
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _require_no_loop(name: str) -> None:
    """Raises UsageError inside a running event loop: to wait there would keep everything else in it from running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(f"mover.{name}() was called in a running event loop", f"Await mover.{name}_async() there")


backup = blocking(backup_async)
diff = blocking(diff_async)
explain = blocking(explain_async)
move = blocking(move_async)
move_each = blocking(move_each_async)
move_shard = blocking(move_shard_async)
plan = blocking(plan_async)
preflight = blocking(preflight_async)
release = blocking(release_async)
restore = blocking(restore_async)
resume = blocking(resume_async)
resume_source_gone = blocking(resume_source_gone_async)
retire = blocking(retire_async)
roll = blocking(roll_async)
rollback = blocking(rollback_async)
status = blocking(status_async)
