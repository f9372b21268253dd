"""What a packet can be sent to: the targets of a lab, and which ones a name means."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import msgspec

from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.lab import OutsideHost
from k8snetlab.api.selection import pods_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster import nearby
from k8snetlab.dataplane.families import is_address
from k8snetlab.errors import InputError, NotFoundError
from k8snetlab.explain.places import POD_WORDS, SERVICE_WORDS, find_pod, outside_host, stays, without_kind
from k8snetlab.messages.probe import TargetKind

ICMP = "ICMP"
"""What a target's `protocol` is where it is pinged; its port is 0."""


class Target(msgspec.Struct, frozen=True):
    """What a packet is sent to."""

    name: str
    kind: TargetKind
    address: str
    port: int
    protocol: str


def all_targets(snapshot: Snapshot, protocols: Iterable[str] = ("TCP", "UDP")) -> list[Target]:
    """Every container port of every pod, every ClusterIP, NodePort on every node, external IP, and port outside."""
    found: list[Target] = []
    for pod in snapshot.all(Pod).values():
        if stays(pod):
            found += _pod_targets(pod)
    for service in snapshot.all(Service).values():
        found += _service_targets(snapshot, service)
    for host in snapshot.lab.spec.hosts:
        found += [Target(host.name, "outside", ip, port, "TCP") for ip in host.addresses for port in host.ports]
    wanted = {p.upper() for p in protocols}
    if ICMP in wanted:
        found += _pingable(snapshot)
    return [target for target in found if target.protocol in wanted]


def find_targets(snapshot: Snapshot, name: str, port: int | None, protocol: str) -> list[Target]:
    """What `name` means as a target: an address, a node (with a NodePort), a Service, a host outside or a
    pod.

    A Service may be "name", "namespace/name", "name.namespace" (with or without .svc.cluster.local) or "svc/name". Of a
    pod and a Service of one name the pod is meant where it has the port, and where "pod/name" says so.
    """
    if protocol == ICMP:
        return [_pinged(snapshot, name)]
    if is_address(name):
        if port is None:
            raise InputError(f"{name}: an address needs a port", f"[{name}]:80" if ":" in name else f"{name}:80")
        return [Target(name, "address", name, port, protocol)]
    if node := snapshot.get(Node, name):
        if port is None:
            raise InputError(f"{name}: a node needs a port", f"{name}:30080, a NodePort of a Service")
        return [Target(name, "nodePort", node.addresses[0], port, protocol)]
    kind, slash, rest = name.partition("/")
    meant = bool(slash) and kind in SERVICE_WORDS
    services = _services(snapshot, rest if meant else name)
    if meant and not services:
        known = nearby.hint(snapshot, rest, (Service,), "`k8snetlab get services -A` lists them")
        raise NotFoundError(f"no Service is called {rest!r}", known)
    host = outside_host(snapshot, name)
    if host and (not services or "/" in name):
        return [_of_host(host, port, protocol)]
    if services and (meant or port is None or not _pod_has(snapshot, name, port)):
        return _service_choice(snapshot, services, port, protocol)
    return _of_pod(snapshot, name, port, protocol)


def _of_host(host: OutsideHost, port: int | None, protocol: str) -> Target:
    """The host's port; without a number its first."""
    if port is None and not host.ports:
        raise InputError(f"host {host.name} has no ports", f"name one: {host.name}:80")
    return Target(host.name, "outside", host.addresses[0], host.ports[0] if port is None else port, protocol)


def _of_pod(snapshot: Snapshot, name: str, port: int | None, protocol: str) -> list[Target]:
    """The pod's port; without a number the first it declares of the protocol."""
    try:
        pod = find_pod(snapshot, name)
    except NotFoundError:
        hint = nearby.target(snapshot, without_kind(name, POD_WORDS))
        raise NotFoundError(f"no pod, Service or node is called {name!r}", hint) from None
    found = [t for t in _pod_targets(pod) if port in (None, t.port) and t.protocol == protocol]
    if not pod.ips:
        raise NotFoundError(f"pod {pod.short_name} has no address (yet)", "`k8snetlab get pods -A` shows its state")
    if port is not None and not found:
        return [Target(pod.short_name, "pod", pod.ips[0], port, protocol)]
    if not found:
        raise InputError(f"pod {pod.name} declares no {protocol} port", f"name one: {name}:80")
    return found[:1]


def _pinged(snapshot: Snapshot, name: str) -> Target:
    """What an echo request for `name` goes to; it has no port, and whose address it is may be a Service's."""
    node = snapshot.get(Node, name)
    if node is not None and node.addresses:
        return Target(name, "node", node.addresses[0], 0, ICMP)
    if is_address(name):
        return Target(name, "address", name, 0, ICMP)
    if (host := outside_host(snapshot, name)) and ("/" in name or not _services(snapshot, name)):
        return Target(host.name, "outside", host.addresses[0], 0, ICMP)
    plain = without_kind(name, POD_WORDS)
    namespace, _, short = plain.rpartition("/")
    if plain == name and snapshot.get(Pod, short, namespace or "default") is None:
        with contextlib.suppress(NotFoundError):
            return msgspec.structs.replace(find_targets(snapshot, name, None, "TCP")[0], port=0, protocol=ICMP)
    pod = find_pod(snapshot, name)
    if not pod.ips:
        raise NotFoundError(f"pod {pod.short_name} has no address (yet)", "`k8snetlab get pods -A` shows its state")
    return Target(pod.short_name, "pod", pod.ips[0], 0, ICMP)


def _pingable(snapshot: Snapshot) -> Iterator[Target]:
    """Every pod, node and host outside: what has its address on a device."""
    for pod in snapshot.all(Pod).values():
        if stays(pod) and not pod.spec.hostNetwork:
            for ip in pod.ips:
                yield Target(pod.short_name, "pod", ip, 0, ICMP)
    for node in snapshot.all(Node).values():
        for ip in node.addresses:
            yield Target(node.name, "node", ip, 0, ICMP)
    for host in snapshot.lab.spec.hosts:
        for ip in host.addresses:
            yield Target(host.name, "outside", ip, 0, ICMP)


def _pod_targets(pod: Pod) -> list[Target]:
    return [
        Target(pod.short_name, "pod", ip, port.containerPort, port.protocol) for ip in pod.ips for port in pod.own_ports
    ]


def _service_targets(snapshot: Snapshot, service: Service) -> Iterator[Target]:
    name = service.short_name
    vips = [i.ip for i in service.status.loadBalancer.ingress if i.here]
    six = {":" in ip for ip in service.clusterIPs}
    for port in service.spec.ports:
        for ip in service.clusterIPs:
            yield Target(name, "clusterIP", ip, port.port, port.protocol)
        if port.nodePort:
            for node in snapshot.all(Node).values():
                for ip in [a for a in node.addresses if (":" in a) in six]:
                    yield Target(f"{name}@{node.name}", "nodePort", ip, port.nodePort, port.protocol)
        for ip in (*(service.spec.externalIPs if snapshot.proxy.external_ips else ()), *vips):
            yield Target(name, "externalIP", ip, port.port, port.protocol)


def _services(snapshot: Snapshot, name: str) -> list[Service]:
    if "/" in name:
        namespace, _, short = name.partition("/")
    else:
        short, namespace = (*name.split("."), "")[:2]
    return [s for s in snapshot.all(Service).values() if s.name == short and namespace in ("", s.namespace)]


def _service_choice(snapshot: Snapshot, services: list[Service], port: int | None, protocol: str) -> list[Target]:
    service = next((s for s in services if s.namespace == "default"), services[0])
    found = [t for t in _service_targets(snapshot, service) if t.kind == "clusterIP"]
    chosen = [t for t in found if port in (None, t.port) and t.protocol == protocol]
    chosen = chosen or ([t for t in found if port is None] if found else [])
    if not chosen and port is not None and service.clusterIPs:
        return [Target(service.name, "clusterIP", service.clusterIPs[0], port, protocol)]
    if not chosen and service.spec.type == "ExternalName":
        named = service.spec.externalName
        raise InputError(
            f"service {service.name} is of type ExternalName: a name, {named}, and no address",
            "ask an address instead; only DNS knows such a Service",
        )
    if not chosen:
        raise InputError(f"service {service.name} has no cluster IP", _instead_of(snapshot, service, port))
    return chosen[:1]


def _instead_of(snapshot: Snapshot, service: Service, port: int | None) -> str:
    """What to ask of a headless Service, whose name leads to its endpoints themselves."""
    pods = [pod for pod in pods_of(service, snapshot) if pod.ready]
    if service.spec.clusterIP != "None" or not pods:
        return "probe one of its pods instead"
    number = port or next((p.targetPort or p.port for p in service.spec.ports if isinstance(p.targetPort, int)), None)
    return f"it is headless: its name leads to its pods; ask one: {pods[0].short_name}{f':{number}' if number else ''}"


def no_echo(snapshot: Snapshot, address: str) -> str:
    """Why a Service's address does not answer a ping; "" for any other address."""
    for service in snapshot.all(Service).values():
        ingress = [i.ip for i in service.status.loadBalancer.ingress]
        if address in (*service.clusterIPs, *ingress):
            return f"a Service cannot be pinged: {address} is on no device, only in rules for its ports"
    return ""


def _pod_has(snapshot: Snapshot, name: str, port: int) -> bool:
    """Whether a pod of that name is meant explicitly, or has the port."""
    plain = without_kind(name, POD_WORDS)
    namespace, _, short = plain.rpartition("/")
    pod = snapshot.get(Pod, short, namespace or "default")
    declared = [p.containerPort for container in pod.spec.serving_containers for p in container.ports] if pod else []
    return plain != name or port in declared
