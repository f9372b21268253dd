"""Which UDP connections a change of rules leaves behind in conntrack.

UDP has no end that conntrack could see: a client that goes on sending keeps its old translation, to an endpoint that
is gone or to none at all. Source: kube-proxy pkg/proxy/conntrack, CleanStaleEntries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from k8snetlab.api.core import Service
from k8snetlab.api.snapshot import Key
from k8snetlab.render.proxy.endpoints import endpoints_of
from k8snetlab.render.proxy.ports import ports_of
from k8snetlab.render.proxy.rules import ProxyRules
from k8snetlab.render.proxy.service import ServiceRules
from k8snetlab.render.proxy.settings import Settings

Destination = tuple[str, int]
"""Address and port that clients send to; address "" for a NodePort, on any address of the node."""


def with_udp(service: Service) -> Iterable[bool]:
    """The group of the Services that have a UDP port."""
    return (True,) if any(port.protocol == "UDP" for port in service.spec.ports) else ()


def stale_udp(before: ProxyRules, after: ProxyRules) -> Mapping[Destination, frozenset[str]]:
    """The destinations of changed UDP Services, each with the "ip:port" of the endpoints that still serve it.

    An entry of conntrack to one of them that was translated to anything else, or not at all, is to be deleted.
    """
    found: dict[Destination, frozenset[str]] = {}
    for key in _keys(before, after):
        old, new = before.services.get(key), after.services.get(key)
        if old is not new:
            held = {} if old is None else _serving(old, before.settings)
            found |= dict.fromkeys(held, frozenset()) | ({} if new is None else _serving(new, after.settings))
    return found


def _keys(before: ProxyRules, after: ProxyRules) -> Iterable[Key]:
    held = (rules.snapshot.select(Service, with_udp, True) for rules in (before, after))
    return dict.fromkeys(key for services in held for key in services)


def _serving(rules: ServiceRules, settings: Settings) -> dict[Destination, frozenset[str]]:
    found: dict[Destination, frozenset[str]] = {}
    for port in ports_of(rules.service, settings.family, external_ips=settings.external_ips):
        if port.protocol == "udp":
            ends = frozenset(e.text for e in endpoints_of(port, rules.slices, settings) if e.serving)
            for address in (port.cluster_ip, *port.external_ips, *port.load_balancer_ips):
                found[address, port.port] = ends
            if port.node_port:
                found["", port.node_port] = ends
    return found
