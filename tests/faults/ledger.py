"""How many faults were tried, and what came of them; printed at the end of the run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Ledger:
    """Counts over the whole run.

    Attributes:
        tried: Moves that met a fault.
        survived: Those of them whose end was seen to be a safe one: moved whole, or as before.
        injected: Requests that a test let fail.
        lost: Objects that were on neither cluster at the end of a test.
    """

    tried: int = 0
    survived: int = 0
    injected: int = 0
    lost: int = 0
    ends: set[str] = field(default_factory=set)

    def settle(self, namespace: str) -> None:
        """Counts a scene whose safe end was seen, once."""
        if namespace not in self.ends:
            self.ends.add(namespace)
            self.survived += 1

    def summary(self) -> str:
        """Returns one line for the end of the run."""
        counts = f"tried {self.tried}, survived {self.survived}, objects lost {self.lost}"
        return f"faults: {counts}; requests that were made to fail: {self.injected}"


LEDGER = Ledger()
