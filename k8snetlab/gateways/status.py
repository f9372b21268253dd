"""What is said of GatewayClasses, Gateways and their routes in their status: the Gateway API's conditions.

Conditions here have no times; who writes them gives those.
Source: kubernetes-sigs/gateway-api, apis/v1/{gatewayclass,gateway,shared}_types.go; conformance/tests.
"""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.apps import Deployment
from k8snetlab.api.core import Condition, Node, Service
from k8snetlab.api.gateway import (
    Gateway,
    GatewayClass,
    GatewayClassStatus,
    GatewayStatus,
    GatewayStatusAddress,
    ListenerStatus,
    RouteParentStatus,
    RouteStatus,
    SupportedFeature,
)
from k8snetlab.api.routes import Route
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.gateways.attaching import Attachment, Doors
from k8snetlab.gateways.listeners import ListenerState
from k8snetlab.gateways.names import CONTROLLER, is_taken, name_of, pods_of
from k8snetlab.gateways.references import Trouble

FEATURES = (
    "Gateway",
    "GatewayHTTPListenerIsolation",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
)
"""What is served of the Gateway API's features."""


def _true(type_: str, reason: str, message: str) -> Condition:
    return Condition(type=type_, status="True", reason=reason, message=message)


def _false(type_: str, reason: str, message: str) -> Condition:
    return Condition(type=type_, status="False", reason=reason, message=message)


def _seen(conditions: Iterable[Condition], generation: int) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            type=one.type,
            status=one.status,
            reason=one.reason,
            message=one.message,
            observedGeneration=generation,
        )
        for one in conditions
    )


# --- GatewayClass ---------------------------------------------------------------------------------------------------


def of_class(known: GatewayClass) -> GatewayClassStatus:
    if is_taken(known):
        said = _true("Accepted", "Accepted", "GatewayClass is accepted")
    else:
        said = _false("Accepted", "InvalidParameters", "parametersRef: this controller has no parameters")
    features = tuple(SupportedFeature(name=one) for one in FEATURES)
    return GatewayClassStatus(conditions=_seen((said,), known.metadata.generation), supportedFeatures=features)


# --- Gateway --------------------------------------------------------------------------------------------------------


def of_gateway(doors: Doors, snapshot: Snapshot) -> GatewayStatus:
    gateway = doors.gateway
    found = addresses(gateway, snapshot)
    refused = _refused(gateway)
    waiting = None if refused else _waiting(gateway, found, snapshot)
    accepted = _accepted(doors, refused)
    if accepted.status == "False":
        programmed = _false("Programmed", "Invalid", "Gateway is not accepted")
    elif waiting is not None:
        programmed = _false("Programmed", waiting.reason, waiting.message)
    else:
        programmed = _true("Programmed", "Programmed", "Gateway is programmed")
    generation = gateway.metadata.generation
    return GatewayStatus(
        addresses=found,
        conditions=_seen((accepted, programmed), generation),
        listeners=tuple(_listener(one, doors, refused or waiting) for one in doors.listeners),
    )


def _refused(gateway: Gateway) -> Trouble | None:
    """What keeps the whole Gateway from being served."""
    given = gateway.spec.infrastructure
    if given is not None and given.parametersRef is not None:
        return Trouble("InvalidParameters", "infrastructure.parametersRef: this controller has no parameters")
    if any(one.value for one in gateway.spec.addresses):
        return Trouble("UnsupportedAddress", "spec.addresses: addresses are given by the lab, and cannot be asked for")
    return None


def is_refused(gateway: Gateway) -> bool:
    return _refused(gateway) is not None


def _accepted(doors: Doors, refused: Trouble | None) -> Condition:
    if refused is not None:
        return _false("Accepted", *refused)
    invalid = [one.listener.name for one in doors.listeners if not one.serves]
    if not invalid:
        return _true("Accepted", "Accepted", "Gateway is accepted")
    said = f"listener {', '.join(invalid)} is not served; its own conditions say why"
    served = len(invalid) < len(doors.listeners)
    return _true("Accepted", "ListenersNotValid", said) if served else _false("Accepted", "ListenersNotValid", said)


def _waiting(gateway: Gateway, found: tuple[GatewayStatusAddress, ...], snapshot: Snapshot) -> Trouble | None:
    name = f"{gateway.namespace}/{name_of(gateway)}"
    held = snapshot.get(Deployment, name_of(gateway), gateway.namespace)
    for kind, obj in (("deployment", held), ("service", snapshot.get(Service, name_of(gateway), gateway.namespace))):
        if obj is not None and all(one.uid != gateway.metadata.uid for one in obj.metadata.ownerReferences):
            return Trouble("NoResources", f"{kind} {name} is somebody else's: rename it, or the Gateway")
    if held is None or not held.status.availableReplicas:
        return Trouble("Pending", f"no pod of deployment {name} is ready")
    if not found:
        why = ""
        if snapshot.lab.spec.gateway.serviceType == "LoadBalancer" and snapshot.lab.spec.loadBalancer.mode == "none":
            why = ": the lab has spec.loadBalancer.mode none"
        return Trouble("AddressNotAssigned", f"service {name} has no address{why}")
    return None


def addresses(gateway: Gateway, snapshot: Snapshot) -> tuple[GatewayStatusAddress, ...]:
    """Of its Service's load balancer; with node ports those of the nodes where its pods run."""
    service = snapshot.get(Service, name_of(gateway), gateway.namespace)
    if service is None:
        return ()
    if service.spec.type == "LoadBalancer":
        given = service.status.loadBalancer.ingress
        pairs = [("IPAddress", one.ip) if one.ip else ("Hostname", one.hostname or "") for one in given]
        return tuple(GatewayStatusAddress(type=type_, value=value) for type_, value in pairs if value)
    nodes = (snapshot.get(Node, pod.spec.nodeName) for pod in pods_of(gateway, snapshot) if pod.ready)
    known = sorted({node.addresses[0] for node in nodes if node is not None and node.addresses})
    return tuple(GatewayStatusAddress(value=one) for one in known[:16])


def _listener(state: ListenerState, doors: Doors, waiting: Trouble | None) -> ListenerStatus:
    name = state.listener.name
    trouble = state.conflict or state.refused
    conditions = [
        _false("Accepted", *trouble) if trouble else _true("Accepted", "Accepted", "Listener is accepted"),
        _true("Conflicted", *state.conflict)
        if state.conflict
        else _false("Conflicted", "NoConflicts", "Listener has no conflicts"),
        _false("ResolvedRefs", *state.unresolved)
        if state.unresolved
        else _true("ResolvedRefs", "ResolvedRefs", "All references are resolved"),
    ]
    if not state.serves:
        conditions.append(_false("Programmed", "Invalid", "Listener is not served"))
    elif waiting is not None:
        conditions.append(_false("Programmed", "Pending", waiting.message))
    else:
        conditions.append(_true("Programmed", "Programmed", "Listener is programmed"))
    attached = {one.route.key for one in doors.attachments if one.refused is None and name in one.hosts}
    seen = _seen(conditions, doors.gateway.metadata.generation)
    return ListenerStatus(name=name, supportedKinds=state.kinds, attachedRoutes=len(attached), conditions=seen)


# --- routes ---------------------------------------------------------------------------------------------------------


def of_route(route: Route, attachments: Iterable[Attachment]) -> RouteStatus:
    """What other controllers say of it is left as it is."""
    others = tuple(one for one in route.status.parents if one.controllerName != CONTROLLER)
    ours = tuple(
        RouteParentStatus(
            parentRef=one.parent,
            controllerName=CONTROLLER,
            conditions=_seen(_of_parent(one), route.metadata.generation),
        )
        for one in attachments
    )
    return RouteStatus(parents=(*others, *ours))


def _of_parent(attachment: Attachment) -> Iterable[Condition]:
    refused, unresolved = attachment.refused, attachment.unresolved
    yield _false("Accepted", *refused) if refused else _true("Accepted", "Accepted", "Route is accepted")
    if unresolved:
        yield _false("ResolvedRefs", *unresolved)
    else:
        yield _true("ResolvedRefs", "ResolvedRefs", "All references are resolved")
    if not refused and attachment.partly:
        yield _true("PartiallyInvalid", "UnsupportedValue", f"Dropped Rule {attachment.partly}")
