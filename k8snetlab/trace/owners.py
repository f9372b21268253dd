"""Who brought an entry of the kernel: the object, and the line of the manifest it was written on."""

from __future__ import annotations

import re
from collections.abc import Iterable

from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.view import RouteEntry, network, parsed, same_family

NOBODY = "nobody owns it"
_SERVICE = re.compile(r"^([a-z0-9.-]+)/([a-z0-9.-]+)(?::(\S+))?(?:\s|$)")


class Owners:
    """Looks entries up among the objects of a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._addresses: dict[str, Object] = {}
        for node in snapshot.all(Node).values():
            self._addresses |= dict.fromkeys(node.addresses, node)
        for pod in snapshot.all(Pod).values():
            if not pod.spec.hostNetwork:
                self._addresses |= dict.fromkeys(pod.ips, pod)

    def of_address(self, address: str) -> str:
        """The pod or node of an address, or the node whose pod network it is in."""
        if found := self._addresses.get(address):
            return _title(found)
        for node in self._snapshot.all(Node).values():
            if any(same_family(cidr, address) and parsed(address) in network(cidr) for cidr in node.podCIDRs):
                return _title(node)
        return NOBODY

    def of_route(self, route: RouteEntry) -> str:
        if route.kernel:
            return f"the kernel, for the address {route.src or route.dst}"
        cidr = network(route.dst)
        lab = self._snapshot.lab
        if cidr.prefixlen == 0:
            return f"the default route of Lab {lab.name}{_at(lab)}"
        for node in self._snapshot.all(Node).values():
            if any(network(subnet) == cidr for subnet in node.podCIDRs):
                return _title(node)
        if any(network(part.strip()) == cidr for part in lab.spec.podCIDR.split(",") if part.strip()):
            return f"the pod network of Lab {lab.name}{_at(lab)}"
        if any(network(part.strip()) == cidr for part in lab.spec.underlay.cidr.split(",") if part.strip()):
            return f"the underlay of Lab {lab.name}{_at(lab)}"
        for service in self._snapshot.all(Service).values():
            vips = [ingress.ip for ingress in service.status.loadBalancer.ingress]
            if cidr.num_addresses == 1 and str(cidr.network_address) in (*service.spec.externalIPs, *vips):
                return _title(service)
        return self.of_address(str(cidr.network_address))

    def of_rule(self, chains: Iterable[str], comments: Iterable[str]) -> str:
        """`chains` lead to the rule, `comments` are of the rule and of those that jumped to it, the nearest first."""
        for comment in comments:
            if found := _SERVICE.match(comment):
                namespace, name, port = found.groups()
                service = self._snapshot.get(Service, name, namespace)
                if service is not None:
                    return _title(service, port)
        for chain in reversed([*chains]):
            if chain.startswith("KUBE-"):
                return "kube-proxy"
            if chain.startswith("FLANNEL-"):
                return "flannel"
        return NOBODY


def _title(obj: Object, port: str | None = None) -> str:
    name = f"{obj.namespace}/{obj.name}" if obj.namespace else obj.name
    number = ""
    if isinstance(obj, Service):
        ports = [p for p in obj.spec.ports if p.name == (port or "")] or list(obj.spec.ports)
        number = f", port {ports[0].port}" if ports else ""
    return f"{obj.KIND} {name}{number}{_at(obj)}"


def _at(obj: Object) -> str:
    return f", {obj.source}" if obj.source else ""
