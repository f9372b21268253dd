"""How long ago and how long, as kubectl shortens it."""

from __future__ import annotations

from datetime import datetime


def age(since: str | float | None, now: float) -> str:
    """The time from an RFC 3339 timestamp or seconds of the epoch until `now`, as kubectl shortens it: 5s, 2m3s, 4h."""
    if not since:
        return "<unknown>"
    then = datetime.fromisoformat(since).timestamp() if isinstance(since, str) else since
    return duration(now - then)


def moment(text: str | None) -> float | None:
    """An RFC 3339 timestamp in seconds since 1970; None for none, and for what is none."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def duration(seconds: float) -> str:
    """As apimachinery's HumanDuration: the larger the less exact; clocks that differ by a second are no error."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    whole = max(0, whole)
    minutes, hours = whole // 60, whole // 3600
    days, years = hours // 24, hours // (24 * 365)
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if years < 2:
        return f"{days}d"
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _two(larger: int, unit: str, smaller: int, part: str) -> str:
    return f"{larger}{unit}{smaller}{part}" if smaller else f"{larger}{unit}"
