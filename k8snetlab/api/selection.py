"""Which objects belong to which: the groupings that lookups in a Snapshot go by.

Each function ending in `by_…` names the groups of one object, for `Snapshot.select`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from k8snetlab.api.core import Endpoints, Node, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.guest import Guest
from k8snetlab.api.lab import Lab
from k8snetlab.api.load_balancer import ALB, CLASS
from k8snetlab.api.meta import Labels, Object
from k8snetlab.api.networking import CLASS as INGRESS_CLASS
from k8snetlab.api.networking import Ingress
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.versions import NONE
from k8snetlab.api.workloads import Workload

Pair = tuple[str, str, str]
"""A namespace and a label's key and value."""


def pods_by_label(pod: Pod) -> Iterable[Pair]:
    return [(pod.namespace, key, value) for key, value in pod.metadata.labels.items()]


def addressed_by_label(pod: Pod) -> Iterable[Pair]:
    """`pods_by_label` of those that can be endpoints: they have an address and have not ended."""
    return pods_by_label(pod) if pod.ips and not pod.ended else ()


def unowned(pod: Pod) -> Iterable[str]:
    """The namespace of a pod that no controller owns."""
    return () if any(owner.controller for owner in pod.metadata.ownerReferences) else (pod.namespace,)


def templates_by_label(workload: Workload) -> Iterable[Pair]:
    labels = workload.spec.template.metadata.labels
    return [(workload.namespace, key, value) for key, value in labels.items()]


def services_by_label(service: Service) -> Iterable[Pair]:
    """A single group, of one of the labels in the Service's selector: enough to find the Service from a pod."""
    selector = service.spec.selector
    if not selector:
        return ()
    key = max(selector, key=lambda k: (len(selector[k]), k))
    return ((service.namespace, key, selector[key]),)


def balanced(service: Service) -> Iterable[bool]:
    """The group of the Services that the lab's load balancer serves: of that type, and of no other's class."""
    return (True,) if service.spec.type == "LoadBalancer" and service.spec.loadBalancerClass in (None, CLASS) else ()


def unbalanced(service: Service) -> Iterable[bool]:
    """The group of the Services of another type that have an address of a load balancer."""
    return (True,) if service.spec.type != "LoadBalancer" and service.status.loadBalancer.ingress else ()


def _of_alb(ingress: Ingress) -> Iterable[bool]:
    """The group of the Ingresses of the cloud's load balancer."""
    named = ingress.spec.ingressClassName or ingress.metadata.annotations.get(INGRESS_CLASS, "")
    return (True,) if named == ALB else ()


def alb_ingresses(snapshot: Snapshot) -> list[Ingress]:
    """Those that the cloud's load balancer serves, where there is one."""
    if snapshot.lab.spec.loadBalancer.mode != "cloud":
        return []
    return list(snapshot.select(Ingress, _of_alb, True).values())


def services_by_ip(service: Service) -> Iterable[str]:
    return service.clusterIPs


def services_by_node_port(service: Service) -> Iterable[tuple[str, int]]:
    """(protocol, port); the health check's port is a TCP one."""
    ports = [(port.protocol, port.nodePort) for port in service.spec.ports if port.nodePort]
    if service.spec.healthCheckNodePort:
        ports.append(("TCP", service.spec.healthCheckNodePort))
    return ports


def slices_by_service(slice_: EndpointSlice) -> Iterable[tuple[str, str]]:
    key = slice_.service_key
    return (key,) if key else ()


def pods_by_node(pod: Pod) -> Iterable[str]:
    return (pod.spec.nodeName,) if pod.spec.nodeName else ()


def pods_by_ip(pod: Pod) -> Iterable[str]:
    return pod.ips


def pods_by_uid(pod: Pod) -> Iterable[str]:
    return (pod.run_uid,)


def by_owner(obj: Object) -> Iterable[tuple[str, str, str]]:
    """(kind, namespace, name) of every owner; owners of namespaced objects live in the same namespace or in none."""
    return [(o.kind, obj.namespace, o.name) for o in obj.metadata.ownerReferences]


def by_owners_uid(obj: Object) -> Iterable[str]:
    """The uid of every owner."""
    return [owner.uid for owner in obj.metadata.ownerReferences]


def owned(owner: Object, snapshot: Snapshot) -> Iterator[Object]:
    """What says that it belongs to an object, by its uid."""
    for type_ in snapshot.objects if owner.metadata.uid else ():
        yield from snapshot.select(type_, by_owners_uid, owner.metadata.uid).values()


def nodes_by_address(node: Node) -> Iterable[str]:
    return node.addresses


def by_external_proxy(lab: Lab) -> Iterable[tuple[str, bool]]:
    """(node, whether its rules are left to a guest) of those nodes that say so themselves, "" for all others."""
    yield "", lab.spec.proxy.mode == "external"
    for node in lab.spec.nodes if isinstance(lab.spec.nodes, tuple) else ():
        if node.proxy is not None:
            yield node.name, node.proxy.mode == "external"


def is_proxied_by_guest(snapshot: Snapshot, node: str) -> bool:
    """Whether the lab leaves the rules of Services on a node to a guest (`proxy: {mode: external}`)."""
    if snapshot.select(Lab, by_external_proxy, (node, True)):
        return True
    everywhere = bool(snapshot.select(Lab, by_external_proxy, ("", True)))
    return everywhere and not snapshot.select(Lab, by_external_proxy, (node, False))


def selects(service: Service, labels: Labels) -> bool:
    """Whether a Service selects what carries these labels; without a selector it selects nothing."""
    selector = service.spec.selector
    return bool(selector) and all(labels.get(key) == value for key, value in (selector or {}).items())


def pods_of(service: Service, snapshot: Snapshot) -> list[Pod]:
    """The pods a Service selects, sorted by name."""
    pods: list[Pod] = []
    for group in services_by_label(service):
        found = snapshot.select(Pod, pods_by_label, group).values()
        pods = sorted((p for p in found if selects(service, p.metadata.labels)), key=lambda p: p.name)
    return pods


def near_pods_of(service: Service, snapshot: Snapshot) -> Mapping[Key, Pod]:
    """Those that can be endpoints and have one of the labels that a Service asks for. Pods that still wait for an
    address cost nothing, however many."""
    pods: Mapping[Key, Pod] = NONE
    for group in services_by_label(service):
        pods = snapshot.select(Pod, addressed_by_label, group)
    return pods


def services_of(pod: Pod, snapshot: Snapshot) -> list[Service]:
    """The Services that select a pod, sorted by name."""
    found = {
        service.name: service
        for pair in pods_by_label(pod)
        for service in snapshot.select(Service, services_by_label, pair).values()
        if selects(service, pod.metadata.labels)
    }
    return [found[name] for name in sorted(found)]


def pod_of_guest(guest: Guest, snapshot: Snapshot) -> Pod | None:
    """The pod that a guest is in; None for a guest of a node, and where there is no such pod."""
    spec = guest.spec
    return snapshot.get(Pod, spec.podName, spec.namespace) if spec.podName else None


def node_of_guest(guest: Guest, snapshot: Snapshot) -> str:
    """The node on which a guest is to run, "" while its pod is on none."""
    if not guest.spec.podName:
        return guest.spec.nodeName
    pod = pod_of_guest(guest, snapshot)
    return pod.spec.nodeName if pod is not None and not pod.ended else ""


def guests_of(snapshot: Snapshot, node: str) -> list[Guest]:
    """The guests that are to run on a node."""
    guests = snapshot.all(Guest).values()
    return [one for one in guests if not one.metadata.deletionTimestamp and node_of_guest(one, snapshot) == node]


def endpoints_of(service: Service, snapshot: Snapshot) -> Endpoints | None:
    return snapshot.get(Endpoints, service.name, service.namespace)
