"""Calico's own policies as Felix has them: one rule for each of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from k8snetlab.policies.calico_shapes import CalicoPolicy, CalicoRule, CalicoSide
from k8snetlab.policies.shapes import Direction, NamedPort, Port, PortRange
from k8snetlab.render.felix.model import ALL, Action, FelixRule, Named, Selected, Side

_ACTIONS: Mapping[str, Action] = {"Allow": "allow", "Deny": "deny", "Pass": "pass", "Log": "log"}


def clauses(policy: CalicoPolicy, direction: Direction) -> tuple[FelixRule, ...]:
    return tuple(map(_clause, policy.rules(direction) or ()))


def _clause(rule: CalicoRule) -> FelixRule:
    return FelixRule(
        _ACTIONS[rule.action],
        rule.path,
        _side(rule.source),
        _side(rule.destination),
        rule.protocol,
        rule.not_protocol,
        rule.icmp,
        rule.not_icmp,
        rule.version,
    )


def _side(side: CalicoSide) -> Side:
    wanted, unwanted = (
        () if one is None else (Selected(one.selector, one.ends, one.nets),)
        for one in (side.selector, side.not_selector)
    )
    return Side(
        side.nets,
        wanted,
        tuple(_ranges(side.ports)),
        tuple(_named(side, side.ports)),
        side.not_nets,
        unwanted,
        tuple(_ranges(side.not_ports)),
        tuple(_named(side, side.not_ports)),
    )


def _ranges(ports: tuple[Port, ...]) -> Iterator[tuple[int, int]]:
    yield from ((port.first, port.last) for port in ports if isinstance(port, PortRange))


def _named(side: CalicoSide, ports: tuple[Port, ...]) -> Iterator[Named]:
    """Of the pods that the side's selector matches, as no others can be meant."""
    for port in ports:
        if not isinstance(port, NamedPort):
            continue
        if side.selector is None:
            yield Named(ALL, port.protocol, port.name)
            continue
        ends = side.selector.ends
        found = tuple((ends[key], number) for key, numbers in port.numbers.items() for number in numbers)
        yield Named(side.selector.selector, port.protocol, port.name, found)
