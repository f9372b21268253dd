"""Policies in plain sentences: what may come into and go out of a pod, and why a packet may pass or may not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.core import Pod
from k8snetlab.api.lines import line
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import NetworkPolicy
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.words import Path, show
from k8snetlab.policies.calico import key_of, written
from k8snetlab.policies.calico_order import in_direction
from k8snetlab.policies.calico_sentences import peers_of, ports_of, wish
from k8snetlab.policies.calico_shapes import CalicoPolicy, is_calico
from k8snetlab.policies.matrix import At
from k8snetlab.policies.shapes import FIRST, LAST, Applied, Direction, End, Ends, PortRange, Resolved, Rule, named
from k8snetlab.policies.verdict import Decision, Match, Verdict

Where = Callable[[Key, Path], str]
"""A policy's line: the place of a field of it, for people."""
FEW = 4
_PLAIN = re.compile("[A-Za-z][A-Za-z0-9./_-]*")
_NO_STRINGS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Words that YAML reads as something else."""


def lines_of(snapshot: Snapshot) -> Where:
    """`file:line` where that is known, else the policy and the field."""
    held: dict[Key, Object] = {**snapshot.all(NetworkPolicy), **snapshot.all(ClusterNetworkPolicy)}
    held |= {key_of(policy): policy for policy in written(snapshot)}

    def where(key: Key, path: Path) -> str:
        found = held.get(key)
        return (line(found, path) if found else "") or f"{named(key)}: {show(path)}"

    return where


class Judged(Protocol):
    """A connection: who asks, as whom the target sees that, at which port; and what the policies of who asks look at,
    where it is not translated yet."""

    @property
    def asking(self) -> End: ...
    @property
    def seen(self) -> End: ...
    @property
    def target(self) -> End: ...
    @property
    def at(self) -> At: ...
    @property
    def left(self) -> tuple[End, At]: ...
    @property
    def family(self) -> int: ...


class AllowedBy(msgspec.Struct, frozen=True):
    """One rule of a policy, as it is for one pod."""

    policy: str
    """namespace/name."""
    line: str
    """Where the rule is written: `file:line`, or the field where no file is known."""
    peers: str
    """Who it names."""
    ports: str
    """Which ports it names."""
    action: str = "Accept"
    """Accept, Deny or Pass, which leaves it to the next tier; of Calico's own policies Allow, Deny, Pass or Log."""
    tier: str = "NetworkPolicy"
    """Admin, NetworkPolicy or Baseline; default where NetworkPolicies stand among Calico's own policies."""


class PodDirection(msgspec.Struct, frozen=True):
    """What may come in, or go out."""

    isolated: bool
    """Whether any NetworkPolicy, or one of Calico's own, selects the pod in this direction; if none does, everything
    passes that no ClusterNetworkPolicy denies."""
    policies: tuple[str, ...]
    """Those that do."""
    rules: tuple[AllowedBy, ...]
    """Of tier Admin the first that matches decides; then what those policies allow, and nothing else passes; without
    them those of tier Baseline, of which the first that matches decides. In Calico's tier default it is the first, too,
    and what is passed goes to Baseline."""


class PolicyExplanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What policies mean for a pod."""

    pod: str
    """namespace/name."""
    hostNetwork: bool
    """Whether it is in its node's network, where no policy selects it."""
    ingress: PodDirection
    """What may come in."""
    egress: PodDirection
    """What may go out."""
    withoutEffect: str = ""
    """Where nobody brings policies into the kernel (networkPolicy.controller none): that it is so, in a sentence."""


class Side(msgspec.Struct, frozen=True):
    """What one end's policies say of a connection."""

    allowed: bool
    """Whether they let it pass."""
    why: str
    """loopback, own node, itself (by its own Service), not isolated, a rule, no rule, denied (by a ClusterNetworkPolicy
    or one of Calico's own), or passed (by one of Calico's, to its profiles, which allow it)."""
    policies: tuple[str, ...]
    """The policies that decide: those whose rules allow it, the one that denies it, or all that isolate the pod."""
    lines: tuple[str, ...]
    """Where they say so."""
    wanted: str
    """What one of the policies would have to say in addition, as YAML in one line; "" where it is allowed."""


class EndpointReason(msgspec.Struct, frozen=True):
    """Why a connection to one endpoint of a Service is allowed or not."""

    to: str
    """The endpoint: a pod as namespace/name, or an address."""
    protocol: str
    """TCP, UDP or SCTP."""
    port: int
    """At the endpoint."""
    source: str
    """The address that the policies of `to` see."""
    allowed: bool
    """Whether both ends' policies let it pass."""
    ingress: Side
    """What the policies of `to` say."""
    egress: Side
    """What those of `from` say."""


class PolicyReason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a connection is allowed or not."""

    from_: str = msgspec.field(name="from")
    """Who would open it."""
    to: str
    """To whom: a pod as namespace/name, a node, outside, an address; a Service as it was asked for."""
    protocol: str
    """TCP, UDP or SCTP."""
    port: int
    """At the pod; a Service's own."""
    allowed: bool
    """Whether both ends' policies let it pass; of a Service, to each endpoint."""
    ingress: Side
    """What the policies of `to` say; of a Service, of the first endpoint that is denied, else of the first."""
    egress: Side
    """What those of `from` say."""
    service: str = ""
    """The Service that was asked for, namespace/name; left out where none was."""
    endpoints: tuple[EndpointReason, ...] = ()
    """Of a Service: each of its endpoints; left out where none was asked for."""
    withoutEffect: str = ""
    """Where nobody brings policies into the kernel (networkPolicy.controller none): that it is so, in a sentence."""


def explain(resolved: Resolved, pod: End, where: Where) -> PolicyExplanation:
    assert pod.key is not None
    into, out = (_direction(where, resolved, pod.key, *side) for side in resolved.of(pod.key).sides)
    return PolicyExplanation(pod.name, pod.host, into, out)


def _direction(
    where: Where, resolved: Resolved, pod: Key, direction: Direction, applied: tuple[Applied, ...] | None
) -> PodDirection:
    if any(one.rules(direction) is not None for one in resolved.calico_of(pod)):
        return _in_order(where, resolved, pod, direction)
    first = resolved.tier(pod, "Admin", direction)
    last = resolved.tier(pod, "Baseline", direction) if applied is None else ()
    rules = (said for one in (*first, *(applied or ()), *last) for said in _applied(where, one, direction))
    return PodDirection(applied is not None, tuple(one.policy.name for one in applied or ()), tuple(rules))


def _applied(where: Where, one: Applied, direction: Direction, tier: str = "") -> Iterator[AllowedBy]:
    for rule in one.rules:
        line_of = where(one.policy.key, rule.path)
        yield AllowedBy(
            one.policy.name, line_of, _peers(rule, direction), _ports(rule), rule.action, tier or one.policy.tier
        )


def _in_order(where: Where, resolved: Resolved, pod: Key, direction: Direction) -> PodDirection:
    """Where Calico's own policies stand among others."""
    rules = [said for one in resolved.tier(pod, "Admin", direction) for said in _applied(where, one, direction)]
    names, passes = list[str](), False
    for one in in_direction(resolved, pod, direction):
        if not isinstance(one, CalicoPolicy):
            names.append(one.policy.name)
            rules += _applied(where, one, direction, "default")
            continue
        names.append(one.name)
        for rule in one.rules(direction) or ():
            passes |= rule.action == "Pass"
            who, ports = peers_of(rule, direction, _pods), ports_of(rule)
            rules.append(AllowedBy(one.name, where(one.key, rule.path), who, ports, rule.action, "default"))
    for last in resolved.tier(pod, "Baseline", direction) if passes else ():
        rules += _applied(where, last, direction)
    return PodDirection(True, tuple(names), tuple(rules))


def sides(snapshot: Snapshot, verdict: Verdict, judged: Judged, where: Where) -> tuple[Side, Side]:
    """What the policies of the target and of the source say, in words."""
    source, target, at, family = judged.seen, judged.target, judged.at, judged.family
    wish = _wish(snapshot, verdict.ingress, "ingress", (source, target), at, family)
    left, port = judged.left
    other = _wish(snapshot, verdict.egress, "egress", (left, judged.asking), port, family)
    return _side(verdict.ingress, where, wish), _side(verdict.egress, where, other)


def _side(decision: Decision, where: Where, wish: str) -> Side:
    if decision.by:
        policies = tuple(dict.fromkeys(named(match.policy) for match in decision.by))
        lines = tuple(where(match.policy, path) for match in decision.by for path in _paths(match))
    else:
        policies = tuple(map(named, decision.isolated_by))
        lines = tuple(where(key, ("spec",)) for key in decision.isolated_by)
    return Side(decision.allowed, decision.why, policies, lines, "" if decision.allowed else wish)


def _paths(match: Match) -> list[Path]:
    """The lines of a rule that let a packet pass: its peer's and its port's, or its own where it names neither."""
    return [path for path in (match.peer, match.port) if path is not None] or [match.rule]


def _wish(  # noqa: PLR0917 (all that the sentence names)
    snapshot: Snapshot, decision: Decision, direction: Direction, ends: tuple[End, End], at: At, family: int
) -> str:
    """The rule that would let a packet pass. `ends` are the peer and the pod that is judged."""
    peer, pod = ends
    field = "from" if direction == "ingress" else "to"
    of_cluster = decision.why == "denied"
    ports = f"protocols: [{{{at[0].lower()}: {{destinationPort: {{number: {at[1]}}}}}}}]"
    ports = ports if of_cluster else f"ports: [{{protocol: {at[0]}, port: {at[1]}}}]"
    action = "action: Accept, " if of_cluster else ""
    found = snapshot.all(Pod).get(peer.key) if peer.key else None
    if decision.isolated_by and is_calico(decision.isolated_by[0]):
        address = peer.sender(family, pod.node) if direction == "ingress" else peer.address(family)
        known = (found.namespace, found.metadata.labels) if found is not None and not peer.host else None
        return wish("ingress" if direction == "ingress" else "egress", at, known, address)
    if found is None or peer.host:
        address = peer.sender(family, pod.node) if direction == "ingress" else peer.address(family)
        if not address:
            return f"{direction}: [{{{action}{ports}}}]"
        cidr = f'"{address}/{128 if ":" in address else 32}"'
        said: Any = f"networks: [{cidr}]" if of_cluster else f"ipBlock: {{cidr: {cidr}}}"
    else:
        labels = ", ".join(f"{_yaml(key)}: {_yaml(value)}" for key, value in sorted(found.metadata.labels.items()))
        said = f"podSelector: {{matchLabels: {{{labels}}}}}" if labels else "podSelector: {}"
        if of_cluster or pod.key is None or found.namespace != pod.key[0]:
            space = f"matchLabels: {{kubernetes.io/metadata.name: {_yaml(found.namespace)}}}"
            said = f"namespaceSelector: {{{space}}}, {said}"
        said = f"pods: {{{said}}}" if of_cluster else said
    return f"{direction}: [{{{action}{field}: [{{{said}}}], {ports}}}]"


def _yaml(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _NO_STRINGS
    return text if plain else f'"{text}"'


def _peers(rule: Rule, direction: str) -> str:
    if rule.peers is None:
        return "anybody, outside the cluster too"
    found = []
    for peer in rule.peers:
        if peer.block is None:
            found.append(_pods(peer.pods))
        else:
            excepts = ", ".join(map(str, peer.block.excepts))
            found.append(f"addresses in {peer.block.network}{f' but not in {excepts}' if excepts else ''}")
    return "; or ".join(found)


def _pods(pods: Ends) -> str:
    if not pods:
        return "pods that there are none of"
    names = ["/".join(key) for key in pods]
    rest = f" and {len(names) - FEW} more" if len(names) > FEW + 1 else ""
    return ", ".join(names[:FEW] if rest else names) + rest


def _ports(rule: Rule) -> str:
    if rule.ports is None:
        return "every port"
    if not rule.ports:
        return "a port by a name that the pod has not"
    found = []
    for port in rule.ports:
        if not isinstance(port, PortRange):
            found.append(f"{port.protocol} {port.name}")
        elif (port.first, port.last) == (FIRST, LAST):
            found.append(f"every {port.protocol} port")
        else:
            number = f"{port.first}" if port.first == port.last else f"{port.first}-{port.last}"
            found.append(f"{port.protocol} {number}")
    return ", ".join(found)
