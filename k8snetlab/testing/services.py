"""Small clusters of two nodes for tests of kube-proxy's rules, and packets sent into them, without a kernel.

fate(send(cluster(*web()), POD1, VIP)) == {"10.244.1.5:8080": "sent, masqueraded", "10.244.2.5:8080": "sent"}
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8snetlab.api.core import Node, Service
from k8snetlab.api.discovery import SERVICE_NAME, EndpointSlice
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import BRIDGE, ETH0
from k8snetlab.dataplane.rules import ChainKey, Family, Rules, RuleSet
from k8snetlab.iptables.matching import Host, Packet
from k8snetlab.render.proxy import ProxyRules
from k8snetlab.trace.tracer import Outcome, trace

NODE1, NODE2, OUTSIDE = "192.168.0.21", "192.168.0.22", "203.0.113.10"
POD1, POD2, POD3 = "10.244.1.5", "10.244.2.5", "10.244.2.6"
POD1_V6, POD2_V6 = "fd00:10:244:1::5", "fd00:10:244:2::5"
VIP, VIP6 = "10.96.0.10", "fd00:10:96::10"


def node(name: str, *addresses: str, podCIDRs: tuple[str, ...] = (), zone: str = "") -> Node:
    return msgspec.convert(
        {
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone} if zone else {}},
            "spec": {"podCIDRs": list(podCIDRs)},
            "status": {"addresses": [{"type": "InternalIP", "address": a} for a in addresses]},
        },
        Node,
    )


def service(name: str = "web", ports: list[dict[str, Any]] | None = None, ingress: Any = (), **spec: Any) -> Service:
    spec.setdefault("clusterIPs", [VIP])
    ports = ports or [{"name": "http", "port": 80}]
    status = {"loadBalancer": {"ingress": [{"ip": i} if isinstance(i, str) else i for i in ingress]}}
    return msgspec.convert(
        {"metadata": {"name": name, "namespace": "default"}, "spec": {"ports": ports, **spec}, "status": status},
        Service,
    )


def endpoint(ip: str, node: str = "", zones: str = "", nodes: str = "", **conditions: bool) -> dict[str, Any]:
    hints = {"forZones": [{"name": z} for z in zones.split()], "forNodes": [{"name": n} for n in nodes.split()]}
    return {"addresses": [ip], "conditions": conditions, "hints": hints} | ({"nodeName": node} if node else {})


def slice_of(
    service: str, *endpoints: dict[str, Any], ports: list[dict[str, Any]] | None = None, name: str = "", **fields: Any
) -> EndpointSlice:
    return msgspec.convert(
        {
            "metadata": {
                "name": name or f"{service}-abcde",
                "namespace": "default",
                "labels": {SERVICE_NAME: service},
            },
            "ports": ports or [{"name": "http", "port": 8080}],
            "endpoints": list(endpoints),
            **fields,
        },
        EndpointSlice,
    )


def lab(layout: str = "current", podCIDR: str = "10.244.0.0/16,fd00:10:244::/56") -> Lab:
    return msgspec.convert({"metadata": {"name": "t"}, "spec": {"podCIDR": podCIDR, "proxy": {"layout": layout}}}, Lab)


def proxy(**fields: Any) -> KubeProxyConfiguration:
    return msgspec.convert(fields, KubeProxyConfiguration)


def cluster(*objects: Object, layout: str = "current") -> Snapshot:
    """node1 in zone a, node2 in zone b, a lab, and `objects`."""
    return Snapshot.of(
        [
            node("node1", NODE1, "2001:db8::21", podCIDRs=("10.244.1.0/24", "fd00:10:244:1::/64"), zone="a"),
            node("node2", NODE2, "2001:db8::22", podCIDRs=("10.244.2.0/24", "fd00:10:244:2::/64"), zone="b"),
            lab(layout),
            *objects,
        ]
    )


def web(*endpoints: dict[str, Any], **spec: Any) -> list[Object]:
    """One Service, by default with a ready endpoint on each node."""
    ready = endpoints or (endpoint(POD1, "node1"), endpoint(POD2, "node2"))
    return [service(**spec), slice_of("web", *ready)]


def chains(snapshot: Snapshot, node: str = "node1", family: Family = "ipv4") -> dict[ChainKey, Rules]:
    return dict(ProxyRules.build(snapshot, node, family).chains)


def rows(snapshot: Snapshot, table: str, chain: str, node: str = "node1", family: Family = "ipv4") -> Rules:
    return chains(snapshot, node, family)[ChainKey(table, chain)]


def assemble(*rulesets: RuleSet) -> dict[ChainKey, Rules]:
    """The chains of rule sets with the built-in chains that their hooks make, put in one after the other."""
    chains: dict[ChainKey, Rules] = {}
    for ruleset in rulesets:
        chains.update(ruleset.chains)
        for hook in ruleset.hooks:
            key = ChainKey(hook.table, hook.chain)
            held = chains.get(key, ())
            chains[key] = (hook.rule, *held) if hook.prepend else (*held, hook.rule)
    return chains


def send(
    snapshot: Snapshot,
    src: str,
    dst: str,
    dport: int = 80,
    *,
    node: str = "node1",
    family: Family = "ipv4",
    recent: frozenset[str] = frozenset(),
    **packet: Any,
) -> tuple[Outcome, ...]:
    """What becomes of a packet among the rules of `node`; it comes from cni0 where a pod of the node sends it,
    from eth0 where another machine does, and from a process where the node does."""
    own = {"node1": (NODE1, "2001:db8::21"), "node2": (NODE2, "2001:db8::22")}[node]
    pods = {"node1": ("10.244.1.", "fd00:10:244:1:"), "node2": ("10.244.2.", "fd00:10:244:2:")}[node]
    arriving = BRIDGE if src.startswith(pods) else "" if src in own or src in ("127.0.0.1", "::1") else ETH0
    sent = Packet(src, dst, dport=dport, in_interface=arriving, **packet)
    rules = assemble(ProxyRules.build(snapshot, node, family).ruleset)
    return trace(rules, sent, Host(own, recent=recent))


def fate(outcomes: tuple[Outcome, ...]) -> dict[str, str]:
    """What happens at each endpoint: "10.244.1.5:8080" to "sent", "sent, masqueraded", "rejected" …; "" for none."""
    return {o.endpoint: f"{o.verdict}, masqueraded" if o.masqueraded else o.verdict for o in outcomes}
