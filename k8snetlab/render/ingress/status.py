"""What an Ingress' status says: where the controller is reached.

Source: kubernetes/ingress-nginx internal/ingress/status/status.go, internal/k8s/main.go (GetNodeIPOrName).
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.networking import Ingress, IngressLoadBalancerIngress, IngressLoadBalancerStatus
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.render.ingress.addon import NAME, NAMESPACE


def load_balancer(snapshot: Snapshot, controllers: Iterable[Pod]) -> IngressLoadBalancerStatus:
    """The addresses of the controller's load balancer, where it has one; else those of the nodes where it runs."""
    service = snapshot.get(Service, NAME, NAMESPACE)
    if service is not None and service.spec.type == "LoadBalancer":
        found = [(one.ip or "", one.hostname or "") for one in service.status.loadBalancer.ingress]
    else:
        nodes = (snapshot.get(Node, pod.spec.nodeName) for pod in controllers)
        found = [(node.addresses[0], "") for node in nodes if node is not None and node.addresses]
    entries = (IngressLoadBalancerIngress(ip=ip, hostname=name) for ip, name in sorted(set(found)))
    return IngressLoadBalancerStatus(ingress=tuple(entries))


def told(ingress: Ingress, wanted: IngressLoadBalancerStatus) -> Ingress:
    return replace(ingress, status=replace(ingress.status, loadBalancer=wanted))
