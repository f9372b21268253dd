"""What an object read from the store must hold, whoever wrote it there.

The API server's validation is for who asks it; a store can be written by others too. An object whose names, addresses
or commands could not have come through that door is passed over as a whole, because they become names of namespaces
and files, rules and processes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from k8snetlab.api.addressing import ipv4, split
from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import EndpointPort, Endpoints, Node, Pod, PodSpec, Service
from k8snetlab.api.discovery import EndpointSlice, EndpointSlicePort
from k8snetlab.api.guest import Guest
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.problems import dns_label, dns_subdomain, path_segment, port_name
from k8snetlab.api.rbac import RBAC
from k8snetlab.api.words import shorten
from k8snetlab.api.workloads import DaemonSet, Job, ReplicationController, StatefulSet, Workload

Problems = Iterator[str]
PORTS = range(65536)
LONGEST_UID = 128
_label = functools.lru_cache(maxsize=1024)(dns_label)
_subdomain = functools.lru_cache(maxsize=1024)(dns_subdomain)
"""Of namespaces, ports and nodes, whose names thousands of objects have."""


def problem_of(obj: Object) -> str:
    """The first field that no object can have, and why; "" where there is none."""
    return next(_problems(obj), "")


def _problems(obj: Object) -> Problems:
    rule = path_segment if isinstance(obj, RBAC) else dns_subdomain
    yield from _said("metadata.name", rule(obj.metadata.name))
    if obj.namespaced:
        yield from _said("metadata.namespace", _label(obj.metadata.namespace))
    yield from _said("metadata.uid", _uid(obj.metadata.uid))
    for field, texts in (("labels", obj.metadata.labels), ("annotations", obj.metadata.annotations)):
        for key, value in texts.items():
            if not key.isprintable() or (field == "labels" and not value.isprintable()):
                yield f"metadata.{field}: {shorten(key)!r} is no key of printable characters"
    for owner in obj.metadata.ownerReferences:
        yield from _said("metadata.ownerReferences", dns_subdomain(owner.name))
    of_kind: Callable[[Any], Problems] | None = _KINDS.get(type(obj))
    if of_kind is not None:
        yield from of_kind(obj)


def _node(node: Node) -> Problems:
    for cidr in node.podCIDRs:
        yield from _network("spec.podCIDRs", cidr)
    for address in node.addresses:
        yield from _address("status.addresses", address)


def _pod(pod: Pod) -> Problems:
    yield from _pod_spec("spec", pod.spec)
    for ip in pod.ips:
        yield from _address("status.podIPs", ip)


def _template(workload: Workload) -> Problems:
    yield from _pod_spec("spec.template.spec", workload.spec.template.spec)


def _pod_spec(path: str, spec: PodSpec) -> Problems:
    if spec.nodeName:
        yield from _said(f"{path}.nodeName", dns_subdomain(spec.nodeName))
    for field in ("hostname", "subdomain"):
        if name := getattr(spec, field):
            yield from _said(f"{path}.{field}", dns_label(name))
    for container in (*spec.containers, *spec.initContainers):
        where = f"{path}.containers[{shorten(container.name)!r}]"
        yield from _said(f"{where}.name", dns_label(container.name))
        words = (*container.command, *container.args, container.workingDir)
        words += tuple(text for env in container.env for text in (env.name, env.value))
        if any("\0" in word for word in words):
            yield f"{where}: a NUL is in its command, environment or workingDir"
        if any(not env.name or "=" in env.name for env in container.env):
            yield f"{where}.env: a name is empty or has a ="
        for port in container.ports:
            if port.name:
                yield from _said(f"{where}.ports", port_name(port.name))
            if port.hostIP:
                yield from _address(f"{where}.ports.hostIP", port.hostIP)
            yield from _ports(f"{where}.ports.hostPort", (port.hostPort,))


def _service(service: Service) -> Problems:
    spec = service.spec
    for ip in service.clusterIPs:
        yield from _address("spec.clusterIPs", ip)
    for ip in spec.externalIPs:
        yield from _address("spec.externalIPs", ip)
    for ingress in service.status.loadBalancer.ingress:
        if ingress.ip:
            yield from _address("status.loadBalancer.ingress", ingress.ip)
    for cidr in spec.loadBalancerSourceRanges:
        yield from _network("spec.loadBalancerSourceRanges", cidr.strip())
    if spec.externalName:
        yield from _said("spec.externalName", dns_subdomain(spec.externalName.rstrip(".").lower()))
    yield from _ports("spec.healthCheckNodePort", (spec.healthCheckNodePort,))
    for port in spec.ports:
        if port.name:
            yield from _said("spec.ports.name", _label(port.name))
        if isinstance(port.targetPort, str):
            yield from _said("spec.ports.targetPort", port_name(port.targetPort))
        yield from _ports("spec.ports.nodePort", (port.nodePort, *_numbers(port.targetPort)))


def _endpoints(endpoints: Endpoints) -> Problems:
    for subset in endpoints.subsets:
        for address in (*subset.addresses, *subset.notReadyAddresses):
            yield from _address("subsets.addresses", address.ip)
        yield from _port_names("subsets.ports", subset.ports)


def _endpoint_slice(slice_: EndpointSlice) -> Problems:
    yield from _port_names("ports", slice_.ports)
    if service := slice_.service_key:
        yield from _said("metadata.labels", dns_label(service[1]))
    named, nodes = slice_.addressType == "FQDN", dict[str | None, None]()
    for endpoint in slice_.endpoints:
        nodes[endpoint.nodeName] = None
        for text in () if named else endpoint.addresses:
            if ipv4(text) is None:  # nearly none of a thousand
                yield from _said("endpoints.addresses", _no_ipv6(text))
    for node in filter(None, nodes):
        yield from _said("endpoints.nodeName", _subdomain(node))


def _lab(lab: Lab) -> Problems:
    spec = lab.spec
    yield from _said("metadata.name", dns_label(lab.name))
    for field, text in (
        ("podCIDR", spec.podCIDR),
        ("serviceCIDR", spec.serviceCIDR),
        ("underlay.cidr", spec.underlay.cidr),
        ("underlay.outside", spec.underlay.outside),
    ):
        for part in split(text):  # none at all is right for some: a lab may have no outside
            yield from _network(f"spec.{field}", part)
    for router in split(spec.underlay.router):
        yield from _address("spec.underlay.router", router)
    for node in spec.nodes if isinstance(spec.nodes, tuple) else ():
        yield from _said("spec.nodes.name", dns_subdomain(node.name))
    for host in spec.outside.hosts:
        yield from _said("spec.outside.hosts.name", dns_label(host.name))
        for address in split(host.address):
            yield from _address("spec.outside.hosts.address", address)


def _guest(guest: Guest) -> Problems:
    yield from _said("metadata.name", dns_label(guest.name))
    if not guest.spec.command:
        yield "spec.command: a guest is a command"


def _proxy(config: KubeProxyConfiguration) -> Problems:
    for text in (config.detectLocal.bridgeInterface, config.detectLocal.interfaceNamePrefix):
        if len(text) > 15 or not text.isprintable() or any(sign in text for sign in " /\"'"):
            yield f"detectLocal: {shorten(text)!r} is no interface's name"
    for cidr in (*config.clusterCIDR.split(","), *config.nodePortAddresses):
        if cidr.strip() and cidr != "primary":
            yield from _network("clusterCIDR, nodePortAddresses", cidr.strip())


_KINDS: dict[type[Object], Callable[[Any], Problems]] = {
    Node: _node,
    Pod: _pod,
    Deployment: _template,
    ReplicaSet: _template,
    DaemonSet: _template,
    StatefulSet: _template,
    ReplicationController: _template,
    Job: _template,
    Service: _service,
    Endpoints: _endpoints,
    EndpointSlice: _endpoint_slice,
    Lab: _lab,
    Guest: _guest,
    KubeProxyConfiguration: _proxy,
}


def _said(path: str, problem: str) -> tuple[str, ...]:
    return (f"{path}: {problem}",) if problem else ()


def _uid(uid: str) -> str:
    """Directories are named by it, and removed with their pod."""
    if not uid.isprintable() or len(uid) > LONGEST_UID:
        return f"{shorten(uid)!r} is no uid"
    return path_segment(uid)


def _port_names(path: str, ports: Iterable[EndpointPort | EndpointSlicePort]) -> Problems:
    for port in ports:
        if port.name:
            yield from _said(path, _label(port.name))


def _ports(path: str, ports: Iterable[int]) -> Problems:
    for port in ports:
        if port not in PORTS:
            yield f"{path}: {port} is no port"


def _numbers(port: int | str | None) -> tuple[int, ...]:
    return (port,) if isinstance(port, int) else ()


def _address(path: str, text: str) -> tuple[str, ...]:
    return () if ipv4(text) is not None else _said(path, _no_ipv6(text))


@functools.lru_cache(maxsize=65536)
def _no_ipv6(text: str) -> str:
    """Why a text that is no IPv4 address is no other one, or "". A pod's is read with every change of the pod and of
    its Services."""
    try:
        ip_address(text)
    except ValueError:
        return f"{shorten(text)!r} is no address"
    return f"{shorten(text)!r} names a zone" if "%" in text else ""


def _network(path: str, text: str) -> Problems:
    try:
        ip_network(text, strict=False)
    except ValueError:
        yield f"{path}: {shorten(text)!r} is no network"
