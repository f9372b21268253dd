"""Kinds of gateway.networking.k8s.io that route whole connections, TLSRoute and TCPRoute of v1, beside HTTPRoute.

Source: kubernetes-sigs/gateway-api v1.6 (standard channel), apis/v1/{tlsroute,tcproute}_types.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from k8snetlab.api.gateway import GROUP, BackendRef, HTTPRoute, HTTPRouteRule, RouteParentReference, RouteStatus
from k8snetlab.api.meta import Object, Value
from k8snetlab.api.words import Path


class TLSRouteRule(Value, kw_only=True):
    name: str | None = None
    backendRefs: tuple[BackendRef, ...]


class TLSRouteSpec(Value, kw_only=True):
    parentRefs: tuple[RouteParentReference, ...] = ()
    hostnames: tuple[str, ...]
    rules: tuple[TLSRouteRule, ...]


class TLSRoute(Object, kw_only=True):
    """Connections of TLS, by the name that the client asks for; nobody between the two reads them."""

    KIND: ClassVar[str] = "TLSRoute"
    API_VERSION: ClassVar[str] = f"{GROUP}/v1"
    counted: ClassVar[bool] = True
    lined: ClassVar[bool] = True

    spec: TLSRouteSpec
    status: RouteStatus = RouteStatus()


class TCPRouteRule(Value, kw_only=True):
    name: str | None = None
    backendRefs: tuple[BackendRef, ...]


class TCPRouteSpec(Value, kw_only=True):
    parentRefs: tuple[RouteParentReference, ...] = ()
    rules: tuple[TCPRouteRule, ...]


class TCPRoute(Object, kw_only=True):
    """All connections that come to a port."""

    KIND: ClassVar[str] = "TCPRoute"
    API_VERSION: ClassVar[str] = f"{GROUP}/v1"
    counted: ClassVar[bool] = True
    lined: ClassVar[bool] = True

    spec: TCPRouteSpec
    status: RouteStatus = RouteStatus()


StreamRoute = TLSRoute | TCPRoute
Route = HTTPRoute | TLSRoute | TCPRoute
ROUTES: tuple[type[Route], ...] = (HTTPRoute, TLSRoute, TCPRoute)
KINDS = tuple(one.KIND for one in ROUTES)
BY_KIND: dict[str, type[Route]] = {one.KIND: one for one in ROUTES}


def hostnames(route: Route) -> tuple[str, ...]:
    """Those that it names; none stands for all."""
    return () if isinstance(route, TCPRoute) else route.spec.hostnames


def backends(route: Route) -> Iterator[tuple[Path, BackendRef]]:
    """Where its rules lead, each with its place."""
    rules: tuple[HTTPRouteRule | TLSRouteRule | TCPRouteRule, ...] = route.spec.rules
    for number, rule in enumerate(rules):
        led: tuple[BackendRef, ...] = rule.backendRefs
        for place, backend in enumerate(led):
            yield ("spec", "rules", number, "backendRefs", place), backend
