"""What a page says of the fate of an object, and of an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from graph.selection import Fate


class Tense(StrEnum):
    """Whether an object's fate is still to come, has come, or was not to be."""

    PLANNED = "planned"
    DONE = "done"
    NOT_DONE = "not-done"


FATES: Mapping[Tense, Mapping[Fate, str]] = MappingProxyType(
    {
        Tense.PLANNED: {
            Fate.MOVE: "moves",
            Fate.KEEP: "is copied, and kept on the source",
            Fate.LEAVE: "stays on the source",
        },
        Tense.DONE: {
            Fate.MOVE: "has moved",
            Fate.KEEP: "was copied, and kept on the source",
            Fate.LEAVE: "stayed on the source",
        },
        Tense.NOT_DONE: {
            Fate.MOVE: "was to move",
            Fate.KEEP: "was to be copied, and kept on the source",
            Fate.LEAVE: "stays on the source",
        },
    }
)

_DIFFERENCE = re.compile(r"^(\s*- .+?): source .*, target .*$", re.MULTILINE)


def without_values(text: str) -> str:
    r"""Returns an error's text without the values of fields that it quotes: not all who get a page may see them.

    >>> without_values('1 difference(s):\n  - Machine ns/m: spec.x: source 1, target 2')
    '1 difference(s):\n  - Machine ns/m: spec.x'
    """
    return _DIFFERENCE.sub(r"\1", text)
