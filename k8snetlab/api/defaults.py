"""What the API server fills in where a manifest says nothing, and what a Lab fills in.

Defaults that depend on nothing stand at the types' fields; empty strings that stand for one are taken out before
(`meta.OrBlank`). What is allocated is admission's work. IPv6 addresses get their usual spelling, in which everybody
compares them; the API server keeps what was written.

Source: Kubernetes pkg/apis/core/v1/defaults.go, pkg/apis/apps/v1/defaults.go, and the admission plugins
DefaultTolerationSeconds, Priority and ServiceAccount.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from k8snetlab.api import defaults_networking, defaults_workloads, pools, topology
from k8snetlab.api.addressing import Address, address, node_addresses, parse_network, parse_networks, same, split
from k8snetlab.api.apps import Deployment, ReplicaSet, RollingUpdate
from k8snetlab.api.config import Secret
from k8snetlab.api.core import (
    Container,
    Endpoints,
    EndpointSubset,
    HostIP,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Namespace,
    Pod,
    PodSpec,
    Service,
    ServiceSpec,
    SessionAffinityConfig,
    Toleration,
)
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab, LabNode, LabSpec
from k8snetlab.api.lab_names import LAB
from k8snetlab.api.meta import Object
from k8snetlab.api.plane import with_plane
from k8snetlab.api.probes import Probe
from k8snetlab.api.rbac import ClusterRoleBinding, RoleBinding, with_rbac_defaults
from k8snetlab.api.workloads import Workload
from k8snetlab.dataplane.names import ROUTER

T = TypeVar("T", bound=Object)
VXLAN_OVERHEAD = {4: 50, 6: 70}
"""Bytes of outer IP, UDP, VXLAN and inner Ethernet headers."""
TOLERATION = 300
"""Seconds that pods tolerate a node that is not ready or not reachable, where they do not say otherwise."""
_UNAVAILABLE = tuple(
    Toleration(key=f"node.kubernetes.io/{taint}", operator="Exists", effect="NoExecute", tolerationSeconds=TOLERATION)
    for taint in ("not-ready", "unreachable")
)
METADATA_NAME = "kubernetes.io/metadata.name"


def with_defaults(obj: T, lab_name: str = LAB) -> T:
    """The object with every default written out; doing it twice changes nothing.

    `lab_name` is for a Lab without name.
    """
    new = _in_its_namespace(obj)
    if isinstance(new, Lab):
        return cast(T, _lab(new, lab_name))
    fill = _FILL.get(type(new))
    return cast(T, fill(new) if fill else new)


def _in_its_namespace(obj: Object) -> Object:
    """Of an object that is in no namespace the API server drops the one it names."""
    if obj.namespaced == bool(obj.metadata.namespace):
        return obj
    return replace(obj, metadata=replace(obj.metadata, namespace="default" if obj.namespaced else ""))


def _service(service: Service) -> Service:
    changes = _policies(service.spec) | _addresses(service.spec)
    if changes:
        service = replace(service, spec=replace(service.spec, **changes))
    ingress = tuple(_ingress(service.spec.type, one) for one in service.status.loadBalancer.ingress)
    if ingress == service.status.loadBalancer.ingress:
        return service
    return replace(service, status=replace(service.status, loadBalancer=LoadBalancerStatus(ingress=ingress)))


def _policies(spec: ServiceSpec) -> dict[str, object]:
    changes: dict[str, object] = {}
    ports = tuple(replace(p, targetPort=p.port) if p.targetPort in (None, "", 0) else p for p in spec.ports)
    if ports != spec.ports:
        changes["ports"] = ports
    if spec.type != "ExternalName" and spec.internalTrafficPolicy is None:
        changes["internalTrafficPolicy"] = "Cluster"
    outer = spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and spec.externalIPs)
    if not spec.externalTrafficPolicy and outer:
        changes["externalTrafficPolicy"] = "Cluster"
    if spec.sessionAffinity == "None" and spec.sessionAffinityConfig is not None:
        changes["sessionAffinityConfig"] = None
    if spec.sessionAffinity == "ClientIP" and spec.sessionAffinityConfig is None:
        changes["sessionAffinityConfig"] = SessionAffinityConfig()
    if spec.type == "LoadBalancer" and spec.allocateLoadBalancerNodePorts is None:
        changes["allocateLoadBalancerNodePorts"] = True
    return changes


def _addresses(spec: ServiceSpec) -> dict[str, object]:
    """Its addresses as the API server writes them, the first of them in both fields."""
    changes: dict[str, object] = {}
    given = (spec.clusterIP,) if spec.clusterIP and not spec.clusterIPs else spec.clusterIPs
    if (ips := tuple(map(same, given))) != spec.clusterIPs:
        changes["clusterIPs"] = ips
    first = same(spec.clusterIP) if spec.clusterIP else (ips[0] if ips else "")
    if first != spec.clusterIP:
        changes["clusterIP"] = first
    if any(ip != same(ip) for ip in spec.externalIPs):
        changes["externalIPs"] = tuple(map(same, spec.externalIPs))
    return changes


def _ingress(service_type: str, one: LoadBalancerIngress) -> LoadBalancerIngress:
    mode = "VIP" if service_type == "LoadBalancer" and one.ip and one.ipMode is None else one.ipMode
    return replace(one, ip=same(one.ip), ipMode=mode)


def _secret(secret: Secret) -> Secret:
    """What was written as text is a part of the data."""
    if not secret.stringData:
        return secret
    texts = {key: base64.b64encode(text.encode()).decode() for key, text in secret.stringData.items()}
    return replace(secret, data={**secret.data, **texts}, stringData={})


def _namespace(namespace: Namespace) -> Namespace:
    if not namespace.name or namespace.metadata.labels.get(METADATA_NAME) == namespace.name:
        return namespace
    labels = {**namespace.metadata.labels, METADATA_NAME: namespace.name}
    return replace(namespace, metadata=replace(namespace.metadata, labels=labels))


def _proxy(config: KubeProxyConfiguration) -> KubeProxyConfiguration:
    return config if config.name else replace(config, metadata=replace(config.metadata, name="kube-proxy"))


def _slice(slice_: EndpointSlice) -> EndpointSlice:
    if slice_.addressType != "IPv6":
        return slice_
    if all(ip == same(ip) for endpoint in slice_.endpoints for ip in endpoint.addresses):
        return slice_
    endpoints = tuple(replace(e, addresses=tuple(map(same, e.addresses))) for e in slice_.endpoints)
    return replace(slice_, endpoints=endpoints)


def _endpoints(endpoints: Endpoints) -> Endpoints:
    def usual(subset: EndpointSubset) -> EndpointSubset:
        if all(a.ip == same(a.ip) for a in (*subset.addresses, *subset.notReadyAddresses)):
            return subset
        return replace(
            subset,
            addresses=tuple(replace(a, ip=same(a.ip)) for a in subset.addresses),
            notReadyAddresses=tuple(replace(a, ip=same(a.ip)) for a in subset.notReadyAddresses),
        )

    subsets = tuple(map(usual, endpoints.subsets))
    return endpoints if subsets == endpoints.subsets else replace(endpoints, subsets=subsets)


def _pod(pod: Pod) -> Pod:
    spec = _pod_spec(pod.spec)
    changes: dict[str, object] = {}
    if spec.enableServiceLinks is None:
        changes["enableServiceLinks"] = True
    if spec.preemptionPolicy is None:
        changes["preemptionPolicy"] = "PreemptLowerPriority"
    if spec.priority is None:
        changes["priority"] = 0
    if not spec.serviceAccountName:
        changes["serviceAccountName"] = changes["serviceAccount"] = spec.serviceAccount or "default"
    if missing := tuple(t for t in _UNAVAILABLE if not any(_tolerates(own, t.key) for own in spec.tolerations)):
        changes["tolerations"] = (*spec.tolerations, *missing)
    for field in ("containers", "initContainers"):
        if any("limits" in container.resources for container in getattr(spec, field)):
            changes[field] = tuple(_requests(container) for container in getattr(spec, field))
    if changes:
        spec = replace(spec, **changes)
    return pod if spec is pod.spec else replace(pod, spec=spec)


def _tolerates(toleration: Toleration, key: str) -> bool:
    return toleration.key in ("", key) and toleration.effect in ("", "NoExecute")


def _quantities(container: Container) -> Container:
    """Amounts as strings, as they are always read: a manifest may say `cpu: 1`."""
    resources = {
        kind: {name: amount if isinstance(amount, str) else str(amount) for name, amount in given.items()}
        if isinstance(given, dict)
        else given
        for kind, given in container.resources.items()
    }
    return container if resources == container.resources else replace(container, resources=resources)


def _requests(container: Container) -> Container:
    """What is limited is requested too, where nothing else is said."""
    limits, requests = container.resources.get("limits"), container.resources.get("requests")
    if not isinstance(limits, dict) or not isinstance(requests or {}, dict):
        return container
    resources = {**container.resources, "requests": {**limits, **(requests or {})}}
    return container if resources == container.resources else replace(container, resources=resources)


def _host_ports(container: Container) -> Container:
    ports = tuple(port if port.hostPort else replace(port, hostPort=port.containerPort) for port in container.ports)
    return replace(container, ports=ports)


def _pod_spec(spec: PodSpec) -> PodSpec:
    """Of a pod or a template of pods."""
    changes: dict[str, object] = {}
    for field in ("containers", "initContainers"):
        containers: tuple[Container, ...] = getattr(spec, field)
        if any(map(_has_probes, containers)):
            containers = tuple(_probed(container) for container in containers)
        if any(not container.imagePullPolicy for container in containers):
            containers = tuple(_container(container) for container in containers)
        if spec.hostNetwork and any(not port.hostPort for container in containers for port in container.ports):
            containers = tuple(_host_ports(container) for container in containers)
        if any(container.resources for container in containers):
            containers = tuple(_quantities(container) for container in containers)
        if containers is not getattr(spec, field):
            changes[field] = containers
    if spec.terminationGracePeriodSeconds < 0:
        changes["terminationGracePeriodSeconds"] = 1
    if spec.serviceAccountName != spec.serviceAccount and (account := spec.serviceAccountName or spec.serviceAccount):
        changes["serviceAccountName"] = changes["serviceAccount"] = account
    return replace(spec, **changes) if changes else spec


_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def _has_probes(container: Container) -> bool:
    return any(getattr(container, field) for field in _PROBES)


def _probed(container: Container) -> Container:
    """A number that is 0 stands for its default."""
    changes: dict[str, Probe] = {}
    for field in _PROBES:
        probe: Probe | None = getattr(container, field)
        zeros = {name: default for name, default in _PROBE.items() if probe and not getattr(probe, name)}
        if probe and zeros:
            changes[field] = replace(probe, **zeros)
    return replace(container, **changes) if changes else container


def _container(container: Container) -> Container:
    if container.imagePullPolicy:
        return container
    name, at, _ = container.image.partition("@")
    _, colon, tag = name.rpartition("/")[2].partition(":")
    latest = bool(name) and not at and (not colon or tag == "latest")
    return replace(container, imagePullPolicy="Always" if latest else "IfNotPresent")


def qos_class(spec: PodSpec) -> str:
    """Guaranteed, Burstable or BestEffort, as the containers' resources say (pkg/apis/core/v1/helper/qos)."""
    requests: list[dict[str, str]] = []
    limits: list[dict[str, str]] = []
    for container in spec.containers:
        for found, kind in ((requests, "requests"), (limits, "limits")):
            given = container.resources.get(kind)
            given = given if isinstance(given, dict) else {}
            found.append({k: str(v) for k, v in given.items() if k in ("cpu", "memory") and str(v).strip("0.") != ""})
    if not any(requests) and not any(limits):
        return "BestEffort"
    whole = all(set(limit) == {"cpu", "memory"} for limit in limits)
    same = all({**limit, **request} == limit for request, limit in zip(requests, limits, strict=True))
    return "Guaranteed" if whole and same else "Burstable"


def with_status(pod: Pod) -> Pod:
    """The pod with what its status tells from its creation on, and once it has a node."""
    changes: dict[str, object] = {}
    if not pod.status.qosClass:
        changes["qosClass"] = qos_class(pod.spec)
    if pod.status.hostIP and not pod.status.hostIPs:
        changes["hostIPs"] = (HostIP(ip=pod.status.hostIP),)
    return replace(pod, status=replace(pod.status, **changes)) if changes else pod


def _workload(workload: Workload) -> Workload:
    changes: dict[str, object] = {}
    template = workload.spec.template
    if (pods := _pod_spec(template.spec)) is not template.spec:
        changes["template"] = replace(template, spec=pods)
    if isinstance(workload, Deployment):
        strategy = workload.spec.strategy
        if strategy.type == "RollingUpdate" and strategy.rollingUpdate is None:
            changes["strategy"] = replace(strategy, rollingUpdate=RollingUpdate())
    whole: Any = workload
    whole = replace(whole, spec=replace(whole.spec, **changes)) if changes else whole
    fill = defaults_workloads.OF_KIND.get(type(workload))
    return fill(whole) if fill else whole  # type: ignore[return-value]


_FILL: Mapping[type[Object], Callable[[Any], Object]] = {
    Service: _service,
    Pod: _pod,
    Deployment: _workload,
    ReplicaSet: _workload,
    **dict.fromkeys(defaults_workloads.OF_KIND, _workload),
    Namespace: _namespace,
    Endpoints: _endpoints,
    EndpointSlice: _slice,
    Secret: _secret,
    KubeProxyConfiguration: _proxy,
    **defaults_networking.OF_KIND,
    RoleBinding: with_rbac_defaults,
    ClusterRoleBinding: with_rbac_defaults,
}

# --- Lab ------------------------------------------------------------------------------------------------------------


def _lab(lab: Lab, name: str) -> Lab:
    if not lab.name:
        lab = replace(lab, metadata=replace(lab.metadata, name=name))
    return replace(lab, spec=expand(lab.spec))


def expand(spec: LabSpec) -> LabSpec:
    """Number of nodes to node1 … nodeN, the router's address, every node's address, the overlay's mtu.

    What cannot be read as an address stays as it is: validation says what is wrong with it.
    """
    counted = () if spec.machines or not isinstance(spec.nodes, int) else numbered(spec.nodes)
    nodes = counted if isinstance(spec.nodes, int) else spec.nodes
    underlay = spec.underlay
    try:
        cidrs = [cidr for cidr in parse_networks(underlay.cidr) if cidr.num_addresses > 2]
    except ValueError:
        return replace(spec, nodes=nodes)
    nodes = with_plane(spec, nodes, cidrs)
    if underlay.links:
        return _on_links(spec, nodes)
    if not underlay.router:
        underlay = replace(underlay, router=",".join(str(cidr[1]) for cidr in cidrs))
    given = (underlay.router, *(node.address for node in nodes), *(host.address for host in spec.outside.hosts))
    taken = {ip for text in given for ip in _readable(text)}
    free = [node_addresses(cidr, taken) for cidr in cidrs]
    if not spec.machines:
        nodes = tuple(n if n.address else replace(n, address=_next_of(free)) for n in nodes)
    network = spec.network
    if network.mtu is None:
        overhead = VXLAN_OVERHEAD[max(cidr.version for cidr in cidrs)] if cidrs and network.backend == "vxlan" else 0
        overhead = overhead or (pools.overhead(network.ipPools) if network.calico else 0)
        network = replace(network, mtu=max(underlay.mtu - overhead, 576))
    return replace(spec, nodes=nodes, underlay=underlay, network=network)


def _on_links(spec: LabSpec, nodes: tuple[LabNode, ...]) -> LabSpec:
    """Each node gets an address of its link; the router's is the one that it has on its first."""
    underlay, network = spec.underlay, spec.network
    own = next((link for link in underlay.links if ROUTER in link.routers), None)
    try:
        if own and not underlay.router:
            underlay = replace(underlay, router=topology.router_address(own, ROUTER))
        taken = {ip for node in nodes for ip in _readable(node.address)}
        taken |= {address(topology.router_address(link, name)) for link in underlay.links for name in link.routers}
        free = {link.name: node_addresses(parse_network(link.cidr), taken) for link in underlay.links}
        given = {node: str(next(free[link.name], "")) for link in underlay.links for node in link.nodes}
    except (ValueError, IndexError):
        return replace(spec, nodes=nodes)
    nodes = tuple(node if node.address else replace(node, address=given.get(node.name, "")) for node in nodes)
    if network.mtu is None:
        overhead = VXLAN_OVERHEAD[4] if network.backend == "vxlan" else 0
        overhead = overhead or (pools.overhead(network.ipPools) if network.calico else 0)
        network = replace(network, mtu=max(underlay.mtu - overhead, 576))
    return replace(spec, nodes=nodes, underlay=underlay, network=network)


def numbered(count: int) -> tuple[LabNode, ...]:
    return tuple(LabNode(name=f"node{number}") for number in range(1, count + 1))


def expanded_nodes(spec: LabSpec) -> tuple[LabNode, ...]:
    nodes = expand(spec).nodes
    return numbered(nodes) if isinstance(nodes, int) else nodes


def _readable(text: str) -> list[Address]:
    try:
        return [address(part) for part in split(text)]
    except ValueError:
        return []


def _next_of(free: list[Iterator[Address]]) -> str:
    """One free address of every family; "" when one has none left."""
    found = [next(addresses, None) for addresses in free]
    return "" if None in found else ",".join(map(str, found))
