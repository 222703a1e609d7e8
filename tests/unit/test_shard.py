"""Tests of shards: each namespace is in one of them, always the same, and they are about equally large."""

from __future__ import annotations

import pytest

from mover.errors import UsageError
from mover.shard import Shard, shard_of

NAMES = [f"team-{number:04d}" for number in range(4000)]


@pytest.mark.parametrize("total", [1, 2, 3, 8, 64])
def test_every_namespace_is_in_exactly_one_shard(total: int) -> None:
    shards = [Shard(index, total) for index in range(total)]
    for name in NAMES[:300]:
        assert sum(name in shard for shard in shards) == 1


@pytest.mark.parametrize("total", [2, 3, 8, 16])
def test_shards_are_about_equally_large(total: int) -> None:
    """Four standard deviations of what chance would do; names that differ in one digit only are no worse."""
    expected = len(NAMES) / total
    deviation = (expected * (1 - 1 / total)) ** 0.5
    for index in range(total):
        size = sum(name in Shard(index, total) for name in NAMES)
        assert abs(size - expected) < 4 * deviation


def test_the_shard_of_a_name_is_the_same_in_every_version() -> None:
    """A fleet that is half moved by one version is moved on by the next: these numbers must never change."""
    names = ["default", "metal3", "capi-system", "a", "team-0001"]
    known = {4: [3, 3, 2, 3, 2], 7: [6, 0, 1, 1, 4]}
    found = {
        total: [next(index for index in range(total) if name in Shard(index, total)) for name in names]
        for total in known
    }
    assert found == known


@pytest.mark.parametrize(("text", "shard"), [("0/1", Shard(0, 1)), ("3/4", Shard(3, 4)), ("10/12", Shard(10, 12))])
def test_a_shard_is_written_as_it_is_read(text: str, shard: Shard) -> None:
    assert shard_of(text) == shard
    assert str(shard) == text


@pytest.mark.parametrize(
    "text", ["", "1", "/", "1/", "/4", "4/4", "5/4", "0/0", "-1/4", "01/4", "1/4/", "a/4", "1/4\n", "²/4"]
)
def test_what_is_no_shard_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is not INDEX/TOTAL"):
        shard_of(text)
