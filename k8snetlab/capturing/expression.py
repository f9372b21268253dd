"""Which packets to show: a part of tcpdump's filter language (pcap-filter(7)), parsed into a test.

    [not|!] PRIMITIVE [and|&& …] [or||| …] (…)       and, or: of one precedence, left to right, as there

    [ip|ip6|arp] [src|dst] host ADDRESS              ADDRESS alone means host
    [ip|ip6|arp] [src|dst] net CIDR
    [tcp|udp|sctp] [src|dst] port NUMBER             portrange FIRST-LAST
    ether [src|dst|host] MAC
    ip, ip6, arp, tcp, udp, icmp, icmp6, sctp
    vxlan [VNI]
    tcp[tcpflags] [& FLAGS] = FLAGS                  also !=; FLAGS as tcp-syn|tcp-ack, or a number
    inbound, outbound, less OCTETS, greater OCTETS

A primitive holds if it holds for the packet or for the packet that VXLAN carries in it, so `tcp port 80` also finds a
tunnelled packet. Not supported: other offsets into the packet, arithmetic, names of hosts and services.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from k8snetlab.capturing import predicates
from k8snetlab.capturing.predicates import CARRIERS, Side, Test, anywhere
from k8snetlab.dataplane.packet import (
    ACK,
    CWR,
    ECE,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
)
from k8snetlab.errors import InputError
from k8snetlab.wording import whole

PROTOCOLS = ("ip", "ip6", "arp", "tcp", "udp", "icmp", "icmp6", "sctp")
KEYWORDS = frozenset(
    [*PROTOCOLS, "ether", "vxlan", "src", "dst", "host", "net", "port", "portrange", "not", "inbound", "outbound"]
    + ["less", "greater"]
)
"""Words that can begin a filter."""
FLAGS = {
    f"tcp-{name}": bit
    for name, bit in zip(
        ("fin", "syn", "rst", "push", "ack", "urg", "ece", "cwr"), (FIN, SYN, RST, PSH, ACK, URG, ECE, CWR), strict=True
    )
}
_MAX_DEPTH = 50
_TOKEN = re.compile(r"\s*(?:([\w.:/-]+)|(&&|\|\||[!=]=|[][()!&|=])|(\S))")
_NETWORKS, _TYPES = ("ip", "ip6", "arp"), ("host", "net", "port", "portrange")
_SIDES: dict[str, Side] = {"src": "src", "dst": "dst"}


class Token(NamedTuple):
    """`column` counts from 1."""

    text: str
    column: int


class _Qualifiers(NamedTuple):
    """What stands before a value: a protocol ("" for any), which end, and a type."""

    protocol: str
    side: Side
    type: str


def parse(text: str) -> Test:
    """The filter as a function; "" lets everything through. Raises InputError with the column of what is wrong."""
    if not text.strip():
        return lambda _: True
    parser = _Parser(text)
    found = parser.expression()
    if left := parser.peek():
        raise _wrong(left, f"{left.text!r} is not expected here", "join two conditions by `and` or `or`")
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [_token(found) for found in _TOKEN.finditer(text.rstrip())]
        self._end = Token("", len(text.rstrip()) + 1)
        self._at = 0
        self._depth = 0
        self._last: _Qualifiers | None = None

    def peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def expression(self) -> Test:
        first = self._term()
        rest: list[tuple[bool, Test]] = []
        while word := self._take("and", "&&", "or", "||"):
            rest.append((word.text in ("and", "&&"), self._term()))
        return predicates.joined(first, rest) if rest else first

    def _term(self) -> Test:
        opened = self._take("not", "!", "(")
        if opened is None:
            return self._primitive()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _wrong(opened, "this is nested too deeply", f"at most {_MAX_DEPTH} times")
        if opened.text != "(":
            found = predicates.negated(self._term())
        else:
            found = self.expression()
            if not self._take(")"):
                raise _wrong(self.peek() or self._end, "a ) is missing", f"the ( of column {opened.column} is open")
        self._depth -= 1
        return found

    def _primitive(self) -> Test:
        start = self.peek()
        if start is None:
            raise _wrong(self._end, "a condition is missing", "tcp port 80 and host 10.1.2.3")
        if self._take("inbound", "outbound"):
            return predicates.going(start.text == "outbound")
        if self._take("less", "greater"):
            octets = self._number("a number of octets", 1 << 31)
            return predicates.shorter(octets) if start.text == "less" else predicates.longer(octets)
        if self._take("vxlan"):
            following = self.peek()
            vni = self._number("a VNI", 1 << 24) if following and following.text.isdecimal() else None
            return anywhere(predicates.vxlan(vni))
        if self._take("ether"):
            return self._station()
        return self._qualified(start)

    def _station(self) -> Test:
        side = self._take("src", "dst", "host")
        value = self._value("a MAC address")
        if not re.fullmatch(r"[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}", value.text):
            raise _wrong(value, f"{value.text!r} is no MAC address", "ether host 96:8f:2d:49:c5:31")
        mac = ":".join(part.zfill(2).lower() for part in value.text.split(":"))
        return anywhere(predicates.station(_SIDES.get(side.text if side else "", "or"), mac))

    def _qualified(self, start: Token) -> Test:
        protocol = self._take(*PROTOCOLS)
        if protocol and protocol.text == "tcp" and self._take("["):
            return self._flags()
        side = self._side()
        type_ = self._take(*_TYPES)
        if protocol and not side and not type_ and not _is_value(self.peek()):
            return anywhere(predicates.protocol(protocol.text))
        if not (protocol or side or type_):
            if self._last is None or (start.text[:1].isalpha() and not _is_address(start.text)):
                return self._bare(start)
            wanted = self._last
        else:
            wanted = _Qualifiers(protocol.text if protocol else "", side or "or", type_.text if type_ else "")
        found = self._valued(wanted, protocol or start)
        self._last = wanted
        return found

    def _bare(self, start: Token) -> Test:
        if not _is_address(start.text):
            raise _wrong(start, f"{start.text!r} is unknown here", "a condition begins with one of: " + _known())
        self._last = _Qualifiers("", "or", "")
        return self._valued(self._last, start)

    def _side(self) -> Side | None:
        first = self._take("src", "dst")
        if not first:
            return None
        other = {"src": "dst", "dst": "src"}[first.text]
        joined, after = self.peek(), self._tokens[self._at + 1 : self._at + 2]
        if joined and joined.text in ("and", "&&", "or", "||") and after and after[0].text == other:
            self._at += 2
            return "and" if joined.text in ("and", "&&") else "or"
        return _SIDES[first.text]

    def _valued(self, wanted: _Qualifiers, at: Token) -> Test:
        if wanted.type in ("port", "portrange"):
            if wanted.protocol not in ("", *CARRIERS):
                raise _wrong(at, f"{wanted.protocol} has no ports", "tcp, udp or sctp")
            return self._port(wanted)
        if wanted.protocol not in ("", *_NETWORKS):
            hint = f"{wanted.protocol} and host …; or {wanted.protocol} port …"
            raise _wrong(at, f"{wanted.protocol} goes before `port` only", hint)
        value = self._value("an address")
        network = _network(value, wanted.type)
        return anywhere(predicates.address(wanted.side, wanted.protocol, network))

    def _port(self, wanted: _Qualifiers) -> Test:
        value = self._value("a port")
        first, dash, last = value.text.partition("-")
        if bool(dash) != (wanted.type == "portrange") or not _is_port(first) or (dash and not _is_port(last)):
            hint = "portrange 30000-32767" if wanted.type == "portrange" else "port 80; portrange 80-90"
            raise _wrong(
                value, f"{value.text!r} is no {'range of ports' if wanted.type == 'portrange' else 'port'}", hint
            )
        low, high = sorted((int(first), int(last or first)))
        carriers = (wanted.protocol,) if wanted.protocol else CARRIERS
        return anywhere(predicates.port(wanted.side, carriers, low, high))

    def _flags(self) -> Test:
        """After `tcp[`."""
        what = self._value("tcpflags")
        if what.text not in ("tcpflags", "13") or not self._take("]"):
            raise _wrong(what, "of TCP's octets only the flags can be asked for", "tcp[tcpflags] & tcp-syn != 0")
        mask = self._bits() if self._take("&") else 0xFF
        compared = self._take("=", "==", "!=")
        if compared is None:
            raise _wrong(self.peek() or self._end, "= or != is missing", "tcp[tcpflags] & tcp-syn != 0")
        bits, same = self._bits(), compared.text != "!="
        return anywhere(predicates.tcp_flags(mask, bits, same))

    def _bits(self) -> int:
        """tcp-syn, 0x12, tcp-syn|tcp-ack, (tcp-syn|tcp-ack)"""
        opened = self._take("(")
        bits = 0
        while True:
            word = self._value("TCP flags")
            if word.text in FLAGS:
                bits |= FLAGS[word.text]
            elif re.fullmatch(r"0x[0-9a-fA-F]{1,8}|\d{1,8}", word.text):
                bits |= int(word.text, 0 if word.text.startswith("0x") else 10)
            else:
                raise _wrong(word, f"{word.text!r} is no TCP flag", f"flags: {', '.join(FLAGS)}")
            if not self._take("|"):
                break
        if opened and not self._take(")"):
            raise _wrong(self.peek() or self._end, "a ) is missing", f"the ( of column {opened.column} is open")
        return bits

    def _take(self, *texts: str) -> Token | None:
        token = self.peek()
        if token is None or token.text not in texts:
            return None
        self._at += 1
        return token

    def _value(self, what: str) -> Token:
        token = self.peek()
        if not _is_value(token):
            raise _wrong(token or self._end, f"{what} is missing")
        assert token is not None
        self._at += 1
        return token

    def _number(self, what: str, below: int) -> int:
        token = self._value(what)
        number = whole(token.text, below)
        if number is None:
            raise _wrong(token, f"{token.text!r} is not {what}")
        return number


# --- tokens -----------------------------------------------------------------------------------------------------------


def _token(found: re.Match[str]) -> Token:
    group = next(number for number in (1, 2, 3) if found[number] is not None)
    token = Token(found[group], found.start(group) + 1)
    if group == 3:
        raise _wrong(token, f"{token.text!r} means nothing here")
    return token


def _is_value(token: Token | None) -> bool:
    return token is not None and token.text not in ("and", "or", "not") and bool(re.match(r"[\w:]", token.text))


def _is_address(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return not text.isdecimal()


def _is_port(text: str) -> bool:
    return whole(text, 1 << 16) is not None


def _network(value: Token, type_: str) -> IPv4Network | IPv6Network:
    what = "network" if type_ == "net" else "address"
    if not _is_address(value.text) or (type_ == "host" and "/" in value.text):
        raise _wrong(value, f"{value.text!r} is no {what}", "host 10.1.2.3; net 10.244.0.0/16; port 80")
    try:
        return ip_network(value.text)
    except ValueError:
        right = ip_network(value.text, strict=False)
        raise _wrong(value, f"{value.text!r} has bits beyond its prefix", f"net {right}") from None


def _known() -> str:
    return ", ".join(
        [*PROTOCOLS, "src, dst, host, net, port, portrange, ether, vxlan, inbound, outbound, less, greater"]
    )


def _wrong(token: Token, message: str, hint: str = "") -> InputError:
    return InputError(f"filter, column {token.column}: {message}", hint)
