"""A scenario: a world, what both tools are asked to do with it, and how that must end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.differential.world import World


class Verdict(StrEnum):
    """How a scenario must end."""

    MOVED = "moved"
    """Both tools succeed."""
    REFUSED = "refused"
    """Both tools refuse, and neither has moved anything."""
    WE_REFUSE = "we-refuse"
    """clusterctl goes on; capi-mover refuses and changes nothing."""
    ANY = "any"
    """Nobody knows beforehand: a random world."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario of the catalogue.

    Attributes:
        name: A sentence in the form of a Python name: the scenario's id in the docs and in the test run.
        world: What there is before.
        verdict: How it must end.
        check: The preflight check that must refuse, for the two verdicts of refusal.
        oracle_says: What clusterctl's output must contain.
        options: Options of capi-mover that differ from their defaults.
        flags: Flags of the command line for both tools; they are run as processes then, with nothing else.
        context_namespace: Whether the namespace comes from the kubeconfig's context instead of a flag.
        unblock_after_s: After how many seconds the `block-move` annotations are taken off, 0 for never.
        fleet: The options of a fleet of the test bed that is made, too.
    """

    name: str
    world: World
    verdict: Verdict = Verdict.MOVED
    check: str = ""
    oracle_says: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    context_namespace: bool = False
    unblock_after_s: float = 0.0
    fleet: Mapping[str, Any] | None = None


CATALOGUE: dict[str, Scenario] = {}
"""All scenarios by name, in the order of the catalogue."""


def scenario(**how: Any) -> Callable[[Callable[[], World]], Callable[[], World]]:
    """Enters the decorated function, which returns the world, into the catalogue under its own name."""

    def enter(world: Callable[[], World]) -> Callable[[], World]:
        name = world.__name__
        if name in CATALOGUE:
            raise ValueError(f"two scenarios are called {name}")
        CATALOGUE[name] = Scenario(name, world(), **how)
        return world

    return enter
