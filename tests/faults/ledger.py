"""How many faults were tried, and what came of them; printed at the end of the run."""

from __future__ import annotations

from tests.tallies import TALLIES

LEDGER = TALLIES["faults"]
"""Counts over the whole run: `tried` moves that met a fault, the `survived` of them whose end was seen to be a safe one
(moved whole, or as before), requests that were `injected` a failure, and objects `lost`: on neither cluster at the end.
"""

_settled: set[str] = set()


def settle(namespace: str) -> None:
    """Counts a scene whose safe end was seen, once."""
    if namespace not in _settled:
        _settled.add(namespace)
        LEDGER["survived"] += 1


def summary() -> str:
    """Returns one line for the end of the run."""
    counts = f"tried {LEDGER['tried']}, survived {LEDGER['survived']}, objects lost {LEDGER['lost']}"
    return f"faults: {counts}; requests that were made to fail: {LEDGER['injected']}"
