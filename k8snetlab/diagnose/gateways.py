"""What is wrong with Gateways and their routes: what their conditions say, and backends that nobody answers for.

Kernel and objects may agree in all this: no agent mends it.
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.gateway import Gateway, HTTPRoute
from k8snetlab.api.lines import line
from k8snetlab.api.routes import ROUTES, Route
from k8snetlab.api.routes import backends as led
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import Path, show
from k8snetlab.diagnose.finding import Finding
from k8snetlab.gateways import names, telling
from k8snetlab.gateways.references import backend_trouble
from k8snetlab.render.ingress import backends

_ENDINGS = {
    "gateway": "nobody answers at it, or not for all of its hosts",
    "route": "its requests are answered with 404 Not Found or 500 Internal Server Error",
    "stream": "its connections are refused, or closed at once",
    "endpoints": "requests for it are answered with 503 Service Temporarily Unavailable",
}


def gateways(snapshot: Snapshot) -> Iterator[Finding]:
    """Nothing in a lab without a controller for them: nobody then said that they are served."""
    if snapshot.lab.spec.gateway.controller == "none":
        return
    for gateway in snapshot.all(Gateway).values():
        for said in telling.of_gateway(gateway, snapshot):
            fault = "certificate" if "InvalidCertificateRef" in said else "gateway"
            yield _found(gateway, fault, said, ("spec",))
    own = names.own(snapshot)
    for route in (one for kind in ROUTES for one in snapshot.all(kind).values()):
        for said in telling.of_route(route, snapshot):
            yield _found(route, _fault(said), said, _place(said))
        if any(one.controllerName == names.CONTROLLER for one in route.status.parents) and own:
            yield from _empty(route, snapshot)


def _fault(said: str) -> str:
    """What is the matter, by the reason that the condition has."""
    reasons = {
        "RefNotPermitted": "grant",
        "BackendNotFound": "backend",
        "NoMatchingListenerHostname": "hostname",
        "NotAllowedByListeners": "allowed",
        "NoMatchingParent": "listener",
        "does not exist": "parent",
    }
    return next((fault for reason, fault in reasons.items() if reason in said), "route")


def _place(said: str) -> Path:
    return ("spec", "hostnames") if "NoMatchingListenerHostname" in said else ("spec", "parentRefs")


def _empty(route: Route, snapshot: Snapshot) -> Iterator[Finding]:
    """Backends that are there, and have no ready endpoint; each once."""
    seen = set()
    for where, backend in led(route):
        key = backend.namespace or route.namespace, backend.name
        mark = key, backend.port
        if mark in seen or not backend.weight or backend_trouble(snapshot, route, backend):
            continue
        seen.add(mark)
        if not backends.addresses(snapshot, key, backends.numbered(backend.port)):
            said = f"service {key[0]}/{key[1]}, port {backend.port}, has no ready endpoint"
            yield _found(route, "endpoints", said, where)


def _found(obj: Gateway | Route, fault: str, said: str, path: Path) -> Finding:
    kind = obj.KIND.lower()
    shown, where = f"{obj.namespace}/{obj.name}", line(obj, path)
    usual = "gateway" if isinstance(obj, Gateway) else "route"
    ending = _ENDINGS.get(fault, _ENDINGS[usual]) if isinstance(obj, Gateway | HTTPRoute) else _ENDINGS["stream"]
    return Finding(
        kind=kind,
        fault=fault,
        node="",
        object=shown,
        message=f"{kind} {shown}: {said}",
        consequence=ending,
        show=f"k8snetlab get {kind} {obj.name} -n {obj.namespace} -o yaml",
        mend=f"# {show(path)} in the manifest, then `k8snetlab apply -f`",
        owner=f"{kind} {shown}" + (f", {where}" if where else ""),
    )
