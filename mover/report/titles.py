"""The words for phases, units and waits, which lines and bars share."""

from __future__ import annotations

from collections.abc import Sequence

from mover.models import Phase
from mover.scope import described

TITLES = {
    Phase.PREFLIGHT: "Checking both clusters",
    Phase.COPYING_AHEAD: "Copying ahead",
    Phase.PAUSING: "Pausing the source",
    Phase.CREATING: "Creating on the target",
    Phase.VERIFYING: "Verifying the copies",
    Phase.DELETING: "Deleting from the source",
    Phase.RESUMING: "Resuming the target",
    Phase.CLAIMED: "Claiming both clusters",
    Phase.ROLLING_BACK: "Rolling back",
    Phase.DONE: "Done",
    Phase.SAVING: "Saving to the directory",
    Phase.RELEASING: "Resuming the source",
    Phase.LOADING: "Reading the directory",
}
_SHOWN_WAITS = 1


def capital(text: str) -> str:
    """Returns a text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def unit_title(unit: str) -> str:
    """Returns the scope of a unit in words, at the beginning of a line."""
    return capital(described(unit))


def waits(subjects: Sequence[str]) -> str:
    """Returns what is waited for and why: the first object, and how many others there are."""
    shown = "; ".join(subjects[:_SHOWN_WAITS])
    more = len(subjects) - _SHOWN_WAITS
    return f"{shown} (and {more} more)" if more > 0 else shown
