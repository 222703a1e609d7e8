"""Points in time as the Kubernetes API and our own lines write them."""

from __future__ import annotations

from datetime import UTC, datetime


def micro_time(at: datetime | None = None) -> str:
    """Returns a time, or now, as RFC 3339 in UTC with microseconds: what the API calls MicroTime."""
    moment = datetime.now(UTC) if at is None else at.astimezone(UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
