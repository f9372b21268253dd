"""Addresses of load balancers that nodes should tell the router of by BGP, and do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from k8snetlab.api.core import Node, Service
from k8snetlab.api.problems import title
from k8snetlab.api.selection import balanced
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import end, host
from k8snetlab.dataplane.routing import Route
from k8snetlab.diagnose.about import about
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.paths import UsualPath
from k8snetlab.diagnose.routing import BGP, CLIENT_PORT
from k8snetlab.diagnose.sessions import Session
from k8snetlab.render.lb import routed
from k8snetlab.render.routing.speakers import lacking
from k8snetlab.trace.way import Flow


def untold(snapshot: Snapshot, held: Iterable[Route], sessions: Mapping[str, Session]) -> Iterator[Finding]:
    """Addresses to which the router has not all the ways that it should. `held` are the routes that its daemon has
    made, `sessions` those with nodes, by name."""
    without = silent(snapshot, held)
    for service in snapshot.select(Service, balanced, True).values():
        for address in (one.ip for one in service.status.loadBalancer.ingress):
            if not (lost := without.get(host(address), ())):
                continue
            first, router = sessions.get(lost[0]), names.node_netns(snapshot.lab.name, names.ROUTER)
            state = f"its BGP session with the router is {first.state or 'down'}" if first else "it has no BGP session"
            said = f" ({first.info})" if first and first.info else ""
            if first and first.stands:
                state = "it does not tell of it by the session that it has with the router"
            yield msgspec.structs.replace(
                about(
                    service,
                    fault="unannounced",
                    message=f"{title(service)}, {address}: the router has no way by {' and '.join(lost)}: {lost[0]}: "
                    f"{state}{said}",
                    consequence="from outside it is reached by the other nodes that announce it, or not at all",
                    show=f"k8snetlab routing {lost[0]}",
                    mend="# what keeps them from BGP (TCP port 179): `k8snetlab trace router NODE:179`",
                ),
                netns=router,
                needs=tuple(one.words for one in asked(snapshot, {host(address): lost})),
            )


def silent(snapshot: Snapshot, held: Iterable[Route]) -> Mapping[str, tuple[str, ...]]:
    """By address, as a network of one, the nodes by which the router should have a way there, and has none."""
    nodes = {address: node.name for node in snapshot.all(Node).values() for address in node.addresses}
    found: dict[str, tuple[str, ...]] = {}
    for one in lacking(routed.wanted(snapshot, names.ROUTER), held):
        found[one.dst] = (*found.get(one.dst, ()), nodes.get(one.via, one.via))
    return found


def asked(snapshot: Snapshot, without: Mapping[str, tuple[str, ...]]) -> Iterator[UsualPath]:
    """What the router sends to nodes that tell it nothing."""
    router = names.node_netns(snapshot.lab.name, names.ROUTER)
    for name in dict.fromkeys(node for nodes in without.values() for node in nodes):
        if (node := snapshot.get(Node, name)) and node.addresses:
            to = node.addresses[0]
            yield UsualPath(router, Flow("", to, "tcp", CLIENT_PORT, BGP), f"{names.ROUTER} {end(to, BGP)}")
