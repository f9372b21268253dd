"""How a device delays, loses or slows what it sends, in tc's words and units.

Source: iproute2 lib/utils.c and lib/utils_math.c (get_time64, get_rate64, get_percent), tc/q_netem.c.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

from k8snetlab.errors import InputError

WHOLE = (1 << 32) - 1
"""A loss of everything, as the kernel counts it."""
LONGEST = 60 * 10**9
"""ns: a minute is longer than anybody waits for an answer."""
LEAST_LOSS = 0.0001
"""Percent: one packet of a million. Less is hardly ever seen, and soon nothing that the kernel can count."""
SLOWEST, FASTEST = 1_000, 125_000_000_000
"""Octets a second: 8 kbit and 1 Tbit. A slower device would hold a full packet for longer than the lab's own agents
wait for one."""
_TIMES: dict[str, float] = {"s": 10**9, "sec": 10**9, "secs": 10**9, "ms": 10**6, "msec": 10**6, "msecs": 10**6}
_TIMES |= {"us": 10**3, "usec": 10**3, "usecs": 10**3, "ns": 1, "nsec": 1, "nsecs": 1, "": 10**3}
_BITS = {
    prefix + binary: (1024.0 if binary else 1000.0) ** power
    for power, prefix in enumerate(("", "k", "m", "g", "t"))
    for binary in ("", "i")
    if prefix or not binary
}
_RATES = {f"{size}bit": factor / 8 for size, factor in _BITS.items()}
_RATES |= {f"{size}bps": factor for size, factor in _BITS.items()} | {"": 1 / 8}
_NUMBER = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([a-zA-Z%]*)")


class Shape(msgspec.Struct, frozen=True):
    """`delay` and `jitter` in ns, `loss` in parts of WHOLE, `rate` in octets a second; 0 for none."""

    delay: int = 0
    jitter: int = 0
    loss: int = 0
    rate: int = 0

    def __bool__(self) -> bool:
        return self != Shape()

    @property
    def kind(self) -> str:
        """The queueing discipline that does it: tbf is in every kernel, netem is not."""
        return "netem" if self.delay or self.jitter or self.loss else "tbf"

    @property
    def fault(self) -> str:
        """In a word, the gravest first."""
        return "lossy" if self.loss else "slow"

    def words(self) -> str:
        """As `tc` writes it: "delay 50ms 5ms loss 1% rate 10mbit"; `parsed` reads it."""
        told = [f"delay {_time(self.delay)}"] if self.delay else []
        told += [_time(self.jitter)] if self.jitter else []
        told += [f"loss {100 * self.loss / WHOLE:.6g}%"] if self.loss else []
        told += [f"rate {_rate(self.rate)}"] if self.rate else []
        return " ".join(told)


def shape(delay: str = "", jitter: str = "", loss: str = "", rate: str = "") -> Shape:
    """Of tc's words: 50ms, 1%, 10mbit; "" for none. Raises InputError, with the option's name."""
    found = Shape(
        delay=_read("delay", delay, _TIMES, (1, LONGEST)) if delay else 0,
        jitter=_read("jitter", jitter, _TIMES, (1, LONGEST)) if jitter else 0,
        loss=round(_percent(loss) / 100 * WHOLE) if loss else 0,
        rate=_read("rate", rate, _RATES, (SLOWEST, FASTEST)) if rate else 0,
    )
    if found.jitter and not found.delay:
        raise InputError("a jitter without a delay", "--delay 50ms --jitter 5ms")
    if found.jitter > found.delay:
        raise InputError(f"jitter {_time(found.jitter)} is more than the delay {_time(found.delay)}", "a smaller one")
    return found


def parsed(words: str) -> Shape:
    """Of what `Shape.words` wrote. Raises InputError."""
    fields = dict.fromkeys(("delay", "jitter", "loss", "rate"), "")
    pieces, last = iter(words.split()), ""
    for piece in pieces:
        if piece in ("delay", "loss", "rate"):
            fields[piece], last = next(pieces, "?"), piece
        elif last == "delay" and not fields["jitter"]:
            fields["jitter"] = piece
        else:
            raise InputError(f"{piece[:20]!r}: delay TIME [JITTER], loss PERCENT, rate RATE")
    return shape(**fields)


def _read(name: str, text: str, units: Mapping[str, float], bounds: tuple[int, int]) -> int:
    found = _NUMBER.fullmatch(text.strip())
    factor = units.get(found[2].lower()) if found else None
    if found is None or factor is None:
        like = "10mbit, 500kbit; 1mbps is a megabyte" if name == "rate" else "50ms, 1s, 200us"
        raise InputError(f"{text[:20]!r} is no {name}", f"tc's units: {like}")
    number = round(float(found[1]) * factor)
    if not bounds[0] <= number <= bounds[1]:
        allowed = "8kbit to 1tbit" if name == "rate" else "1ns to 60s"
        raise InputError(f"{name} {text[:20]!r} is too {'small' if number < bounds[0] else 'large'}", allowed)
    return number


def _percent(text: str) -> float:
    found = _NUMBER.fullmatch(text.strip())
    value = float(found[1]) if found and found[2] in ("", "%") else math.nan
    if not LEAST_LOSS <= value <= 100:
        raise InputError(f"{text[:20]!r} is no loss", "0.0001% to 100%: 1%, 0.5%")
    return value


def _time(ns: int) -> str:
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if ns >= size:
            return f"{ns / size:.9g}{unit}"
    return f"{ns}ns"


def _rate(octets: int) -> str:
    bits = octets * 8
    for unit, size in (("gbit", 10**9), ("mbit", 10**6), ("kbit", 10**3)):
        if bits >= size:
            return f"{bits / size:.12g}{unit}"
    return f"{bits}bit"
