"""Does a rule of one of Calico's policies match a packet?"""

from __future__ import annotations

import msgspec

from k8snetlab.policies.calico_shapes import ICMP, CalicoRule, CalicoSide, has_port
from k8snetlab.policies.ends import Block, End

ECHO = {"ICMP": (8, 0), "ICMPv6": (128, 0)}
"""The type and code of what `ping` sends, by protocol: no other ICMP begins a conversation."""


class Sent(msgspec.Struct, frozen=True):
    """A first packet, as a pod's `node` sees it: `port` is that of the target, 0 where the protocol has none; `family`
    its IP version."""

    source: End
    target: End
    protocol: str
    port: int
    family: int
    node: str


def fits(rule: CalicoRule, sent: Sent) -> bool:
    return (
        rule.version in (0, sent.family)
        and is_of(rule, sent.protocol)
        and is_at(rule.source, sent.source, sent.source.sender(sent.family, sent.node))
        and is_at(rule.destination, sent.target, sent.target.address(sent.family))
        and has_ports(rule.destination, sent.protocol, sent.port, sent.target)
    )


def is_of(rule: CalicoRule, protocol: str) -> bool:
    """Whether a rule speaks of a protocol; of ICMP, of what `ping` sends."""
    if rule.protocol not in ("", protocol) or (rule.not_protocol and rule.not_protocol == protocol):
        return False
    if rule.icmp is not None and not _is_icmp(rule.icmp, protocol):
        return False
    return rule.not_icmp is None or (protocol in ECHO and not _is_icmp(rule.not_icmp, protocol))


def _is_icmp(icmp: ICMP, protocol: str) -> bool:
    number, code = ECHO.get(protocol, (-1, -1))
    return icmp[0] == number and icmp[1] in (None, code)


def is_at(side: CalicoSide, end: End, address: str) -> bool:
    """Whether an end with an address is one that a side means, of whatever ports."""
    if side.not_nets and not any((":" in address) == (net.version == 6) for net in side.not_nets):
        return False  # Felix has no such rule in the other family
    if side.nets and not any(Block(net).has(address) for net in side.nets):
        return False
    if any(Block(net).has(address) for net in side.not_nets):
        return False
    for selected, wanted in ((side.selector, True), (side.not_selector, False)):
        if selected is not None:
            found = end.key in selected.ends or any(Block(net).has(address) for net in selected.nets)
            if found is not wanted:
                return False
    return True


def has_ports(side: CalicoSide, protocol: str, number: int, target: End) -> bool:
    if side.ports and not any(has_port(port, protocol, number, target.key) for port in side.ports):
        return False
    return not any(has_port(port, protocol, number, target.key) for port in side.not_ports)
