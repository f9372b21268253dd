"""For how long answers are kept, and said to hold: the plugin `cache` of a Corefile.

Source: CoreDNS, plugin/cache (its options, what holds without them, and `WriteMsg`: which answers are kept).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from k8snetlab.dns.answers import Answer, Question, Record
from k8snetlab.dns.lines import TTL, CorefileError, Word, dotted, seconds

DENIAL = 1800
"""The longest that `cache` keeps, unless told otherwise, that a name is not there."""


class Cache(msgspec.Struct, frozen=True):
    """For how long an answer is kept at most, and one that says that nothing is there, in seconds; 0: it is not.
    `least` is for how long at least, whatever its records say.

    Not at all it is kept for names in the zones `no_success` and `no_denial`. What is asked for `prefetch` times (0:
    nothing) without a pause of `gap` seconds is asked for anew when `percentage` of its time is left.
    """

    success: int = 0
    denial: int = 0
    least_success: int = 5
    least_denial: int = 5
    servfail: int = 5
    no_success: tuple[str, ...] = ()
    no_denial: tuple[str, ...] = ()
    prefetch: int = 0
    gap: int = 60
    percentage: int = 10
    keeps_ttl: bool = False


NONE = Cache(servfail=0)
"""No plugin `cache`."""
NOTHING = 5
"""Seconds for which an answer without records holds."""
Kind = Literal["success", "denial", "failure", "other"]


def kind(answer: Answer) -> Kind:
    """What of the plugin's options is about this answer; of "other" nothing is kept."""
    if answer.rcode in ("SERVFAIL", "NOTIMP"):
        return "failure"
    denied = any(record.type == "SOA" for record in answer.authority)
    if answer.rcode == "NXDOMAIN":
        return "denial" if denied else "other"
    if answer.rcode != "NOERROR":
        return "other"
    return "denial" if denied and not answer.records else "success"


def lifetime(answer: Answer, cache: Cache) -> int:
    """Seconds: as long as that of its records which ends first, within what the cache says."""
    match kind(answer):
        case "failure":
            return cache.servfail
        case "denial":
            least, most = cache.least_denial, cache.denial
        case _:
            least, most = cache.least_success, cache.success
    records = (*answer.records, *answer.authority, *answer.additional)
    return min(max(min((record.ttl for record in records), default=NOTHING), least), most)


def keeps(question: Question, answer: Answer, cache: Cache) -> bool:
    """Whether the plugin remembers it at all."""
    what = kind(answer)
    if what == "success":
        zones, ends = cache.no_success, any(record.type in (question.type, "SOA") for record in _all(answer))
        if answer.records and not ends and question.type != "ANY":
            return False  # CNAMEs whose end is not said
    else:
        zones = cache.no_denial
    return what != "other" and not any(within(question.lower, zone) for zone in zones)


def _all(answer: Answer) -> tuple[Record, ...]:
    return (*answer.records, *answer.authority)


def living(answer: Answer, seconds: int) -> Answer:
    """With all its records for so long."""

    def lasting(records: tuple[Record, ...]) -> tuple[Record, ...]:
        return tuple(Record(r.name, r.type, seconds, r.data) for r in records)

    return msgspec.structs.replace(
        answer,
        records=lasting(answer.records),
        authority=lasting(answer.authority),
        additional=lasting(answer.additional),
    )


def said(answer: Answer, cache: Cache) -> Answer:
    """As it is written where the cache is: whoever keeps it keeps it no longer than the cache would."""
    return answer if cache == NONE else living(answer, lifetime(answer, cache))


def within(name: str, zone: str) -> bool:
    """Whether a name (lower case) is the zone's or in it; "." is the zone of all."""
    return zone in (".", name) or name.endswith(f".{zone}")


def read(words: list[Word], inner: list[list[Word]]) -> Cache:
    """What stands behind `cache`, and the lines within. Raises CorefileError."""
    cache = Cache(TTL, DENIAL)
    for text, where in words[:1]:
        most = seconds(text, where, "cache")
        cache = Cache(most, most)
    for text, where in words[1:]:
        raise CorefileError(where, f"cache: only for some zones ({text}) is not served here; `disable` leaves some out")
    for (option, where), *arguments in inner:
        option_of = _OPTIONS.get(option)
        values = [value for value, _ in arguments]
        try:
            changed = option_of(cache, values) if option_of else None
        except (ValueError, IndexError):
            changed = None
        if changed is None:
            raise CorefileError(where, f"cache: {' '.join([option, *values])} is not served here")
        cache = changed
    return cache


def _kept(cache: Cache, values: list[str], kind: str) -> Cache:
    """`success` and `denial`: a number of answers, then seconds at most and at least."""
    numbers = [int(value) for value in values]
    if not 1 <= len(numbers) <= 3 or not all(0 <= number <= TTL for number in numbers[1:]):
        raise ValueError
    named = zip((kind, f"least_{kind}"), numbers[1:], strict=False)
    return msgspec.structs.replace(cache, **dict(named))


def _not_kept(cache: Cache, values: list[str]) -> Cache:
    kind, *zones = values
    if kind not in ("success", "denial"):
        raise ValueError
    return msgspec.structs.replace(cache, **{f"no_{kind}": tuple(dotted(zone) for zone in zones) or (".",)})


def _prefetched(cache: Cache, values: list[str]) -> Cache:
    amount, gap, percentage = (*values, *("1m", "10%")[max(0, len(values) - 1) :])
    number = int(percentage.removesuffix("%"))
    if not percentage.endswith("%") or not 10 <= number <= 90 or int(amount) < 0:
        raise ValueError
    return msgspec.structs.replace(cache, prefetch=int(amount), gap=_duration(gap), percentage=number)


def _only(values: list[str]) -> int:
    (text,) = values
    return _duration(text)


def _duration(text: str) -> int:
    """Whole seconds of "30", "30s", "1m" or "1h". Raises ValueError."""
    units = {"s": 1, "m": 60, "h": 3600}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


_OPTIONS: Mapping[str, Callable[[Cache, list[str]], Cache]] = {
    "success": lambda cache, values: _kept(cache, values, "success"),
    "denial": lambda cache, values: _kept(cache, values, "denial"),
    "disable": _not_kept,
    "prefetch": _prefetched,
    "servfail": lambda cache, values: msgspec.structs.replace(cache, servfail=_only(values)),
    "keepttl": lambda cache, values: msgspec.structs.replace(cache, keeps_ttl=not values),
}
