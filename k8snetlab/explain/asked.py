"""`policy why FROM TO:PORT`: what TO means, and the answer for it."""

from __future__ import annotations

from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import is_address
from k8snetlab.errors import InputError, NotFoundError
from k8snetlab.explain.connections import Connection, direct, node_of, of_node_port, of_service, why
from k8snetlab.explain.places import POD_WORDS, SERVICE_WORDS, without_kind
from k8snetlab.policies.matrix import At
from k8snetlab.policies.sentences import PolicyReason, Where
from k8snetlab.policies.shapes import End
from k8snetlab.policies.world import World, without_effect


def reason(world: World, source: str, target: str, at: At, where: Where) -> PolicyReason:
    """`source` is a pod, a node, outside or an address; `target` one of these, a Service by its name, its DNS name, its
    cluster IP, or a node's NodePort. Raises NotFoundError, InputError."""
    asking = world.end(without_kind(source, POD_WORDS))
    name, service, connections = _meant(world, asking, target, at)
    if not connections:
        raise _nobody(world, name, service)
    found = tuple(why(world, one, where) for one in connections)
    first = next((one for one in found if not one.allowed), found[0])
    return PolicyReason(
        asking.name,
        name,
        *at,
        all(one.allowed for one in found),
        first.ingress,
        first.egress,
        service,
        found if service else (),
        without_effect(world.snapshot),
    )


def _nobody(world: World, name: str, service: str) -> InputError:
    """That a Service has no endpoints, and why, where that is for want of addresses."""
    found = world.snapshot.get(Service, *reversed(service.split("/")))
    waiting = [pod.short_name for pod in _selected(world.snapshot, found) if not pod.ips] if found else []
    if not waiting:
        where = "`k8snetlab get endpointslices -A` lists them"
        return InputError(f"{name} has no endpoints: nobody would answer", where)
    more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    where = "`k8snetlab status` says why"
    if not world.snapshot.all(Node):
        where = "add a Lab, whose nodes give addresses; or write one, status: {podIP: 10.244.1.2}; or ask for the pod"
    return InputError(f"{name} has no endpoints: pod {waiting[0]}{more}, which it selects, has no address", where)


def _selected(snapshot: Snapshot, service: Service) -> list[Pod]:
    wanted = (service.spec.selector or {}).items()
    pods = (pod for pod in snapshot.all(Pod).values() if pod.namespace == service.namespace and not pod.ended)
    return [pod for pod in pods if wanted and wanted <= pod.metadata.labels.items()]


def _meant(world: World, asking: End, target: str, at: At) -> tuple[str, str, list[Connection]]:
    """What is asked for, the Service (namespace/name) where it is one, and the ways to who answers."""
    if node := node_of(world, target):
        through = of_node_port(world, asking, node, at)
        if through is None:
            return node.name, "", [direct(asking, node, at)]
        service = _with_node_port(world.snapshot, at)
        return f"{node.name}:{at[1]}", service, through
    found = _service(world, target, at)
    if found is None:
        end = world.end(without_kind(target, POD_WORDS))
        family = (6 if ":" in target else 4) if is_address(target) else 0
        return end.name, "", [direct(asking, end, at, family)]
    name = f"{found.namespace}/{found.name}"
    return name, name, of_service(world, asking, found, at, target if is_address(target) else "")


def _service(world: World, target: str, at: At) -> Service | None:
    """The Service that is meant: of a pod and a Service of one name, the pod where it has the port or nothing else."""
    services = list(world.snapshot.all(Service).values())
    if is_address(target):
        _refuse_external(services, target)
        return next((one for one in services if target in one.clusterIPs), None)
    plain = without_kind(target, SERVICE_WORDS)
    said = plain != target
    if without_kind(target, POD_WORDS) != target:
        return None
    found = _named(services, plain, world.snapshot.lab.spec.dns.domain)
    if said and found is None:
        raise NotFoundError(f"no Service is called {plain!r}", "`k8snetlab get services -A` lists them")
    if found is None or said or "." in plain:
        return found
    try:
        end = world.pod(plain)
    except NotFoundError:
        return found
    numbers = {number for (protocol, _), some in end.ports.items() if protocol == at[0] for number in some}
    has = (at[0], at[1]) in {(p.protocol, p.port) for p in found.spec.ports}
    return found if has and at[1] not in numbers and not _declares(world, end, at) else None


def _declares(world: World, end: End, at: At) -> bool:
    pod = world.snapshot.all(Pod).get(end.key) if end.key else None
    return pod is not None and any((p.protocol, p.containerPort) == at for p in pod.spec.serving_ports)


def _named(services: list[Service], name: str, domain: str) -> Service | None:
    """ "name", "namespace/name", "name.namespace", with or without .svc and the cluster's domain."""
    if "/" in name:
        namespace, _, short = name.partition("/")
    else:
        short, namespace, rest = (*name.rstrip(".").split(".", 2), "", "")[:3]
        if rest not in ("", "svc", f"svc.{domain}"):
            return None
    found = [one for one in services if one.name == short and namespace in ("", one.namespace)]
    return next((one for one in found if one.namespace == "default"), found[0] if found else None)


def _with_node_port(snapshot: Snapshot, at: At) -> str:
    for service in snapshot.all(Service).values():
        if any((port.protocol, port.nodePort) == at for port in service.spec.ports):
            return f"{service.namespace}/{service.name}"
    return ""


def _refuse_external(services: list[Service], address: str) -> None:
    for one in services:
        if address in (*one.spec.externalIPs, *(ingress.ip for ingress in one.status.loadBalancer.ingress)):
            raise InputError(
                f"{address} leads to Service {one.namespace}/{one.name} from outside, by a node that is not said here",
                "name the Service, or a node and its NodePort: node1:30080",
            )
