"""Kinds that are kept and answered as by a real server, while nothing here acts on them yet."""

from __future__ import annotations

from collections.abc import Mapping

from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import Ingress, NetworkPolicy

UNSERVED: Mapping[type[Object], str] = {
    Ingress: "it is stored, and opens no door: this lab has no Ingress controller of its own yet",
}
"""What is said of them."""
NO_CONTROLLER = "it is stored, and holds no packet back: the lab has spec.networkPolicy.controller none"


def warning_of(obj: Object, lab: Lab) -> str:
    """For who writes the object; "" where there is something that acts on it."""
    said = UNSERVED.get(type(obj), "")
    if isinstance(obj, NetworkPolicy | ClusterNetworkPolicy) and lab.spec.networkPolicy.controller == "none":
        said = NO_CONTROLLER
    return f"{obj.KIND} {obj.short_name}: {said}" if said else ""
