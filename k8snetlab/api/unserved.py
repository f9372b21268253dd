"""Kinds that are kept and answered as by a real server, while nothing here acts on them yet."""

from __future__ import annotations

from collections.abc import Mapping

from k8snetlab.api.meta import Object
from k8snetlab.api.networking import Ingress, NetworkPolicy

UNSERVED: Mapping[type[Object], str] = {
    NetworkPolicy: "it is stored, and holds no packet back: nothing in this lab enforces a NetworkPolicy yet",
    Ingress: "it is stored, and opens no door: this lab has no Ingress controller of its own yet",
}
"""What is said of them."""


def warning_of(obj: Object) -> str:
    """For who writes the object; "" where there is something that acts on it."""
    said = UNSERVED.get(type(obj), "")
    return f"{obj.KIND} {obj.short_name}: {said}" if said else ""
