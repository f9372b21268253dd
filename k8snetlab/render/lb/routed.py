"""Addresses of load balancers that nodes announce by BGP: who tells of which, and what the router makes of that.

Source: MetalLB speaker/bgp_controller.go (ShouldAnnounce): every node that may announces, so that the router has as
many ways, all equal; with externalTrafficPolicy Local only nodes with an endpoint may.
"""

from __future__ import annotations

from collections.abc import Mapping

from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import family_of, host, pick
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.dataplane.routing import Route
from k8snetlab.dataplane.rules import Family
from k8snetlab.render.lb.candidates import announced


def told(snapshot: Snapshot, name: str) -> Mapping[Family, tuple[str, ...]]:
    """The addresses that a node tells the router of, as networks of one each."""
    found: dict[Family, tuple[str, ...]] = {}
    if snapshot.lab.spec.loadBalancer.mode == "bgp":
        for address, nodes in sorted(announced(snapshot).items()):
            if name in nodes:
                family = family_of(address)
                found[family] = (*found.get(family, ()), host(address))
    return found


def wanted(snapshot: Snapshot, name: str) -> tuple[Route, ...]:
    """The routes that the router must have by that, one for each node that announces an address; none for nodes."""
    if snapshot.lab.spec.loadBalancer.mode != "bgp" or name != ROUTER:
        return ()
    return tuple(
        Route(host(address), via=via)
        for address, nodes in sorted(announced(snapshot).items())
        for node in sorted(nodes)
        if (via := _next_hop(snapshot, node, address))
    )


def _next_hop(snapshot: Snapshot, node: str, address: str) -> str:
    found = snapshot.get(Node, node)
    return pick(found.addresses, family_of(address)) if found and found.network_available else ""
