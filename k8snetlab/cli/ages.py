"""How long ago, by this machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime

from k8snetlab.api import ages


def now() -> float:
    """Seconds of the epoch."""
    return datetime.now(UTC).timestamp()


def age(since: str | float | None) -> str:
    """The time since an RFC 3339 timestamp or seconds of the epoch, as kubectl shortens it: 5s, 2m3s, 4h, 12d."""
    return ages.age(since, now())
