"""What is wrong in the manifests themselves: Services that lead nowhere, endpoints that nobody has, idle pods.

Kernel and objects may agree in all this: no agent mends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher

from k8snetlab.api.addressing import split
from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Container, Node, Pod, Service, ServicePort
from k8snetlab.api.discovery import Endpoint, EndpointSlice
from k8snetlab.api.meta import Object
from k8snetlab.api.pod_state import trouble
from k8snetlab.api.problems import title
from k8snetlab.api.selection import pods_of, selects, services_of, slices_by_service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.view import network, parsed, same_family
from k8snetlab.trace.finding import Finding
from k8snetlab.trace.owners import Owners, at
from k8snetlab.trace.way import end, parted

ALIKE = 0.6
"""Two names of this likeness (difflib's ratio) may be one mistyped."""


def services(snapshot: Snapshot) -> Iterator[Finding]:
    """Selectors that select nothing though pods were meant, port names nobody has, NodePorts that lead nowhere."""
    for service in snapshot.all(Service).values():
        if service.spec.type == "ExternalName":
            continue
        if service.spec.selector:
            yield from _selection(snapshot, service)
        yield from _strays(snapshot, service)
        yield from _without_local(snapshot, service)


def lonely(snapshot: Snapshot) -> Iterator[str]:
    """A sentence for each Service that has no endpoint, and may have none on purpose."""
    for service in snapshot.all(Service).values():
        if not service.spec.selector or pods_of(service, snapshot) or any(_selection(snapshot, service)):
            continue
        workload = next(iter(_meant(snapshot, service)), None)
        why = f"{title(workload)} has no pods" if workload else f"no pod has the labels {_labels(service)}"
        yield f"{title(service)}{at(service)} has no endpoints: {why}; connections to it are refused"


def pods(snapshot: Snapshot) -> Iterator[Finding]:
    """Pods that say why they do not run."""
    owners = Owners(snapshot)
    for pod in snapshot.all(Pod).values():
        if (why := trouble(pod)) and not pod.ready and not pod.metadata.deletionTimestamp:
            name = f"{pod.namespace}/{pod.name}"
            yield Finding(
                "pod",
                "waiting",
                pod.spec.nodeName,
                name,
                f"pod {name}: {why}",
                "it is no endpoint of any Service, and whoever asks it hears nothing",
                f"k8snetlab get pods {pod.name} -n {pod.namespace}",
                owner=owners.of(pod),
            )


def unheard(snapshot: Snapshot, service: str, endpoint: str) -> Finding | None:
    """Nobody listens where a Service leads: is the number of the port wrong? `endpoint` is "ip:port"."""
    namespace, _, name = service.partition("/")
    found = snapshot.get(Service, name, namespace)
    address, number = parted(endpoint)
    pod = next((p for p in snapshot.all(Pod).values() if address in p.ips and _inside(p)), None)
    if found is None or pod is None:
        return None
    declared = [p for container in pod.spec.serving_containers for p in container.ports]
    known = {p.containerPort for p in declared}
    if number in known or not known or not _all_built_in(pod.spec.serving_containers):
        return _silent(snapshot, pod, number)
    port = next((p for p in found.spec.ports if _number(p) == number), found.spec.ports[0])
    listening = ", ".join(str(p.containerPort) for p in declared)
    meant = next((p.containerPort for p in declared if p.protocol == port.protocol), declared[0].containerPort)
    return Finding(
        "service",
        "targetPort",
        "",
        f"{service}:{port.port}",
        f"{title(found)} sends port {port.port} to port {number}, where nobody listens; its pods do on {listening}",
        f"connections to {title(found)}, port {port.port}, are refused by its pods",
        f"k8snetlab get service {found.name} -n {found.namespace} -o yaml",
        f"# targetPort: {meant} in the manifest, then `k8snetlab apply -f`",
        owner=f"{title(found)}, port {port.port}{at(found)}",
    )


def _silent(snapshot: Snapshot, pod: Pod, number: int) -> Finding:
    name = f"{pod.namespace}/{pod.name}"
    return Finding(
        "pod",
        "silent",
        pod.spec.nodeName,
        name,
        f"pod {name}: nobody listens on port {number}",
        f"connections to {end(pod.ips[0], number)} are refused",
        f"k8snetlab exec {pod.name} -n {pod.namespace} -- ss -lntu",
        owner=Owners(snapshot).of(pod),
    )


# --- selectors --------------------------------------------------------------------------------------------------------


def _selection(snapshot: Snapshot, service: Service) -> Iterator[Finding]:
    chosen = pods_of(service, snapshot)
    if not chosen:
        meant = sorted(p.name for p in _near(snapshot, service))
        if meant:
            pod = snapshot.all(Pod)[service.namespace, meant[0]]
            labels = ", ".join(f"{k}={pod.metadata.labels.get(k, '')}" for k in service.spec.selector or ())
            yield _of_service(
                service,
                "selector",
                f"{title(service)} selects {_labels(service)}, which no pod has; {meant[0]} has {labels}",
                "it has no endpoints: connections to it are refused",
                f"k8snetlab get pods -n {service.namespace} -o yaml",
                f"# selector: {labels.replace('=', ': ')} in the manifest, then `k8snetlab apply -f`",
            )
        return
    for port in service.spec.ports:
        if isinstance(port.targetPort, str) and not any(_has_port(pod, port) for pod in chosen):
            known = sorted({p.name for pod in chosen for c in pod.spec.serving_containers for p in c.ports if p.name})
            yield _of_service(
                service,
                "targetPort",
                f"{title(service)} sends port {port.port} to the port named {port.targetPort}, which no pod of it has"
                f" (names: {', '.join(known) or 'none'})",
                f"port {port.port} has no endpoints: connections to it are refused",
                f"k8snetlab get service {service.name} -n {service.namespace} -o yaml",
                f"# targetPort: {known[0] if known else 'a number'} in the manifest, then `k8snetlab apply -f`",
                port,
            )


def _near(snapshot: Snapshot, service: Service) -> Iterator[Pod]:
    """The pods that a selector without pods may have meant: they have the Service's target port, and nearly its
    labels or no other Service."""
    if any(_meant(snapshot, service)):
        return
    for (namespace, _), pod in snapshot.all(Pod).items():
        if namespace != service.namespace or not any(_has_port(pod, port) for port in service.spec.ports):
            continue
        others = [s for s in services_of(pod, snapshot) if s.key != service.key]
        if not others or _alike(service, pod):
            yield pod


def _alike(service: Service, pod: Pod) -> bool:
    wanted = (service.spec.selector or {}).items()
    pairs = [f"{key}={value}" for key, value in pod.metadata.labels.items()]
    return all(any(SequenceMatcher(None, f"{k}={v}", p).ratio() >= ALIKE + 0.15 for p in pairs) for k, v in wanted)


def _meant(snapshot: Snapshot, service: Service) -> Iterator[Object]:
    """The workloads whose pods it would select: they are scaled to none, or about to make some."""
    workloads: Iterable[Deployment | ReplicaSet] = (
        *snapshot.all(Deployment).values(),
        *snapshot.all(ReplicaSet).values(),
    )
    for workload in workloads:
        if workload.namespace == service.namespace and selects(service, workload.spec.template.metadata.labels):
            yield workload


def _has_port(pod: Pod, port: ServicePort) -> bool:
    wanted = _number(port)
    return any(
        p.protocol == port.protocol and wanted in (p.containerPort, p.name)
        for container in pod.spec.serving_containers
        for p in container.ports
    )


def _number(port: ServicePort) -> int | str:
    return port.targetPort or port.port


# --- endpoints --------------------------------------------------------------------------------------------------------


def _strays(snapshot: Snapshot, service: Service) -> Iterator[Finding]:
    """Endpoints in the pod network that no pod has: somebody wrote them by hand, or a pod went and they stayed."""
    cluster = [network(part) for part in split(snapshot.lab.spec.podCIDR)]
    held = {ip for pod in snapshot.all(Pod).values() for ip in pod.ips}
    held |= {
        str(network(cidr).network_address + offset)
        for n in _nodes(snapshot)
        for cidr in n.podCIDRs
        for offset in (0, 1)
    }
    for slice_, endpoint in _endpoints(snapshot, service):
        for address in endpoint.addresses[:1]:
            inside = any(same_family(str(net), address) and parsed(address) in net for net in cluster)
            if inside and address not in held:
                yield Finding(
                    "endpoint",
                    "stale",
                    "",
                    address,
                    f"{title(service)} has the endpoint {address}, an address that no pod has",
                    "connections that chance gives to it are lost",
                    f"k8snetlab get endpointslices {slice_.name} -n {slice_.namespace} -o yaml",
                    owner=f"{title(slice_)}{at(slice_) or at(service)}",
                )


def _without_local(snapshot: Snapshot, service: Service) -> Iterator[Finding]:
    """NodePorts of nodes without an endpoint, where traffic stays on its node. A load balancer knows of it."""
    spec = service.spec
    if spec.type != "NodePort" or spec.externalTrafficPolicy != "Local":
        return
    having = {e.nodeName for _, e in _endpoints(snapshot, service) if e.conditions.ready is not False}
    for node in _nodes(snapshot) if having else ():
        if node.name not in having:
            ports = ", ".join(str(p.nodePort) for p in spec.ports if p.nodePort)
            finding = _of_service(
                service,
                "local",
                f"{node.name}: NodePort {ports} of {title(service)} leads nowhere: externalTrafficPolicy is Local, "
                f"and none of its endpoints is on {node.name}",
                f"what comes from outside to {node.addresses[0] if node.addresses else node.name}:{ports} is dropped",
                f"k8snetlab get endpointslices -n {service.namespace} -o yaml",
                "# externalTrafficPolicy: Cluster in the manifest, or a pod on every node; then `k8snetlab apply -f`",
            )
            yield Finding(**{f: getattr(finding, f) for f in finding.__struct_fields__} | {"node": node.name})


def _endpoints(snapshot: Snapshot, service: Service) -> Iterator[tuple[EndpointSlice, Endpoint]]:
    for slice_ in snapshot.select(EndpointSlice, slices_by_service, service.key).values():
        for endpoint in slice_.endpoints:
            yield slice_, endpoint


# --- words ------------------------------------------------------------------------------------------------------------


def _of_service(
    service: Service, fault: str, message: str, told: str, show: str, mend: str, port: ServicePort | None = None
) -> Finding:
    number = f", port {port.port}" if port else ""
    return Finding(
        "service",
        fault,
        "",
        f"{service.namespace}/{service.name}" + (f":{port.port}" if port else ""),
        message,
        told,
        show,
        mend,
        owner=f"{title(service)}{number}{at(service)}",
    )


def _nodes(snapshot: Snapshot) -> list[Node]:
    return list(snapshot.all(Node).values())


def _inside(pod: Pod) -> bool:
    return not pod.spec.hostNetwork and not pod.ended


def _all_built_in(containers: tuple[Container, ...]) -> bool:
    return not any(container.command for container in containers)


def _labels(service: Service) -> str:
    return ", ".join(f"{key}={value}" for key, value in (service.spec.selector or {}).items())
