"""Kubernetes' policies as Felix has them: a rule for each protocol and peer.

An egress rule's named port means the pods that it names, and never an address of an ipBlock, as the API has it: Felix
would let pods inside the block be reached by it. Source: Calico libcalico-go/lib/backend/k8s/conversion
(conversion.go, clusternetworkpolicy.go), felix/calc/rule_scanner.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from k8snetlab.policies import shapes
from k8snetlab.policies.shapes import FIRST, LAST, Direction, NamedPort, Policy, PortRange, Rule
from k8snetlab.render.felix.model import ALL, ANY, Action, FelixRule, Named, Selected, Side

_ACTIONS: Mapping[shapes.Action, Action] = {"Accept": "allow", "Deny": "deny", "Pass": "pass"}
_Ports = tuple[tuple[tuple[int, int], ...], tuple[NamedPort, ...]]
"""Ranges, and those by name; both empty for all of a protocol."""


def clauses(policy: Policy, direction: Direction) -> tuple[FelixRule, ...]:
    return tuple(one for rule in policy.rules(direction) or () for one in _clauses(rule, direction))


def _clauses(rule: Rule, direction: Direction) -> Iterator[FelixRule]:
    for protocol, (ranges, named) in _by_protocol(rule.ports).items():
        for peer, pods in _peers(rule, direction):
            meant = named if direction == "ingress" or pods or rule.peers is None else ()
            if named and not (ranges or meant):
                continue
            target = Side(
                ports=ranges,
                named=tuple(_named(port, pods if direction == "egress" else ()) for port in meant),
                nets=peer.nets if direction == "egress" else (),
                not_nets=peer.not_nets if direction == "egress" else (),
                selected=peer.selected if direction == "egress" else (),
            )
            source = peer if direction == "ingress" else ANY
            yield FelixRule(_ACTIONS[rule.action], rule.path, source, target, protocol)


def _peers(rule: Rule, direction: Direction) -> Iterator[tuple[Side, tuple[Selected, ...]]]:
    """Each peer, with the pods that it is; everybody where the rule names none."""
    if rule.peers is None:
        yield ANY, ()
    for peer in rule.peers or ():
        if peer.block is not None:
            yield Side(nets=(peer.block.network,), not_nets=peer.block.excepts), ()
        else:
            pods = (Selected(peer.selector, peer.pods),)
            yield Side(selected=pods), pods


def _by_protocol(ports: Sequence[shapes.Port] | None) -> dict[str, _Ports]:
    """What a rule says of each protocol, in their order."""
    if ports is None:
        return {"": ((), ())}
    found: dict[str, _Ports] = {}
    for protocol in sorted({port.protocol for port in ports}):
        mine = [port for port in ports if port.protocol == protocol]
        ranges = [(port.first, port.last) for port in mine if isinstance(port, PortRange)]
        named = tuple(port for port in mine if isinstance(port, NamedPort))
        found[protocol] = ((), ()) if (FIRST, LAST) in ranges else (_joined(ranges), named)
    return found


def _joined(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """As few as there can be."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def _named(port: NamedPort, pods: tuple[Selected, ...]) -> Named:
    if not pods:
        return Named(ALL, port.protocol, port.name)
    (selected,) = pods
    said = (port.protocol, port.name)
    found = tuple((end, n) for end in selected.pods.values() if not end.host for n in end.ports.get(said, ()))
    return Named(selected.selector, port.protocol, port.name, found)
