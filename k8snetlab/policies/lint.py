"""What surprises people in policies that are valid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from k8snetlab.api.addressing import split
from k8snetlab.api.core import Pod
from k8snetlab.api.networking import NetworkPolicy, NetworkPolicyPeer
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.words import Path
from k8snetlab.dataplane.families import network
from k8snetlab.policies.calico import key_of, written
from k8snetlab.policies.doors import other_port
from k8snetlab.policies.lint_calico import of_calico
from k8snetlab.policies.lint_cluster import of_cluster
from k8snetlab.policies.selecting import Selection
from k8snetlab.policies.sentences import Where
from k8snetlab.policies.shapes import Block, Ends, NamedPort, Policy, PortRange, Resolved, Rule

DNS = 53
DNS_PODS = {"k8s-app": "kube-dns"}
"""The labels of a cluster's DNS pods."""


class Surprise(msgspec.Struct, frozen=True):
    """A line that may not mean what it seems to."""

    kind: str
    """selects-nothing, selects-host-network, rules-without-type, peer-matches-nothing, and-or, or-and, service-address,
    service-port, unknown-port-name, forgets-dns, same-priority or never-asked."""
    policy: str
    """namespace/name; of a ClusterNetworkPolicy its name; of Calico's own np/namespace/name and gnp/name."""
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
    linter = _Linter(snapshot, resolved)
    found: list[Surprise] = []
    for key, policy in resolved.policies.items():
        ours = snapshot.all(NetworkPolicy).get(key)
        said = linter.of(ours, policy) if ours else of_cluster(policy, resolved)
        for kind, path, message in said:
            found.append(Surprise(kind, policy.name, where(key, path), message))
    asked = {key_of(policy): policy for policy in written(snapshot)}
    for key, own in resolved.calico.items():
        found += (
            Surprise(kind, own.name, where(key, path), said)
            for kind, path, said in of_calico(asked[key], own, linter.services)
        )
    return PolicySurprises(tuple(found))


class _Linter:
    def __init__(self, snapshot: Snapshot, resolved: Resolved) -> None:
        self.snapshot, self.resolved = snapshot, resolved
        self.selection = Selection(snapshot)
        self.services = [network(cidr) for cidr in split(snapshot.lab.spec.serviceCIDR)]
        self.told: set[Key] = set()
        """Pods of which it was said that they may ask no DNS server."""
        self.minded: dict[str, bool] = {}
        """Whether a policy of a namespace lets pods ask DNS servers."""

    def of(self, written: NetworkPolicy, policy: Policy) -> Iterator[Said]:
        yield from self._selects(written, policy)
        yield from _types(written, policy)
        ingress = zip(policy.ingress or (), (rule.from_ for rule in written.spec.ingress), strict=False)
        egress = zip(policy.egress or (), (rule.to for rule in written.spec.egress), strict=False)
        for inward, pairs in ((True, ingress), (False, egress)):
            for rule, said in pairs:
                yield from self._peers(rule, said)
                yield from self._ports(rule, policy, inward)
        yield from self._dns(policy)

    def _selects(self, written: NetworkPolicy, policy: Policy) -> Iterator[Said]:
        if policy.selected:
            return
        path, selector = ("spec", "podSelector"), written.spec.podSelector
        there = (p for p in self.snapshot.all(Pod).values() if p.namespace == written.namespace and not p.ended)
        host = [pod.name for pod in there if pod.spec.hostNetwork and selector.matches(pod.metadata.labels)]
        if host:
            names = " and ".join(host[:2])
            yield "selects-host-network", path, f"only {names} would be selected, and hostNetwork pods never are"
        else:
            yield "selects-nothing", path, f"no pod of namespace {written.namespace} is selected"

    def _peers(self, rule: Rule, said: Iterable[NetworkPolicyPeer]) -> Iterator[Said]:
        pairs = list(zip(rule.peers or (), said, strict=False))
        meant = self._anded([item for _, item in pairs])
        if meant:
            yield (
                "or-and",
                rule.path,
                "namespaceSelector and podSelector are two items, so each is enough: every pod of those namespaces is "
                f"meant, and the pods of this one; in one item they would be and'ed, and mean {meant}",
            )
        for peer, item in pairs:
            if peer.block is not None:
                yield from self._block(peer.block, peer.path)
            elif not peer.pods and item.namespaceSelector is not None and item.podSelector is not None:
                yield (
                    "and-or",
                    peer.path,
                    "no pod is matched by namespaceSelector and podSelector at once: in one item they are and'ed; "
                    "two items, each with a - of its own, are or'ed",
                )
            elif not peer.pods and not (meant and item.podSelector is not None):
                yield "peer-matches-nothing", peer.path, "no pod is matched"

    def _block(self, block: Block, path: Path) -> Iterator[Said]:
        if self._is_services(block):
            yield (
                "service-address",
                path,
                f"{block.network} is in the Service network: policies see the pod that a Service leads to, after DNAT, "
                "so this matches nothing",
            )

    def _anded(self, items: list[NetworkPolicyPeer]) -> str:
        """What a namespaceSelector and a podSelector of two items would mean in one: where that is some pods, and not
        all of those namespaces."""
        spaces = [item.namespaceSelector for item in items if item.namespaceSelector and item.podSelector is None]
        pods = [item.podSelector for item in items if item.podSelector and item.namespaceSelector is None]
        for selector in pods:
            for space in spaces:
                found = self.selection.pods_of(space, selector)
                if found and len(found) < len(self.selection.pods_of(space, None)):
                    return ", ".join("/".join(key) for key in list(found)[:3])
        return ""

    def _ports(self, rule: Rule, policy: Policy, inward: bool) -> Iterator[Said]:
        targets = policy.selected if inward else rule.pods
        for port in rule.ports or ():
            if isinstance(port, NamedPort) and not port.numbers and policy.selected:
                others = sorted({p for end in targets.values() for p, name in end.ports if name == port.name})
                more = f" (there is one of {' and '.join(others)})" if others else ""
                yield (
                    "unknown-port-name",
                    (*port.path, "port"),
                    f"no pod that it could lead to has a {port.protocol} port called {port.name}{more}, so this allows "
                    "nothing",
                )
            elif isinstance(port, PortRange) and port.first == port.last and not rule.blocks:
                yield from self._number(port, targets)

    def _number(self, port: PortRange, targets: Ends) -> Iterator[Said]:
        if targets and (found := other_port(self.snapshot, targets, port.protocol, port.first)):
            yield (
                "service-port",
                (*port.path, "port"),
                f"{port.first} is the port of Service {found[0]}, which leads to port {found[1]} of its pods: policies "
                "see that one, after DNAT",
            )

    def _dns(self, policy: Policy) -> Iterator[Said]:
        if policy.egress is None:
            return
        if policy.egress and not policy.selected and not any(map(self._lets_dns_out, policy.egress)):
            names = "a pod that it selected could ask no DNS server (UDP 53) by it: names would not resolve"
            yield "forgets-dns", ("spec", "egress"), names
        for key in policy.selected:
            if key in self.told or any(one.egress is not None for one in self.resolved.calico_of(key)):
                continue
            rules = [rule for one in self.resolved.of(key).egress or () for rule in one.rules]
            first = (rule for one in self.resolved.tier(key, "Admin", "egress") for rule in one.rules)
            rules += [rule for rule in first if rule.action == "Accept"]
            if not any(map(self._lets_dns_out, rules)) and (rules or not self._allows_dns(key[0])):
                self.told |= policy.selected.keys()
                asks = "may ask no DNS server (UDP 53), by this policy or another" if rules else "is let out nowhere"
                yield (
                    "forgets-dns",
                    ("spec", "egress"),
                    f"{'/'.join(key)} {asks}: names will not resolve",
                )
                return

    def _allows_dns(self, space: str) -> bool:
        """Whether DNS is thought of in a namespace: then whoever is let out nowhere is so on purpose."""
        if space not in self.minded:
            policies = (one for key, one in self.resolved.policies.items() if key[0] == space)
            self.minded[space] = any(self._lets_dns_out(rule) for one in policies for rule in one.egress or ())
        return self.minded[space]

    def _lets_dns_out(self, rule: Rule) -> bool:
        if not _to_dns(rule):
            return False
        outside = any(not self._is_services(block) for block in rule.blocks)
        return rule.peers is None or outside or any(self._answers(key) for key in rule.pods)

    def _is_services(self, block: Block) -> bool:
        """Whether all of it is in the Service network."""
        ends = (block.network[0], block.network[-1])
        return any(all(end.version == cidr.version and end in cidr for end in ends) for cidr in self.services)

    def _answers(self, key: Key) -> bool:
        """Whether a pod may be a DNS server: it is the cluster's, or has the port."""
        pod = self.snapshot.all(Pod)[key]
        ports = {(p.protocol, p.containerPort) for p in pod.spec.serving_ports}
        return DNS_PODS.items() <= pod.metadata.labels.items() or ("UDP", DNS) in ports


def _types(written: NetworkPolicy, policy: Policy) -> Iterator[Said]:
    for field, rules, said in (
        ("ingress", written.spec.ingress, policy.ingress),
        ("egress", written.spec.egress, policy.egress),
    ):
        if rules and said is None:
            yield (
                "rules-without-type",
                ("spec", field),
                f"policyTypes does not have {field.capitalize()}, so these rules have no effect",
            )


def _to_dns(rule: Rule) -> bool:
    """Whether it lets UDP 53 pass, by number, or by a name that is 53."""
    for port in rule.ports or ():
        if port.protocol != "UDP":
            continue
        if port.first <= DNS <= port.last if isinstance(port, PortRange) else DNS in sum(port.numbers.values(), ()):
            return True
    return rule.ports is None
