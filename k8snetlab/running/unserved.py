"""Services of type LoadBalancer whose addresses are not in use, and why: what `up` and `apply` end with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api.core import Service
from k8snetlab.api.selection import alb_ingresses, balanced
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.controllers import load_balancers
from k8snetlab.render.lb import alb, candidates, haproxy


def unserved(snapshot: Snapshot, keys: Iterable[Key]) -> Iterator[str]:
    """A sentence for each of these; none in a lab without load balancers, where a status is the user's own."""
    mode = snapshot.lab.spec.loadBalancer.mode
    services = [service for key in keys if (service := snapshot.all(Service).get(key)) is not None]
    services = [one for one in services if one.spec.type == "LoadBalancer"]
    if mode == "none" or not services:
        return
    failures = load_balancers.failures(snapshot)
    for service in services:
        if why := _why(service, snapshot, failures.get(service.key, "")):
            yield f"service {service.namespace}/{service.name}: {why}"


def unserved_ingresses(snapshot: Snapshot) -> Iterator[str]:
    """A sentence for what the balancer does not do of each Ingress of its class."""
    for ingress in alb_ingresses(snapshot):
        named = f"ingress {ingress.namespace}/{ingress.name}"
        if not ingress.status.loadBalancer.ingress:
            yield f"{named}: it has no address: no available IPs"
        yield from (f"{named}: {problem}" for problem in alb.problems(ingress, snapshot))


def _why(service: Service, snapshot: Snapshot, failure: str) -> str:
    if not balanced(service):
        return f"its loadBalancerClass {service.spec.loadBalancerClass} is another's; this lab gives it no address"
    if failure:
        return f"it has no address: {failure}"
    mode = snapshot.lab.spec.loadBalancer.mode
    addresses = ", ".join(one.ip for one in service.status.loadBalancer.ingress)
    if mode == "l2":
        why = candidates.lacking(service, snapshot)
    elif not (why := haproxy.unbalanced(service, snapshot)) and not candidates.served(service, snapshot):
        why = "haproxy has nobody to send to: the Service has no ready endpoint"
    return f"{addresses}: {why}" if addresses and why else ""
