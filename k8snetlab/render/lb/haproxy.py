"""haproxy.cfg of the cloud's load balancer, in the lab's router: a `listen` section a port of a Service.

It opens connections of its own to NodePorts, so that a pod sees the router, or the node that masquerades, as client; by
the PROXY protocol it can tell who asked. Nodes are asked whether they serve: with externalTrafficPolicy Local at their
healthCheckNodePort, as clouds do, else at the NodePort itself. Names and numbers alone become part of the text, each of
them checked for what it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from ipaddress import ip_address

from k8snetlab.api.core import Service, ServicePort
from k8snetlab.api.load_balancer import EXCLUDED, PROXY_PROTOCOL
from k8snetlab.api.selection import alb_ingresses, balanced
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import family_of, network, pick
from k8snetlab.render.lb import alb
from k8snetlab.render.lb.text import checked, endpoint, targets

UNKNOWN = "REVISION"
GLOBAL = f"""\
global
    description {UNKNOWN}
    stats socket unix@haproxy.sock mode 600 level admin expose-fd listeners
    hard-stop-after 10s
    log stdout format raw local0
    maxconn 4096

defaults
    log global
    mode tcp
    option tcplog
    option redispatch 1
    retries 3
    timeout connect 1s
    timeout client 350s
    timeout server 350s
    default-server inter 1s downinter 300ms fall 2 rise 1
"""
PROXIES = {"v1": " send-proxy", "v2": " send-proxy-v2"}


def configuration(snapshot: Snapshot) -> str:
    """Its `description` changes with all else, so that the running one can say which it is."""
    sections: list[str] = []
    for service in snapshot.select(Service, balanced, True).values():
        sections += _sections(service, snapshot)
    sections += alb.sections(snapshot)
    text = "\n".join([GLOBAL, *sections])
    return text.replace(UNKNOWN, hashlib.sha256(text.encode()).hexdigest()[:16], 1)


def description(text: str) -> str:
    """What the running one calls itself, of a configuration."""
    return text.partition("    description ")[2].partition("\n")[0]


def addresses(snapshot: Snapshot) -> tuple[str, ...]:
    """Those at which haproxy listens: the router has them; none in a lab without such a balancer."""
    if snapshot.lab.spec.loadBalancer.mode != "cloud":
        return ()
    services = snapshot.select(Service, balanced, True).values()
    given = [one.ip for service in services for one in service.status.loadBalancer.ingress if one.ip]
    given += [one.ip for ingress in alb_ingresses(snapshot) for one in ingress.status.loadBalancer.ingress if one.ip]
    return tuple(dict.fromkeys(given))


def unbalanced(service: Service, snapshot: Snapshot) -> str:
    """Why haproxy cannot serve the Service, or one port of it, "" where it serves all."""
    for port in service.spec.ports:
        if port.protocol != "TCP":
            return f"haproxy balances TCP alone, and port {port.port} is {port.protocol}"
        if not port.nodePort:
            return f"port {port.port} has no nodePort (allocateLoadBalancerNodePorts), and haproxy sends to nodePorts"
    if not targets(snapshot):
        return f"every node has the label {EXCLUDED}"
    version = service.metadata.annotations.get(PROXY_PROTOCOL, "")
    if version and version not in PROXIES:
        return f"annotation {PROXY_PROTOCOL} is v1 or v2"
    return ""


def _sections(service: Service, snapshot: Snapshot) -> Iterator[str]:
    for number, ingress in enumerate(service.status.loadBalancer.ingress):
        for port in service.spec.ports:
            if ingress.ip and port.protocol == "TCP" and port.nodePort:
                yield _section(service, port, ingress.ip, snapshot, number)


def _section(service: Service, port: ServicePort, address: str, snapshot: Snapshot, number: int) -> str:
    family, spec = family_of(address), service.spec
    lines = [f"listen {section(service, port.port)}{':6' * number}", f"    bind {endpoint(address, port.port)}"]
    if ranges := [network(cidr.strip()) for cidr in spec.loadBalancerSourceRanges]:
        own = [str(one) for one in ranges if one.version == (6 if family == "ipv6" else 4)]
        lines += [f"    acl let-in src {' '.join(some)}" for some in batched(own)]
        lines.append(f"{REJECTING} unless let-in" if own else REJECTING)
    lines.append("    balance source" if spec.sessionAffinity == "ClientIP" else "    balance roundrobin")
    check = ""
    if spec.healthCheckNodePort:
        lines += ["    option httpchk GET /healthz", "    http-check expect status 200"]
        check = f" port {spec.healthCheckNodePort}"
    proxies = PROXIES.get(service.metadata.annotations.get(PROXY_PROTOCOL, ""), "")
    for node in targets(snapshot):
        if to := pick(node.addresses, family):
            lines.append(f"    server {checked(node.name)} {endpoint(to, port.nodePort)} check{check}{proxies}")
    return "\n".join(lines) + "\n"


def lets_in(service: Service, client: str) -> bool:
    """Whether a client may come by the load balancer."""
    ranges = [network(cidr.strip()) for cidr in service.spec.loadBalancerSourceRanges]
    return not ranges or any(ip_address(client) in one for one in ranges)


REJECTING = "    tcp-request connection reject"
WORDS = 50
"""Ranges on one line: haproxy takes 64 words, and refuses all of a file for one line with more."""


def batched(words: list[str]) -> Iterator[list[str]]:
    """As many at a time as a line may have."""
    return (words[start : start + WORDS] for start in range(0, len(words), WORDS))


def section(service: Service, port: int) -> str:
    """What a port of a Service is called; that of a second address has a suffix."""
    return f"{checked(service.namespace)}:{checked(service.name)}:{port}"
