"""What nginx-gateway-fabric's control plane does: for each Gateway a Deployment and a Service, and all statuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from msgspec.structs import replace

from k8snetlab.api.apps import Deployment
from k8snetlab.api.config import Secret
from k8snetlab.api.core import Condition, Namespace, Node, Service, ServicePort
from k8snetlab.api.gateway import Gateway, GatewayClass, GatewayStatus, ReferenceGrant, RouteStatus
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.routes import ROUTES
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.controllers.changes import Answer, each, put
from k8snetlab.controllers.identity import controller_of, owned_by
from k8snetlab.gateways import attaching, names, objects, status
from k8snetlab.gateways.attaching import Attachment, Doors

CONTROLLER = "nginx-gateway"
_KINDS: tuple[type[Object], ...] = (
    *(Lab, GatewayClass, Gateway, *ROUTES, ReferenceGrant),
    *(Service, Deployment, Secret, Namespace, Node),
)
T = TypeVar("T")


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    """Nothing in a lab without such a controller: statuses are then the user's own."""
    if not now.all(Lab) or now.lab.spec.gateway.controller == "none":
        return
    if before is not None and all(now.all(kind) is before.all(kind) for kind in _KINDS):
        return
    for known in names.own_classes(now).values():
        said = status.of_class(known)
        timed = replace(said, conditions=_timed(said.conditions, known.status.conditions))
        if timed != known.status:
            yield put(replace(known, status=timed))
    gateways = [one for one in names.own(now).values() if not one.metadata.deletionTimestamp]
    doors = [attaching.doors(gateway, now) for gateway in gateways]
    yield from each(doors, lambda one: _served(one, now), lambda one: one.gateway)
    yield from each(doors, lambda one: _told(one, now), lambda one: one.gateway)
    yield from _routes(now, doors)


# --- what serves a Gateway ------------------------------------------------------------------------------------------


def _served(doors: Doors, now: Snapshot) -> Iterator[Answer]:
    """An object of somebody else's that has the name is left alone, and the Gateway is not programmed. One without a
    listener that can be served gets nothing new."""
    gateway = doors.gateway
    numbers = tuple(dict.fromkeys(one.listener.port for one in doors.listeners if one.serves))
    if status.is_refused(gateway) or not numbers:
        return
    owner = owned_by(gateway)
    key = names.name_of(gateway), gateway.namespace
    deployment = now.get(Deployment, *key)
    wanted = objects.deployment(gateway, owner, now.lab.spec.gateway.replicas)
    if deployment is None:
        yield put(wanted)
    service = now.get(Service, *key)
    door = objects.service(gateway, owner, now.lab, numbers)
    if service is None:
        yield put(door)
    elif _is_own(service, gateway) and (changed := _with_ports(service, door)) != service:
        yield put(changed)


def _is_own(obj: Object, gateway: Gateway) -> bool:
    owner = controller_of(obj)
    return owner is not None and owner.uid == gateway.metadata.uid


def _with_ports(service: Service, wanted: Service) -> Service:
    """With the ports that are wanted: those that are there keep their node ports."""
    held = {one.port: one for one in service.spec.ports}
    ports: tuple[ServicePort, ...] = tuple(held.get(one.port, one) for one in wanted.spec.ports)
    return replace(service, spec=replace(service.spec, ports=ports, type=wanted.spec.type))


# --- what is said ---------------------------------------------------------------------------------------------------


def _told(doors: Doors, now: Snapshot) -> Iterator[Answer]:
    gateway = doors.gateway
    said = _gateway_timed(status.of_gateway(doors, now), gateway.status)
    if said != gateway.status:
        yield put(replace(gateway, status=said))


def _gateway_timed(said: GatewayStatus, held: GatewayStatus) -> GatewayStatus:
    before = {one.name: one.conditions for one in held.listeners}
    listeners = tuple(
        replace(one, conditions=_timed(one.conditions, before.get(one.name, ()))) for one in said.listeners
    )
    return replace(said, conditions=_timed(said.conditions, held.conditions), listeners=listeners)


def _routes(now: Snapshot, doors: Iterable[Doors]) -> Iterator[Answer]:
    """Those that name a Gateway of ours, and those of which something was said that is no longer so."""
    attached: dict[tuple[str, Key], list[Attachment]] = {}
    for one in doors:
        for attachment in one.attachments:
            attached.setdefault((attachment.route.KIND, attachment.route.key), []).append(attachment)
    for key, route in ((key, one) for kind in ROUTES for key, one in now.all(kind).items()):
        found = sorted(attached.get((route.KIND, key), ()), key=lambda one: one.number)
        said = _route_timed(status.of_route(route, found), route.status)
        if said != route.status:
            yield put(replace(route, status=said))


def _route_timed(said: RouteStatus, held: RouteStatus) -> RouteStatus:
    before = {(one.parentRef, one.controllerName): one.conditions for one in held.parents}
    parents = (
        replace(one, conditions=_timed(one.conditions, before.get((one.parentRef, one.controllerName), ())))
        if one.controllerName == names.CONTROLLER
        else one
        for one in said.parents
    )
    return RouteStatus(parents=tuple(parents))


def _timed(said: tuple[Condition, ...], held: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Since when each is so, as far as it was before; the others get their time when they are written."""
    since: dict[Any, str | None] = {(one.type, one.status): one.lastTransitionTime for one in held}
    return tuple(replace(one, lastTransitionTime=since.get((one.type, one.status))) for one in said)
