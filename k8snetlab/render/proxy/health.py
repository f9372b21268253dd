"""The answers of a node on the healthCheckNodePorts of its Local load balancers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from k8snetlab.api.core import Service
from k8snetlab.api.snapshot import Key
from k8snetlab.render.proxy.endpoints import endpoints_of
from k8snetlab.render.proxy.ports import ports_of
from k8snetlab.render.proxy.rules import ProxyRules


class HealthCheck(msgspec.Struct, frozen=True):
    """The answer is 200 where `local_endpoints` > 0, else 503, with the JSON of `body` either way."""

    service: Key
    local_endpoints: int

    @property
    def status(self) -> int:
        return 200 if self.local_endpoints else 503

    @property
    def body(self) -> dict[str, object]:
        """Source: kube-proxy pkg/proxy/healthcheck, hcHandler."""
        namespace, name = self.service
        return {
            "service": {"namespace": namespace, "name": name},
            "localEndpoints": self.local_endpoints,
            "serviceProxyHealthy": True,
        }


def with_health_check(service: Service) -> Iterable[bool]:
    """The group of the Services that have a healthCheckNodePort."""
    return (True,) if service.spec.healthCheckNodePort else ()


def health_checks(rules: ProxyRules) -> Mapping[int, HealthCheck]:
    """By port: each Service that has one, with the number of its ready endpoints' addresses on this node."""
    found: dict[int, HealthCheck] = {}
    settings = rules.settings
    for key in rules.snapshot.select(Service, with_health_check, True):
        held = rules.services.get(key)
        if held is None:
            continue
        ports = ports_of(held.service, settings.family)
        if ports and ports[0].health_check_node_port:
            ends = (e for port in ports for e in endpoints_of(port, held.slices, settings))
            here = {e.ip for e in ends if e.ready and e.node == settings.node}
            found[ports[0].health_check_node_port] = HealthCheck(key, len(here))
    return found
