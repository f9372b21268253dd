"""Felix' rules as text: in the words that it writes they are hashed, in those of iptables-save they are kept.

The comment of a rule is a hash of it, of its chain's name and of all rules before. Source: Calico
felix/generictables/rules.go (RuleHashes), felix/iptables/renderer.go.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from k8snetlab.dataplane.rules import Rules

_UNSAFE = re.compile(r"[^\w @%+=:,./-]", re.ASCII)
_LONGEST = 256
"""Characters of a comment."""
_LEADING = {
    "--source": "-s",
    "--destination": "-d",
    "--in-interface": "-i",
    "--out-interface": "-o",
    "-p": "-p",
}
"""What iptables-save prints before all matches, in this order."""
_SHORT = {
    "--jump": "-j",
    "--goto": "-g",
    "--set-mark": "--set-xmark",
    "--destination-ports": "--dports",
    "--source-ports": "--sports",
}
_PROTOCOLS = {"1": "icmp", "4": "ipencap", "6": "tcp", "17": "udp", "58": "ipv6-icmp", "132": "sctp", "136": "udplite"}
_PROTOCOLS["icmpv6"] = "ipv6-icmp"
_ZERO = re.compile(r"^0/")


class Line(NamedTuple):
    """A rule in Felix' words; `comments` beside the hash."""

    match: str = ""
    action: str = ""
    comments: tuple[str, ...] = ()


def hashed(chain: str, lines: Iterable[Line | str]) -> Rules:
    """The rules of a chain, as iptables-save prints them; a text is a line without comments."""
    before = hashlib.sha224(chain.encode()).digest()
    rules = []
    for one in lines:
        match, action, comments = (one, "", ()) if isinstance(one, str) else one
        said = [f'-m comment --comment "{_UNSAFE.sub("_", text)[:_LONGEST]}"' for text in comments]
        words = " ".join(part for part in (f"-A {chain} HASH", *said, match, action) if part)
        before = hashlib.sha224(before + words.encode()).digest()
        name = urlsafe_b64encode(before).decode()[:16]
        leading, rest = _saved(f"{match} {action}".strip())
        comment = f'-m comment --comment "cali:{name}"'
        rules.append(" ".join(part for part in (leading, comment, *said, rest) if part))
    return tuple(rules)


@lru_cache(maxsize=1 << 14)
def _saved(words: str) -> tuple[str, str]:
    """What iptables-save prints before the matches, and the rest."""
    found: dict[str, str] = {}
    rest: list[str] = []
    given = iter(re.findall(r'"[^"]*"|\S+', words))
    for word in given:
        negation = ""
        if word == "!":
            word, negation = next(given), "! "
        if word in _LEADING:
            value = next(given)
            value = _PROTOCOLS.get(value.lower(), value.lower()) if word == "-p" else value
            found[word] = f"{negation}{_LEADING[word]} {value}"
        elif word in ("--mark", "--set-mark"):
            rest.append(f"{negation}{_SHORT.get(word, word)} {_ZERO.sub('0x0/', next(given))}")
        else:
            rest.append(f"{negation}{_SHORT.get(word, word)}")
    return " ".join(found[word] for word in _LEADING if word in found), " ".join(rest)
