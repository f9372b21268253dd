"""What the manifests ask of a packet from one place to another: that it is answered, or that the door is closed.

Source: kube-proxy's traffic policies, loadBalancerSourceRanges and nodePortAddresses, as `render.proxy` writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from k8snetlab.api import topology
from k8snetlab.api.core import Node, Pod, Service, ServicePort
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.lab import IPPool
from k8snetlab.api.pools import pool_of, unhidden
from k8snetlab.api.problems import title
from k8snetlab.api.selection import balanced, nodes_by_address, pods_by_ip, slices_by_service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import FAMILIES, family_of, network, parsed, pick
from k8snetlab.dataplane.rules import Family
from k8snetlab.diagnose.emptiness import empty
from k8snetlab.explain.connections import Connection, direct, node_of, of_node_port, of_service
from k8snetlab.explain.places import Place
from k8snetlab.explain.targets import Target
from k8snetlab.messages.probe import Expected
from k8snetlab.policies.shapes import End, named
from k8snetlab.policies.verdict import denying
from k8snetlab.policies.world import World, in_force, world
from k8snetlab.render.lb import haproxy
from k8snetlab.render.proxy import PROXY_NAME, Choice, Port, Settings, choose, endpoints_of, ports_of
from k8snetlab.render.routing.speakers import wanted

_FAMILY_WORDS = {"ipv4": "IPv4", "ipv6": "IPv6"}


class Intent(msgspec.Struct, frozen=True):
    """`endpoints` are the addresses that may answer, None where any may. `why` says why a door is closed, or, of one
    that should be open, why it cannot be."""

    expected: Expected = "answered"
    why: str = ""
    endpoints: frozenset[str] | None = None


class Door(msgspec.Struct, frozen=True):
    """One way into a Service's port. `kind` is clusterIP, nodePort, externalIP or loadBalancer."""

    service: Service
    port: ServicePort
    served: Port | None
    kind: str


class Intents:
    """What is intended for each pair; what many pairs share is worked out once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._world: World | None = None
        self._outside = snapshot.lab.spec.underlay.outside
        self._settings: dict[tuple[str, Family], Settings] = {}
        self._choices: dict[tuple[str, str, str, Family], Choice] = {}
        self._served: dict[tuple[str, str, Family], frozenset[str]] = {}
        self._doors: dict[tuple[str, int, str], Door] = {}
        self._node_ports: dict[tuple[Family, int, str], Door] = {}
        for service in snapshot.all(Service).values():
            for door, addresses in _doors(service, snapshot.proxy.external_ips):
                if door.kind == "nodePort":
                    for family in FAMILIES:
                        key = (family, door.port.nodePort, door.port.protocol)
                        self._node_ports.setdefault(key, _in_family(door, family))
                for address in addresses:
                    self._doors.setdefault((address, door.port.port, door.port.protocol), door)

    def of(self, place: Place, target: Target) -> Intent:
        intent = self._without_policies(place, target)
        return self._judged(place, target, intent) if intent.expected == "answered" and self._policed else intent

    @property
    def _policed(self) -> bool:
        return in_force(self._snapshot)

    def _judged(self, place: Place, target: Target, intent: Intent) -> Intent:
        """As NetworkPolicies have it. Of a Service of whose endpoints they allow some, it is chance; where it is not
        known by which node a packet comes, nothing is said."""
        self._world = self._world or world(self._snapshot)
        source = self._source(self._world, place)
        resolved = self._world.resolved
        asked = self._snapshot.select(Pod, pods_by_ip, target.address)
        if place.kind == "router" and intent.expected == "answered" and any(key in resolved.by_pod for key in asked):
            return msgspec.structs.replace(intent, expected="either", why="NetworkPolicies may have a say")
        if source is None or (target.protocol == "ICMP" and not resolved.felix):
            return intent
        connections = self._connections(self._world, source, target)
        if connections is None:
            return msgspec.structs.replace(intent, expected="either", why="NetworkPolicies may have a say")
        judged = [
            one for one in connections if resolved.speaks_of(one.asking.key) or resolved.speaks_of(one.target.key)
        ]
        verdicts = [one.verdict(resolved) for one in judged]
        denied = dict.fromkeys(named(key) for one in verdicts if not one.allowed for key in denying(one))
        if not denied:
            return intent
        kind = "ClusterNetworkPolicy" if not any("/" in name for name in denied) else "NetworkPolicy"
        kind = "policy" if any(name.startswith(("np/", "gnp/")) for name in denied) else kind
        names = f"{kind} {' and '.join(denied)}"
        if len(judged) == len(connections) and all(not one.allowed for one in verdicts):
            return Intent("closed", f"{names} does not allow it")
        return msgspec.structs.replace(intent, expected="either", why=f"{names} allows some of its endpoints only")

    def _source(self, whole: World, place: Place) -> End | None:
        if place.kind == "pod":
            namespace, _, name = place.name.rpartition("/")
            found = whole.resolved.pods.get((namespace or "default", name))
            return whole.sending(found) if found else None
        return next((end for end in whole.others if end.name == place.name), None)

    def _connections(self, whole: World, source: End, target: Target) -> list[Connection] | None:
        at = (target.protocol, target.port)
        if target.kind == "pod" or (door := self._door(target)) is None:
            family = 4 if family_of(target.address) == "ipv4" else 6
            return [direct(source, whole.end(target.address), at, family)]
        if door.kind == "clusterIP":
            return of_service(whole, source, door.service, at, target.address)
        node = node_of(whole, target.address) if door.kind == "nodePort" else None
        return of_node_port(whole, source, node, at) if node else None

    def _without_policies(self, place: Place, target: Target) -> Intent:
        inside = place.kind in ("pod", "node")
        door = self._door(target)
        announced = bool(self._snapshot.select(Node, nodes_by_address, target.address))
        if door is None and target.kind == "externalIP" and not self._snapshot.proxy.external_ips:
            return Intent("closed", "KubeProxyConfiguration serves no externalIPs (feature gate)")
        if door is None:
            told = inside or place.name in self._told or self._is_told(place, target)
            if not told and not announced and (target.kind == "pod" or self._is_pods(target.address)):
                return Intent("closed", "pods' addresses are known to nodes and pods only")
            if place.kind == "pod" and not announced and (pool := self._unhidden(place, target)):
                return Intent(
                    "closed", f"IPPool {pool.name} has no natOutgoing: nobody outside knows the way to its pods"
                )
            return Intent()
        return self._through(place, target, door, inside)

    @property
    def _told(self) -> tuple[str, ...]:
        """Who is no node, and learns the ways to pods by a routing protocol."""
        spec = self._snapshot.lab.spec
        if not spec.network.routed or spec.network.calico:
            return ()
        return topology.beside_nodes(spec)

    def _unhidden(self, place: Place, target: Target) -> IPPool | None:
        """The pool of a pod that asks somebody outside under its own address."""
        lab = self._snapshot.lab
        inside = target.kind == "pod" or pool_of(lab, target.address) or self._is_pods(target.address)
        if inside or any(self._snapshot.select(Node, nodes_by_address, ip) for ip in place.ips):
            return None
        return next((pool for ip in place.ips if (pool := unhidden(lab, ip))), None)

    def _is_told(self, place: Place, target: Target) -> bool:
        """Whether a router is told of a pod's block by Calico's nodes."""
        if place.kind != "router" or not self._snapshot.lab.spec.network.calico:
            return False
        routes = wanted(self._snapshot, place.name)
        return any(parsed(target.address) in network(route.dst) for route in routes)

    def _is_pods(self, address: str) -> bool:
        return bool(self._snapshot.select(Pod, pods_by_ip, address))

    def _door(self, target: Target) -> Door | None:
        """The Service that has the address and port, a pod's own port aside."""
        if target.kind == "pod" or not target.port:
            return None
        found = self._doors.get((target.address, target.port, target.protocol))
        if found or not self._snapshot.select(Node, nodes_by_address, target.address):
            return found
        return self._node_ports.get((family_of(target.address), target.port, target.protocol))

    def _through(self, place: Place, target: Target, door: Door, inside: bool) -> Intent:
        service, named = door.service, title(door.service)
        if PROXY_NAME in service.metadata.labels:
            return Intent("either", f"{named} is served by another proxy ({PROXY_NAME})")
        if not inside and door.kind == "clusterIP":
            return Intent("closed", "Services' cluster IPs are known to nodes and pods only")
        family = family_of(target.address)
        if door.served is None:
            return Intent("closed", f"{named} has no {_FAMILY_WORDS[family]} address")
        reason = empty(self._snapshot, service, door.port)
        if why := self._by_haproxy(place, door, bool(reason)):
            return Intent("either", f"{named} {why}")
        if reason and reason.on_purpose:
            return Intent("closed", f"{named} has no endpoints: {reason.why}")
        if reason:
            return Intent("answered", f"{named} has no endpoints: {reason.why}")
        return self._chosen(place, target, door, door.served, family)

    def _by_haproxy(self, place: Place, door: Door, empty: bool) -> str:
        """Why nothing is said of what meets haproxy: it takes connections whatever is behind it."""
        met = self._snapshot.lab.spec.loadBalancer.mode == "cloud" and door.kind == "loadBalancer"
        if place.kind == "pod" or not met or not balanced(door.service):
            return ""
        if empty:
            return "has no endpoints, and haproxy takes connections all the same"
        if door.service.spec.loadBalancerSourceRanges and place.kind != "outside":
            return "has loadBalancerSourceRanges, by which haproxy judges who asks"
        return haproxy.unbalanced(door.service, self._snapshot)

    def _chosen(self, place: Place, target: Target, door: Door, port: Port, family: Family) -> Intent:
        named, choice = title(door.service), self._choice(door, port, place.node, family)
        known = self._addresses(door, port, family)
        if not choice.any and not self._choice(door, port, "", family).any:
            written = not door.service.spec.selector
            return Intent("closed" if written else "answered", f"{named} has no {_FAMILY_WORDS[family]} endpoints")
        if door.kind == "clusterIP" and port.internal_local and not choice.local:
            return Intent(
                "closed", f"internalTrafficPolicy of {named} is Local, and none of its endpoints is on {place.node}"
            )
        if door.kind == "nodePort":
            return self._by_node(place, target, door, port, known)
        if door.kind == "loadBalancer" and port.source_ranges:
            sources = place.ips if place.kind == "pod" else (pick(self._outside, family).partition("/")[0],)
            if place.kind != "node" and not _allowed(sources, port.source_ranges, family):
                return Intent("closed", f"loadBalancerSourceRanges of {named} leave out who asks")
            if place.kind == "node":
                return Intent("either", f"loadBalancerSourceRanges of {named} leave out who asks", known)
        return Intent("answered", "", known)

    def _by_node(self, place: Place, target: Target, door: Door, port: Port, known: frozenset[str]) -> Intent:
        family = family_of(target.address)
        node = next(iter(self._snapshot.select(Node, nodes_by_address, target.address).values())).name
        listening = self._setting(node, family).node_port_addresses
        if listening is not None and target.address not in listening:
            return Intent("closed", f"nodePortAddresses leave out {target.address} of {node}")
        if port.external_local and not self._choice(door, port, node, family).local:
            why = f"externalTrafficPolicy of {title(door.service)} is Local, and none of its endpoints is on {node}"
            # What begins on the node itself is sent to endpoints of all nodes; from other nodes it depends on the
            # source that it comes with.
            expected: Expected = "closed" if place.kind in ("outside", "router") else "either"
            return Intent(expected, why, known)
        return Intent("answered", "", known)

    def _setting(self, node: str, family: Family) -> Settings:
        if (node, family) not in self._settings:
            self._settings[node, family] = Settings.of(self._snapshot, node, family)
        return self._settings[node, family]

    def _addresses(self, door: Door, port: Port, family: Family) -> frozenset[str]:
        """Of all endpoints."""
        key = (port.name, port.protocol, family)
        if key not in self._served:
            slices = self._snapshot.select(EndpointSlice, slices_by_service, door.service.key).values()
            self._served[key] = frozenset(e.ip for e in endpoints_of(port, slices, self._setting("", family)))
        return self._served[key]

    def _choice(self, door: Door, port: Port, node: str, family: Family) -> Choice:
        key = (port.name, port.protocol, node, family)
        if key not in self._choices:
            settings = self._setting(node, family)
            slices = self._snapshot.select(EndpointSlice, slices_by_service, door.service.key).values()
            self._choices[key] = choose(port, endpoints_of(port, slices, settings), settings)
        return self._choices[key]


def _doors(service: Service, external: bool) -> Iterator[tuple[Door, tuple[str, ...]]]:
    """Each way into each port, with its addresses: none of a node port, which is on all nodes."""
    vips = tuple(i.ip for i in service.status.loadBalancer.ingress if i.here)
    for port in service.spec.ports:
        for kind, addresses in (
            ("clusterIP", service.clusterIPs),
            ("externalIP", service.spec.externalIPs if external else ()),
            ("loadBalancer", vips),
        ):
            for address in addresses:
                if address and address != "None":
                    door = Door(service, port, _served(service, port, family_of(address)), kind)
                    yield door, (address,)
        if port.nodePort:
            yield Door(service, port, None, "nodePort"), ()


def _in_family(door: Door, family: Family) -> Door:
    return msgspec.structs.replace(door, served=_served(door.service, door.port, family))


def _served(service: Service, port: ServicePort, family: Family) -> Port | None:
    return next((p for p in ports_of(service, family) if p.key == (port.name, port.protocol)), None)


def _allowed(sources: Iterable[str], ranges: Iterable[str], family: Family) -> bool:
    own = [parsed(source) for source in sources if source and family_of(source) == family]
    return any(address in network(cidr) for address in own for cidr in ranges)
