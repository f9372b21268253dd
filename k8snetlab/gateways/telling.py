"""What keeps Gateways and their routes from being in use, in sentences: what `up` and `apply` end with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api.core import Condition
from k8snetlab.api.gateway import Gateway, GatewayClass
from k8snetlab.api.routes import BY_KIND, Route, TCPRoute
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.gateways import names
from k8snetlab.gateways.attaching import doors, gateway_of, routes_by_gateway
from k8snetlab.gateways.names import CONTROLLER

PENDING = "Pending"


def of_gateway(gateway: Gateway, snapshot: Snapshot) -> Iterator[str]:
    """Nothing of one that another controller may see to."""
    known = snapshot.get(GatewayClass, gateway.spec.gatewayClassName)
    if known is None:
        there = ", ".join(one for _, one in snapshot.all(GatewayClass)) or "none"
        yield f"there is no GatewayClass {gateway.spec.gatewayClassName} (there is {there}): it opens no door"
        return
    if gateway.key not in names.own(snapshot):
        if known.spec.controllerName == CONTROLLER and names.own_classes(snapshot):
            yield f"GatewayClass {known.name} is not accepted: parametersRef, of which this controller has none"
        return
    yield from _false(gateway.status.conditions, ("Accepted", "Programmed"))
    for one in gateway.status.listeners:
        for said in _false(one.conditions, ("Accepted", "ResolvedRefs")):
            yield f"listener {one.name}: {said}"


def of_route(route: Route, snapshot: Snapshot) -> Iterator[str]:
    """Nothing of one all of whose Gateways another controller may see to."""
    if not route.spec.parentRefs:
        yield "it names no Gateway (spec.parentRefs), so that no request comes to it"
    for number, parent in enumerate(route.spec.parentRefs):
        key, where = gateway_of(route, parent), f"spec.parentRefs[{number}]"
        if key is None:
            yield f"{where}: a parent that is a {parent.kind} is not served here"
        elif key not in snapshot.all(Gateway):
            yield f"{where}: gateway {key[0]}/{key[1]} does not exist"
    for one in route.status.parents:
        if one.controllerName == CONTROLLER:
            yield from _false(one.conditions, ("Accepted", "ResolvedRefs"))
            yield from (said.message for said in one.conditions if said.type == "PartiallyInvalid")
    if isinstance(route, TCPRoute):
        yield from _others_has(route, snapshot)


def _others_has(route: TCPRoute, snapshot: Snapshot) -> Iterator[str]:
    """Listeners at which an older route has all connections: conditions, as the Gateway API has them, do not say so."""
    own = names.own(snapshot)
    for gateway in (own[key] for key in routes_by_gateway(route) if key in own):
        at: dict[str, list[Route]] = {}
        for one in doors(gateway, snapshot).attachments:
            for name in one.hosts if one.refused is None and isinstance(one.route, TCPRoute) else ():
                at.setdefault(name, []).append(one.route)
        for name, (first, *others) in at.items():
            if route in others and first != route:
                shown = f"listener {name} of gateway {gateway.namespace}/{gateway.name}"
                yield f"{shown} has tcproute {first.namespace}/{first.name}, which is older and gets all connections"


def _false(conditions: Iterable[Condition], types: tuple[str, ...]) -> Iterator[str]:
    for one in conditions:
        if one.type in types and one.status != "True":
            yield f"{one.type} is {one.status}, {one.reason}: {one.message}"


def coming(snapshot: Snapshot, asked: Iterable[tuple[str, Key]]) -> list[str]:
    """Of these objects (kind and key) the Gateways, and those of the routes, of which nobody has said yet how they are,
    or whose pods are not ready yet."""
    own, found = names.own(snapshot), []
    for key in dict.fromkeys(_gateways(snapshot, asked)):
        gateway = own.get(key)
        if gateway is None:
            continue
        said = next((one for one in gateway.status.conditions if one.type == "Programmed"), None)
        if said is None or said.observedGeneration != gateway.metadata.generation:
            found.append(f"gateway {gateway.namespace}/{gateway.name}: nothing has been said of it yet")
        elif said.status != "True" and said.reason == PENDING:
            found.append(f"gateway {gateway.namespace}/{gateway.name}: {said.message}")
    return found


def _gateways(snapshot: Snapshot, asked: Iterable[tuple[str, Key]]) -> Iterator[Key]:
    for kind, key in asked:
        if kind == Gateway.KIND:
            yield key
        elif kind in BY_KIND and (route := snapshot.all(BY_KIND[kind]).get(key)) is not None:
            yield from routes_by_gateway(route)
