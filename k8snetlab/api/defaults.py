"""What the API server fills in where a manifest says nothing, and what a Lab fills in.

Source: Kubernetes pkg/apis/core/v1/defaults.go and pkg/registry/core/service (what is allocated is admission's work).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TypeVar, cast

from msgspec.structs import replace

from k8snetlab.api.addressing import Address, address, networks, node_addresses, split
from k8snetlab.api.apps import Deployment, RollingUpdate, Strategy
from k8snetlab.api.core import Pod, PodSpec, Service, SessionAffinityConfig
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab, LabNode, LabSpec
from k8snetlab.api.meta import Object

T = TypeVar("T", bound=Object)
LAB = "lab"
VXLAN_OVERHEAD = {4: 50, 6: 70}
"""Bytes of outer IP, UDP, VXLAN and inner Ethernet headers."""


def with_defaults(obj: T, lab_name: str = LAB) -> T:
    """The object with every default written out; doing it twice changes nothing.

    `lab_name` is for a Lab without name.
    """
    new: Object = obj
    if obj.namespaced and not obj.metadata.namespace:
        new = replace(new, metadata=replace(new.metadata, namespace="default"))
    match new:
        case Service():
            new = _service(new)
        case Pod():
            new = replace(new, spec=_pod_spec(new.spec))
        case Deployment() if new.spec.strategy == Strategy():
            new = replace(new, spec=replace(new.spec, strategy=Strategy(rollingUpdate=RollingUpdate())))
        case EndpointSlice():
            new = replace(new, ports=tuple(new.ports))
        case Lab():
            new = _lab(new, lab_name)
        case KubeProxyConfiguration() if not new.name:
            new = replace(new, metadata=replace(new.metadata, name="kube-proxy"))
    return cast(T, new)


def lab_name(file: str) -> str:
    """The name of a lab whose file does not give one: that of its directory, as a DNS label."""
    name = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(file).parent.name.lower()).strip("-")[:63].strip("-")
    return name or LAB


def _service(service: Service) -> Service:
    spec = service.spec
    changes: dict[str, object] = {}
    if spec.type != "ExternalName":
        ports = tuple(replace(p, targetPort=p.port) if p.targetPort in (None, "", 0) else p for p in spec.ports)
        if ports != spec.ports:
            changes["ports"] = ports
    if not spec.externalTrafficPolicy and (spec.type in ("NodePort", "LoadBalancer")):
        changes["externalTrafficPolicy"] = "Cluster"
    if spec.sessionAffinity == "ClientIP" and spec.sessionAffinityConfig is None:
        changes["sessionAffinityConfig"] = SessionAffinityConfig()
    if spec.clusterIP and not spec.clusterIPs:
        changes["clusterIPs"] = (spec.clusterIP,)
    elif spec.clusterIPs and not spec.clusterIP:
        changes["clusterIP"] = spec.clusterIPs[0]
    return replace(service, spec=replace(spec, **changes)) if changes else service


def _pod_spec(spec: PodSpec) -> PodSpec:
    if not spec.hostNetwork:
        return spec
    containers = tuple(
        replace(c, ports=tuple(replace(p, hostPort=p.containerPort) for p in c.ports)) for c in spec.containers
    )
    return replace(spec, containers=containers)


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
        cidrs = [cidr for cidr in networks(underlay.cidr) if cidr.num_addresses > 2]
    except ValueError:
        return replace(spec, nodes=nodes)
    if not underlay.router:
        underlay = replace(underlay, router=",".join(str(cidr[1]) for cidr in cidrs))
    taken = {ip for text in (underlay.router, *(node.address for node in nodes)) for ip in _readable(text)}
    free = [node_addresses(cidr, taken) for cidr in cidrs]
    if not spec.machines:
        nodes = tuple(n if n.address else replace(n, address=_next_of(free)) for n in nodes)
    network = spec.network
    if network.mtu is None:
        overhead = VXLAN_OVERHEAD[max(cidr.version for cidr in cidrs)] if cidrs and network.backend == "vxlan" else 0
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
