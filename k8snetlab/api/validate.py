"""Everything that can be wrong with objects whose fields have the right types: the server's checks, and then some."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from k8snetlab.api import (
    valid_calico_policy,
    valid_cluster_policy,
    valid_config,
    valid_definition,
    valid_endpoints,
    valid_gateway,
    valid_guest,
    valid_ingress,
    valid_lab,
    valid_pod,
    valid_policy,
    valid_proxy,
    valid_ranges,
    valid_rbac,
    valid_service,
    valid_workloads,
)
from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.calico_policy import CalicoNetworkPolicy, GlobalNetworkPolicy, GlobalNetworkSet, NetworkSet
from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.config import ConfigMap, Secret
from k8snetlab.api.coordination import Lease, PriorityClass
from k8snetlab.api.core import Endpoints, Namespace, Node, Pod, Service
from k8snetlab.api.custom import Custom
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.events import Event
from k8snetlab.api.extensions import CustomResourceDefinition
from k8snetlab.api.gateway import Gateway, GatewayClass, HTTPRoute, ReferenceGrant
from k8snetlab.api.guest import Guest
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import Ingress, IngressClass, IPAddress, NetworkPolicy, ServiceCIDR
from k8snetlab.api.problems import Problem, Report, dns_label, dns_subdomain, labels, path_segment, place
from k8snetlab.api.rbac import RBAC, ClusterRole, ClusterRoleBinding, Role, RoleBinding
from k8snetlab.api.routes import TCPRoute, TLSRoute
from k8snetlab.api.rules import finalizers
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.workloads import ControllerRevision, DaemonSet, Job, ReplicationController, StatefulSet

__all__ = ["Problem", "validate"]


def validate(
    objects: Iterable[Object], existing: Snapshot | None = None, right: Container[int] = frozenset()
) -> list[Problem]:
    """The problems of `objects` (with their defaults), as they would be together with those that exist already.

    An object with the name of an existing one takes its place. Without `existing` the objects stand alone: what only a
    lab can tell (its nodes, its serviceCIDR) is checked where a Lab is among them. `right` has the ids of objects that
    were found to be right by themselves: only how they go with others is looked at.
    """
    objects = list(objects)
    report = Report(objects)
    world = existing or Snapshot()
    several = len(objects) > 1
    if several or existing is None:
        world = world.changed(((type(o), o.key, o) for o in objects), world.revision)
    seen: dict[tuple[type[Object], Key], Object] = {}
    for obj in objects:
        type_ = type(obj)
        if unknown := id(obj) not in right:
            _metadata(report, obj)
        if several and (first := seen.setdefault((type_, obj.key), obj)) is not obj:
            report.error(obj, ("metadata", "name"), f"{place(first)} has the same name; give each its own")
        if isinstance(obj, Lab):
            applied = {obj.key for obj in objects if isinstance(obj, Node)}
            others = [node for node in existing.all(Node).values() if node.key not in applied] if existing else []
            _lab(report, obj, world, others)
            continue
        if unknown and (alone := _ALONE.get(type_)) is not None:
            alone(report, obj)
        if (among := _AMONG.get(type_)) is not None:
            among(report, obj, world)
        if isinstance(obj, Custom):
            valid_definition.custom(report, obj, world)
    return report.problems


def _lab(report: Report, obj: Lab, world: Snapshot, others: list[Node]) -> None:
    """`others` are the nodes that are not looked at together with it."""
    valid_lab.lab(report, obj)
    valid_lab.next_hops(report, obj, others)
    _single(report, obj, world)
    valid_calico_policy.kept(report, obj, world)


_ALONE: Mapping[type[Object], Callable[[Report, Any], None]] = {
    Namespace: lambda report, obj: finalizers(report, obj, ("spec", "finalizers"), obj.spec.finalizers),
    KubeProxyConfiguration: valid_proxy.proxy,
    Service: valid_service.alone,
    Endpoints: valid_endpoints.endpoints,
    EndpointSlice: valid_endpoints.slice_,
    ConfigMap: valid_config.config_map,
    Secret: valid_config.secret,
    ControllerRevision: valid_workloads.controller_revision,
    Ingress: valid_ingress.ingress,
    IngressClass: valid_ingress.ingress_class,
    ServiceCIDR: valid_ranges.service_cidr,
    IPAddress: valid_ranges.ip_address,
    Event: valid_ranges.event,
    Lease: valid_ranges.lease,
    PriorityClass: valid_ranges.priority_class,
    Role: valid_rbac.role,
    ClusterRole: valid_rbac.role,
    RoleBinding: valid_rbac.binding,
    ClusterRoleBinding: valid_rbac.binding,
}
"""What looks at an object of a kind, whatever else there is."""
_AMONG: Mapping[type[Object], Callable[[Report, Any, Snapshot], None]] = {
    CustomResourceDefinition: lambda report, obj, world: valid_definition.definition(report, obj),
    KubeProxyConfiguration: lambda report, obj, world: _single(report, obj, world),
    Node: valid_lab.node,
    Guest: valid_guest.guest,
    Pod: valid_pod.pod,
    Deployment: valid_pod.workload,
    ReplicaSet: valid_pod.workload,
    Service: valid_service.among,
    DaemonSet: valid_workloads.daemon_set,
    StatefulSet: valid_workloads.stateful_set,
    ReplicationController: valid_workloads.replication_controller,
    Job: valid_workloads.job,
    GatewayClass: valid_gateway.gateway_class,
    Gateway: valid_gateway.gateway,
    HTTPRoute: valid_gateway.http_route,
    TLSRoute: valid_gateway.stream_route,
    TCPRoute: valid_gateway.stream_route,
    ReferenceGrant: valid_gateway.reference_grant,
    NetworkPolicy: valid_policy.network_policy,
    ClusterNetworkPolicy: valid_cluster_policy.cluster_network_policy,
    CalicoNetworkPolicy: valid_calico_policy.calico_policy,
    GlobalNetworkPolicy: valid_calico_policy.calico_policy,
    NetworkSet: valid_calico_policy.network_set,
    GlobalNetworkSet: valid_calico_policy.network_set,
}
"""What looks at an object of a kind, as it stands in a world."""
_NAMES: Mapping[type[Object], Callable[[str], str]] = {
    Service: dns_label,  # 1.36 lets Services begin with a digit (RelaxedServiceNameValidation).
    Namespace: dns_label,
    Lab: lambda name: "",
    IPAddress: lambda name: "",  # looked at as an address
    **dict.fromkeys(RBAC, path_segment),
}
"""The rules for names of kinds that are more than DNS subdomains, or no such names."""


def _metadata(report: Report, obj: Object) -> None:
    path = ("metadata", "name")
    if not obj.name:
        hint = "; generateName is for kubectl create only" if obj.metadata.generateName else ""
        report.error(obj, path, f"is missing{hint}")
    elif problem := _NAMES.get(type(obj), dns_subdomain)(obj.name):
        report.error(obj, path, problem)
    if obj.namespaced and (problem := dns_label(obj.namespace)):
        report.error(obj, ("metadata", "namespace"), problem)
    finalizers(report, obj, ("metadata", "finalizers"), obj.metadata.finalizers, ours=not isinstance(obj, Custom))
    labels(report, obj, ("metadata", "labels"), obj.metadata.labels)
    labels(report, obj, ("metadata", "annotations"), obj.metadata.annotations, keys_only=True)


def _single(report: Report, obj: Object, world: Snapshot) -> None:
    for other in world.all(type(obj)).values():
        if report.earlier(other, obj):
            report.error(obj, ("metadata", "name"), f"a lab has one {obj.KIND}; there is {place(other)} already")
            return
