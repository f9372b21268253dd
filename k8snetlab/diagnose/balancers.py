"""Load balancers: Services without an address, addresses that nobody announces or two do, nodes that fail a check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from k8snetlab.api.core import Node, Service
from k8snetlab.api.load_balancer import EXCLUDED
from k8snetlab.api.problems import title
from k8snetlab.api.selection import balanced
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers import load_balancers
from k8snetlab.dataplane import names
from k8snetlab.dataplane.view import NeighbourEntry
from k8snetlab.diagnose.about import about
from k8snetlab.diagnose.finding import Finding
from k8snetlab.render.lb import candidates, haproxy


class Server(msgspec.Struct, frozen=True):
    """A node to which haproxy sends, as its statistics tell it: `state` is UP or DOWN (or on its way), `why` what its
    last health check said."""

    section: str
    node: str
    state: str
    why: str

    @property
    def up(self) -> bool:
        return self.state.startswith(("UP", "no check"))


def pending(snapshot: Snapshot) -> Iterator[Finding]:
    """Services that wait for an address."""
    for key, why in load_balancers.failures(snapshot).items():
        service = snapshot.all(Service)[key]
        wide = "a wider spec.loadBalancer.pool in the lab file, or a Service fewer" if why == "no available IPs" else ""
        yield about(
            service,
            fault="pending",
            message=f"{title(service)} gets no address of the load balancer: {why}",
            consequence="its EXTERNAL-IP stays <pending>; its cluster IP and NodePorts work",
            show=f"k8snetlab get events -n {service.namespace}",
            mend=f"# {wide or 'what the Service asks for, in its manifest'}, then `k8snetlab apply -f`",
        )


def unannounced(snapshot: Snapshot) -> Iterator[Finding]:
    """Services with endpoints whose address no node may announce, or to which haproxy cannot send."""
    mode = snapshot.lab.spec.loadBalancer.mode
    for service in snapshot.select(Service, balanced, True).values() if mode != "none" else ():
        addresses = ", ".join(one.ip for one in service.status.loadBalancer.ingress)
        why = candidates.lacking(service, snapshot) if mode in ("l2", "bgp") else haproxy.unbalanced(service, snapshot)
        if not addresses or not why or not candidates.served(service, snapshot):
            continue
        yield about(
            service,
            fault="unannounced",
            message=f"{title(service)}, {addresses}: {why}",
            consequence="from outside nobody reaches it by that address",
            show="k8snetlab get nodes --show-labels" if EXCLUDED in why else "k8snetlab get endpointslices -o wide",
            mend=f"kubectl label nodes --all {EXCLUDED}-" if EXCLUDED in why else "# externalTrafficPolicy, or pods",
        )


def answered(
    snapshot: Snapshot,
    answers: Mapping[str, tuple[str, ...]],
    known: Iterable[NeighbourEntry],
    speakers: Mapping[str, tuple[str, ...]],
) -> Iterator[Finding]:
    """`answers` has, by each address that was asked for by ARP, the MACs that answered; `known` are the router's
    neighbours, `speakers` the nodes that say that they announce it."""
    entries = {entry.dst: entry for entry in known if entry.dev == names.UNDERLAY_BRIDGE and entry.lladdr}
    may = candidates.announced(snapshot)
    for service in snapshot.select(Service, balanced, True).values():
        for address in (one.ip for one in service.status.loadBalancer.ingress):
            if address in answers and may.get(address):
                who = _Who(_by_mac(snapshot), speakers.get(address, ()), entries.get(address))
                yield from _of_address(service, address, answers[address], who)


class _Who(msgspec.Struct, frozen=True):
    """Nodes by their MACs, those that say that they announce the address, and what the router knows of it."""

    by_mac: Mapping[str, str]
    speakers: tuple[str, ...]
    entry: NeighbourEntry | None


def _of_address(service: Service, address: str, macs: tuple[str, ...], known: _Who) -> Iterator[Finding]:
    who, entry, named = known.by_mac, known.entry, f"{title(service)}, {address}"
    if not macs:
        yield about(
            service,
            fault="unannounced",
            message=f"{named}: nobody answers ARP for it",
            consequence="from outside nobody reaches it by that address",
            show=f"k8snetlab exec router -- ip neigh show {address}",
            mend="# the speakers: `k8snetlab status` tells of them",
        )
    if len(macs) > 1:
        answering = " and ".join(who.get(mac, mac) for mac in macs)
        wrong = next((who[mac] for mac in macs if mac in who and who[mac] not in known.speakers), "NODE")
        yield about(
            service,
            fault="duplicate",
            message=f"{named}: {answering} answer ARP for it",
            consequence="packets go to whoever answered last, and connections break when that changes",
            show=f"k8snetlab exec {wrong} -- ip address show to {address}",
            mend=f"k8snetlab exec {wrong} -- ip address del {address}/32 dev {names.ETH0}",
        )
    elif macs and entry is not None and entry.lladdr != macs[0]:
        yield about(
            service,
            fault="misled",
            message=f"{named} is announced by {who.get(macs[0], macs[0])}, and the router sends to "
            f"{who.get(entry.lladdr, entry.lladdr)} ({entry.state.lower()})",
            consequence="what comes from outside meets a node that does not announce it",
            show=f"k8snetlab exec router -- ip neigh show {address}",
            mend=f"k8snetlab exec router -- ip neigh del {address} dev {names.UNDERLAY_BRIDGE}",
        )


def unhealthy(snapshot: Snapshot, servers: Iterable[Server]) -> Iterator[Finding]:
    """Nodes that fail a health check of haproxy's, though they have what it takes."""
    by_section: dict[str, list[Server]] = {}
    for server in servers:
        by_section.setdefault(server.section, []).append(server)
    for service in snapshot.select(Service, balanced, True).values():
        able = candidates.candidates(service, snapshot)
        for port in service.spec.ports:
            failing = [one for one in by_section.get(haproxy.section(service, port.port), ()) if not one.up]
            failing = [one for one in failing if one.node in able]
            if not failing:
                continue
            told = ", ".join(f"{one.node} ({one.why})" for one in failing)
            number = service.spec.healthCheckNodePort or port.nodePort
            yield about(
                service,
                fault="unhealthy",
                message=f"{title(service)}: {told} {'fails' if len(failing) == 1 else 'fail'} the load balancer's check"
                f" of port {number}",
                consequence="the load balancer sends nothing there, though pods would answer",
                show=f"k8snetlab probe router {failing[0].node}:{number}",
                mend=f"# what keeps the router from it: k8snetlab trace router {failing[0].node}:{number}",
            )


def _by_mac(snapshot: Snapshot) -> dict[str, str]:
    return {names.pod_mac(node.addresses[0]): node.name for node in snapshot.all(Node).values() if node.addresses}
