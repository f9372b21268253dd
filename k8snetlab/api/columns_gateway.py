"""The columns of gateway.networking.k8s.io, as its definitions have them (additionalPrinterColumns)."""

from __future__ import annotations

import json

from k8snetlab.api.cells import AGE, NAME, Column
from k8snetlab.api.core import Condition
from k8snetlab.api.gateway import Gateway, GatewayClass, HTTPRoute, ReferenceGrant
from k8snetlab.api.meta import Object
from k8snetlab.api.routes import TCPRoute, TLSRoute


def _status(conditions: tuple[Condition, ...], type_: str) -> str:
    return next((one.status for one in conditions if one.type == type_), "")


def _hostnames(route: HTTPRoute) -> str:
    """A list as JSON, which is how the API server prints one."""
    return json.dumps(route.spec.hostnames, separators=(",", ":")) if route.spec.hostnames else ""


def _address(gateway: Gateway) -> str:
    """The first: of several that a path finds the API server prints one."""
    return gateway.status.addresses[0].value if gateway.status.addresses else ""


COLUMNS: dict[type[Object], tuple[Column, ...]] = {
    GatewayClass: (
        NAME,
        Column("Controller", lambda c: c.spec.controllerName),
        Column("Accepted", lambda c: _status(c.status.conditions, "Accepted")),
        AGE,
        Column("Description", lambda c: c.spec.description or "", wide=True),
    ),
    Gateway: (
        NAME,
        Column("Class", lambda g: g.spec.gatewayClassName),
        Column("Address", _address),
        Column("Programmed", lambda g: _status(g.status.conditions, "Programmed")),
        AGE,
    ),
    HTTPRoute: (NAME, Column("Hostnames", _hostnames), AGE),
    TLSRoute: (NAME, AGE),
    TCPRoute: (NAME, AGE),
    ReferenceGrant: (NAME, AGE),
}
