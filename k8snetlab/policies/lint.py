"""What surprises people in policies that are valid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from k8snetlab.api.networking import NetworkPolicy, NetworkPolicyPeer
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import Path
from k8snetlab.policies.sentences import Where
from k8snetlab.policies.shapes import NamedPort, Policy, PortRange, Resolved, Rule

DNS = 53


class Surprise(msgspec.Struct, frozen=True):
    """A line that may not mean what it seems to."""

    kind: str
    """selects-nothing, peer-matches-nothing, and-or, or-and, unknown-port-name, forgets-dns or same-priority."""
    policy: str
    """namespace/name; of a ClusterNetworkPolicy its name."""
    line: str
    """Where it is written: `file:line`, or the field where no file is known."""
    message: str
    """What is surprising."""


class PolicySurprises(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that `policy lint` finds."""

    surprises: tuple[Surprise, ...]
    """By policy; empty where nothing is surprising."""
    withoutEffect: str = ""
    """Where nobody brings policies into the kernel (networkPolicy.controller none): that it is so, in a sentence."""


Said = tuple[str, Path, str]
"""Kind, path and message."""


def lint(snapshot: Snapshot, resolved: Resolved, where: Where) -> PolicySurprises:
    found: list[Surprise] = []
    for key, policy in resolved.policies.items():
        written = snapshot.all(NetworkPolicy).get(key)
        said = _of(written, policy, resolved) if written else _of_cluster(policy, resolved)
        for kind, path, message in said:
            found.append(Surprise(kind, policy.name, where(key, path), message))
    return PolicySurprises(tuple(found))


def _of(written: NetworkPolicy, policy: Policy, resolved: Resolved) -> Iterator[Said]:
    if not policy.selected:
        yield "selects-nothing", ("spec", "podSelector"), f"no pod of namespace {written.namespace} is selected"
    peers = [rule.from_ for rule in written.spec.ingress], [rule.to for rule in written.spec.egress]
    for rules, items in zip((policy.ingress, policy.egress), peers, strict=True):
        for rule, said in zip(rules or (), items, strict=bool(rules)):
            yield from _peers(rule, said, resolved)
            yield from _names(rule, policy)
    yield from _dns(policy, resolved)


def _of_cluster(policy: Policy, resolved: Resolved) -> Iterator[Said]:
    """Of a ClusterNetworkPolicy."""
    if not policy.selected:
        yield "selects-nothing", ("spec", "subject"), "no pod is selected"
    for rule in (*(policy.ingress or ()), *(policy.egress or ())):
        for peer in rule.peers or ():
            if peer.block is None and not peer.pods:
                yield "peer-matches-nothing", peer.path, "no pod is matched"
        if not rule.peers:
            yield "peer-matches-nothing", rule.path, "no node is matched"
        named = {port.path: port.name for port in rule.ports or () if isinstance(port, NamedPort)}
        held = {port.path for port in rule.ports or () if isinstance(port, NamedPort) and port.numbers}
        for path, name in named.items():
            if path not in held and policy.selected:
                yield (
                    "unknown-port-name",
                    (*path, "destinationNamedPort"),
                    f"no pod that it could lead to has a port called {name}, so this matches nothing",
                )
    yield from _priorities(policy, resolved)


def _priorities(policy: Policy, resolved: Resolved) -> Iterator[Said]:
    """Said of the second of two."""
    before: list[Policy] = []
    for one in resolved.policies.values():
        if one is policy:
            break
        if (one.tier, one.priority) == (policy.tier, policy.priority) and one.selected.keys() & policy.selected.keys():
            before.append(one)
    if before:
        yield (
            "same-priority",
            ("spec", "priority"),
            f"{', '.join(one.name for one in before)} has tier {policy.tier} and priority {policy.priority} too, and "
            "selects some of the same pods: which of them is asked first, the API leaves open (here: by name)",
        )


def _peers(rule: Rule, said: Iterable[NetworkPolicyPeer], resolved: Resolved) -> Iterator[Said]:
    pairs = list(zip(rule.peers or (), said, strict=True))
    for peer, item in pairs:
        if peer.block is not None or peer.pods:
            continue
        if item.namespaceSelector is not None and item.podSelector is not None:
            yield (
                "and-or",
                peer.path,
                "no pod is matched by namespaceSelector and podSelector at once: in one item they are and'ed; "
                "two items, each with a - of its own, are or'ed",
            )
        else:
            yield "peer-matches-nothing", peer.path, "no pod is matched"
    alone = [item for _, item in pairs if (item.namespaceSelector is None) != (item.podSelector is None)]
    if any(item.podSelector for item in alone) and any(item.namespaceSelector for item in alone):
        yield (
            "or-and",
            rule.path,
            "namespaceSelector and podSelector are two items, so each is enough: every pod of those namespaces is "
            "meant, and the pods of this namespace; in one item they would be and'ed",
        )


def _names(rule: Rule, policy: Policy) -> Iterator[Said]:
    for port in rule.ports or ():
        if isinstance(port, NamedPort) and not port.numbers and policy.selected:
            yield (
                "unknown-port-name",
                (*port.path, "port"),
                f"no pod that it could lead to has a {port.protocol} port called {port.name}, so this allows nothing",
            )


def _dns(policy: Policy, resolved: Resolved) -> Iterator[Said]:
    if not policy.egress:  # nothing is let out on purpose, or nothing is said
        return
    for key in policy.selected:
        rules = [rule for one in resolved.of(key).egress or () for rule in one.rules]
        first = (rule for one in resolved.tier(key, "Admin", "egress") for rule in one.rules)
        rules += [rule for rule in first if rule.action == "Accept"]
        if not any(_lets_dns_out(rule) for rule in rules):
            yield (
                "forgets-dns",
                ("spec", "egress"),
                f"{'/'.join(key)} may ask no DNS server (UDP 53), by this policy or another: names will not resolve",
            )
            return


def _lets_dns_out(rule: Rule) -> bool:
    if rule.peers is not None and not rule.pods and not rule.blocks:
        return False
    for port in rule.ports or ():
        if port.protocol != "UDP":
            continue
        if port.first <= DNS <= port.last if isinstance(port, PortRange) else DNS in sum(port.numbers.values(), ()):
            return True
    return rule.ports is None
