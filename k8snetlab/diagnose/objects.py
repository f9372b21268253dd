"""What is wrong in the manifests themselves: Services that lead nowhere, endpoints that nobody has.

Kernel and objects may agree in all this: no agent mends it.
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.addressing import split
from k8snetlab.api.core import Container, Endpoints, Node, Pod, Service, ServicePort
from k8snetlab.api.discovery import SERVICE_NAME, Endpoint, EndpointSlice
from k8snetlab.api.problems import title
from k8snetlab.api.selection import pods_by_ip, pods_of, slices_by_service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import end, network, parsed, parted, same_family
from k8snetlab.diagnose.emptiness import empty, has_port, labels_of, named_port, near, workload_of
from k8snetlab.diagnose.finding import Finding
from k8snetlab.trace.owners import Owners, at

MOST = 5
"""Names of nodes or pods in one sentence, at most."""
CLUSTER_DOMAIN = "cluster.local"


def services(snapshot: Snapshot) -> Iterator[Finding]:
    """Selectors that select nothing though pods were meant, port names that no container has, endpoints that are no
    pod's."""
    for service in snapshot.all(Service).values():
        if service.spec.type == "ExternalName":
            yield from _alias(snapshot, service)
            continue
        found = [*_selection(snapshot, service)] if service.spec.selector else []
        yield from found or _without_endpoints(snapshot, service)
        yield from _strays(snapshot, service)


def lonely(snapshot: Snapshot) -> Iterator[str]:
    """A sentence for each Service that has no endpoint, and may have none on purpose; and for slices of no Service."""
    for service in snapshot.all(Service).values():
        if service.spec.type == "ExternalName" or not service.spec.ports:
            continue
        reasons = [empty(snapshot, service, port) for port in service.spec.ports]
        first = reasons[0]
        if first and first.on_purpose and all(reasons):
            consequence = (
                "its name has no addresses" if service.spec.clusterIP == "None" else "connections to it are refused"
            )
            yield f"{title(service)}{at(service)} has no endpoints: {first.why}; {consequence}"
    for slice_ in snapshot.all(EndpointSlice).values():
        key = slice_.service_key
        if key and snapshot.get(Service, key[1], key[0]) is None:
            yield f"{title(slice_)}{at(slice_)} is of Service {'/'.join(key)}, which there is not: nobody uses it"
        elif key is None:
            yield f"{title(slice_)}{at(slice_)} is of no Service: it lacks the label {SERVICE_NAME}; nobody uses it"
    for endpoints in snapshot.all(Endpoints).values():
        if endpoints.subsets and snapshot.get(Service, endpoints.name, endpoints.namespace) is None:
            yield f"{title(endpoints)}{at(endpoints)} is of no Service, as there is none of its name: nobody uses it"


def closed(snapshot: Snapshot) -> Iterator[Finding]:
    """What is closed because a manifest says so: Services whose traffic stays on a node without an endpoint, and load
    balancers that let in some only."""
    for service in snapshot.all(Service).values():
        yield from _without_local(snapshot, service)
        ranges = ", ".join(service.spec.loadBalancerSourceRanges)
        if ranges and service.spec.type == "LoadBalancer" and any(i.here for i in service.status.loadBalancer.ingress):
            yield _of_service(
                service,
                fault="ranges",
                message=(
                    f"the load balancer of {title(service)} is closed to all but {ranges}: loadBalancerSourceRanges"
                ),
                consequence="what comes from elsewhere to that address is dropped",
                show=f"k8snetlab get service {service.name} -n {service.namespace} -o yaml",
                mend="# loadBalancerSourceRanges in the manifest, then `k8snetlab apply -f`",
            )


def no_listener(snapshot: Snapshot, service: str, endpoint: str, why: str) -> Finding | None:
    """No process listens where a Service leads: is the number of the port wrong? `endpoint` is "ip:port", `why` what
    the pod's sockets tell."""
    namespace, _, name = service.partition("/")
    found = snapshot.get(Service, name, namespace)
    address, number = parted(endpoint)
    pod = next((p for p in snapshot.select(Pod, pods_by_ip, address).values() if _inside(p)), None)
    if pod is None:
        return None
    declared = pod.spec.serving_ports
    known = {p.containerPort for p in declared}
    if found is None or number in known or not known or not _all_built_in(pod.spec.serving_containers):
        return silent(snapshot, pod, endpoint, why)
    port = next((p for p in found.spec.ports if (p.targetPort or p.port) == number), found.spec.ports[0])
    listening = ", ".join(str(p.containerPort) for p in declared)
    meant = next((p.containerPort for p in declared if p.protocol == port.protocol), declared[0].containerPort)
    return Finding(
        kind="service",
        fault="targetPort",
        node="",
        object=f"{service}:{port.port}",
        message=(
            f"{title(found)} sends port {port.port} to port {number}, where nobody listens; its pods do on {listening}"
        ),
        consequence=f"connections to {title(found)}, port {port.port}, are refused by its pods",
        show=f"k8snetlab get service {found.name} -n {found.namespace} -o yaml",
        mend=f"# targetPort: {meant} in the manifest, then `k8snetlab apply -f`",
        owner=f"{title(found)}, port {port.port}{at(found)}",
    )


def silent(snapshot: Snapshot, pod: Pod, endpoint: str, why: str) -> Finding:
    """A pod that does not listen where it says, or where a Service leads; `why` is part of a sentence."""
    name, (address, number) = f"{pod.namespace}/{pod.name}", parted(endpoint)
    return Finding(
        kind="pod",
        fault="silent",
        node=pod.spec.nodeName,
        object=f"{name} {number}",
        message=f"pod {name}: {why}",
        consequence=f"connections to {end(address, number)} are refused",
        show=f"k8snetlab exec {pod.name} -n {pod.namespace} -- ss -lntu",
        owner=Owners(snapshot).of(pod),
    )


def astray(snapshot: Snapshot, service: str, endpoint: str, why: str, asked: str) -> Finding | None:
    """An endpoint that a person wrote, no pod's, which does not answer; `asked` are words for `k8snetlab trace`."""
    namespace, _, name = service.partition("/")
    found = snapshot.get(Service, name, namespace)
    if found is None:
        return None
    address = parted(endpoint)[0]
    slices = [s for s, e in _endpoints(snapshot, found) if address in e.addresses]
    if slices and _nobodys(snapshot, address):
        return _stray(found, slices[0], address)
    where = at(slices[0]) if slices and slices[0].source else at(found)
    return Finding(
        kind="endpoint",
        fault="silent",
        node="",
        object=f"{service} {endpoint}",
        message=f"{title(found)} has the endpoint {endpoint}, which does not answer: {why}",
        consequence=f"connections that {title(found)} leads there are lost or refused",
        show=f"k8snetlab trace {asked}",
        owner=f"{title(slices[0])}{where}" if slices else f"{title(found)}{where}",
    )


# --- selectors --------------------------------------------------------------------------------------------------------


def _selection(snapshot: Snapshot, service: Service) -> Iterator[Finding]:
    selected = pods_of(service, snapshot)
    chosen = [pod for pod in selected if not pod.ended]
    if not chosen:
        meant = near(snapshot, service) if not selected else []
        if meant:
            labels = ", ".join(f"{k}={meant[0].metadata.labels.get(k, '')}" for k in service.spec.selector or ())
            yield _of_service(
                service,
                fault="selector",
                message=(
                    f"{title(service)} selects {labels_of(service)}, which no pod has; {meant[0].name} has {labels}"
                ),
                consequence="it has no endpoints: connections to it are refused",
                show=f"k8snetlab get pods -n {service.namespace} -o yaml",
                mend=f"# selector: {labels.replace('=', ': ')} in the manifest, then `k8snetlab apply -f`",
            )
        return
    for port in service.spec.ports:
        lacking = [pod for pod in chosen if isinstance(port.targetPort, str) and not has_port(pod, port)]
        if lacking and len(lacking) == len(chosen):
            yield _nowhere(service, port, lacking)
        else:
            yield from _passed_over(snapshot, service, port, lacking)


def _nowhere(service: Service, port: ServicePort, pods: list[Pod]) -> Finding:
    """A port's name that no pod has, or that pods have for another protocol."""
    other = next((found for pod in pods if (found := named_port(pod, port))), None)
    known = sorted({p.name for pod in pods for c in pod.spec.serving_containers for p in c.ports if p.name})
    message = f"{title(service)} sends port {port.port} to the port named {port.targetPort}, which no pod of it has"
    mend = f"targetPort: {known[0] if known else 'a number'}"
    if other:
        message = (
            f"{title(service)} sends {port.protocol} port {port.port} to the port named {port.targetPort}, which is "
            f"a {other.protocol} port of its pods"
        )
        mend = f"protocol: {other.protocol}"
    return _of_service(
        service,
        fault="targetPort",
        message=message if other else f"{message} (names: {', '.join(known) or 'none'})",
        consequence=f"port {port.port} has no endpoints: connections to it are refused",
        show=f"k8snetlab get service {service.name} -n {service.namespace} -o yaml",
        mend=f"# {mend} in the manifest, then `k8snetlab apply -f`",
        port=port,
    )


def _passed_over(snapshot: Snapshot, service: Service, port: ServicePort, pods: list[Pod]) -> Iterator[Finding]:
    """Pods that are selected, and get nothing of a port since they have none of its name; one finding a workload."""
    groups: dict[str, list[Pod]] = {}
    for pod in pods:
        workload = workload_of(snapshot, pod)
        groups.setdefault(title(workload) if workload else title(pod), []).append(pod)
    for name, members in groups.items():
        other = named_port(members[0], port)
        own = sorted({p.name for c in members[0].spec.serving_containers for p in c.ports if p.name})
        has = f"its port of that name is a {other.protocol} one" if other else f"names: {', '.join(own) or 'none'}"
        count = "its pod is" if len(members) == 1 else f"its {len(members)} pods are"
        whose = f"{name}: {count}" if name != title(members[0]) else f"{name} is"
        yield Finding(
            kind="service",
            fault="targetPort",
            node="",
            object=f"{service.namespace}/{service.name}:{port.port} {name}",
            message=(
                f"{whose} selected by {title(service)} but gets nothing of port {port.port}: it has no "
                f"{port.protocol} port named {port.targetPort} ({has})"
            ),
            consequence=f"connections to {title(service)}, port {port.port}, reach its other pods only",
            show=f"k8snetlab get endpointslices -n {service.namespace}",
            mend=f"# name a port {port.targetPort} in the pods' manifest, then `k8snetlab apply -f`",
            owner=f"{title(service)}, port {port.port}{at(service)}",
        )


def _without_endpoints(snapshot: Snapshot, service: Service) -> Iterator[Finding]:
    """Ports without endpoints, where neither the manifests nor a pod of the Service says why."""
    if service.spec.selector and any(not p.ready and not p.ended for p in pods_of(service, snapshot)):
        return
    for port in service.spec.ports:
        reason = empty(snapshot, service, port)
        if reason and not reason.on_purpose:
            yield _of_service(
                service,
                fault="endpoints",
                message=f"{title(service)} has no endpoints for port {port.port}: {reason.why}",
                consequence=f"connections to {title(service)}, port {port.port}, are refused",
                show=f"k8snetlab get endpointslices -n {service.namespace}",
                port=port,
            )


def _alias(snapshot: Snapshot, service: Service) -> Iterator[Finding]:
    """An ExternalName that is a Service's name in this cluster, of a Service that there is not."""
    parts = service.spec.externalName.rstrip(".").removesuffix(f".{CLUSTER_DOMAIN}").split(".")
    if len(parts) == 3 and parts[2] == "svc" and snapshot.get(Service, parts[0], parts[1]) is None:
        yield _of_service(
            service,
            fault="alias",
            message=(
                f"{title(service)} stands for {service.spec.externalName}, and there is no Service "
                f"{parts[1]}/{parts[0]}"
            ),
            consequence="its name resolves to nothing",
            show=f"k8snetlab get services -n {parts[1]}",
        )


# --- endpoints --------------------------------------------------------------------------------------------------------


def _strays(snapshot: Snapshot, service: Service) -> Iterator[Finding]:
    """Endpoints in the pod network that no pod has: somebody wrote them by hand, or a pod went and they stayed."""
    for slice_, endpoint in _endpoints(snapshot, service):
        for address in endpoint.addresses[:1]:
            if slice_.addressType != "FQDN" and _nobodys(snapshot, address):
                yield _stray(service, slice_, address)


def _nobodys(snapshot: Snapshot, address: str) -> bool:
    """Whether an address is in the pod network, and neither pod nor node has it."""
    if not any(
        same_family(part, address) and parsed(address) in network(part) for part in split(snapshot.lab.spec.podCIDR)
    ):
        return False
    own = (network(cidr).network_address for n in _nodes(snapshot) for cidr in n.podCIDRs)
    held = snapshot.select(Pod, pods_by_ip, address)
    return not held and not any(parsed(address) in (base, base + 1) for base in own)


def _stray(service: Service, slice_: EndpointSlice, address: str) -> Finding:
    return Finding(
        kind="endpoint",
        fault="stale",
        node="",
        object=address,
        message=f"{title(service)} has the endpoint {address}, an address that no pod has",
        consequence="connections that chance gives to it are lost",
        show=f"k8snetlab get endpointslices {slice_.name} -n {slice_.namespace} -o yaml",
        owner=f"{title(slice_)}{at(slice_) or at(service)}",
    )


def _without_local(snapshot: Snapshot, service: Service) -> Iterator[Finding]:
    """A Service's doors on nodes without an endpoint of it, where traffic stays on its node. Of a load balancer's node
    ports nothing is said: it asks each node whether it has an endpoint."""
    spec = service.spec
    having = {e.nodeName for _, e in _endpoints(snapshot, service) if e.conditions.ready is not False}
    lacking = [node.name for node in _nodes(snapshot) if node.name not in having] if having else []
    if not lacking or service.clusterIPs[:1] in ((), ("None",)):
        return
    nodes, show = _few(lacking), f"k8snetlab get endpointslices -n {service.namespace} -o yaml"
    if spec.internalTrafficPolicy == "Local":
        yield _of_service(
            service,
            fault="local",
            message=f"{title(service)} is closed to {nodes} and {'its' if len(lacking) == 1 else 'their'} pods: "
            "internalTrafficPolicy is Local, and none of its endpoints is there",
            consequence=f"connections from there to {service.clusterIPs[0]} are dropped",
            show=show,
            mend="# internalTrafficPolicy: Cluster in the manifest, or a pod on every node; then `k8snetlab apply -f`",
        )
    if spec.type == "NodePort" and spec.externalTrafficPolicy == "Local":
        ports = ", ".join(str(p.nodePort) for p in spec.ports if p.nodePort)
        yield _of_service(
            service,
            fault="local",
            message=(
                f"NodePort {ports} of {title(service)} is closed on {nodes}: externalTrafficPolicy is Local, and none "
                "of its endpoints is there"
            ),
            consequence=f"what comes from outside to port {ports} there is dropped",
            show=show,
            mend="# externalTrafficPolicy: Cluster in the manifest, or a pod on every node; then `k8snetlab apply -f`",
        )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def _endpoints(snapshot: Snapshot, service: Service) -> Iterator[tuple[EndpointSlice, Endpoint]]:
    for slice_ in snapshot.select(EndpointSlice, slices_by_service, service.key).values():
        for endpoint in slice_.endpoints:
            yield slice_, endpoint


# --- words ------------------------------------------------------------------------------------------------------------


def _of_service(
    service: Service,
    *,
    fault: str,
    message: str,
    consequence: str,
    show: str,
    mend: str = "",
    port: ServicePort | None = None,
) -> Finding:
    number = f", port {port.port}" if port else ""
    return Finding(
        kind="service",
        fault=fault,
        node="",
        object=f"{service.namespace}/{service.name}" + (f":{port.port}" if port else ""),
        message=message,
        consequence=consequence,
        show=show,
        mend=mend,
        owner=f"{title(service)}{number}{at(service)}",
    )


def _nodes(snapshot: Snapshot) -> list[Node]:
    return list(snapshot.all(Node).values())


def _inside(pod: Pod) -> bool:
    return not pod.spec.hostNetwork and not pod.ended


def _all_built_in(containers: tuple[Container, ...]) -> bool:
    return not any(container.argv for container in containers)
