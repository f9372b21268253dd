"""Connectivity by trying it: a real TCP connection or UDP datagram from one place of the lab to another."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator

import msgspec

from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.selection import pods_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster import nearby
from k8snetlab.dataplane import names
from k8snetlab.errors import InputError, K8sNetLabError, KernelError, NotFoundError
from k8snetlab.explain.intended import Intents
from k8snetlab.explain.probed import Place, Target
from k8snetlab.explain.verdicts import judged, seen
from k8snetlab.kernel import netns
from k8snetlab.kernel.shot import shoot
from k8snetlab.messages.probe import ProbeResult
from k8snetlab.render.pods import sandbox_name

ICMP = "ICMP"
TIMEOUT = 2.0
"""Seconds a probe waits for an answer."""
PARALLEL = 64
"""Probes under way at a time."""
POD_WORDS, SERVICE_WORDS = ("pod", "pods", "po"), ("svc", "service", "services")
"""What may stand before a slash, where a name alone could be another kind's."""


def places(snapshot: Snapshot) -> list[Place]:
    """Every pod, every node and, where nodes are namespaces, the outside host."""
    lab = snapshot.lab
    found = [
        Place(pod.short_name, "pod", sandbox_name(lab, pod), pod.spec.nodeName, pod.ips)
        for pod in snapshot.all(Pod).values()
        if pod.ready
    ]
    found += [
        Place(name, "node", names.namespace_of(lab.name, name, lab.spec.machines), name)
        for _, name in snapshot.all(Node)
    ]
    if not lab.spec.machines:
        found.append(Place(names.OUTSIDE, "outside", names.node_netns(lab.name, names.OUTSIDE)))
    return found


def targets(snapshot: Snapshot, protocols: Iterable[str] = ("TCP", "UDP")) -> list[Target]:
    """Every container port of every pod, every ClusterIP, NodePort on every node, and external IP."""
    found: list[Target] = []
    for pod in snapshot.all(Pod).values():
        if pod.ready:
            found += _pod_targets(pod)
    for service in snapshot.all(Service).values():
        found += _service_targets(snapshot, service)
    wanted = {p.upper() for p in protocols}
    if ICMP in wanted:
        found += _pingable(snapshot)
    return [target for target in found if target.protocol in wanted]


def within(snapshot: Snapshot, name: str, namespace: str) -> str:
    """The name as one of `namespace` ("": of any), where it is no node's, no address, and does not say it itself."""
    kind, slash, rest = name.partition("/")
    prefix, bare = (f"{kind}/", rest) if slash and kind in (*POD_WORDS, *SERVICE_WORDS) else ("", name)
    alone = not prefix and (snapshot.get(Node, name) is not None or name in (names.ROUTER, names.OUTSIDE))
    if not namespace or alone or "/" in bare or _is_address(bare):
        return name
    if "." in bare and not any(snapshot.get(named, bare, namespace) for named in (Pod, Service)):
        return name  # NAME.NAMESPACE, as the cluster's DNS has it
    return f"{prefix}{namespace}/{bare}"


def find_place(snapshot: Snapshot, name: str) -> Place:
    """A place by name: "pod", "namespace/pod", a node, "router", "outside", or a Deployment for its first pod."""
    lab = snapshot.lab
    if name in (names.ROUTER, names.OUTSIDE) and lab.spec.machines:
        raise NotFoundError(f"there is no {name} in a lab of machines", "name a pod or a node")
    if name in (names.ROUTER, names.OUTSIDE):
        return Place(name, "router" if name == names.ROUTER else "outside", names.node_netns(lab.name, name))
    if snapshot.get(Node, name) is not None:
        return Place(name, "node", names.namespace_of(lab.name, name, lab.spec.machines), name)
    pod = find_pod(snapshot, name)
    return Place(pod.short_name, "pod", sandbox_name(lab, pod), pod.spec.nodeName, pod.ips)


def find_pod(snapshot: Snapshot, name: str) -> Pod:
    namespace, _, short = _without_kind(name, POD_WORDS).rpartition("/")
    pods = [p for p in snapshot.all(Pod).values() if not namespace or p.namespace == namespace]
    exact = [p for p in pods if p.name == short]
    exact = [p for p in exact if p.namespace == "default"] or exact
    owned = [p for p in pods if any(_belongs(snapshot, p, short))]
    found = exact or sorted(owned, key=lambda p: p.name)
    if not found:
        raise NotFoundError(
            f"no pod or node is called {name!r}", nearby.place(snapshot, _without_kind(name, POD_WORDS))
        )
    return found[0]


def find_targets(snapshot: Snapshot, name: str, port: int | None, protocol: str) -> list[Target]:
    """What `name` means as a target: an address, a node (with a NodePort), a Service or a pod.

    A Service may be "name", "namespace/name", "name.namespace" (with or without .svc.cluster.local) or "svc/name". Of a
    pod and a Service of one name the pod is meant where it has the port, and where "pod/name" says so.
    """
    if protocol == ICMP:
        return [_pinged(snapshot, name)]
    if _is_address(name):
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
    if services and (meant or port is None or not _pod_has(snapshot, name, port)):
        return _service_choice(snapshot, services, port, protocol)
    return _of_pod(snapshot, name, port, protocol)


def _of_pod(snapshot: Snapshot, name: str, port: int | None, protocol: str) -> list[Target]:
    """The pod's port; without a number the first it declares of the protocol."""
    try:
        pod = find_pod(snapshot, name)
    except NotFoundError:
        hint = nearby.target(snapshot, _without_kind(name, POD_WORDS))
        raise NotFoundError(f"no pod, Service or node is called {name!r}", hint) from None
    found = [t for t in _pod_targets(pod) if port in (None, t.port) and t.protocol == protocol]
    if not pod.ips:
        raise NotFoundError(f"pod {pod.short_name} has no address (yet)", "`k8snetlab get pods -A` shows its state")
    if port is not None and not found:
        return [Target(pod.short_name, "pod", pod.ips[0], port, protocol)]
    if not found:
        raise InputError(f"pod {pod.name} declares no {protocol} port", f"name one: {name}:80")
    return found[:1]


async def probe(
    snapshot: Snapshot, pairs: Iterable[tuple[Place, Target]], timeout: float = TIMEOUT
) -> list[ProbeResult]:
    """Tries every pair, many at a time; the results are in the order of the pairs, each with a verdict."""
    limit, intents = asyncio.Semaphore(PARALLEL), Intents(snapshot)

    async def one(place: Place, target: Target) -> ProbeResult:
        async with limit:
            result = await _probe(place, target, snapshot, timeout)
            return judged(snapshot, place, target, result, intents.of(place, target))

    return list(await asyncio.gather(*(one(place, target) for place, target in pairs)))


def untried(place: Place, target: Target, why: str) -> ProbeResult:
    """The result of a probe that could not be sent."""
    return ProbeResult(
        source=place.name,
        sourceNode=place.node,
        target=target.name,
        kind=target.kind,
        address=target.address,
        port=target.port,
        protocol=target.protocol,
        reached=False,
        seen="not tried",
        verdict="broken",
        ok=False,
        why=why,
        error=f"not tried: {why}",
    )


async def _probe(place: Place, target: Target, snapshot: Snapshot, timeout: float) -> ProbeResult:
    began = time.perf_counter()
    error, answer = "", None
    try:
        if target.protocol == ICMP:
            answer = await _ping(place.netns, target.address, snapshot)
        else:
            answer = await asyncio.wait_for(_exchange(place.netns, target), timeout)
    except TimeoutError:
        error = f"no answer within {timeout:g} s"
    except OSError as refused:
        error = os.strerror(refused.errno).lower() if refused.errno else str(refused)
    except K8sNetLabError as missing:
        error = missing.message
    how = seen(answer is not None, error)
    if error and target.protocol == ICMP:
        error = no_echo(snapshot, target.address) or error
    elif error and (instead := nearby.port(snapshot, target.address, target.port, target.protocol)):
        error = f"{error}: {instead}"
    reached = answer is not None
    said = answer or {}
    return ProbeResult(
        source=place.name,
        sourceNode=place.node,
        target=target.name,
        kind=target.kind,
        address=target.address,
        port=target.port,
        protocol=target.protocol,
        reached=reached,
        seen=how,
        answeredBy=str(said.get("pod", "")),
        answeredNode=str(said.get("node", "")),
        answeredIP=str(said.get("ip", "")),
        client=str(said.get("client", "")),
        milliseconds=round((time.perf_counter() - began) * 1000, 3),
        error=error,
    )


async def _exchange(place: str, target: Target) -> dict[str, object]:
    """Sends a request from namespace `place`; what the responder said, or {} from something that is none of ours."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    kind = socket.SOCK_DGRAM if target.protocol == "UDP" else socket.SOCK_STREAM
    with netns.inside(place):
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, 132 if target.protocol == "SCTP" else 0)
    with sock:
        await loop.sock_connect(sock, (target.address, target.port))
        if target.protocol == "UDP":
            await loop.sock_sendall(sock, b"k8snetlab probe")
            return _parse(await loop.sock_recv(sock, 2048))
        request = f"GET / HTTP/1.1\r\nHost: {target.address}\r\nUser-Agent: k8snetlab\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(sock, request.encode())
        return _parse(await _read_all(sock))


async def _read_all(sock: socket.socket) -> bytes:
    """What the other side says until it closes; the connection itself is the proof, so silence is no failure."""
    loop = asyncio.get_running_loop()
    data = b""
    try:
        async with asyncio.timeout(TIMEOUT / 4):
            while len(data) < 65536 and (part := await loop.sock_recv(sock, 4096)):
                data += part
    except TimeoutError:
        pass
    except OSError as error:
        if error.errno != errno.ECONNRESET or not data:
            raise
    return data


def _parse(data: bytes) -> dict[str, object]:
    body = data.partition(b"\r\n\r\n")[2] or data
    try:
        said = json.loads(body.splitlines()[0])
    except (ValueError, IndexError):
        return {}
    return said if isinstance(said, dict) else {}


def _pinged(snapshot: Snapshot, name: str) -> Target:
    """What an echo request for `name` goes to; it has no port, and whose address it is may be a Service's."""
    node = snapshot.get(Node, name)
    if node is not None and node.addresses:
        return Target(name, "node", node.addresses[0], 0, ICMP)
    if _is_address(name):
        return Target(name, "address", name, 0, ICMP)
    plain = _without_kind(name, POD_WORDS)
    namespace, _, short = plain.rpartition("/")
    if plain == name and snapshot.get(Pod, short, namespace or "default") is None:
        with contextlib.suppress(NotFoundError):
            return msgspec.structs.replace(find_targets(snapshot, name, None, "TCP")[0], port=0, protocol=ICMP)
    pod = find_pod(snapshot, name)
    if not pod.ips:
        raise NotFoundError(f"pod {pod.short_name} has no address (yet)", "`k8snetlab get pods -A` shows its state")
    return Target(pod.short_name, "pod", pod.ips[0], 0, ICMP)


def _pingable(snapshot: Snapshot) -> Iterator[Target]:
    """Every pod and every node: what has its address on a device."""
    for pod in snapshot.all(Pod).values():
        if pod.ready and not pod.spec.hostNetwork:
            for ip in pod.ips:
                yield Target(pod.short_name, "pod", ip, 0, ICMP)
    for node in snapshot.all(Node).values():
        for ip in node.addresses:
            yield Target(node.name, "node", ip, 0, ICMP)


async def _ping(place: str, address: str, snapshot: Snapshot) -> dict[str, object]:
    """One echo request; its answer says nothing of who gave it, but the lab's objects do."""
    shot = await asyncio.to_thread(shoot, place, address, 0, "icmp", TIMEOUT)
    if shot.fate == "lost":
        raise TimeoutError
    if shot.fate != "answered":
        raise KernelError(shot.error)
    for pod in snapshot.all(Pod).values():
        if address in pod.ips and not pod.spec.hostNetwork:
            return {"pod": pod.short_name, "node": pod.spec.nodeName, "ip": address}
    node = next((node.name for node in snapshot.all(Node).values() if address in node.addresses), "")
    return {"pod": node, "ip": address}


def no_echo(snapshot: Snapshot, address: str) -> str:
    """Why a Service's address does not answer a ping; "" for any other address."""
    for service in snapshot.all(Service).values():
        ingress = [i.ip for i in service.status.loadBalancer.ingress]
        if address in (*service.clusterIPs, *ingress):
            return f"a Service cannot be pinged: {address} is on no device, only in rules for its ports"
    return ""


def _pod_targets(pod: Pod) -> list[Target]:
    return [
        Target(pod.short_name, "pod", ip, port.containerPort, port.protocol)
        for ip in pod.ips
        for container in pod.spec.serving_containers
        for port in container.ports
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


def _belongs(snapshot: Snapshot, pod: Pod, name: str) -> Iterator[bool]:
    """Whether the pod is owned by a ReplicaSet of Deployment `name`, or by a ReplicaSet `name`."""
    for owner in pod.metadata.ownerReferences:
        yield owner.name == name or owner.name.rpartition("-")[0] == name


def _pod_has(snapshot: Snapshot, name: str, port: int) -> bool:
    """Whether a pod of that name is meant explicitly, or has the port."""
    plain = _without_kind(name, POD_WORDS)
    namespace, _, short = plain.rpartition("/")
    pod = snapshot.get(Pod, short, namespace or "default")
    declared = [p.containerPort for container in pod.spec.serving_containers for p in container.ports] if pod else []
    return plain != name or port in declared


def _without_kind(name: str, words: tuple[str, ...]) -> str:
    """ "other/web" of "pod/other/web", where `words` has pod."""
    kind, slash, rest = name.partition("/")
    return rest if slash and kind in words else name


def _is_address(text: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
            return True
        except (OSError, ValueError):  # ValueError: a NUL in it
            continue
    return False
