"""How a message is worded: what a mistyped word was meant to be, and numbers with their nouns."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 100
"""Characters of a word that are compared with what is known."""
BEGINNING = 3
"""So many characters of a word's beginning say which one is meant."""


def near(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The one of `known` that `word` was most likely meant to be, "" where none is near.

    Capitals do not count; what the word is the beginning of is near.
    """
    import difflib

    spelled: dict[str, str] = {}
    for one in filter(str.isprintable, known):
        spelled.setdefault(one.lower(), one)
    asked = word.lower()[:LONGEST]
    if asked in spelled:
        return spelled[asked]
    begun = [one for one in spelled if len(asked) >= BEGINNING and one.startswith(asked)]
    close = [min(begun, key=len)] if begun else difflib.get_close_matches(asked, spelled, 1, cutoff)
    return spelled[close[0]] if close else ""


def nearest(word: str, known: Iterable[str], otherwise: str = "", cutoff: float = 0.6) -> str:
    """The hint "did you mean client?", else `otherwise`."""
    found = near(word, known, cutoff)
    return f"did you mean {found}?" if found and found != word else otherwise


def whole(text: str, below: int = 1 << 64) -> int | None:
    """The number that ASCII digits write; None where it is none, or not less than `below`.

    Python's int() refuses more than 4,300 digits, and takes long for fewer.
    """
    digits = text.lstrip("0") or text[:1]
    if not (text.isascii() and text.isdecimal()) or len(digits) > 20:
        return None
    number = int(digits)
    return number if number < below else None


def counted(number: int, noun: str, plural: str = "") -> str:
    """ "1 packet", "2 packets", "0 addresses"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def for_a_spreadsheet(text: str) -> str:
    """A cell's text; what a spreadsheet would take for a formula is text there, too."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
