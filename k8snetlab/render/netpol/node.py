"""What kube-router's policy controller has on one node: every policy's chains and sets, and a chain for each pod.

A policy has its chains on every node; a pod only on its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from k8snetlab.api.addressing import split
from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
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
from k8snetlab.policies.shapes import Direction, Policy, Resolved, Tier
from k8snetlab.render.netpol import names, policy

INPUT, FORWARD, OUTPUT = (ChainKey("filter", KUBE_ROUTER + hook) for hook in ("INPUT", "FORWARD", "OUTPUT"))
COMMON, DEFAULT = ChainKey("filter", KUBE_NWPLCY_COMMON), ChainKey("filter", KUBE_NWPLCY_DEFAULT)
DENY = ChainKey("filter", KUBE_CNPLCY_DENY)
ALLOWED, PASSED = "0x10000/0x10000", "0x20000/0x20000"
_BIT_ALLOWED, _BIT_NEXT, _BITS = "0x10000", "0x40000", "0x50000"
_UNDECIDED = f"-m mark --mark 0x0/{_BITS}"
"""By no policy of this tier or one before it."""
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


class _Shared:
    """What a policy selects is the same on each node: it is worked out once."""

    def __init__(self) -> None:
        self._resolver, self._lock = Resolver(), threading.Lock()
        self._snapshot: Snapshot | None = None
        self._resolved: Resolved | None = None

    def of(self, snapshot: Snapshot) -> Resolved:
        kinds: tuple[type[Object], ...] = (NetworkPolicy, ClusterNetworkPolicy, Pod, Namespace)
        kinds += (Node,) if snapshot.all(ClusterNetworkPolicy) else ()
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
    """Nothing but a claim to the names, where there is no policy or no controller."""
    lab = snapshot.lab
    families = [family for family in FAMILIES if pick(lab.spec.podCIDR, family)]
    netns = Netns(name=namespace_of(lab.name, node, lab.spec.machines))
    policed = bool(snapshot.all(NetworkPolicy)) or bool(snapshot.all(ClusterNetworkPolicy))
    if not policed or lab.spec.networkPolicy.controller == "none":
        return NodeDataplane(netns, tuple(RuleSet(family, {}, KUBE_ROUTER_CHAINS) for family in families))
    resolved = _SHARED.of(snapshot)
    pods = [pod for pod in snapshot.select(Pod, pods_by_node, node).values() if pod.ips and not pod.ended]
    pods = [pod for pod in pods if not pod.spec.hostNetwork]
    rules, sets = [], []
    for family in families:
        chains, some = _family(lab, resolved, pods, family)
        rules.append(RuleSet(family, chains, KUBE_ROUTER_CHAINS, _HOOKS))
        sets += some
    return NodeDataplane(netns, tuple(rules), sets=tuple(sets))


def _family(
    lab: Lab, resolved: Resolved, pods: Iterable[Pod], family: Family
) -> tuple[dict[ChainKey, Rules], list[IPSet]]:
    chains: dict[ChainKey, Rules] = {
        COMMON: _common(family, lab.spec.networkPolicy.cutEstablished),
        DEFAULT: _DEFAULT,
    }
    sets: list[IPSet] = []
    if any(one.tier != "NetworkPolicy" for one in resolved.policies.values()):
        chains[DENY] = _deny(family)
    for one in resolved.policies.values():
        said = policy.render(one, family, resolved.pods)
        chains |= said.chains
        sets += said.sets
    top: dict[ChainKey, list[str]] = {INPUT: list(_open(split(lab.spec.serviceCIDR), family)), FORWARD: [], OUTPUT: []}
    for pod in pods:
        address = pick(pod.ips, family)
        if address:
            chain = names.pod_chain(pod.namespace, pod.name)
            applied = resolved.by_pod.get(pod.key, ())
            chains[ChainKey("filter", chain)] = _pod(pod, address, applied, family)
            _lead(top, pod, address, chain, family)
    for key, rules in top.items():
        chains[key] = (*rules, f"{_ACCEPT} -j ACCEPT")
    return chains, sets


def _pod(pod: Pod, address: str, applied: Iterable[Policy], family: Family) -> Rules:
    """What goes to a pod and what comes from it, in one chain."""
    length = "/32" if family == "ipv4" else "/128"
    ways: dict[Direction, str] = {"egress": f"-s {address}{length}", "ingress": f"-d {address}{length}"}
    tiers: dict[Tier, list[tuple[Direction, str]]] = {"Admin": [], "NetworkPolicy": [], "Baseline": []}
    for one in applied:
        for direction in policy.directions_of(one):
            chain = names.policy_chain(*one.key, direction, family)
            undecided = "" if one.tier == "NetworkPolicy" else f" {_UNDECIDED}"
            comment = names.comment(*one.key, "policy")
            tiers[one.tier].append((direction, f"{ways[direction]} {comment}{undecided} -j {chain}"))
    isolated = {direction for direction, _ in tiers["NetworkPolicy"]}
    baseline = [jump for direction, jump in tiers["Baseline"] if direction not in isolated]
    defaults = [
        f"{match} {names.said(f'default {direction}')} -j {DEFAULT.chain}"
        for direction, match in ways.items()
        if direction not in isolated
    ]
    jumps = [jump for _, jump in tiers["NetworkPolicy"]]
    tiered = tiers["Admin"] or tiers["Baseline"]
    unmarked = f"-m mark ! --mark {ALLOWED}"
    log, refuse = (names.comment(pod.namespace, pod.name, kind) for kind in ("log-drop", "reject"))
    rejected = "icmp-port-unreachable" if family == "ipv4" else "icmp6-port-unreachable"
    return (
        f"{names.said('common netpol rules')} -j {COMMON.chain}",
        f"{ways['ingress']} {names.said('from local node')} -m addrtype --src-type LOCAL -j ACCEPT",
        *((f"{ways['egress']} {ways['ingress']} {names.said('to itself')} -j ACCEPT",) if tiered else ()),
        *(jump for _, jump in tiers["Admin"]),
        *((f"-j MARK --set-xmark 0x0/{_BIT_NEXT}", *baseline) if baseline else ()),
        *defaults,
        *jumps,
        f"{log} {unmarked} -m limit --limit 10/min --limit-burst 10 -j NFLOG --nflog-group 100",
        f"{refuse} {unmarked} -j REJECT --reject-with {rejected}",
        f"-j MARK --set-xmark 0x0/{_BITS if tiered else _BIT_ALLOWED}",
        f"{names.said('set netpol-ok mark')} -j MARK --set-xmark {PASSED}",
    )


def _deny(family: Family) -> Rules:
    """What a ClusterNetworkPolicy denies."""
    rejected = "icmp-port-unreachable" if family == "ipv4" else "icmp6-port-unreachable"
    return (
        f"{names.said('log-drop')} -m limit --limit 10/min --limit-burst 10 -j NFLOG --nflog-group 100",
        f"{names.said('reject')} -j REJECT --reject-with {rejected}",
    )


def _lead(top: dict[ChainKey, list[str]], pod: Pod, address: str, chain: str, family: Family) -> None:
    """Into a pod's chain: what is routed to it or from it, and what its bridge carries on."""
    length = "/32" if family == "ipv4" else "/128"
    into, out = (names.comment(pod.namespace, pod.name, kind) for kind in ("in", "out"))
    bridged = "-m physdev --physdev-is-bridged"
    top[FORWARD].append(f"-d {address}{length} {into} -j {chain}")
    top[OUTPUT].append(f"-d {address}{length} {into} -j {chain}")
    top[FORWARD].append(f"-d {address}{length} {bridged} {into} -j {chain}")
    for key in (INPUT, FORWARD, OUTPUT):
        top[key].append(f"-s {address}{length} {out} -j {chain}")
    top[FORWARD].append(f"-s {address}{length} {bridged} {out} -j {chain}")


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
