"""May one end open a connection to another? Both ends' policies have to allow it, each for its own direction: the first
tier that says something decides, Admin, then NetworkPolicies, then Baseline.

Always allowed: what a pod says to itself, and what comes from the pod's own node. Replies are no question of policies,
and ICMP is none of theirs: they speak of ports. Source: Kubernetes API reference, networking/v1; and the page "Network
Policies" of its documentation.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from k8snetlab.api.snapshot import Key
from k8snetlab.api.words import Path
from k8snetlab.policies.calico_order import in_direction
from k8snetlab.policies.calico_shapes import CalicoPolicy
from k8snetlab.policies.calico_verdict import Sent, fits
from k8snetlab.policies.shapes import Applied, Direction, End, Port, PortRange, Resolved, Rule, Tier

Why = Literal["loopback", "own node", "itself", "not isolated", "a rule", "no rule", "denied", "passed"]


class Match(msgspec.Struct, frozen=True):
    """A rule that allows, with the lines that say so: the peer's and the port's paths, None where the rule names
    none."""

    policy: Key
    source: str
    rule: Path
    peer: Path | None = None
    port: Path | None = None


class Decision(msgspec.Struct, frozen=True):
    """One direction. `by`: the rules that allow it ("a rule"); or the one that denies it ("denied"), of a
    ClusterNetworkPolicy or one of Calico's own; or the one of Calico's that leaves it to its profiles, which allow it
    ("passed"). `isolated_by`: the policies that isolate the pod in this direction. Where it is denied those are the
    policies that do it."""

    allowed: bool
    why: Why
    by: tuple[Match, ...] = ()
    isolated_by: tuple[Key, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    allowed: bool
    ingress: Decision
    egress: Decision


FREE = Decision(True, "not isolated")


def allowed(
    resolved: Resolved, source: End, target: End, at: tuple[str, int], family: int = 0, *, loopback: bool = True
) -> Verdict:
    """Whether `source` may reach `target` at a protocol (TCP, UDP, SCTP) and port (1 to 65535, after any DNAT).
    `family` is the packet's IP version; 0: that of the target's first address. Not `loopback`: what a pod says to
    itself goes through its node, as it does by a Service; that a ClusterNetworkPolicy does not hold back, unless Felix
    asks them, to whom it is a packet as any other. Of ICMP, of which `port` means nothing, Felix asks policies too."""
    protocol, port = at
    free_by_itself = loopback or (source.key is not None and resolved.has_tiers(source.key) and not resolved.felix)
    if source.key is not None and source.key == target.key and free_by_itself:
        free = Decision(True, "loopback")
        return Verdict(True, free, free)
    family = family or target.family
    ingress = _judged(resolved, _Packet("ingress", target, source, protocol, port, family))
    egress = _judged(resolved, _Packet("egress", source, target, protocol, port, family))
    return Verdict(ingress.allowed and egress.allowed, ingress, egress)


def denying(verdict: Verdict) -> tuple[Key, ...]:
    """The policies because of which a packet may not pass: those that isolate the pod whose side forbids it, the
    target's first."""
    side = verdict.ingress if not verdict.ingress.allowed else verdict.egress
    return () if side.allowed else side.isolated_by


class _Packet(msgspec.Struct, frozen=True):
    """A first packet, as one direction's policies look at it: `pod` is judged, `peer` is at the other end."""

    direction: Direction
    pod: End
    peer: End
    protocol: str
    port: int
    family: int

    @property
    def target(self) -> End:
        return self.pod if self.direction == "ingress" else self.peer

    @property
    def sent(self) -> Sent:
        """As both ends see it."""
        ends = (self.peer, self.pod) if self.direction == "ingress" else (self.pod, self.peer)
        return Sent(*ends, self.protocol, self.port, self.family, self.pod.node)

    @property
    def address(self) -> str:
        """The peer's, in this packet."""
        return (
            self.peer.sender(self.family, self.pod.node)
            if self.direction == "ingress"
            else self.peer.address(self.family)
        )


def _judged(resolved: Resolved, packet: _Packet) -> Decision:
    pod = packet.pod
    if pod.key is None or pod.host:
        return FREE
    if (found := _in_tier(resolved, packet, pod.key, "Admin")) is not None:
        return found
    if any(one.rules(packet.direction) is not None for one in resolved.calico_of(pod.key)):
        return _in_order(resolved, packet, pod.key)
    isolation = resolved.of(pod.key)
    applied = isolation.ingress if packet.direction == "ingress" else isolation.egress
    if applied is None:
        return _in_tier(resolved, packet, pod.key, "Baseline") or FREE
    isolated_by = tuple(one.policy.key for one in applied)
    if packet.direction == "ingress" and is_own_node(packet.peer, pod):
        return Decision(True, "own node", (), isolated_by)
    matches = [_matched(one, rule, packet) for one in applied for rule in one.rules]
    by = tuple(match for match in matches if match is not None)
    return Decision(bool(by), "a rule" if by else "no rule", by, isolated_by)


def _in_order(resolved: Resolved, packet: _Packet, pod: Key) -> Decision:
    """What the first rule of Calico's tier default says that matches: there its own policies and NetworkPolicies stand
    in one order."""
    asked = tuple(in_direction(resolved, pod, packet.direction))
    keys = tuple(one.key if isinstance(one, CalicoPolicy) else one.policy.key for one in asked)
    if packet.direction == "ingress" and is_own_node(packet.peer, packet.pod):
        return Decision(True, "own node", (), keys)
    for one in asked:
        if isinstance(one, CalicoPolicy):
            for rule in one.rules(packet.direction) or ():
                if rule.action == "Log" or not fits(rule, packet.sent):
                    continue
                match = (Match(one.key, one.source, rule.path),)
                if rule.action == "Deny":
                    return Decision(False, "denied", match, (one.key,))
                if rule.action == "Pass":
                    return _in_tier(resolved, packet, pod, "Baseline") or Decision(True, "passed", match)
                return Decision(True, "a rule", match, keys)
        elif allows := next(filter(None, (_matched(one, rule, packet) for rule in one.rules)), None):
            return Decision(True, "a rule", (allows,), keys)
    return Decision(False, "no rule", (), keys)


def _in_tier(resolved: Resolved, packet: _Packet, pod: Key, tier: Tier) -> Decision | None:
    """What the first rule of a tier says that matches; None where none does, or where it is passed on."""
    if packet.direction == "ingress" and is_own_node(packet.peer, packet.pod):
        return None
    for one in resolved.tier(pod, tier, packet.direction):
        for rule in one.rules:
            if (match := _matched(one, rule, packet)) is None:
                continue
            if rule.action == "Accept":
                return Decision(True, "a rule", (match,))
            return Decision(False, "denied", (match,), (one.policy.key,)) if rule.action == "Deny" else None
    return None


def is_own_node(peer: End, pod: End) -> bool:
    """Whether a peer is the node that a pod runs on, or a pod in that node's network."""
    return bool(pod.node) and peer.node == pod.node and (peer.key is None or peer.host)


def _matched(applied: Applied, rule: Rule, packet: _Packet) -> Match | None:
    """The first peer and port of a rule that are the packet's."""
    policy = applied.policy
    ports = [port for port in rule.ports or () if _is_port(port, packet)]
    if rule.ports is not None and not ports:
        return None
    port = ports[0].path if ports else None
    if rule.peers is None:
        return Match(policy.key, policy.source, rule.path, None, port)
    for peer in rule.peers:
        is_pod = packet.peer.key in peer.pods
        if not is_pod and (peer.block is None or not peer.block.has(packet.address)):
            continue
        usable = [one for one in ports if is_pod or packet.direction == "ingress" or isinstance(one, PortRange)]
        if rule.ports is None or usable:
            return Match(policy.key, policy.source, rule.path, peer.path, usable[0].path if usable else None)
    return None


def _is_port(port: Port, packet: _Packet) -> bool:
    if port.protocol != packet.protocol:
        return False
    if isinstance(port, PortRange):
        return port.first <= packet.port <= port.last
    key = packet.target.key
    return key is not None and packet.port in port.numbers.get(key, ())
