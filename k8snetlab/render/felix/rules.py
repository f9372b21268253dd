"""One rule of a policy as rules of iptables, with the ipsets that they look into.

A rule of iptables has one network for each end, at most 15 ports, and no "or": what says more becomes blocks before the
rule, each of which leaves a bit of the mark set where it matches. Source: Calico felix/rules/policy.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from k8snetlab.dataplane import felix_names as names
from k8snetlab.dataplane.rules import Family
from k8snetlab.dataplane.sets import IPSet, halves
from k8snetlab.policies.shapes import Ends, Network
from k8snetlab.render.felix import marks
from k8snetlab.render.felix.hashed import Line
from k8snetlab.render.felix.model import ALL, Action, FelixRule, Icmp, Named, Selected, Side

MOST_PORTS = 15
"""Slots of a multiport match; a range takes two."""
LOG = '--jump LOG --log-prefix "calico-packet: " --log-level 5'
_MARKS: dict[Action, tuple[int, str]] = {
    "allow": (marks.ACCEPT, marks.RETURN),
    "pass": (marks.PASS, marks.RETURN),
    "deny": (marks.DROP, marks.DENY),
}
Ports = Sequence[tuple[int, int]]


def lines(rule: FelixRule, family: Family) -> tuple[Line, ...]:
    """() where the rule is of the other family."""
    version = 4 if family == "ipv4" else 6
    if rule.version not in (0, version):
        return ()
    ends = [_of_family(side, version) for side in (rule.source, rule.destination)]
    if any(end is None for end in ends):
        return ()
    source, destination = (end for end in ends if end is not None)
    block = _Blocks(rule, family)
    sides = (("source", source), ("destination", destination))
    sides = tuple((end, block.ports(end, side)) for end, side in sides)  # type: ignore[assignment]
    sides = tuple((end, block.nets(end, side)) for end, side in sides)  # type: ignore[assignment]
    sides = tuple((end, block.not_nets(end, side)) for end, side in sides)  # type: ignore[assignment]
    words = [*_protocol(rule.protocol)]
    for end, side in sides:
        words += _matched(end, side, family)
    words += _icmp(rule.icmp, version)
    words += [f"! {one}" for one in _protocol(rule.not_protocol)]
    for end, side in sides:
        words += _unmatched(end, side, family)
    words += _icmp(rule.not_icmp, version, "! ")
    if block.lines:
        words.append(marks.is_set(marks.ALL_BLOCKS))
    return (*block.lines, *_acted(rule.action, " ".join(words)))


def sets(rule: FelixRule, family: Family) -> Iterator[IPSet]:
    """Those that `lines` look into, but for ports of ALL pods."""
    version = 4 if family == "ipv4" else 6
    for side in (rule.source, rule.destination):
        for selected in (*(side.selected if _asks(side) else ()), *side.not_selected):
            yield _selected(selected, family, version)
        for named in (*side.named, *side.not_named):
            if named.pods is not None:
                yield named_set(named, family)


def of_all(rule: FelixRule) -> Iterator[tuple[str, str]]:
    """Protocol and name of the ports of ALL pods that it looks for."""
    for side in (rule.source, rule.destination):
        yield from ((one.protocol, one.name) for one in (*side.named, *side.not_named) if one.pods is None)


def named_set(named: Named, family: Family) -> IPSet:
    version = 4 if family == "ipv4" else 6
    protocol = named.protocol.lower()
    entries = ((end.address(version), number) for end, number in named.pods or ())
    held = frozenset(f"{address},{protocol}:{number}" for address, number in entries if address)
    return IPSet(_named(named, family), "hash:ip,port", family, held)


def ports_of_all(pods: Ends, protocol: str, name: str) -> Named:
    """The port of that name of every pod."""
    said = (protocol, name)
    found = tuple((end, n) for end in pods.values() if not end.host for n in end.ports.get(said, ()))
    return Named(ALL, protocol, name, found)


def split(ports: Ports) -> list[Ports]:
    """Into as many as one match takes."""
    found: list[list[tuple[int, int]]] = []
    room = 0
    for one in ports:
        slots = 1 if one[0] == one[1] else 2
        if slots > room:
            found.append([])
            room = MOST_PORTS
        found[-1].append(one)
        room -= slots
    return list(found)


# --- blocks -----------------------------------------------------------------------------------------------------------


class _Blocks:
    """`lines` are those before the rule: they leave ALL_BLOCKS set where all of them match."""

    def __init__(self, rule: FelixRule, family: Family) -> None:
        self.rule, self.family = rule, family
        self.lines: list[Line] = []
        self._positive = False

    def ports(self, end: str, side: Side) -> Side:
        parts = split(side.ports)
        if len(parts) + len(side.named) < 2:
            return side
        protocol = " ".join(_protocol(self.rule.protocol))
        numbered = (f"{protocol} {_multiport(end, part)}".strip() for part in parts)
        named = (_set(_named(one, self.family), end, port=True) for one in side.named)
        self._any((*numbered, *named))
        return msgspec.structs.replace(side, ports=(), named=(), selected=side.selected if _asks(side) else ())

    def nets(self, end: str, side: Side) -> Side:
        if len(side.nets) < 2:
            return side
        self._any(f"--{end} {net}" for net in side.nets)
        return msgspec.structs.replace(side, nets=())

    def not_nets(self, end: str, side: Side) -> Side:
        if not side.not_nets or len(side.nets) + len(side.not_nets) < 2:
            return side
        self._begin(marks.ALL_BLOCKS)
        self.lines += [Line(f"--{end} {net}", marks.clear(marks.ALL_BLOCKS)) for net in side.not_nets]
        return msgspec.structs.replace(side, not_nets=())

    def _any(self, matches: Iterable[str]) -> None:
        self._begin(0)
        bit = marks.THIS_BLOCK if self._positive else marks.ALL_BLOCKS
        self.lines += [Line(match, marks.put(bit)) for match in matches]
        if self._positive:
            self.lines.append(Line(marks.is_clear(marks.THIS_BLOCK), marks.clear(marks.ALL_BLOCKS)))
        self._positive = True

    def _begin(self, bits: int) -> None:
        if not self.lines:
            self.lines.append(Line("", marks.put(bits, marks.ALL_BLOCKS | marks.THIS_BLOCK)))


# --- words ------------------------------------------------------------------------------------------------------------


def _acted(action: Action, match: str) -> Iterator[Line]:
    if action == "log":
        yield Line(match, LOG)
        return
    bit, then = _MARKS[action]
    yield Line(match, marks.put(bit))
    yield Line(marks.is_set(bit), then)


def _protocol(name: str) -> Iterator[str]:
    if name:
        yield f"-p {name.lower()}"


def _matched(end: str, side: Side, family: Family) -> Iterator[str]:
    yield from (f"--{end} {net}" for net in side.nets)
    if _asks(side):
        yield from (_set(_selected_name(one, family), end) for one in side.selected)
    if side.ports:
        yield _multiport(end, side.ports)
    yield from (_set(_named(one, family), end, port=True) for one in side.named)


def _unmatched(end: str, side: Side, family: Family) -> Iterator[str]:
    yield from (f"! --{end} {net}" for net in side.not_nets)
    yield from (_set(_selected_name(one, family), end, negated=True) for one in side.not_selected)
    yield from (_multiport(end, part, "! ") for part in split(side.not_ports))
    yield from (_set(_named(one, family), end, port=True, negated=True) for one in side.not_named)


def _asks(side: Side) -> bool:
    """Whether its selectors are asked: sets of named ports hold no other pods than these."""
    return bool(side.ports or not side.named)


def _multiport(end: str, ports: Ports, negation: str = "") -> str:
    said = ",".join(str(first) if first == last else f"{first}:{last}" for first, last in ports)
    return f"-m multiport {negation}--{end}-ports {said}"


def _set(name: str, end: str, *, port: bool = False, negated: bool = False) -> str:
    way = "src" if end == "source" else "dst"
    return f"-m set {'! ' if negated else ''}--match-set {name} {f'{way},{way}' if port else way}"


def _icmp(said: Icmp | None, version: int, negation: str = "") -> Iterator[str]:
    if said is not None:
        kind, code = said
        module = "-m icmp {}--icmp-type" if version == 4 else "-m icmp6 {}--icmpv6-type"
        yield f"{module.format(negation)} {kind}{'' if code is None else f'/{code}'}"


# --- sets -------------------------------------------------------------------------------------------------------------


def _selected(one: Selected, family: Family, version: int) -> IPSet:
    addresses = (address for end in one.pods.values() if (address := end.address(version)))
    nets = (half for net in one.nets if net.version == version for half in halves(str(net)))
    return IPSet(_selected_name(one, family), "hash:net", family, frozenset((*addresses, *nets)))


def _selected_name(one: Selected, family: Family) -> str:
    return names.set_name(names.selector_id(one.selector), family)


def _named(one: Named, family: Family) -> str:
    return names.set_name(names.named_id(one.selector, one.protocol, one.name), family)


def _of_family(side: Side, version: int) -> Side | None:
    """With the networks of one family; None where it has some, and none of this one, or none is left of all."""
    nets, not_nets = _nets(side.nets, version), _nets(side.not_nets, version)
    if (side.nets and not nets) or (side.not_nets and not not_nets):
        return None
    if any(net.prefixlen == 0 for net in not_nets):
        return None
    return msgspec.structs.replace(side, nets=nets, not_nets=not_nets)


def _nets(nets: tuple[Network, ...], version: int) -> tuple[Network, ...]:
    return tuple(net for net in nets if net.version == version)
