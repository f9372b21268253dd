"""Rules of Calico's own policies in plain words, and the rule that would let a packet pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from k8snetlab.api.meta import Labels
from k8snetlab.policies.calico_shapes import CalicoRule, CalicoSide, Selected
from k8snetlab.policies.ends import FIRST, LAST, Direction, Ends, Port, PortRange

Said = Callable[[Ends], str]
"""Pods in words."""


def peers_of(rule: CalicoRule, direction: Direction, pods: Said) -> str:
    """Who a rule names at the other side, and, where it does, which of the pods it is for."""
    other = _side(rule.peer(direction), pods) or "anybody, outside the cluster too"
    own = _side(rule.destination if direction == "ingress" else rule.source, pods)
    where = ", " + ("to" if direction == "ingress" else "out of") + f" {own}" if own else ""
    return other + where


def _side(side: CalicoSide, pods: Said) -> str:
    parts = []
    if side.selector is not None:
        parts.append(_selected(side.selector, pods))
    if side.nets:
        parts.append(f"addresses in {_or(side.nets)}")
    if side.not_selector is not None:
        parts.append(f"who is not {_selected(side.not_selector, pods)}")
    if side.not_nets:
        parts.append(f"addresses not in {_or(side.not_nets)}")
    return ", and of those ".join(parts)


def _selected(found: Selected, pods: Said) -> str:
    parts = [pods(found.ends)] if found.ends or not found.nets else []
    return "; or ".join([*parts, *([f"addresses in {_or(found.nets)} (sets of networks)"] if found.nets else [])])


def ports_of(rule: CalicoRule) -> str:
    """Which protocols and ports, and of which IP version."""
    found = list(_protocols(rule))
    if rule.version:
        found.append(f"IPv{rule.version} only")
    return ", ".join(found) or "every port"


def _protocols(rule: CalicoRule) -> Iterator[str]:
    ports, but = rule.destination.ports, rule.destination.not_ports
    if ports:
        yield from dict.fromkeys(map(_port, ports))
    elif rule.protocol and rule.icmp is None:
        yield f"every {rule.protocol} port" if rule.protocol in ("TCP", "UDP", "SCTP") else rule.protocol
    if rule.icmp is not None:
        yield f"{rule.protocol} {_icmp(rule.icmp)}"
    if rule.not_icmp is not None:
        yield f"but not {_icmp(rule.not_icmp)}"
    if rule.not_protocol:
        yield f"whatever is not {rule.not_protocol}"
    if but:
        yield f"but not {' or '.join(dict.fromkeys(map(_port, but)))}"


def _icmp(icmp: tuple[int, int | None]) -> str:
    return f"type {icmp[0]}" + (f" code {icmp[1]}" if icmp[1] is not None else "")


def _port(port: Port) -> str:
    if not isinstance(port, PortRange):
        return f"{port.protocol} {port.name}"
    if (port.first, port.last) == (FIRST, LAST):
        return f"every {port.protocol} port"
    return f"{port.protocol} {port.first}" if port.first == port.last else f"{port.protocol} {port.first}-{port.last}"


def _or(items: tuple[object, ...]) -> str:
    return " or ".join(map(str, items))


# --- what would have to be said -------------------------------------------------------------------------------------


def wish(direction: Direction, at: tuple[str, int], peer: tuple[str, Labels] | None, address: str) -> str:
    """The rule, as YAML in one line. `peer` is the pod at the other side, by its namespace and labels; where it is
    none, its `address` counts."""
    said = ["action: Allow", f"protocol: {at[0]}"]
    ends = {"source": "", "destination": f"ports: [{at[1]}]" if at[0] in ("TCP", "UDP", "SCTP") else ""}
    side = "source" if direction == "ingress" else "destination"
    who = ""
    if peer is not None:
        labels = " && ".join(f"{key} == '{value}'" for key, value in sorted(peer[1].items()))
        who = f'namespaceSelector: "projectcalico.org/name == \'{peer[0]}\'", selector: "{labels or "all()"}"'
    elif address:
        who = f'nets: ["{address}/{128 if ":" in address else 32}"]'
    ends[side] = ", ".join(part for part in (who, ends[side]) if part)
    said += [f"{field}: {{{text}}}" for field, text in ends.items() if text]
    return f"{direction}: [{{{', '.join(said)}}}]"
