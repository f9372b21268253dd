"""The meaning of an iptables rule's text.

Reads what kube-proxy, kubelet, flannel and portmap write and what iptables-save (nft and legacy) makes of it, and
refuses loudly what it does not know: a match passed over would be a wrong answer. Source: iptables(8),
iptables-extensions(8).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import ip_network
from typing import NamedTuple

import msgspec

from k8snetlab.errors import UnsupportedError

ALL_BITS = 0xFFFFFFFF
RANDOM_UNIT = 1 << 31
"""The kernel keeps a probability as a whole number of these parts."""


class RuleSyntaxError(UnsupportedError):
    """A rule that this reader does not understand in full."""

    def __init__(self, rule: str, problem: str) -> None:
        super().__init__(f"cannot read the iptables rule `{rule}`: {problem}", "only rules that can be read are traced")


class Match(NamedTuple):
    """One condition: `option` is iptables' long name without dashes, `value` in one normal form.

    source, destination: CIDR; protocol: name; in-interface, out-interface: name or prefix+; sport, dport: "80" or
    "80:90"; dports: some of these, with commas; ctstate: states sorted; mark: "0x4000/0x4000"; probability: parts of
    2**31; src-type, dst-type: LOCAL, with "in" or "out" after a space where only that interface's addresses count;
    rcheck, set: the name of a `recent` list, with seconds after a space; nfacct: a counter;
    physdev-is-in, physdev-is-bridged: ""; match-set: an ipset's name and "src" or "dst" ("dst,dst" with the port);
    icmp-type: a number, with a code after a slash; limit: "10/minute"; limit-burst; sports: as dports.
    """

    option: str
    value: str
    negated: bool = False


ANY_ADDRESS = frozenset(Match(option, cidr) for option in ("source", "destination") for cidr in ("0.0.0.0/0", "::/0"))
"""Conditions that always hold; iptables forgets them."""


class Target(NamedTuple):
    """`name` is a built-in target or a chain; `options` are sorted, in normal form; `goto` for -g."""

    name: str
    options: tuple[tuple[str, str], ...] = ()
    goto: bool = False

    def option(self, name: str) -> str | None:
        return next((value for key, value in self.options if key == name), None)


class ParsedRule(msgspec.Struct, frozen=True):
    """`matches` in the order written, without the comment; `target` None for a rule that only counts. `comment` is the
    first, `more` are the others."""

    matches: tuple[Match, ...]
    target: Target | None
    comment: str = ""
    more: tuple[str, ...] = ()


@lru_cache(maxsize=8192)
def parse(rule: str) -> ParsedRule:
    """The rule `rule`, written after `-A CHAIN`; raises RuleSyntaxError on any word that is not known."""
    return _Reader(rule).read()


def canonical(rule: str) -> str:
    """The same text for every way to write one rule: what iptables-save prints equals what was loaded. A rule that
    cannot be read stays as it is written."""
    try:
        parsed = parse(rule)
    except RuleSyntaxError:
        return rule
    matches = sorted(match for match in parsed.matches if match not in ANY_ADDRESS)
    words = [f"{'! ' if m.negated else ''}--{m.option} {m.value}".rstrip() for m in matches]
    if parsed.comment:
        words.append(f"--comment {parsed.comment!r}")
    words += [f"--comment {text!r}" for text in parsed.more]
    if parsed.target:
        words.append(f"{'-g' if parsed.target.goto else '-j'} {parsed.target.name}")
        words += [f"--{key} {value}".rstrip() for key, value in parsed.target.options]
    return " ".join(words)


# --- normal forms of values -----------------------------------------------------------------------------------------


def _cidr(text: str) -> str:
    return str(ip_network(text, strict=False))


def _port(text: str) -> str:
    first, _, last = text.partition(":")
    ports = [int(first or 0), int(last or 65535) if ":" in text else int(first)]
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}:{ports[1]}"


def _ports(text: str) -> str:
    return ",".join(_port(part) for part in text.split(","))


def _states(text: str) -> str:
    known = {"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "SNAT", "DNAT"}
    states = text.upper().split(",")
    if not set(states) <= known:
        raise ValueError
    return ",".join(sorted(states))


def _mark(text: str) -> str:
    value, _, mask = text.partition("/")
    return f"{int(value, 0):#x}/{int(mask, 0) if mask else ALL_BITS:#x}"


def _probability(text: str) -> str:
    return str(round(float(text) * RANDOM_UNIT))


def _address_type(text: str) -> str:
    if text != "LOCAL":
        raise ValueError
    return text


def _protocol(text: str) -> str:
    """A protocol by its number is known by it where /etc/protocols is not read."""
    name = _NUMBERS.get(text, text.lower())
    name = {"icmpv6": "ipv6-icmp"}.get(name, name)
    if name not in _NUMBERS.values() and not (name.isdigit() and int(name) < 256):
        raise ValueError
    return name


_NUMBERS = {"1": "icmp", "4": "ipencap", "6": "tcp", "17": "udp", "58": "ipv6-icmp", "89": "ospf", "132": "sctp"}
_NUMBERS |= {"136": "udplite"}


def _end(text: str) -> str:
    if text not in ("src", "dst", "src,src", "dst,dst"):
        raise ValueError
    return text


def _flags(text: str) -> str:
    known = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
    flags = text.upper().split(",")
    if flags in (["ALL"], ["NONE"]):
        return ",".join(known) if flags == ["ALL"] else "NONE"
    if not set(flags) <= set(known):
        raise ValueError
    return ",".join(flag for flag in known if flag in flags)


def _icmp_type(text: str) -> str:
    kind, slash, code = text.partition("/")
    return f"{int(kind)}{slash}{int(code) if slash else ''}"


def _rate(text: str) -> str:
    number, _, unit = text.partition("/")
    units = [name for name in ("second", "minute", "hour", "day") if unit and name.startswith(unit)]
    if len(units) != 1:
        raise ValueError
    return f"{int(number)}/{units[0]}"


# --- words ----------------------------------------------------------------------------------------------------------

MODULES = {"addrtype", "comment", "conntrack", "icmp", "icmp6", "limit", "mark", "multiport", "nfacct", "physdev"}
MODULES |= {"recent", "set", "state", "statistic"}
PROTOCOL_MODULES = {"tcp", "udp", "sctp", "udplite"}

MATCHES: dict[str, tuple[str, Callable[[str], str]]] = {
    **dict.fromkeys(("-s", "--source", "--src"), ("source", _cidr)),
    **dict.fromkeys(("-d", "--destination", "--dst"), ("destination", _cidr)),
    **dict.fromkeys(("-p", "--protocol", "--proto"), ("protocol", _protocol)),
    **dict.fromkeys(("-i", "--in-interface"), ("in-interface", str)),
    **dict.fromkeys(("-o", "--out-interface"), ("out-interface", str)),
    **dict.fromkeys(("--sport", "--source-port"), ("sport", _port)),
    **dict.fromkeys(("--dport", "--destination-port"), ("dport", _port)),
    **dict.fromkeys(("--dports", "--destination-ports"), ("dports", _ports)),
    **dict.fromkeys(("--sports", "--source-ports"), ("sports", _ports)),
    **dict.fromkeys(("--ctstate", "--state"), ("ctstate", _states)),
    "--mark": ("mark", _mark),
    "--probability": ("probability", _probability),
    "--src-type": ("src-type", _address_type),
    "--dst-type": ("dst-type", _address_type),
    "--nfacct-name": ("nfacct", str),
    "--icmp-type": ("icmp-type", _icmp_type),
    "--icmpv6-type": ("icmp-type", _icmp_type),
    "--limit": ("limit", _rate),
    "--limit-burst": ("limit-burst", lambda text: str(int(text))),
}
TARGETS: dict[str, dict[str, int]] = {
    "ACCEPT": {},
    "DROP": {},
    "RETURN": {},
    "TRACE": {},
    "REJECT": {"--reject-with": 1},
    "NFLOG": {"--nflog-group": 1, "--nflog-prefix": 1},
    "LOG": {"--log-prefix": 1, "--log-level": 1},
    "MARK": dict.fromkeys(("--set-xmark", "--set-mark", "--or-mark", "--xor-mark", "--and-mark"), 1),
    "DNAT": {"--to-destination": 1, "--random": 0, "--persistent": 0},
    "SNAT": {"--to-source": 1, "--random": 0, "--random-fully": 0, "--persistent": 0},
    "MASQUERADE": {"--random": 0, "--random-fully": 0, "--to-ports": 1},
    "REDIRECT": {"--to-ports": 1, "--random": 0},
}
"""Built-in targets, and how many values each of their options takes."""

_WORD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)')


class _Reader:
    """Goes through the words of one rule."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.words = self._split()
        self.matches: list[Match] = []
        self.target: Target | None = None
        self.comments: list[str] = []
        self.recent: dict[str, str] = {}

    def read(self) -> ParsedRule:
        negated = False
        for word in self.words:
            if word == "!":
                negated = True
                continue
            if word == "--match-set":
                self.matches.append(Match("match-set", f"{self._value(word)} {self._value(word, _end)}", negated))
            elif word == "--syn":
                self.matches.append(Match("tcp-flags", "FIN,SYN,RST,ACK SYN", negated))
            elif word == "--tcp-flags":
                self.matches.append(
                    Match("tcp-flags", f"{self._value(word, _flags)} {self._value(word, _flags)}", negated)
                )
            elif word in MATCHES:
                option, normal = MATCHES[word]
                self.matches.append(Match(option, self._value(word, normal), negated))
            elif word in ("--limit-iface-in", "--limit-iface-out") and self._types():
                last = self.matches.pop()
                self.matches.append(Match(last.option, f"{last.value} {word[-3:].strip('-')}", last.negated))
            elif negated and word not in ("--physdev-is-in", "--physdev-is-bridged"):
                raise RuleSyntaxError(self.rule, f"`!` before {word}")
            else:
                self._other(word, negated)
            negated = False
        if self.recent:
            self.matches.append(self._recent())
        first, *more = self.comments or [""]
        return ParsedRule(tuple(self.matches), self.target, first, tuple(more))

    def _other(self, word: str, negated: bool) -> None:
        match word:
            case "-m" | "--match":
                module = self._value(word)
                if module not in MODULES | PROTOCOL_MODULES:
                    raise RuleSyntaxError(self.rule, f"match `{module}` is not known")
            case "--comment":
                self.comments.append(self._value(word))
            case "--mode":
                if self._value(word) != "random":
                    raise RuleSyntaxError(self.rule, "only `statistic --mode random` is known")
            case "--physdev-is-in" | "--physdev-is-bridged":
                self.matches.append(Match(word.removeprefix("--"), "", negated))
            case "--rcheck" | "--set" | "--reap" | "--rsource":
                self.recent[word] = ""
            case "--name" | "--seconds" | "--mask":
                self.recent[word] = self._value(word)
            case "-j" | "--jump" | "-g" | "--goto":
                self.target = self._target(self._value(word), goto=word in ("-g", "--goto"))
            case _:
                raise RuleSyntaxError(self.rule, f"`{word}` is not known")

    def _types(self) -> bool:
        """Whether the match before is of an address's type."""
        return bool(self.matches) and self.matches[-1].option in ("src-type", "dst-type")

    def _recent(self) -> Match:
        actions = [action for action in ("--rcheck", "--set") if action in self.recent]
        if len(actions) != 1 or set(self.recent.get("--mask", "f:")) - set("25.f:"):
            raise RuleSyntaxError(self.rule, "this use of `recent` is not known")
        seconds = self.recent.get("--seconds")
        name = self.recent.get("--name", "DEFAULT")
        return Match(actions[0].lstrip("-"), f"{name} {seconds}" if seconds else name)

    def _target(self, name: str, goto: bool) -> Target:
        known = TARGETS.get(name, {})
        options: dict[str, str] = {}
        for word in self.words:
            if word not in known:
                raise RuleSyntaxError(self.rule, f"`{word}` after `-j {name}` is not known")
            options[word.lstrip("-")] = self._value(word) if known[word] else ""
        if name == "MARK":
            options = {"set-xmark": self._set_xmark(options)}
        if options.get("reject-with") in ("icmp-port-unreachable", "icmp6-port-unreachable"):
            del options["reject-with"]
        return Target(name, tuple(sorted(options.items())), goto)

    def _set_xmark(self, options: dict[str, str]) -> str:
        """Every way to set a mark as iptables keeps it, "value/mask": clear the bits of mask, then flip value's."""
        if len(options) != 1:
            raise RuleSyntaxError(self.rule, "MARK takes one option")
        ((option, text),) = options.items()
        try:
            value, mask = (int(part, 16) for part in _mark(text).split("/"))
        except ValueError:
            raise RuleSyntaxError(self.rule, f"`{text}` is no mark") from None
        pairs = {
            "set-xmark": (value, mask),
            "set-mark": (value, mask | value),
            "or-mark": (value, value),
            "xor-mark": (value, 0),
            "and-mark": (0, ~value & ALL_BITS),
        }
        return "{:#x}/{:#x}".format(*pairs[option])

    def _value(self, option: str, normal: Callable[[str], str] = str) -> str:
        word = next(self.words, None)
        if word is None:
            raise RuleSyntaxError(self.rule, f"`{option}` has no value")
        try:
            return normal(word)
        except ValueError:
            raise RuleSyntaxError(self.rule, f"`{option} {word}` is not known") from None

    def _split(self) -> Iterator[str]:
        position = 0
        text = self.rule.rstrip()
        while position < len(text):
            found = _WORD.match(text, position)
            if not found:
                raise RuleSyntaxError(self.rule, "quotes do not close")
            position = found.end()
            quoted, plain = found.groups()
            yield plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
