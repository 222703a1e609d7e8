"""What a program costs is its own, not that of who measures it."""

import os
import sys

import pytest

from benchmarks.meter import run

_MIB = 2**20


async def test_the_memory_of_a_program_is_its_own() -> None:
    ballast = b"x" * (300 * _MIB)
    cost = await run((sys.executable, "-c", "print('done')"), os.environ)
    del ballast

    assert cost.output == "done\n"
    assert 1 < cost.peak_mib < 150
    assert cost.cpu_s > 0
    assert cost.wall_s > 0


async def test_the_memory_that_a_program_takes_is_counted() -> None:
    cost = await run((sys.executable, "-c", "b'x' * (200 * 2**20)"), os.environ)

    assert cost.peak_mib > 200


async def test_a_program_that_fails_is_no_result() -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3:\nno luck"):
        await run((sys.executable, "-c", "print('no luck'); raise SystemExit(3)"), os.environ)
