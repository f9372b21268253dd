"""Admission: every write goes through here before it is stored, and is completed or refused.

Source: Kubernetes pkg/registry/core/service (alloc.go, storage.go: patchAllocatedValues, dropTypeDependentFields) and
pkg/apis/core/validation (ValidatePodUpdate); the wording of the refusals is Kubernetes' own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from k8snetlab.api import addressing
from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.config import ConfigMap, Secret
from k8snetlab.api.coordination import NODE_LEASES, Lease, PriorityClass
from k8snetlab.api.core import IPFamily, Node, Pod, Service, ServicePort, ServiceSpec
from k8snetlab.api.custom import Custom
from k8snetlab.api.defaults import with_defaults, with_status
from k8snetlab.api.defaults_workloads import selecting
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.extensions import ESTABLISHED, CustomResourceDefinition, DefinitionStatus
from k8snetlab.api.kinds import kinds_of
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import ALLOCATOR, CLASS, MANAGED_BY, Ingress, IngressClass, IPAddress
from k8snetlab.api.renewal import EVERY
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.validate import validate
from k8snetlab.api.words import shorten, show
from k8snetlab.api.workloads import Job
from k8snetlab.controllers import allocation, fixed_fields, identity
from k8snetlab.controllers.prioritizing import prioritized
from k8snetlab.errors import ManifestError

T = TypeVar("T", bound=Object)


def admit(new: T, old: T | None, snapshot: Snapshot, *, ours: bool = False, right: bool = False) -> T:
    """`new` as it is to be stored in place of `old`: with defaults, uid, cluster IPs and node ports.

    `ours`: a controller writes it, whose own annotations are its to give. `right`: that was found of it by itself, as
    it is here. Raises ManifestError with every field that is wrong, immutable, or taken by another object of the
    snapshot.
    """
    obj: Object = with_defaults(new)
    if isinstance(obj, Pod):
        obj = with_status(obj)
    if isinstance(obj, CustomResourceDefinition):
        obj = _defined(obj, old)
    if old is not None:
        obj = _kept(obj, old)
        if _essence(obj) == _essence(old):
            return cast(T, obj)
    elif not obj.metadata.uid:
        obj = replace(obj, metadata=replace(obj.metadata, uid=identity.uid(obj, snapshot.revision)))
    if old is None:
        obj = _chosen(obj, snapshot)
    problems = _of_new(obj, snapshot, ours) if old is None else _immutable(obj, old, ours)
    found = validate([obj], snapshot, {id(obj)} if right else ())
    problems += [f"{show(p.path)}: {p.message}" for p in found if p.severity == "error"]
    if not problems and isinstance(obj, Service):
        obj, problems = _allocated(obj, snapshot)
    if isinstance(obj, Custom) and (resource := kinds_of(snapshot).of(type(obj))) is not None:
        obj = replace(obj, version=resource.stored)
    if problems:
        raise ManifestError([f'{obj.KIND} "{obj.name}" is invalid: {problem}' for problem in dict.fromkeys(problems)])
    return cast(T, obj)


def _chosen(obj: Object, snapshot: Snapshot) -> Object:
    """A new Job selects its own pods, a new Pod has a priority; a new Ingress that names no class gets the default one,
    the newest where there are several (the plugin DefaultIngressClass)."""
    if isinstance(obj, Job):
        return selecting(obj)
    if isinstance(obj, Pod):
        return prioritized(obj, snapshot)
    if not isinstance(obj, Ingress) or obj.spec.ingressClassName is not None or CLASS in obj.metadata.annotations:
        return obj
    classes = [one for one in snapshot.all(IngressClass).values() if one.default]
    if not classes:
        return obj
    newest = max(classes, key=lambda one: (one.metadata.creationTimestamp or "", one.name))
    return replace(obj, spec=replace(obj.spec, ingressClassName=newest.name))


def _of_new(obj: Object, snapshot: Snapshot, ours: bool) -> list[str]:
    match obj:
        case Lab():
            return _another_lab(obj, snapshot)
        case Lease() if EVERY in obj.metadata.annotations and not ours:
            # Of a node that is there: else nobody could take the Lease away again.
            if obj.namespace != NODE_LEASES or snapshot.get(Node, obj.name) is None:
                return [f"metadata.annotations: Forbidden: {EVERY} is the lab's own"]
        case IPAddress() if obj.allocated:
            return [f"metadata.labels: Forbidden: {MANAGED_BY}={ALLOCATOR} is the server's own"]
        case Ingress(spec=spec) if (said := obj.metadata.annotations.get(CLASS)) is not None:
            if spec.ingressClassName not in (None, said):
                message = "must match `ingressClassName` when both are specified"
                return [f'annotations.{CLASS}: Invalid value: "{shorten(said)}": {message}']
    return []


def _another_lab(obj: Lab, snapshot: Snapshot) -> list[str]:
    """A store holds one lab: an object of another name is meant for another one."""
    return [
        f"metadata.name: this is lab {other.name}" for other in snapshot.all(Lab).values() if other.name != obj.name
    ]


def is_another(new: Object, old: Object) -> bool:
    """Whether `new` differs from its namesake in what no update can change: only a deletion makes room for it."""
    return bool(_immutable(_kept(with_defaults(new), old), old))


def in_order(objects: Iterable[Object]) -> list[Object]:
    """Objects of one `up` or `apply` in the order in which they are best admitted, else as written.

    The Lab comes first, because ranges and nodes are its to tell; Services that name neither address nor node port come
    last, so that what they are given is nothing that another one asks for.
    """

    def rank(obj: Object) -> int:
        match obj:
            case Lab():
                return 0
            case PriorityClass() | IngressClass():
                return 1
            case Service(spec=spec) if not spec.clusterIP and not any(port.nodePort for port in spec.ports):
                return 3
        return 2

    return sorted(objects, key=rank)


def _essence(obj: Object) -> dict[str, Any]:
    """All of an object that admission looks at: not its status, and of its metadata only names, labels and keys."""
    fields = {name: getattr(obj, name) for name in obj.__struct_fields__ if name not in ("metadata", "status")}
    metadata = obj.metadata
    fields["metadata"] = (metadata.name, metadata.namespace, metadata.uid, metadata.labels, set(metadata.annotations))
    if isinstance(obj, Service):
        fields["ingress"] = obj.status
    return fields


# --- updates --------------------------------------------------------------------------------------------------------


def _kept(new: Object, old: Object) -> Object:
    """`new` with what an update need not repeat: its uid, and what was allocated for it."""
    if new.metadata.uid != old.metadata.uid:
        new = replace(new, metadata=replace(new.metadata, uid=old.metadata.uid))
    if isinstance(new, Service) and isinstance(old, Service):
        return replace(new, spec=_kept_service(new.spec, old.spec))
    if isinstance(new, Pod) and isinstance(old, Pod):
        return _kept_pod(new, old)
    if isinstance(new, Job) and new.spec.selector is None:
        return selecting(new)
    return new


def _kept_pod(new: Pod, old: Pod) -> Pod:
    """With its node, and the priority that it was given."""
    changes: dict[str, Any] = {}
    if not new.spec.nodeName and old.spec.nodeName:
        changes["nodeName"] = old.spec.nodeName
    if old.spec.priorityClassName and new.spec.priorityClassName in ("", old.spec.priorityClassName):
        changes |= {field: getattr(old.spec, field) for field in _PRIORITY}
    return replace(new, spec=replace(new.spec, **changes)) if changes else new


_PRIORITY = ("priorityClassName", "priority", "preemptionPolicy")


def _kept_service(new: ServiceSpec, old: ServiceSpec) -> ServiceSpec:
    changes = _kept_addresses(new, old) | {"ports": _kept_ports(new, old)}
    if new.sessionAffinity == "None" and new.sessionAffinityConfig == old.sessionAffinityConfig:
        changes["sessionAffinityConfig"] = None
    if not _reached_from_outside(new) and new.externalTrafficPolicy == old.externalTrafficPolicy:
        changes["externalTrafficPolicy"] = ""
    if new.type != "LoadBalancer" and new.loadBalancerClass == old.loadBalancerClass:
        changes["loadBalancerClass"] = None
    if new.type != "LoadBalancer" and new.allocateLoadBalancerNodePorts == old.allocateLoadBalancerNodePorts:
        changes["allocateLoadBalancerNodePorts"] = None
    if _checks_health(new):
        changes["healthCheckNodePort"] = new.healthCheckNodePort or old.healthCheckNodePort
    elif new.healthCheckNodePort == old.healthCheckNodePort:
        changes["healthCheckNodePort"] = 0
    return replace(new, **changes)


def _kept_addresses(new: ServiceSpec, old: ServiceSpec) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if new.type == "ExternalName":
        if new.clusterIPs == old.clusterIPs:
            changes.update(clusterIP="", clusterIPs=(), ipFamilies=(), ipFamilyPolicy=None)
    elif old.type != "ExternalName":
        if not new.clusterIP and not new.clusterIPs:
            changes.update(clusterIP=old.clusterIP, clusterIPs=old.clusterIPs)
        if not new.ipFamilies:
            changes.update(ipFamilies=old.ipFamilies)
        if new.ipFamilyPolicy is None:
            changes.update(ipFamilyPolicy=old.ipFamilyPolicy)
    return changes


def _kept_ports(new: ServiceSpec, old: ServiceSpec) -> tuple[ServicePort, ...]:
    """A port keeps its nodePort, as long as the type has them."""
    had = {(port.port, port.protocol): port.nodePort for port in old.ports}
    if new.type in ("NodePort", "LoadBalancer"):
        taken = {(port.protocol, port.nodePort) for port in new.ports}
        return tuple(
            replace(port, nodePort=given)
            if not port.nodePort
            and (given := had.get((port.port, port.protocol), 0))
            and (port.protocol, given) not in taken
            else port
            for port in new.ports
        )
    same = [port.nodePort == had.get((port.port, port.protocol)) for port in new.ports]
    return tuple(
        replace(port, nodePort=0) if port.nodePort and equal else port
        for port, equal in zip(new.ports, same, strict=True)
    )


def _immutable(new: Object, old: Object, ours: bool = False) -> list[str]:
    match new, old:
        case Lease(), Lease() if ours:
            return []
        case Service(), Service():
            had = old.spec.clusterIPs or ((old.spec.clusterIP,) if old.spec.clusterIP else ())
            if had and new.spec.type != "ExternalName" and new.spec.clusterIPs[:1] != had[:1]:
                value = new.spec.clusterIP
                return [
                    f'spec.clusterIPs[0]: Invalid value: "{value}": may not change once set; delete the Service first'
                ]
        case (Deployment(), Deployment()) | (ReplicaSet(), ReplicaSet()):
            if cast(Deployment, new).spec.selector != cast(Deployment, old).spec.selector:
                return [f"spec.selector: field is immutable; delete the {new.KIND} first"]
        case CustomResourceDefinition(), CustomResourceDefinition():
            return _redefined(new, old)
        case EndpointSlice(), EndpointSlice() if new.addressType != old.addressType:
            return ["addressType: field is immutable; delete the EndpointSlice first"]
        case (ConfigMap(), ConfigMap()) | (Secret(), Secret()):
            return _frozen(cast(Secret, new), cast(Secret, old))
    return fixed_fields.problems(new, old)


def _defined(obj: CustomResourceDefinition, old: object) -> CustomResourceDefinition:
    """With the names that a server fills in; a new one with no status."""
    names = obj.spec.names
    singular, listed = names.singular or names.kind.lower(), names.listKind or f"{names.kind}List"
    obj = replace(obj, spec=replace(obj.spec, names=replace(names, singular=singular, listKind=listed)))
    return obj if old is not None else replace(obj, status=DefinitionStatus())


def _redefined(new: CustomResourceDefinition, old: CustomResourceDefinition) -> list[str]:
    """What of a definition its stored objects depend on."""
    fixed = [
        ("spec.group", new.spec.group, old.spec.group),
        ("spec.names.plural", new.spec.names.plural, old.spec.names.plural),
    ]
    if old.is_true(ESTABLISHED):
        fixed += [
            ("spec.scope", new.spec.scope, old.spec.scope),
            ("spec.names.kind", new.spec.names.kind, old.spec.names.kind),
        ]
    return [f'{field}: Invalid value: "{now}": field is immutable' for field, now, before in fixed if now != before]


def _frozen(new: Secret, old: Secret) -> list[str]:
    """Of a Secret or a ConfigMap, which may say that it never changes."""
    problems = []
    if isinstance(new, Secret) and new.type != old.type:
        problems.append(f'type: Invalid value: "{shorten(new.type)}": field is immutable')
    if old.immutable and not new.immutable:
        problems.append("immutable: Forbidden: field is immutable when `immutable` is set")
    if old.immutable and any(
        getattr(new, field, None) != getattr(old, field, None) for field in ("data", "binaryData")
    ):
        problems.append("data: Forbidden: field is immutable when `immutable` is set")
    return problems


# --- allocation -----------------------------------------------------------------------------------------------------


def _allocated(service: Service, snapshot: Snapshot) -> tuple[Service, list[str]]:
    if service.spec.type == "ExternalName":
        return service, []
    networks = {_family(n): n for n in addressing.parse_networks(snapshot.lab.spec.serviceCIDR)}
    families, problems = _families(service.spec, list(networks))
    if problems:
        return service, problems
    ips = list(service.spec.clusterIPs)
    if service.spec.clusterIP != "None":
        for family in families[len(ips) :]:
            ip = allocation.cluster_ip(service, networks[family], snapshot)
            if ip is None:
                message = f"failed to allocate IP: range {networks[family]} is full; widen the lab's serviceCIDR"
                return service, [f"spec.clusterIPs: {message}"]
            ips.append(ip)
    policy = service.spec.ipFamilyPolicy or ("SingleStack" if len(families) == 1 else "RequireDualStack")
    spec = replace(
        service.spec, clusterIP=ips[0], clusterIPs=tuple(ips), ipFamilies=tuple(families), ipFamilyPolicy=policy
    )
    return _with_node_ports(replace(service, spec=spec), snapshot)


def _families(spec: ServiceSpec, available: list[IPFamily]) -> tuple[list[IPFamily], list[str]]:
    """The families a Service is to have addresses of, in order, and what speaks against them."""
    given: list[IPFamily] = ["IPv6" if ":" in ip else "IPv4" for ip in spec.clusterIPs if ip != "None"]
    families = list(spec.ipFamilies) or given or available[:1]
    if given != families[: len(given)]:
        return families, ["spec.ipFamilies: do not fit the addresses in spec.clusterIPs"]
    missing = [family for family in families if family not in available]
    if missing:
        return families, [f"spec.ipFamilies: Invalid value: {missing[0]}: not configured on this cluster (serviceCIDR)"]
    if spec.ipFamilyPolicy == "SingleStack" and len(families) > 1:
        return families, ["spec.ipFamilyPolicy: must be RequireDualStack or PreferDualStack with two IP families"]
    if spec.ipFamilyPolicy in ("PreferDualStack", "RequireDualStack"):
        families += [family for family in available if family not in families]
    if spec.ipFamilyPolicy == "RequireDualStack" and len(families) < 2:
        return families, ["spec.ipFamilyPolicy: this cluster is not configured for dual-stack services (serviceCIDR)"]
    return families, []


def _with_node_ports(service: Service, snapshot: Snapshot) -> tuple[Service, list[str]]:
    spec = service.spec
    balanced = spec.type == "LoadBalancer" and spec.allocateLoadBalancerNodePorts is not False
    wanted = balanced or spec.type == "NodePort"
    if not wanted and not _checks_health(spec):
        return service, []
    taken = {port.nodePort for port in spec.ports} | {spec.healthCheckNodePort}
    ports: list[ServicePort] = []
    full = ["spec.ports: failed to allocate a nodePort: all of them are taken"]
    for port in spec.ports:
        number: int | None = port.nodePort
        if wanted and not number:
            number = _twin(port, (*ports, *spec.ports)) or allocation.node_port(
                service, f"{port.port}/{port.protocol}", taken, snapshot
            )
        if number is None:
            return service, full
        taken.add(number)
        ports.append(replace(port, nodePort=number) if number != port.nodePort else port)
    health: int | None = spec.healthCheckNodePort
    if _checks_health(spec) and not health:
        health = allocation.node_port(service, "healthCheckNodePort", taken, snapshot)
    if health is None:
        return service, full
    return replace(service, spec=replace(spec, ports=tuple(ports), healthCheckNodePort=health)), []


def _twin(port: ServicePort, ports: Iterable[ServicePort]) -> int:
    """The node port of the same port with another protocol: DNS over UDP and TCP gets one number."""
    same = [p for p in ports if p.port == port.port and p.nodePort]
    return same[0].nodePort if same and all(p.protocol != port.protocol for p in same) else 0


def _reached_from_outside(spec: ServiceSpec) -> bool:
    return spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and bool(spec.externalIPs))


def _checks_health(spec: ServiceSpec) -> bool:
    return spec.type == "LoadBalancer" and spec.externalTrafficPolicy == "Local"


def _family(network: addressing.IPNetwork) -> IPFamily:
    return "IPv4" if network.version == 4 else "IPv6"
