"""Amounts as Kubernetes writes them, "500m", "1.5Gi", "1e3". Source: apimachinery pkg/api/resource (Quantity)."""

from __future__ import annotations

import functools
import math
import re
from fractions import Fraction

_FORM = re.compile(
    r"([+-]?)([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE]([+-]?[0-9]{1,4})|([KMGTPE]i|[numkMGTPE])?)"
)
_TENS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_TWOS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_MOST = 60
"""Powers of ten beyond which an amount is no other than any that nobody has."""


@functools.lru_cache(maxsize=1024)
def quantity(text: str) -> Fraction:
    """The amount; 0 of what is none."""
    found = _FORM.fullmatch(text)
    if found is None:
        return Fraction(0)
    sign, number, exponent, suffix = found.groups()
    amount = Fraction(f"0{number}" if number.startswith(".") else number.rstrip("."))
    if suffix in _TWOS:
        amount *= 1 << _TWOS[suffix]
    else:
        power = int(exponent) if exponent else _TENS[suffix or ""]
        amount *= Fraction(10) ** max(-_MOST, min(power, _MOST))
    return -amount if sign == "-" else amount


def counted(name: str, text: str) -> int:
    """The amount of a resource as the scheduler counts it, rounded up: processors in thousandths, all else in ones."""
    return math.ceil(quantity(text) * (1000 if name == "cpu" else 1))
