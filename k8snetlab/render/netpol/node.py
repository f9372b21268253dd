"""What kube-router's policy controller has on one node: every policy's chains and sets, and a chain for each pod.

A policy has its chains on every node; a pod only on its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

from k8snetlab.api.addressing import split
from k8snetlab.api.calico_policy import CalicoNetworkPolicy, GlobalNetworkPolicy, GlobalNetworkSet, NetworkSet
from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.config import ServiceAccount
from k8snetlab.api.core import Namespace, Node, Pod
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import NetworkPolicy
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import FAMILIES, pick
from k8snetlab.dataplane.names import (
    KUBE_CNPLCY_DENY,
    KUBE_NWPLCY_COMMON,
    KUBE_NWPLCY_DEFAULT,
    KUBE_ROUTER,
    KUBE_ROUTER_CHAINS,
    namespace_of,
)
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.rules import ChainKey, Family, Hook, Rules, RuleSet
from k8snetlab.dataplane.sets import IPSet
from k8snetlab.policies.resolve import Resolver
from k8snetlab.policies.shapes import Resolved
from k8snetlab.policies.world import in_force
from k8snetlab.render.netpol import names, policy
from k8snetlab.render.netpol.pod import ALLOWED, FORWARD, INPUT, OUTPUT, PASSED, Asked, judging, said

COMMON, DEFAULT = ChainKey("filter", KUBE_NWPLCY_COMMON), ChainKey("filter", KUBE_NWPLCY_DEFAULT)
DENY = ChainKey("filter", KUBE_CNPLCY_DENY)
CALICO = (CalicoNetworkPolicy, GlobalNetworkPolicy, NetworkSet, GlobalNetworkSet)
NODE_PORTS = "30000:32767"
_ACCEPT = f"{names.said('rule to explicitly ACCEPT traffic that comply to network policies')} -m mark --mark {PASSED}"
_ICMP = {
    "ipv4": ((8, "echo requests"), (3, "destination unreachable messages"), (11, "time exceeded messages")),
    "ipv6": (
        (128, "echo requests"),
        (1, "destination unreachable messages"),
        (3, "time exceeded messages"),
        (135, "neighbor solicitation messages"),
        (136, "neighbor advertisement messages"),
        (129, "echo reply messages"),
    ),
}


Chains = Mapping[ChainKey, Rules]


class _Shared:
    """What a policy selects is the same on each node: it is worked out once."""

    def __init__(self) -> None:
        self._resolver, self._lock = Resolver(), threading.Lock()
        self._snapshot: Snapshot | None = None
        self._resolved: Resolved | None = None
        self._rules: dict[Family, tuple[Resolved, policy.PolicyRules]] = {}
        self._nodes: dict[tuple[str, Family], tuple[Lab, Chains, tuple[Asked, ...], Chains]] = {}

    def policies(self, resolved: Resolved, family: Family) -> policy.PolicyRules:
        """The chains and sets of all policies; the same chains while these are equal."""
        with self._lock:
            before = self._rules.get(family)
            if before is not None and before[0] is resolved:
                return before[1]
            made = _policies(resolved, family)
            if before is not None and before[1].chains == made.chains:
                made = policy.PolicyRules(before[1].chains, made.sets)
            self._rules[family] = (resolved, made)
            return made

    def chains(self, node: str, lab: Lab, policies: Chains, pods: tuple[Asked, ...], family: Family) -> Chains:
        """All of one node; the same value where nothing of it is different."""
        before = self._nodes.get((node, family))
        if before is None or before[0] is not lab or before[1] is not policies or before[2] != pods:
            before = self._nodes[node, family] = (lab, policies, pods, _chains(lab, policies, pods, family))
        return before[3]

    def of(self, snapshot: Snapshot) -> Resolved:
        kinds: tuple[type[Object], ...] = (NetworkPolicy, ClusterNetworkPolicy, Pod, Namespace)
        kinds += (Node,) if snapshot.all(ClusterNetworkPolicy) else ()
        kinds += (Lab, *CALICO)
        kinds += (
            (ServiceAccount,)
            if bool(snapshot.all(CalicoNetworkPolicy)) or bool(snapshot.all(GlobalNetworkPolicy))
            else ()
        )
        with self._lock:
            before = self._snapshot
            if before is None or any(snapshot.all(kind) is not before.all(kind) for kind in kinds):
                self._resolved = self._resolver.update(snapshot)
                self._snapshot = snapshot
            assert self._resolved is not None
            return self._resolved


_SHARED = _Shared()


def resolved_of(snapshot: Snapshot) -> Resolved:
    """What the policies of a snapshot say; the same value while that is the same."""
    return _SHARED.of(snapshot)


def render(snapshot: Snapshot, node: str) -> NodeDataplane:
    """Nothing but a claim to the names, where there is no policy or no controller, or where that is Felix."""
    lab = snapshot.lab
    families = [family for family in FAMILIES if pick(lab.spec.podCIDR, family)]
    netns = Netns(name=namespace_of(lab.name, node, lab.spec.machines))
    if not in_force(snapshot) or lab.spec.network.calico:
        return NodeDataplane(netns, tuple(RuleSet(family, {}, KUBE_ROUTER_CHAINS) for family in families))
    resolved = _SHARED.of(snapshot)
    pods = [pod for pod in snapshot.select(Pod, pods_by_node, node).values() if pod.ips and not pod.ended]
    pods = [pod for pod in pods if not pod.spec.hostNetwork]
    rules = []
    sets: tuple[IPSet, ...] = ()
    for family in families:
        every = _SHARED.policies(resolved, family)
        chains = _SHARED.chains(node, lab, every.chains, tuple(_pods(pods, resolved, family)), family)
        rules.append(RuleSet(family, chains, KUBE_ROUTER_CHAINS, _HOOKS))
        sets += every.sets
    return NodeDataplane(netns, tuple(rules), sets=sets)


def _policies(resolved: Resolved, family: Family) -> policy.PolicyRules:
    chains: dict[ChainKey, Rules] = {}
    sets: list[IPSet] = []
    if any(one.tier != "NetworkPolicy" for one in resolved.policies.values()):
        chains[DENY] = _deny(family)
    for one in resolved.policies.values():
        said = policy.render(one, family, resolved.pods)
        chains |= said.chains
        sets += said.sets
    return policy.PolicyRules(chains, tuple(sets))


def _pods(pods: Iterable[Pod], resolved: Resolved, family: Family) -> Iterator[Asked]:
    for one in pods:
        if address := pick(one.ips, family):
            yield Asked(one.key, address, family, tuple(map(judging, resolved.by_pod.get(one.key, ()))))


def _chains(lab: Lab, policies: Chains, pods: Iterable[Asked], family: Family) -> Chains:
    chains = {COMMON: _common(family, lab.spec.networkPolicy.cutEstablished), DEFAULT: _DEFAULT, **policies}
    top: dict[ChainKey, list[str]] = {INPUT: [*_open(split(lab.spec.serviceCIDR), family)], FORWARD: [], OUTPUT: []}
    for one in pods:
        of_pod = said(one)
        chains[of_pod.chain] = of_pod.rules
        for key, rules in of_pod.leading.items():
            top[key] += rules
    for key, leading in top.items():
        chains[key] = (*leading, f"{_ACCEPT} -j ACCEPT")
    return chains


def _deny(family: Family) -> Rules:
    """What a ClusterNetworkPolicy denies."""
    return (
        f"{names.said('log-drop')} -m limit --limit 10/min --limit-burst 10 -j NFLOG --nflog-group 100",
        f"{names.said('reject')} {names.rejection(family)}",
    )


def _common(family: Family, cuts: bool) -> Rules:
    """What no policy is asked about. `cuts`: what goes on of a connection that was cut is no new one; without that rule
    either end could open it again, as conntrack takes it up in the middle (nf_conntrack_tcp_loose)."""
    v4 = family == "ipv4"
    protocol, option = ("icmp", "-m icmp --icmp-type") if v4 else ("ipv6-icmp", "-m icmp6 --icmpv6-type")
    return (
        f"{names.said('rule to drop invalid state for pod')} -m conntrack --ctstate INVALID -j DROP",
        f"{names.said('rule for stateful firewall for pod')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        *((_CUT,) if cuts else ()),
        *(
            f"-p {protocol} {names.said(f'allow icmp {what}')} {option} {number} -j ACCEPT"
            for number, what in _ICMP[family]
        ),
    )


_CUT = (
    f"-p tcp {names.said('rule to reset a connection that was cut')} -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN "
    "-m conntrack --ctstate NEW -j REJECT --reject-with tcp-reset"
)
_DEFAULT: Rules = (f"{names.said('rule to mark traffic matching a network policy')} -j MARK --set-xmark {ALLOWED}",)


def _open(services: Iterable[str], family: Family) -> Iterator[str]:
    """What comes in for a Service is not translated yet, where no kube-proxy is there to do it: policies are asked of
    the pod that it leads to."""
    chain, comment = INPUT.chain, ("-m", "comment", "--comment")
    if cidr := pick(services, family):
        text = "allow traffic to primary/secondary cluster IP range"
        said = names.identified(chain, (*comment, text, "-d", cidr, "-j", "RETURN"), text)
        yield f"-d {cidr} {said} -j RETURN"
    for protocol in ("tcp", "udp", "sctp"):
        text = f"allow LOCAL {protocol.upper()} traffic to node ports"
        local = ("-m", "addrtype", "--dst-type", "LOCAL", "-m", "multiport", "--dports", NODE_PORTS, "-j", "RETURN")
        said = names.identified(chain, ("-p", protocol, *comment, text, *local), text)
        yield f"-p {protocol} {said} {' '.join(local)}"


def _hooks() -> Iterator[Hook]:
    text = "kube-router netpol"
    for key in (INPUT, FORWARD, OUTPUT):
        built_in = key.chain.removeprefix(KUBE_ROUTER)
        words = ("-m", "comment", "--comment", text, "-j", key.chain)
        yield Hook("filter", built_in, f"{names.identified(built_in, words, text)} -j {key.chain}")


_HOOKS = tuple(_hooks())
