"""Is an answer right? Numbers, addresses and choices, however they are spelled."""

from __future__ import annotations

import ipaddress
import re

_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?|0x[0-9a-fA-F]{1,16}")
_MAC = re.compile(r"([0-9a-f]{1,2}[:-]){5}[0-9a-f]{1,2}")
_WORD = {
    "number": re.compile(r"(?<![\w.:])-?[0-9]{1,18}(\.[0-9]{1,9})?(?![\w.:])"),
    "address": re.compile(r"[0-9a-fA-F:.]{3,45}(/[0-9]{1,3})?"),
}


def canonical(kind: str, text: str) -> str:
    """One spelling for all that mean the same; "" where the text is none of the kind."""
    text = text.strip()
    if kind == "choice":
        letter = text.rstrip(").").lower()
        return letter if len(letter) == 1 and letter.isascii() and letter.isalpha() else ""
    if kind == "number":
        if not _NUMBER.fullmatch(text):
            return ""
        return f"{int(text, 16)}" if text.startswith("0x") else f"{float(text):g}" if "." in text else str(int(text))
    if _MAC.fullmatch(text.lower()):
        return ":".join(part.rjust(2, "0") for part in re.split("[:-]", text.lower()))
    try:
        return str(ipaddress.ip_interface(text).ip)
    except ValueError:
        return ""


def right(kind: str, given: str, answers: tuple[str, ...]) -> bool:
    said = canonical(kind, given)
    return bool(said) and said in {canonical(kind, answer) for answer in answers}


def printed(kind: str, output: str) -> str:
    """The first number or address in what a command printed, "" where there is none."""
    for found in _WORD[kind].finditer(output):
        if canonical(kind, found[0]):
            return found[0]
    return ""
