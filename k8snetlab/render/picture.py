"""A lab as a picture, not drawn yet: what is where, with its addresses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from ipaddress import ip_address

from k8snetlab.api import topology
from k8snetlab.api.addressing import split
from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.lab import Lab, LabSpec
from k8snetlab.api.machines import interface_of
from k8snetlab.api.pod_state import shown_status
from k8snetlab.api.pools import blocks_of, tunnel_addresses
from k8snetlab.api.selection import slices_by_service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, base, gateway, pick, with_length
from k8snetlab.render.picture_boxes import (
    Alarm,
    HostBox,
    LinkBox,
    NodeBox,
    Picture,
    PodBox,
    RouterBox,
    ServiceBox,
    SessionLine,
)
from k8snetlab.render.routing.speakers import speakers

AREA = "0"
"""OSPF's only one in a lab."""


def picture(snapshot: Snapshot, alarms: Sequence[Alarm] = ()) -> Picture:
    """What to draw of a lab, and what is broken in it."""
    spec = snapshot.lab.spec
    vxlan = _tunnelled(spec)
    services = tuple(snapshot.all(Service).values())
    numbers = {service.key: number for number, service in enumerate(services)}
    ends = {service.key: tuple(_endpoints(snapshot, service)) for service in services}
    serving: dict[str, list[int]] = {}
    for key, found in ends.items():
        for address, _ in found:
            serving.setdefault(address, []).append(numbers[key])
    nodes = tuple(_node(snapshot, node, serving, vxlan, alarms) for node in snapshot.all(Node).values())
    hurt = {alarm.object for alarm in alarms}
    order = _order(snapshot)
    drawn = {address for node in nodes for pod in node.pods for address in pod.addresses}
    cidrs = [cidr for family in FAMILIES if (cidr := pick(spec.underlay.cidr, family))]
    routers = [pick(spec.underlay.router, f) or gateway(c) for f in FAMILIES if (c := pick(spec.underlay.cidr, f))]
    outside = [part.partition("/")[0] for part in split(spec.underlay.outside)]
    return Picture(
        lab=snapshot.lab.name,
        outside=() if spec.machines else tuple(outside),
        router=() if spec.machines else tuple(routers),
        underlay=tuple(cidrs),
        backend=_backend(spec),
        tunnelled=vxlan,
        nodes=nodes,
        services=tuple(
            _service(service, tuple(sorted(ends[service.key], key=order)), drawn, hurt) for service in services
        ),
        alarms=tuple(dict.fromkeys([*(alarm.message for alarm in alarms), *_unscheduled(snapshot)])),
        links=tuple(_links(snapshot.lab, [node.name for node in nodes], alarms)),
        routers=tuple(_routers(snapshot)),
        sessions=tuple(_sessions(snapshot, [node.name for node in nodes])),
        hosts=tuple(HostBox(h.name, h.addresses, h.ports, h.is_beside(spec.underlay)) for h in spec.hosts),
    )


def _links(lab: Lab, nodes: Sequence[str], alarms: Sequence[Alarm]) -> Iterator[LinkBox]:
    backend = lab.spec.network.backend
    area = AREA if backend == "ospf" else ""
    broken = {(alarm.node, alarm.device) for alarm in alarms}
    for link in lab.spec.underlay.links:
        routers = tuple((name, topology.router_address(link, name)) for name in link.routers)
        on_it = tuple(nodes.index(name) for name in link.nodes if name in nodes)
        down = tuple(name for name in link.routers if (name, link.name) in broken)
        cost = 0 if backend in ("bgp", "rip") else link.cost
        yield LinkBox(link.name, link.cidr, cost, routers, on_it, area, down)


def _routers(snapshot: Snapshot) -> Iterator[RouterBox]:
    lab = snapshot.lab
    if lab.spec.underlay.links:
        for name in topology.routers(lab.spec.underlay):
            own = tuple(f"{end.link.name} {end.address}" for end in topology.of(lab, name))
            yield RouterBox(name, own, _number_of(snapshot, name))


def _number_of(snapshot: Snapshot, name: str) -> int:
    if not snapshot.lab.spec.daemon or snapshot.lab.spec.spoken != "bgp":
        return 0
    return next((one.number for one in speakers(snapshot, name)), 0)


def _sessions(snapshot: Snapshot, nodes: Sequence[str]) -> Iterator[SessionLine]:
    if not snapshot.lab.spec.daemon or snapshot.lab.spec.spoken != "bgp":
        return
    seen = set[frozenset[str]]()
    for name in (*topology.routers(snapshot.lab.spec.underlay), *nodes):
        for one in speakers(snapshot, name):
            for other in one.neighbours:
                if (pair := frozenset((name, other.name))) not in seen:
                    seen.add(pair)
                    same = one.number == other.number
                    words = f"iBGP, AS {one.number}" if same else f"eBGP, AS {one.number} and {other.number}"
                    yield SessionLine(name, other.name, words)


def _backend(spec: LabSpec) -> str:
    network = spec.network
    if network.calico:
        return _calico(spec)
    if network.routed:
        return f"{network.backend.upper()}: routes by {_DAEMONS[spec.daemon]} on every node, no tunnel"
    if network.backend == "host-gw":
        return "host-gw: a route to every node, no tunnel"
    between = "nodes that share no link" if network.directRouting else "every two nodes"
    return f"VXLAN {network.vni}, UDP {network.port}, between {between}"


def _calico(spec: LabSpec) -> str:
    by = "routes by BIRD on every node" if spec.network.routed else "routes by Felix"
    across = bool(spec.underlay.links) and any(pool.mode == "CrossSubnet" for pool in spec.network.ipPools)
    if across or _tunnelled(spec):
        by_vxlan = any(pool.tunnel == "vxlan" for pool in spec.network.ipPools)
        between = " between nodes that share no link" if across else ""
        from k8snetlab.render.calico import PORT, VNI  # loads OpenSSL, for what few pictures say

        return f"Calico {f'VXLAN {VNI}, UDP {PORT}' if by_vxlan else 'IP in IP'}{between}, {by}"
    return f"Calico: blocks of addresses, {by}, no tunnel"


def _tunnelled(spec: LabSpec) -> bool:
    """Whether packets to all other nodes take a tunnel."""
    if spec.network.calico:
        return any(pool.mode == "Always" for pool in spec.network.ipPools)
    return spec.network.backend == "vxlan"


_DAEMONS = {"bird": "BIRD", "frr": "FRR"}


def _unscheduled(snapshot: Snapshot) -> Iterator[str]:
    """A sentence for each pod that is on no node, and so has no place in the picture."""
    for pod in snapshot.all(Pod).values():
        if not pod.spec.nodeName and not pod.ended:
            yield f"pod {pod.short_name} is on no node: {shown_status(pod)}"


def _order(snapshot: Snapshot) -> Callable[[tuple[str, str]], tuple[int, int, int, str]]:
    """A sort key for endpoints: by node, as the nodes stand in the picture, then by address."""
    places = {name: number for number, (_, name) in enumerate(snapshot.all(Node))}
    homes = {ip: places.get(pod.spec.nodeName, len(places)) for pod in snapshot.all(Pod).values() for ip in pod.ips}

    def key(end: tuple[str, str]) -> tuple[int, int, int, str]:
        address, text = end
        return (homes.get(address, len(places) + 1), *_number(address), text)

    return key


def _number(address: str) -> tuple[int, int]:
    """The order of addresses: IPv4 first."""
    ip = ip_address(address)
    return ip.version, int(ip)


def _node(
    snapshot: Snapshot, node: Node, serving: Mapping[str, list[int]], vxlan: bool, alarms: Sequence[Alarm]
) -> NodeBox:
    unready = any(c.type == "Ready" and c.status != "True" for c in node.status.conditions)
    broken = [alarm.device for alarm in alarms if alarm.node == node.name and not alarm.object]
    pods = [pod for pod in snapshot.all(Pod).values() if pod.spec.nodeName == node.name]
    vni = snapshot.lab.spec.network.vni
    subnets = {family: subnet for family in FAMILIES if (subnet := pick(node.podCIDRs, family))}
    tunnel = [f"{names.vxlan_device(vni, family)} {base(subnet)}" for family, subnet in subnets.items()]
    calico = snapshot.lab.spec.network.calico
    if calico and vxlan:
        tunnel += [f"{device} {address}" for address, device in tunnel_addresses(node).items()]
    return NodeBox(
        name=node.name,
        uplink=interface_of(node) or names.ETH0,
        addresses=node.addresses,
        bridge=blocks_of(node) if calico else tuple(with_length(gateway(s), s) for s in subnets.values()),
        joint="cali*" if calico else names.BRIDGE,
        tunnel=tuple(tunnel) if vxlan else (),
        pods=tuple(_pod(pod, serving, alarms) for pod in sorted(pods, key=_by_address) if not pod.ended),
        broken=tuple(dict.fromkeys((*broken, *([""] if unready else ())))),
        number=_number_of(snapshot, node.name),
    )


def _by_address(pod: Pod) -> tuple[bool, tuple[int, int], str]:
    return not pod.ips, _number(pod.ips[0]) if pod.ips else (0, 0), pod.short_name


def _pod(pod: Pod, serving: Mapping[str, list[int]], alarms: Sequence[Alarm]) -> PodBox:
    found = sorted({number for address in pod.ips for number in serving.get(address, ())})
    hurt = any(alarm.object == f"{pod.namespace}/{pod.name}" for alarm in alarms)
    state = shown_status(pod)
    broken = "" if pod.ready and not hurt else "broken" if pod.ready or state == "Running" else state
    return PodBox(pod.short_name, pod.ips, tuple(found), pod.spec.hostNetwork, broken)


def _service(service: Service, ends: tuple[tuple[str, str], ...], drawn: set[str], hurt: Collection[str]) -> ServiceBox:
    spec = service.spec
    vips = [*service.clusterIPs, *spec.externalIPs, *(i.ip for i in service.status.loadBalancer.ingress if i.ip)]
    addresses = [f"{_bracketed(vip)}:{port.port}/{port.protocol}" for vip in vips for port in spec.ports]
    addresses += [f"NodePort {port.nodePort}/{port.protocol}" for port in spec.ports if port.nodePort]
    if spec.type == "ExternalName":
        addresses.append(f"CNAME {spec.externalName}")
    elif spec.clusterIP == "None":
        addresses.append("headless: a name, no address")
    return ServiceBox(
        service.short_name,
        tuple(addresses),
        tuple(dict.fromkeys(end for _, end in ends)),
        tuple(dict.fromkeys(end for address, end in ends if address not in drawn)),
        f"{service.namespace}/{service.name}" in {name.partition(":")[0] for name in hurt},
    )


def _endpoints(snapshot: Snapshot, service: Service) -> Iterator[tuple[str, str]]:
    """(address, "address:port") of each endpoint that is ready."""
    for piece in snapshot.select(EndpointSlice, slices_by_service, service.key).values():
        for endpoint in piece.endpoints:
            if endpoint.conditions.ready is False:
                continue
            for address in endpoint.addresses[:1]:
                for port in piece.ports:
                    if port.port:
                        yield address, f"{_bracketed(address)}:{port.port}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
