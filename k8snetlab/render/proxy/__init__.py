"""kube-proxy's rules in iptables mode, as version 1.36 writes them (and, in `classic`, as those of 2019 did).

One idea a file: `settings` what one kube-proxy is told, `ports` and `endpoints` what it reads of Services and
EndpointSlices, `service` the rules of one Service, `frame` the rules around all Services, `rules` the whole, kept
current at the cost of the change, `payload` its text for iptables-restore; `shared` lets nodes share, `layout` and
`classic` are the two generations; `health` and `stale` say what else kube-proxy does with Services.
"""

from k8snetlab.render.proxy.endpoints import Choice, Endpoint, choose, endpoints_of
from k8snetlab.render.proxy.health import HealthCheck, health_checks
from k8snetlab.render.proxy.payload import render_payload
from k8snetlab.render.proxy.ports import PROXY_NAME, Port, ports_of
from k8snetlab.render.proxy.rules import NOTHING, ProxyRules
from k8snetlab.render.proxy.service import ServiceRules
from k8snetlab.render.proxy.settings import COUNTERS, Settings
from k8snetlab.render.proxy.shared import Shared
from k8snetlab.render.proxy.stale import stale_udp

__all__ = [
    "COUNTERS",
    "NOTHING",
    "PROXY_NAME",
    "Choice",
    "Endpoint",
    "HealthCheck",
    "Port",
    "ProxyRules",
    "ServiceRules",
    "Settings",
    "Shared",
    "choose",
    "endpoints_of",
    "health_checks",
    "ports_of",
    "render_payload",
    "stale_udp",
    "sysctls",
]
