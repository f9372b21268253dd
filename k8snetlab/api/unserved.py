"""Kinds that are kept and answered as by a real server, while nothing here acts on them yet."""

from __future__ import annotations

from k8snetlab.api.calico_policy import CalicoNetworkPolicy, GlobalNetworkPolicy
from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.gateway import Gateway
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import Ingress, NetworkPolicy
from k8snetlab.api.routes import Route

NO_DOOR = "it is stored, and opens no door: the lab has no Ingress controller (spec.ingress: {controller: nginx})"
NO_GATEWAY = "it is stored, and opens no door: the lab has no Gateway controller (spec.gateway: {controller: nginx})"
NO_CONTROLLER = "it is stored, and holds no packet back: the lab has spec.networkPolicy.controller none"


def warning_of(obj: Object, lab: Lab) -> str:
    """For who writes the object; "" where there is something that acts on it."""
    said = ""
    policies = NetworkPolicy | ClusterNetworkPolicy | CalicoNetworkPolicy | GlobalNetworkPolicy
    if isinstance(obj, policies) and lab.spec.networkPolicy.controller == "none":
        said = NO_CONTROLLER
    if isinstance(obj, Ingress) and lab.spec.ingress.controller == "none":
        said = NO_DOOR
    if isinstance(obj, Gateway | Route) and lab.spec.gateway.controller == "none":
        said = NO_GATEWAY
    return f"{obj.KIND} {obj.short_name}: {said}" if said else ""
