"""Why a Service's port has no endpoints: by its selector, its pods, kinds that are ignored, or what a person wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from functools import lru_cache

import msgspec

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import ContainerPort, Endpoints, Pod, Service, ServicePort
from k8snetlab.api.discovery import SERVICE_NAME, SKIP_MIRROR, EndpointSlice
from k8snetlab.api.ignored import Ignored, makers_of
from k8snetlab.api.meta import Object
from k8snetlab.api.pod_state import shown_status
from k8snetlab.api.problems import title
from k8snetlab.api.selection import pods_of, selects, services_of, slices_by_service
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.workloads import MAKERS, Replicated, ReplicationController, StatefulSet
from k8snetlab.diagnose.pods import latest

ALIKE = 0.75
"""Of two labels this alike (difflib's ratio), one may be mistyped."""
MOST = 3
"""Pods named one by one, at most."""


class Empty(msgspec.Struct, frozen=True):
    """`why` is a sentence's second half; `on_purpose`: the manifests say so, or nothing speaks against it."""

    why: str
    on_purpose: bool


def empty(snapshot: Snapshot, service: Service, port: ServicePort) -> Empty | None:
    """None where the port has an endpoint that is used."""
    slices = [*snapshot.select(EndpointSlice, slices_by_service, service.key).values()]
    serving = [s for s in slices if any((p.name, p.protocol) == (port.name, port.protocol) and p.port for p in s.ports)]
    if any(_usable(slice_) and _of_its_family(service, slice_) for slice_ in serving):
        return None
    if service.spec.selector:
        return _unselected(snapshot, service, port)
    return _unwritten(snapshot, service, port, slices, serving)


def _usable(slice_: EndpointSlice) -> bool:
    conditions = (endpoint.conditions for endpoint in slice_.endpoints if endpoint.addresses)
    return any(c.ready is not False or (c.serving is not False and c.terminating) for c in conditions)


def _of_its_family(service: Service, slice_: EndpointSlice) -> bool:
    """Whether kube-proxy reads the slice for the Service: it has rules for the families of its cluster IPs only."""
    return (
        service.spec.clusterIP == "None" or not service.spec.ipFamilies or slice_.addressType in service.spec.ipFamilies
    )


def _unwritten(
    snapshot: Snapshot, service: Service, port: ServicePort, slices: list[EndpointSlice], serving: list[EndpointSlice]
) -> Empty:
    """For a Service without selector, whose endpoints a person writes."""
    held = [s for s in slices if s.endpoints]
    if not held:
        return _unlabelled(snapshot, service) or Empty("it has no selector, and nobody wrote endpoints for it", True)
    if not any(_of_its_family(service, s) for s in held):
        types, families = sorted({s.addressType for s in held}), " and ".join(service.spec.ipFamilies)
        return Empty(
            f"its EndpointSlices hold {' and '.join(types)} addresses, and its cluster IP is {families}: kube-proxy "
            "uses none of them",
            False,
        )
    if any(s.endpoints and _of_its_family(service, s) for s in serving):
        return Empty("its endpoints are written as not ready", True)
    known = sorted({f"{p.name or 'unnamed'} ({p.protocol})" for s in held for p in s.ports})
    wanted = f"named {port.name}" if port.name else "without a name"
    return Empty(
        f"its EndpointSlices have no {port.protocol} port {wanted} (ports: {', '.join(known) or 'none'})", False
    )


def _unlabelled(snapshot: Snapshot, service: Service) -> Empty | None:
    """Endpoints that were meant for the Service, by their name, and are not taken for its own."""
    written = snapshot.get(Endpoints, service.name, service.namespace)
    if written and written.subsets and written.metadata.labels.get(SKIP_MIRROR) == "true":
        return Empty(f"no EndpointSlice is made of {title(written)}: it has the label {SKIP_MIRROR}", True)
    for slice_ in snapshot.all(EndpointSlice).values():
        alike = slice_.name == service.name or slice_.name.startswith(f"{service.name}-")
        if slice_.namespace == service.namespace and alike and slice_.service_key is None:
            return Empty(f"{title(slice_)} is not its own: it lacks the label {SERVICE_NAME}: {service.name}", False)
    return None


def _unselected(snapshot: Snapshot, service: Service, port: ServicePort) -> Empty:
    chosen = pods_of(service, snapshot)
    living = [pod for pod in chosen if not pod.ended]
    if living:
        return _of_pods(snapshot, living, port)
    if chosen:
        failed = any(pod.status.phase == "Failed" for pod in chosen)
        return Empty(f"its pods have ended: {_named(snapshot, chosen)}", not failed)
    if makers := makers_of(service.spec.selector, service.namespace, snapshot.all(Ignored).values()):
        return Empty(f"its pods would be those of {makers[0].title}, a kind that is ignored here", True)
    for workload in would_select(snapshot, service):
        if not workload.spec.replicas:
            return Empty(f"{title(workload)} has no pods (replicas: 0)", True)
        said = latest(snapshot, workload)
        why = f"{title(workload)} should have {workload.spec.replicas} pods and has none"
        return Empty(f"{why}{f' ({said})' if said else ''}", False)
    if pods := near(snapshot, service):
        return Empty(f"no pod has the labels {labels_of(service)}, though {pods[0].name} has nearly these", False)
    return Empty(f"no pod has the labels {labels_of(service)}", True)


def _of_pods(snapshot: Snapshot, pods: list[Pod], port: ServicePort) -> Empty:
    if isinstance(port.targetPort, str) and not any(has_port(pod, port) for pod in pods):
        return Empty(f"no pod of it has a {port.protocol} port named {port.targetPort}", False)
    waiting = [pod for pod in pods if not pod.ready]
    if waiting:
        return Empty(f"none of its pods is ready: {_named(snapshot, waiting)}", False)
    return Empty(f"its pods ({_named(snapshot, pods)}) have not been made endpoints", False)


def _named(snapshot: Snapshot, pods: list[Pod]) -> str:
    more = f" and {len(pods) - MOST} more" if len(pods) > MOST else ""
    return ", ".join(f"{pod.name} ({shown_status(pod)})" for pod in pods[:MOST]) + more


# --- who may have been meant ------------------------------------------------------------------------------------------


def near(snapshot: Snapshot, service: Service) -> list[Pod]:
    """The pods that a selector without pods may have meant: they have the Service's target port, and nearly its
    labels or no other Service. None where somebody is to make pods with the very labels, here or in a cluster."""
    makers = makers_of(service.spec.selector, service.namespace, snapshot.all(Ignored).values())
    if makers or any(True for _ in would_select(snapshot, service)):
        return []
    return sorted(_near(snapshot, service), key=lambda pod: pod.name)


def _near(snapshot: Snapshot, service: Service) -> Iterator[Pod]:
    for (namespace, labels), pods in snapshot.derived(Pod, _by_labels).items():
        if namespace != service.namespace:
            continue
        others = [s for s in services_of(pods[0], snapshot) if s.key != service.key]
        if not others or _alike(service, labels):
            yield from (pod for pod in pods if any(has_port(pod, port) for port in service.spec.ports))


_Labels = tuple[tuple[str, str], ...]


def _by_labels(pods: Mapping[Key, Pod]) -> Mapping[tuple[str, _Labels], list[Pod]]:
    """Those that have not ended, by namespace and labels: of a Deployment's thousand pods these are the same."""
    found: dict[tuple[str, _Labels], list[Pod]] = {}
    for pod in pods.values():
        if not pod.ended:
            found.setdefault((pod.namespace, tuple(sorted(pod.metadata.labels.items()))), []).append(pod)
    return found


def _alike(service: Service, labels: _Labels) -> bool:
    wanted = (service.spec.selector or {}).items()
    return all(any(_is_alike(f"{k}={v}", f"{key}={value}") for key, value in labels) for k, v in wanted)


@lru_cache(4096)
def _is_alike(one: str, other: str) -> bool:
    """Two labels."""
    compared = SequenceMatcher(None, one, other)
    return min(compared.real_quick_ratio(), compared.quick_ratio()) >= ALIKE and compared.ratio() >= ALIKE


def would_select(snapshot: Snapshot, service: Service) -> Iterator[Replicated]:
    """The workloads whose pods the Service would select: they are scaled to none, or about to make some."""
    workloads: Iterable[Replicated] = (
        *snapshot.all(Deployment).values(),
        *snapshot.all(ReplicaSet).values(),
        *snapshot.all(StatefulSet).values(),
        *snapshot.all(ReplicationController).values(),
    )
    for workload in workloads:
        if workload.namespace == service.namespace and selects(service, workload.spec.template.metadata.labels):
            yield workload


def workload_of(snapshot: Snapshot, pod: Pod) -> Object | None:
    """The Deployment, or else what else has made a pod."""
    found: Object | None = None
    above: Object = pod
    kinds: dict[str, type[Object]] = {kind.KIND: kind for kind in MAKERS}
    for _ in range(2):
        owner = next((o for o in above.metadata.ownerReferences if o.kind in kinds), None)
        above_it = snapshot.get(kinds[owner.kind], owner.name, pod.namespace) if owner else None
        if above_it is None:
            break
        found = above = above_it
    return found


# --- ports ------------------------------------------------------------------------------------------------------------


def has_port(pod: Pod, port: ServicePort) -> bool:
    """Whether the pod declares the port that a Service's port leads to."""
    wanted = port.targetPort or port.port
    ports = (p for container in pod.spec.serving_containers for p in container.ports)
    return any(p.protocol == port.protocol and wanted in (p.containerPort, p.name) for p in ports)


def named_port(pod: Pod, port: ServicePort) -> ContainerPort | None:
    """The pod's port of the wanted name, but of another protocol."""
    ports = (p for container in pod.spec.serving_containers for p in container.ports)
    return next((p for p in ports if p.name == port.targetPort and p.protocol != port.protocol), None)


def labels_of(service: Service) -> str:
    return ", ".join(f"{key}={value}" for key, value in (service.spec.selector or {}).items())
