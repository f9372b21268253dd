"""A Service's ports, as kube-proxy reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

import msgspec

from k8snetlab.api.core import Service
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import family_of, network
from k8snetlab.dataplane.rules import Family

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DOTTED = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}").fullmatch
"""Knows most addresses of a cluster ten times quicker than IPv4Address."""

PROXY_NAME = "service.kubernetes.io/service-proxy-name"
"""Label: another proxy serves this Service."""


class Port(msgspec.Struct, frozen=True):
    """One port of one Service in one IP family; addresses and CIDRs are in canonical form and of that family.

    `name` is "namespace/service[:port]", `key` what an EndpointSlice's port must match, (name, protocol);
    `affinity` is in seconds, 0 without session affinity.
    """

    name: str
    key: tuple[str, str]
    cluster_ip: str
    port: int
    node_port: int
    external_ips: tuple[str, ...]
    load_balancer_ips: tuple[str, ...]
    source_ranges: tuple[str, ...]
    health_check_node_port: int
    external_local: bool
    internal_local: bool
    affinity: int

    @property
    def protocol(self) -> str:
        return self.key[1].lower()

    @property
    def external(self) -> bool:
        """Whether anything but its cluster IP leads to it."""
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)

    @property
    def uses_cluster(self) -> bool:
        """Whether traffic ever goes to endpoints anywhere: also with Local policy, for pods of this cluster."""
        return not self.internal_local or self.external

    @property
    def uses_local(self) -> bool:
        return self.internal_local or (self.external_local and self.external)

    def chain(self, prefix: str) -> str:
        return names.service_chain(self.name, self.protocol, prefix)

    def endpoint_chains(self, endpoints: Iterable[str]) -> dict[str, str]:
        """By endpoint."""
        return names.endpoint_chains(self.name, self.protocol, endpoints)


def ports_of(service: Service, family: Family, classic: bool = False, external_ips: bool = True) -> list[Port]:
    """The ports kube-proxy serves in `family`: none of headless, ExternalName, or another proxy's Services.

    `classic` names an unnamed port "namespace/service:", without `external_ips` a Service has none.
    Source: kube-proxy pkg/proxy, newBaseServiceInfo.
    """
    spec = service.spec
    if spec.type == "ExternalName" or PROXY_NAME in service.metadata.labels:
        return []
    cluster_ip = next(iter(_addresses(service.clusterIPs, family)), "")
    if not cluster_ip:
        return []
    published = spec.type in ("NodePort", "LoadBalancer") or bool(spec.externalIPs)
    external_local = published and spec.externalTrafficPolicy == "Local"
    affinity = 0
    if spec.sessionAffinity == "ClientIP":
        affinity = spec.sessionAffinityConfig.clientIP.timeoutSeconds if spec.sessionAffinityConfig else 10800
    ranges = [network(cidr.strip()) for cidr in spec.loadBalancerSourceRanges if family_of(cidr) == family]
    everyone = not classic and any(cidr.prefixlen == 0 for cidr in ranges)
    source_ranges = () if everyone else tuple(map(str, ranges))
    ingress = service.status.loadBalancer.ingress
    full_name = f"{service.namespace}/{service.name}"
    return [
        Port(
            name=f"{full_name}:{port.name}" if port.name or classic else full_name,
            key=(port.name, port.protocol),
            cluster_ip=cluster_ip,
            port=port.port,
            node_port=port.nodePort,
            external_ips=_addresses(spec.externalIPs, family) if external_ips else (),
            load_balancer_ips=_addresses((i.ip for i in ingress if i.here), family),
            source_ranges=source_ranges,
            health_check_node_port=spec.healthCheckNodePort if spec.type == "LoadBalancer" and external_local else 0,
            external_local=external_local,
            internal_local=spec.internalTrafficPolicy == "Local",
            affinity=affinity,
        )
        for port in spec.ports
    ]


def _addresses(texts: Iterable[str], family: Family) -> tuple[str, ...]:
    return tuple(address for address in (canonical(text, family) for text in texts) if address)


def canonical(address: str, family: Family) -> str:
    """`address` in the one form in which it stands in rules, "" where it is none of this family."""
    if family == "ipv4" and _DOTTED(address):
        return address
    try:
        return str(IPv4Address(address) if family == "ipv4" else IPv6Address(address))
    except ValueError:
        return ""
