"""hostPorts: the rules that the CNI plugin portmap writes for pods with ports of their node's.

Source: containernetworking/plugins plugins/meta/portmap (portmap_iptables.go, chain.go), pkg/utils
(MustFormatChainNameWithPrefix), and flannel's cni-conf.json: {"name": "cbr0", … "type": "portmap"}, snat by default.
A pod with hostNetwork has none: it listens on the node itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from k8snetlab.api.core import ContainerPort, Node, Pod
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import end, host, pick, with_length
from k8snetlab.dataplane.names import CNI_DN, CNI_HOSTPORT_DNAT, CNI_HOSTPORT_MASQ, CNI_HOSTPORT_SETMARK, HOSTPORT_MARK
from k8snetlab.dataplane.rules import ChainKey, Family, Hook, Rules, RuleSet, quote

NETWORK, CALICOS = "cbr0", "k8s-pod-network"
"""The names of the network in flannel's conflist, and in Calico's."""
MARK = f"{HOSTPORT_MARK:#x}/{HOSTPORT_MARK:#x}"
MULTIPORT = 15
"""Ports that one match of iptables' multiport takes."""
DNAT = ChainKey("nat", CNI_HOSTPORT_DNAT)
SET_MARK = ChainKey("nat", CNI_HOSTPORT_SETMARK)
MASQUERADE = ChainKey("nat", CNI_HOSTPORT_MASQ)
_LOCAL = f"-m addrtype --dst-type LOCAL -j {DNAT.chain}"
HOOKS = (
    Hook("nat", "PREROUTING", _LOCAL, prepend=False),
    Hook("nat", "OUTPUT", _LOCAL, prepend=False),
    Hook("nat", "POSTROUTING", f'-m comment --comment "CNI portfwd requiring masquerade" -j {MASQUERADE.chain}'),
)


def render(node: Node, pods: Iterable[Pod], family: Family, network: str = NETWORK) -> RuleSet:
    """The rules of one node and family; `pods` are those it runs. Without a hostPort there are none."""
    entries: list[str] = []
    own: dict[ChainKey, Rules] = {}
    for pod in pods:
        address = pick(pod.ips, family)
        subnet = pick(node.podCIDRs, family) if network == NETWORK else host(address) if address else ""
        if not address or not subnet or not (ports := ports_of(pod)):
            continue
        chain = chain_of(pod, network)
        own[ChainKey("nat", chain)] = tuple(_translations(ports, address, subnet, family))
        entries += _entries(pod, ports, chain, network)
    if not own:
        return RuleSet(family, {}, names.PORTMAP_CHAINS)
    chains: dict[ChainKey, Rules] = {
        SET_MARK: (f'-m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark {MARK}',),
        MASQUERADE: (f"-m mark --mark {MARK} -j MASQUERADE",),
        **own,
        DNAT: tuple(entries),
    }
    return RuleSet(family, chains, names.PORTMAP_CHAINS, HOOKS)


def ports_of(pod: Pod) -> list[ContainerPort]:
    if pod.spec.hostNetwork:
        return []
    return [port for container in pod.spec.serving_containers for port in container.ports if port.hostPort]


def chain_of(pod: Pod, network: str = "") -> str:
    """The pod's own chain, named after the network and its sandbox."""
    return (CNI_DN + hashlib.sha512(f"{network or NETWORK}{pod.sandbox_id}".encode()).hexdigest())[:28]


def serving_udp(pods: Iterable[Pod], family: Family) -> dict[tuple[str, int], frozenset[str]]:
    """The UDP hostPorts, on any address of the node, and the "ip:port" that answers for each: connections that
    conntrack holds to one of them and that lead elsewhere are stale."""
    found: dict[tuple[str, int], frozenset[str]] = {}
    for pod in pods:
        address = pick(pod.ips, family)
        for port in ports_of(pod):
            if address and port.protocol == "UDP":
                ends = found.get(("", port.hostPort), frozenset())
                found["", port.hostPort] = ends | {end(address, port.containerPort)}
    return found


def _entries(pod: Pod, ports: list[ContainerPort], chain: str, network: str) -> Iterator[str]:
    """Into the pod's chain, by protocol, fifteen ports a rule."""
    comment = quote(f'dnat name: "{network}" id: "{pod.sandbox_id}"')
    for protocol in sorted({port.protocol.lower() for port in ports}):
        numbers = [str(port.hostPort) for port in ports if port.protocol.lower() == protocol]
        for start in range(0, len(numbers), MULTIPORT):
            listed = ",".join(numbers[start : start + MULTIPORT])
            match = f"-m comment --comment {comment} -m multiport -p {protocol} --destination-ports {listed}"
            yield f"{match} -j {chain}"


def _translations(ports: list[ContainerPort], address: str, subnet: str, family: Family) -> Iterator[str]:
    """Masquerade for callers in the pods' network or, in IPv4, on the node's own 127.0.0.1; then the DNAT."""
    for port in ports:
        to = ""
        if port.hostIP:
            host = ip_address(port.hostIP)
            if host.version != (4 if family == "ipv4" else 6):
                continue
            to = "" if host.is_unspecified else f" -d {host}"
        match = f"-p {port.protocol.lower()} --dport {port.hostPort}{to}"
        yield f"{match} -s {with_length(address, subnet)} -j {SET_MARK.chain}"
        if family == "ipv4":
            yield f"{match} -s 127.0.0.1 -j {SET_MARK.chain}"
        yield f"{match} -j DNAT --to-destination {end(address, port.containerPort)}"
