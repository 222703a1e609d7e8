"""A shard: the namespaces of a fleet that one of several movers takes, told by their names alone.

Which shard a namespace is in follows from a digest of its name, so that every mover knows it without asking anybody,
today and after a restart. Pure.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from mover.errors import UsageError

_TEXT = re.compile(r"(0|[1-9][0-9]*)/([1-9][0-9]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of all namespaces, which are disjoint and together are all of them.

    Attributes:
        index: Which of them, from 0 on.
        total: How many there are.
    """

    index: int
    total: int

    def __str__(self) -> str:
        return f"{self.index}/{self.total}"

    def __contains__(self, namespace: str) -> bool:
        """Returns whether a namespace is in this shard.

        >>> "metal3" in Shard(0, 1)
        True
        """
        return int.from_bytes(hashlib.sha256(namespace.encode()).digest()) % self.total == self.index


def shard_of(text: str) -> Shard:
    """Returns the shard that INDEX/TOTAL means.

    Raises:
        UsageError: It means none.
    """
    match = _TEXT.fullmatch(text)
    if match is None or int(match[1]) >= int(match[2]):
        raise UsageError(
            f"--shard: {text} is not INDEX/TOTAL with an INDEX from 0 to TOTAL-1", "The first of four is 0/4"
        )
    return Shard(int(match[1]), int(match[2]))
