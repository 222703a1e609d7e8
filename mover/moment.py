"""Points in time as the Kubernetes API and our own lines write them, and the clock that leases are judged by."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final


def micro_time(at: datetime | None = None) -> str:
    """Returns a time, or now, as RFC 3339 in UTC with microseconds: what the API calls MicroTime."""
    moment = datetime.now(UTC) if at is None else at.astimezone(UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


_SLEEPLESS: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""On Linux CLOCK_MONOTONIC stands still while the machine is suspended; on macOS it goes on (clock_gettime(3))."""


def sleepless_s() -> float:
    """Returns seconds by a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(_SLEEPLESS)
