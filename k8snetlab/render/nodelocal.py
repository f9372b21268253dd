"""What NodeLocal DNSCache makes of a node: a device with its address, and rules that spare its packets conntrack.

Source: kubernetes/dns, cmd/node-cache/app/cache_app.go (initIptables) and pkg/netif (the device). See
docs/decisions/032-nodelocaldns-is-a-bridge.md for the device's type.
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.dns import LOCAL, PORT
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.links import Address, Bridge
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.rules import Hook, RuleSet

HEALTH = 8080


def render(snapshot: Snapshot, name: str) -> NodeDataplane:
    """Nothing where the lab's nodes have no cache."""
    lab = snapshot.lab
    node = names.namespace_of(lab.name, name, lab.spec.machines)
    if not lab.spec.dns.enabled or not lab.spec.dns.nodeLocal:
        return NodeDataplane(Netns(node))
    return NodeDataplane(
        Netns(
            node,
            links=(Bridge(names.NODELOCALDNS),),
            addresses=(Address(names.NODELOCALDNS, f"{LOCAL}/32"),),
            owned=(names.NODELOCALDNS,),
        ),
        rules=(RuleSet("ipv4", {}, (), RULES),),
    )


def _hooks() -> Iterator[Hook]:
    """In node-cache's order, each put before those that stand already."""
    to, back = f"-d {LOCAL}/32", f"-s {LOCAL}/32"
    for table, chain, ends, port, target in (
        ("raw", "PREROUTING", to, f"--dport {PORT}", "NOTRACK"),
        ("filter", "INPUT", to, f"--dport {PORT}", "ACCEPT"),
        ("raw", "OUTPUT", back, f"--sport {PORT}", "NOTRACK"),
        ("filter", "OUTPUT", back, f"--sport {PORT}", "ACCEPT"),
        ("raw", "OUTPUT", to, f"--dport {PORT}", "NOTRACK"),
    ):
        for protocol in ("tcp", "udp"):
            yield Hook(table, chain, f"{ends} -p {protocol} -m {protocol} {port} -j {target}")
    yield Hook("raw", "OUTPUT", f"{to} -p tcp -m tcp --dport {HEALTH} -j NOTRACK")
    yield Hook("raw", "OUTPUT", f"{back} -p tcp -m tcp --sport {HEALTH} -j NOTRACK")


RULES = tuple(_hooks())
"""Those that stand in a node's built-in chains, as iptables-save prints them."""
