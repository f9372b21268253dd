"""kube-proxy's rules in iptables mode, as version 1.36 writes them (and, in `classic`, as those of 2019 did).

One idea a file: `settings` what one kube-proxy is told, `ports` and `endpoints` what it reads of Services and
EndpointSlices, `service` the rules of one Service, `frame` the rules around all Services, `rules` the whole, kept
current at the cost of the change, `payload` its text for iptables-restore.
"""

from k8snetlab.render.proxy.payload import render_payload
from k8snetlab.render.proxy.rules import ProxyRules
from k8snetlab.render.proxy.settings import Settings
from k8snetlab.render.proxy.shared import Shared

__all__ = ["ProxyRules", "Settings", "Shared", "render_payload"]
