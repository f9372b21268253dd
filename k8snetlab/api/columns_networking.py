"""The columns of networking.k8s.io/v1, of Leases and PriorityClasses.

Source: Kubernetes pkg/printers/internalversion/printers.go; of Calico's kinds the definitions in its API.
"""

from __future__ import annotations

from k8snetlab.api.calico_policy import CalicoNetworkPolicy, GlobalNetworkPolicy, GlobalNetworkSet, NetworkSet
from k8snetlab.api.cells import AGE, NAME, NONE, Column, first_of, selector_of
from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.coordination import Lease, PriorityClass
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import Ingress, IngressClass, IPAddress, NetworkPolicy, ServiceCIDR


def _hosts(ingress: Ingress) -> str:
    return first_of([rule.host for rule in ingress.spec.rules if rule.host], "*")


def _address(ingress: Ingress) -> str:
    return ",".join(sorted({one.ip or one.hostname for one in ingress.status.loadBalancer.ingress} - {""}))


def _parameters(obj: IngressClass) -> str:
    given = obj.spec.parameters
    if given is None:
        return NONE
    group = f".{given.apiGroup}" if given.apiGroup is not None else ""
    return f"{given.kind}{group}/{given.name}"


def _parent(obj: IPAddress) -> str:
    parent = obj.spec.parentRef
    if parent is None:
        return NONE
    kind = f"{parent.resource}.{parent.group}" if parent.group else parent.resource
    return "/".join(part for part in (kind.lower(), parent.namespace, parent.name) if part)


_TIER_AND_ORDER = (
    Column("Tier", lambda p: p.spec.tier),
    Column("Order", lambda p: p.spec.order if p.spec.order is not None else "", type="number"),
)
COLUMNS: dict[type[Object], tuple[Column, ...]] = {
    Ingress: (
        NAME,
        Column("Class", lambda i: i.spec.ingressClassName or NONE),
        Column("Hosts", _hosts),
        Column("Address", _address),
        Column("Ports", lambda i: "80, 443" if i.spec.tls else "80"),
        AGE,
    ),
    IngressClass: (
        NAME,
        Column("Controller", lambda c: c.spec.controller),
        Column("Parameters", _parameters),
        AGE,
    ),
    NetworkPolicy: (NAME, Column("Pod-Selector", lambda p: selector_of(p.spec.podSelector)), AGE),
    ClusterNetworkPolicy: (
        NAME,
        Column("Tier", lambda p: p.spec.tier),
        Column("Priority", lambda p: str(p.spec.priority)),
        AGE,
    ),
    CalicoNetworkPolicy: (NAME, *_TIER_AND_ORDER),
    GlobalNetworkPolicy: (NAME, *_TIER_AND_ORDER, AGE),
    NetworkSet: (NAME, AGE),
    GlobalNetworkSet: (NAME, AGE),
    ServiceCIDR: (NAME, Column("CIDRs", lambda c: ",".join(c.spec.cidrs)), AGE),
    IPAddress: (NAME, Column("ParentRef", _parent), AGE),
    Lease: (NAME, Column("Holder", lambda lease: lease.spec.holderIdentity or ""), AGE),
    PriorityClass: (
        NAME,
        Column("Value", lambda c: c.value, type="integer"),
        Column("Global-Default", lambda c: c.globalDefault, type="boolean"),
        AGE,
        Column("PreemptionPolicy", lambda c: c.preemptionPolicy),
    ),
}
