"""What kube-router's policy controller has on one node: every policy's chains and sets, and a chain for each pod.

A policy has its chains on every node; a pod only on its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from k8snetlab.api.addressing import split
from k8snetlab.api.core import Namespace, Pod
from k8snetlab.api.networking import NetworkPolicy
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import FAMILIES, pick
from k8snetlab.dataplane.names import (
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
from k8snetlab.policies.shapes import Direction, Policy, Resolved
from k8snetlab.render.netpol import names, policy

INPUT, FORWARD, OUTPUT = (ChainKey("filter", KUBE_ROUTER + hook) for hook in ("INPUT", "FORWARD", "OUTPUT"))
COMMON, DEFAULT = ChainKey("filter", KUBE_NWPLCY_COMMON), ChainKey("filter", KUBE_NWPLCY_DEFAULT)
ALLOWED, PASSED = "0x10000/0x10000", "0x20000/0x20000"
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
        kinds = (NetworkPolicy, Pod, Namespace)
        with self._lock:
            before = self._snapshot
            if before is None or any(snapshot.all(kind) is not before.all(kind) for kind in kinds):
                self._resolved = self._resolver.update(snapshot)
                self._snapshot = snapshot
            assert self._resolved is not None
            return self._resolved


_SHARED = _Shared()


def render(snapshot: Snapshot, node: str) -> NodeDataplane:
    """Nothing but a claim to the names, where there is no policy or no controller."""
    lab = snapshot.lab
    families = [family for family in FAMILIES if pick(lab.spec.podCIDR, family)]
    netns = Netns(name=namespace_of(lab.name, node, lab.spec.machines))
    if not snapshot.all(NetworkPolicy) or lab.spec.networkPolicy.controller == "none":
        return NodeDataplane(netns, tuple(RuleSet(family, {}, KUBE_ROUTER_CHAINS) for family in families))
    resolved = _SHARED.of(snapshot)
    pods = [pod for pod in snapshot.select(Pod, pods_by_node, node).values() if pod.ips and not pod.ended]
    pods = [pod for pod in pods if not pod.spec.hostNetwork]
    services = split(lab.spec.serviceCIDR)
    rules, sets = [], []
    for family in families:
        chains, some = _family(resolved, pods, services, family)
        rules.append(RuleSet(family, chains, KUBE_ROUTER_CHAINS, _HOOKS))
        sets += some
    return NodeDataplane(netns, tuple(rules), sets=tuple(sets))


def _family(
    resolved: Resolved, pods: Iterable[Pod], services: Iterable[str], family: Family
) -> tuple[dict[ChainKey, Rules], list[IPSet]]:
    chains: dict[ChainKey, Rules] = {COMMON: _common(family), DEFAULT: _DEFAULT}
    sets: list[IPSet] = []
    for one in resolved.policies.values():
        said = policy.render(one, family, resolved.pods)
        chains |= said.chains
        sets += said.sets
    top: dict[ChainKey, list[str]] = {INPUT: list(_open(services, family)), FORWARD: [], OUTPUT: []}
    for pod in pods:
        address = pick(pod.ips, family)
        if address:
            chain = names.pod_chain(pod.namespace, pod.name)
            applied = resolved.by_pod.get(pod.key, ())
            judged = [(one, direction) for one in applied for direction in policy.directions_of(one)]
            chains[ChainKey("filter", chain)] = _pod(pod, address, judged, family)
            _lead(top, pod, address, chain, family)
    for key, rules in top.items():
        chains[key] = (*rules, f"{_ACCEPT} -j ACCEPT")
    return chains, sets


def _pod(pod: Pod, address: str, applied: Iterable[tuple[Policy, Direction]], family: Family) -> Rules:
    """What goes to a pod and what comes from it, in one chain."""
    length = "/32" if family == "ipv4" else "/128"
    inward, outward = f"-d {address}{length}", f"-s {address}{length}"
    rules = [
        f"{names.said('common netpol rules')} -j {COMMON.chain}",
        f"{inward} {names.said('from local node')} -m addrtype --src-type LOCAL -j ACCEPT",
    ]
    left: dict[Direction, str] = {"egress": outward, "ingress": inward}
    jumps: list[str] = []
    for one, direction in applied:
        left.pop(direction, None)
        chain = names.policy_chain(*one.key, direction, family)
        match = inward if direction == "ingress" else outward
        jumps.append(f"{match} {names.comment(*one.key, 'policy')} -j {chain}")
    for direction, match in left.items():
        rules.append(f"{match} {names.said(f'default {direction}')} -j {DEFAULT.chain}")
    unmarked = f"-m mark ! --mark {ALLOWED}"
    log, refuse = (names.comment(pod.namespace, pod.name, kind) for kind in ("log-drop", "reject"))
    rejected = "icmp-port-unreachable" if family == "ipv4" else "icmp6-port-unreachable"
    return (
        *rules,
        *jumps,
        f"{log} {unmarked} -m limit --limit 10/min --limit-burst 10 -j NFLOG --nflog-group 100",
        f"{refuse} {unmarked} -j REJECT --reject-with {rejected}",
        "-j MARK --set-xmark 0x0/0x10000",
        f"{names.said('set netpol-ok mark')} -j MARK --set-xmark {PASSED}",
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


def _common(family: Family) -> Rules:
    """What no policy is asked about."""
    v4 = family == "ipv4"
    protocol, option = ("icmp", "-m icmp --icmp-type") if v4 else ("ipv6-icmp", "-m icmp6 --icmpv6-type")
    return (
        f"{names.said('rule to drop invalid state for pod')} -m conntrack --ctstate INVALID -j DROP",
        f"{names.said('rule for stateful firewall for pod')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        *(
            f"-p {protocol} {names.said(f'allow icmp {what}')} {option} {number} -j ACCEPT"
            for number, what in _ICMP[family]
        ),
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
