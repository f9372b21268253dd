"""What kube-proxy sets on its node besides rules."""

from __future__ import annotations

from k8snetlab.api.selection import is_proxied_by_guest
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.netns import Netns, NodeDataplane


def render(snapshot: Snapshot, name: str) -> NodeDataplane:
    """Its sysctls alone: its rules are `ProxyRules`, which cost what has changed."""
    lab, proxy = snapshot.lab, snapshot.proxy
    sysctls: dict[str, str] = {}
    if not is_proxied_by_guest(snapshot, name):  # which sets its own
        if proxy.iptables.localhostNodePorts is not False:
            sysctls["net.ipv4.conf.all.route_localnet"] = "1"
        elif not lab.spec.machines:
            sysctls["net.ipv4.conf.all.route_localnet"] = "0"
        if proxy.conntrack.tcpBeLiberal:
            sysctls["net.netfilter.nf_conntrack_tcp_be_liberal"] = "1"
    return NodeDataplane(Netns(name=names.namespace_of(lab.name, name, lab.spec.machines), sysctls=sysctls))
