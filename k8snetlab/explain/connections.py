"""What policies are asked about when somebody calls a pod, a Service or a NodePort: a connection for each endpoint.

Policies see a packet after DNAT and before masquerade, so its source depends on where it is translated: kube-proxy's
KUBE-MARK-MASQ acts in POSTROUTING, after the node's own pods were judged; flannel masquerades what a pod sends to
another node's own address.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import Node, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.problems import title
from k8snetlab.api.selection import slices_by_service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import family_of, parted
from k8snetlab.dataplane.rules import Family
from k8snetlab.errors import InputError
from k8snetlab.policies.matrix import At
from k8snetlab.policies.sentences import EndpointReason, Where, sides
from k8snetlab.policies.shapes import End, Resolved
from k8snetlab.policies.verdict import Decision, Verdict, allowed
from k8snetlab.policies.world import World
from k8snetlab.render.proxy import Endpoint, Port, Settings, choose, endpoints_of, ports_of


class Connection(msgspec.Struct, frozen=True):
    """`seen` is who asks as the target's node sees it, `at` the target's port. `left` is what the policies of `asking`
    look at: the target itself, or a node and its NodePort where that is not translated yet."""

    asking: End
    seen: End
    target: End
    at: At
    left: tuple[End, At]
    family: int
    loopback: bool = True

    def verdict(self, resolved: Resolved) -> Verdict:
        into = allowed(resolved, self.seen, self.target, self.at, self.family, loopback=self.loopback)
        out = allowed(resolved, self.asking, *self.left, self.family, loopback=self.loopback)
        ingress, egress = into.ingress, out.egress
        itself = self.seen.key is not None and self.seen.key == self.target.key
        if itself and not resolved.felix and ingress.allowed != egress.allowed:
            ingress, egress = _itself(ingress), _itself(egress)
        return Verdict(ingress.allowed and egress.allowed, ingress, egress)


def _itself(decision: Decision) -> Decision:
    """kube-router has one chain for both directions of a pod: of what comes back to its sender, either is enough."""
    return decision if decision.allowed else Decision(True, "itself", (), decision.isolated_by)


def direct(source: End, target: End, at: At, family: int = 0) -> Connection:
    return Connection(source, source, target, at, (target, at), family or target.family)


def of_service(world: World, source: End, service: Service, at: At, address: str = "") -> list[Connection]:
    """By its cluster IP ("": its first), or, of a headless one, by its name. Raises InputError."""
    if service.spec.type == "ExternalName":
        raise InputError(
            f"{title(service)} is a name of {service.spec.externalName}, and has no endpoints",
            "policies see the address that it leads to: ask that",
        )
    family: Family = family_of(address or service.clusterIPs[0]) if _has_address(service) else "ipv4"
    if not _has_address(service):
        return [direct(source, target, at, version) for target, version in _headless(world, service)]
    if world.is_outside(source):
        raise InputError(
            f"{title(service)}: {source.name} reaches no cluster IP", "name a node and its NodePort: node1:30080/TCP"
        )
    port = _port(world.snapshot, service, at, family)
    settings = Settings.of(world.snapshot, source.node, family)
    here = port.internal_local
    return [
        _inside(world, source, service, endpoint, at, settings)
        for endpoint in _endpoints(world.snapshot, service, port, settings, local=here)
    ]


def of_node_port(world: World, source: End, node: End, at: At) -> list[Connection] | None:
    """By a node's own address; None where no Service has the port there. `node` is the end that has the address."""
    family = family_of(node.addresses[0]) if node.addresses else "ipv4"
    for service in world.snapshot.all(Service).values():
        for port in ports_of(service, family, external_ips=world.snapshot.proxy.external_ips):
            if (port.node_port, port.protocol.upper()) == (at[1], at[0]):
                return [*_through(world, source, node, at, (service, port))]
    return None


def _through(world: World, source: End, node: End, at: At, door: tuple[Service, Port]) -> Iterator[Connection]:
    service, port = door
    family = family_of(node.addresses[0])
    own = source.node == node.node  # translated where it begins
    seen = source if own or not source.key or source.host else _end(world, source.node)
    if not own and seen.node:
        seen = replace(seen, senders=(), beside=())  # by the underlay, from node to node
    settings = Settings.of(world.snapshot, node.node, family)
    cluster = own and not world.is_outside(
        source
    )  # externalTrafficPolicy Local: pods and the node itself use all endpoints
    local = port.external_local and not cluster
    for endpoint in _endpoints(world.snapshot, service, port, settings, local=local):
        target, number = _target(world, service, endpoint)
        kept = target.node == node.node or port.external_local
        left = (target, (at[0], number)) if own else (node, at)
        who = seen if kept else node
        version = 4 if family == "ipv4" else 6
        yield Connection(source, who, target, (at[0], number), left, version, loopback=False)


def _inside(  # noqa: PLR0917 (all that such a connection is made of)
    world: World, source: End, service: Service, endpoint: Endpoint, at: At, settings: Settings
) -> Connection:
    """By a cluster IP."""
    target, number = _target(world, service, endpoint)
    masked = settings.masquerade_all and target.node != source.node
    seen = _end(world, source.node) if masked else source
    there = (at[0], number)
    version = 4 if settings.family == "ipv4" else 6
    return Connection(source, seen, target, there, (target, there), version, loopback=False)


def _endpoints(
    snapshot: Snapshot, service: Service, port: Port, settings: Settings, *, local: bool
) -> tuple[Endpoint, ...]:
    """Those that the node uses; where none is ready (in a manifest nothing is), all that there will be."""
    slices = tuple(snapshot.select(EndpointSlice, slices_by_service, service.key).values())
    every = endpoints_of(port, slices, settings)
    chosen = choose(port, every, settings)
    found = (chosen.local if local else chosen.cluster or chosen.local) if any(e.ready for e in every) else every
    return tuple(e for e in found if not local or e.node == settings.node)


def _headless(world: World, service: Service) -> Iterator[tuple[End, int]]:
    """Those to whom the name leads, and by which version of IP; where none is ready, all that there will be."""
    slices = world.snapshot.select(EndpointSlice, slices_by_service, service.key).values()
    every = [endpoint for slice_ in slices for endpoint in slice_.endpoints]
    ready = [endpoint for endpoint in every if endpoint.conditions.ready is not False]
    for address in (a for endpoint in ready or every for a in endpoint.addresses[:1]):
        yield _at(world, service, address), 6 if ":" in address else 4


def _port(snapshot: Snapshot, service: Service, at: At, family: Family) -> Port:
    ports = ports_of(service, family, external_ips=snapshot.proxy.external_ips)
    found = next((port for port in ports if (port.protocol.upper(), port.port) == at), None)
    if found is None:
        has = ", ".join(f"{port.port}/{port.protocol.upper()}" for port in ports)
        raise InputError(f"{title(service)} has no port {at[1]}/{at[0]}", f"it has {has}" if has else "")
    return found


def _target(world: World, service: Service, endpoint: Endpoint) -> tuple[End, int]:
    address, number = parted(endpoint.text)
    return _at(world, service, address), number


def _at(world: World, service: Service, address: str) -> End:
    """Who has an endpoint's address: the pod that the slice names, which in a manifest need not be the only one that
    has it."""
    for slice_ in world.snapshot.select(EndpointSlice, slices_by_service, service.key).values():
        for endpoint in slice_.endpoints:
            named = endpoint.targetRef
            if named is not None and named.kind == "Pod" and address in endpoint.addresses:
                pod = world.resolved.pods.get((slice_.namespace, named.name))
                if pod is not None and not pod.host:
                    return pod
    return world.held.get(address) or End(address, (address,))


def _end(world: World, node: str) -> End:
    return next((end for end in world.others if end.name == node), End(node))


def _has_address(service: Service) -> bool:
    return bool(service.clusterIPs) and service.clusterIPs[0] != "None"


def node_of(world: World, name: str) -> End | None:
    """The end of a node by its name or one of its addresses, reached at that address; None for any other."""
    for end in world.others:
        if end.node and name == end.name:
            return end
        if end.node and name in world.snapshot.all(Node)["", end.node].addresses:
            return replace(end, addresses=(name,))
    return None


def why(world: World, connection: Connection, where: Where) -> EndpointReason:
    """In words, with the lines."""
    verdict = connection.verdict(world.resolved)
    into, out = sides(world.snapshot, verdict, connection, where)
    address = connection.seen.sender(connection.family, connection.target.node)
    return EndpointReason(connection.target.name, *connection.at, address, verdict.allowed, into, out)
