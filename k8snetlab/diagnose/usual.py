"""The paths that packets usually take in a lab, by its objects: a diagnosis walks them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.pools import unhidden
from k8snetlab.api.selection import slices_by_service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import end, family_of, parted, pick
from k8snetlab.dataplane.rules import Family
from k8snetlab.diagnose.paths import UsualPath
from k8snetlab.diagnose.policed import Policed
from k8snetlab.diagnose.sampling import spread
from k8snetlab.render.pods import sandbox_name
from k8snetlab.render.proxy import Port, Settings, choose, endpoints_of, ports_of
from k8snetlab.trace.way import Flow

ALL_PAIRS = 6
"""Up to so many nodes each is tried with every other; beyond, each with the next one."""
MANY = 200
"""Beyond so many pairs of node and Service each Service is tried from one node only, in turn."""
FEW = 20
"""A Service of more endpoints is tried from one node only too: every endpoint is a way of its own."""
MOST_PODS, SOME_PODS = 64, 32
"""Pods that are tried one by one, from their own node and from others: of a lab of more than MOST_PODS so many."""
CLIENT_PORT = 40000


def usual_paths(snapshot: Snapshot, family: Family, turn: int = 0) -> list[UsualPath]:
    """Pods to pods of their node and of others, nodes to pods, pods and nodes to Services, from outside to NodePorts
    and external addresses, pods to the outside, and a few that NetworkPolicies refuse; none whose fate a manifest
    leaves open. Of a large lab another `turn` takes other pods."""
    found = {path.words: path for path in _Paths(snapshot, family, turn).all()}
    return [*found.values()]


def untried(snapshot: Snapshot, paths: Iterable[UsualPath]) -> tuple[int, int]:
    """The number of ready pods to which none of the paths leads by itself, and of all; of a lab of few (0, 0)."""
    asked = {path.flow.dst for path in paths if not path.service}
    pods = [p for p in snapshot.all(Pod).values() if p.ready and p.ips and not p.spec.hostNetwork]
    return (sum(asked.isdisjoint(p.ips) for p in pods), len(pods)) if len(pods) > MOST_PODS else (0, 0)


class _Paths:
    def __init__(self, snapshot: Snapshot, family: Family, turn: int) -> None:
        self.snapshot, self.family, self.lab = snapshot, family, snapshot.lab
        self.nodes = [node for node in snapshot.all(Node).values() if pick(node.addresses, family)]
        self.pods: dict[str, list[Pod]] = {node.name: [] for node in self.nodes}
        for pod in snapshot.all(Pod).values():
            living = pod.ready and not pod.metadata.deletionTimestamp and not pod.spec.hostNetwork
            if living and pick(pod.ips, family) and pod.spec.nodeName in self.pods:
                self.pods[pod.spec.nodeName].append(pod)
        self.outside = "" if self.lab.spec.machines else pick(self.lab.spec.underlay.outside, family).partition("/")[0]
        self.nodes_own = {address for node in self.nodes for address in node.addresses}
        large = sum(map(len, self.pods.values())) > MOST_PODS
        self.share = max(1, (SOME_PODS if large else MOST_PODS) // max(1, len(self.nodes)))
        self.some = {
            node: spread(pods, self.share, turn) if large else pods[: self.share] for node, pods in self.pods.items()
        }
        """The pods that are tried, by their node."""
        self.addresses = {ip for pod in snapshot.all(Pod).values() if pod.ready for ip in pod.ips}
        self.policed = Policed(snapshot)
        self.held = {ip for pod in snapshot.all(Pod).values() for ip in pod.ips}

    def all(self) -> Iterator[UsualPath]:
        yield from self._between_nodes()
        yield from self._within_nodes()
        yield from self._services()
        yield from self._outward()
        yield from self._forbidden()

    # --- without Services -------------------------------------------------------------------------------------------

    def _between_nodes(self) -> Iterator[UsualPath]:
        for number, node in enumerate(self.nodes):
            others = [n for n in self.nodes if n is not node]
            if len(self.nodes) > ALL_PAIRS:
                others = [self.nodes[(number + 1) % len(self.nodes)]]
            for other in others:
                for pod in self.pods[node.name][:1]:
                    share = max(1, self.share // max(1, len(others)))
                    yield from (self._to_pod(pod, target) for target in self.some[other.name][:share])
                for target in self.pods[other.name][:1]:
                    yield self._echo(node.name, names.node_netns(self.lab.name, node.name), target)

    def _within_nodes(self) -> Iterator[UsualPath]:
        for node in self.nodes:
            pods = self.pods[node.name]
            if len(pods) > 1:
                yield self._to_pod(pods[0], pods[1])
            for pod in self.some[node.name]:
                yield self._echo(node.name, names.node_netns(self.lab.name, node.name), pod)

    def _outward(self) -> Iterator[UsualPath]:
        for pods in self.pods.values() if self.outside else ():
            for pod in pods[:1]:
                if any(unhidden(self.lab, ip) for ip in pod.ips):
                    continue  # natOutgoing is off: nobody there knows the way back
                flow = Flow("", self.outside, "icmp")
                yield UsualPath(sandbox_name(self.lab, pod), flow, f"{pod.short_name} outside --protocol icmp")

    def _forbidden(self) -> Iterator[UsualPath]:
        """Examples of what NetworkPolicies refuse; an echo they let pass."""
        living = {pod.key: pod for pods in self.pods.values() for pod in pods}
        for source, target in self.policed.forbidden():
            if source in living and target in living:
                path = self._to_pod(living[source], living[target])
                yield from [path] if path.denied else ()

    def _to_pod(self, pod: Pod, target: Pod) -> UsualPath:
        """With the first port that the target declares, else an echo."""
        address, origin = pick(target.ips, self.family), sandbox_name(self.lab, pod)
        ports = [p for c in target.spec.serving_containers for p in c.ports if p.protocol != "SCTP" and not c.argv]
        if not ports:
            return self._echo(pod.short_name, origin, target, keeps_source=True)
        port, protocol = ports[0].containerPort, ports[0].protocol.lower()
        flow = Flow("", address, protocol, CLIENT_PORT, port)
        words = f"{pod.short_name} {end(address, port)}{_protocol(protocol)}"
        denied = self.policed.denied(pod, [(address, port)], protocol)
        return UsualPath(origin, flow, words, keeps_source=True, denied=denied)

    def _echo(self, name: str, origin: str, target: Pod, keeps_source: bool = False) -> UsualPath:
        address = pick(target.ips, self.family)
        return UsualPath(
            origin, Flow("", address, "icmp"), f"{name} pod/{target.short_name} --protocol icmp", (), keeps_source
        )

    # --- Services ---------------------------------------------------------------------------------------------------

    def _services(self) -> Iterator[UsualPath]:
        services = list(self.snapshot.all(Service).values())
        many = len(services) * len(self.nodes) > MANY
        settings = {node.name: Settings.of(self.snapshot, node.name, self.family) for node in self.nodes}
        for number, service in enumerate(services):
            slices = self.snapshot.select(EndpointSlice, slices_by_service, service.key).values()
            crowded = many or sum(len(slice_.endpoints) for slice_ in slices) > FEW
            tried = [self.nodes[number % len(self.nodes)]] if crowded and self.nodes else self.nodes
            if service.spec.clusterIP == "None" and not self.lab.spec.machines:
                yield from self._headless(service, list(slices))
            for port in ports_of(service, self.family, external_ips=self.snapshot.proxy.external_ips):
                if port.protocol != "sctp":
                    for node in tried:
                        yield from self._service(service, port, node, settings[node.name])

    def _headless(self, service: Service, slices: list[EndpointSlice]) -> Iterator[UsualPath]:
        """Where a name leads that is no pod's: a person wrote it."""
        client = next((pods[0] for pods in self.pods.values() if pods), None)
        for slice_ in slices if client else ():
            assert client is not None
            for port in slice_.ports:
                for endpoint in slice_.endpoints[:FEW]:
                    address = next((a for a in endpoint.addresses if a not in self.held), "")
                    known = slice_.addressType != "FQDN" and address and family_of(address) == self.family
                    if known and port.port and port.protocol != "SCTP" and endpoint.conditions.ready is not False:
                        protocol, text = port.protocol.lower(), end(address, port.port)
                        flow = Flow("", address, protocol, CLIENT_PORT, port.port)
                        words = f"{client.short_name} {text}{_protocol(protocol)}"
                        title = f"{service.namespace}/{service.name}"
                        yield UsualPath(sandbox_name(self.lab, client), flow, words, (), False, title, (text,))

    def _service(self, service: Service, port: Port, node: Node, settings: Settings) -> Iterator[UsualPath]:
        slices = tuple(self.snapshot.select(EndpointSlice, slices_by_service, service.key).values())
        endpoints = endpoints_of(port, slices, settings)
        choice = choose(port, endpoints, settings)
        written = tuple(e.text for e in endpoints if e.ip not in self.held)
        if not {e.ip for e in endpoints} & self.held <= self.addresses:
            return
        if not choice.any or (written and self.lab.spec.machines):  # what is beyond real machines no table here tells
            return
        texts, title = tuple(e.text for e in endpoints), f"{service.namespace}/{service.name}"
        flow = Flow("", port.cluster_ip, port.protocol, CLIENT_PORT, port.port)
        words = f"{end(port.cluster_ip, port.port)}{_protocol(port.protocol)}"
        if choice.local or not port.internal_local:
            own = {e.ip for e in endpoints}
            kept = (
                settings.from_pod.startswith("-s")
                and not settings.masquerade_all
                and not own & self.nodes_own
                and not written
            )
            client = next((p for p in self.pods[node.name] if pick(p.ips, self.family) not in own), None)
            itself = next((p for p in self.pods[node.name] if pick(p.ips, self.family) in own), None)
            if client:
                denied = self.policed.denied(client, map(parted, texts), port.protocol) if kept else None
                who, said = sandbox_name(self.lab, client), f"{client.short_name} {words}"
                yield UsualPath(who, flow, said, texts, kept, title, written, denied)
            asking = [(sandbox_name(self.lab, itself), itself.short_name)] if itself else []
            asking.append((names.node_netns(self.lab.name, node.name), node.name))
            for origin, name in asking:
                yield UsualPath(origin, flow, f"{name} {words}", texts, False, title, written)
        if choice.local or not port.external_local:
            yield from self._from_outside(port, node, settings, title, texts=texts, written=written)

    def _from_outside(
        self,
        port: Port,
        node: Node,
        settings: Settings,
        title: str,
        *,
        texts: tuple[str, ...],
        written: tuple[str, ...],
    ) -> Iterator[UsualPath]:
        origin, protocol = names.node_netns(self.lab.name, names.OUTSIDE), _protocol(port.protocol)
        if not self.outside:
            return
        address = pick(node.addresses, self.family)
        if port.node_port and (settings.node_port_addresses is None or address in settings.node_port_addresses):
            flow = Flow("", address, port.protocol, CLIENT_PORT, port.node_port)
            yield UsualPath(
                origin, flow, f"outside {end(address, port.node_port)}{protocol}", texts, False, title, written
            )
        if node is self.nodes[0]:
            guarded = port.load_balancer_ips if not port.source_ranges else ()
            for external in (*port.external_ips, *guarded):
                if family_of(external) == self.family:
                    flow = Flow("", external, port.protocol, CLIENT_PORT, port.port)
                    yield UsualPath(
                        origin, flow, f"outside {end(external, port.port)}{protocol}", texts, False, title, written
                    )


def _protocol(protocol: str) -> str:
    return f" --protocol {protocol}" if protocol != "tcp" else ""
