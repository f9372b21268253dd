"""Kinds of gateway.networking.k8s.io: GatewayClass, Gateway and HTTPRoute of v1, ReferenceGrant of v1beta1.

Source: kubernetes-sigs/gateway-api v1.6 (standard channel), apis/v1 and config/crd/standard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec

from k8snetlab.api.core import Condition
from k8snetlab.api.meta import LabelSelector, Object, Value, always

GROUP = "gateway.networking.k8s.io"
_WAITING = ("Unknown", "Pending", "Waiting for controller", "1970-01-01T00:00:00Z")
MatchType = Literal["Exact", "RegularExpression"]
FilterType = Literal[
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestMirror",
    "RequestRedirect",
    "URLRewrite",
    "ExtensionRef",
    "CORS",
]
Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


def _pending(*types: str) -> tuple[Condition, ...]:
    """What the API server fills in until a controller has looked."""
    status, reason, message, time = _WAITING
    return tuple(
        Condition(type=one, status=status, reason=reason, message=message, lastTransitionTime=time) for one in types
    )


# --- GatewayClass ---------------------------------------------------------------------------------------------------


class ParametersReference(Value):
    group: str
    kind: str
    name: str
    namespace: str | None = None


class GatewayClassSpec(Value):
    controllerName: str
    parametersRef: ParametersReference | None = None
    description: str | None = None


class SupportedFeature(Value):
    name: str


class GatewayClassStatus(Value):
    conditions: tuple[Condition, ...] = always(_pending("Accepted"))
    supportedFeatures: tuple[SupportedFeature, ...] = ()


class GatewayClass(Object, kw_only=True):
    KIND: ClassVar[str] = "GatewayClass"
    API_VERSION: ClassVar[str] = f"{GROUP}/v1"
    namespaced: ClassVar[bool] = False
    counted: ClassVar[bool] = True
    lined: ClassVar[bool] = True

    spec: GatewayClassSpec
    status: GatewayClassStatus = always(GatewayClassStatus())


# --- Gateway --------------------------------------------------------------------------------------------------------


class SecretObjectReference(Value, kw_only=True):
    """A Secret, or another object that holds a certificate."""

    group: str = always("")
    kind: str = always("Secret")
    name: str
    namespace: str | None = None


class ListenerTLSConfig(Value):
    mode: Literal["Terminate", "Passthrough"] = always("Terminate")
    certificateRefs: tuple[SecretObjectReference, ...] = ()
    options: Mapping[str, str] = {}


class RouteGroupKind(Value, kw_only=True):
    group: str = always(GROUP)
    kind: str


class RouteNamespaces(Value):
    """`from_` is the API's `from`."""

    from_: Literal["All", "Selector", "Same"] = msgspec.field(default_factory=lambda: "Same", name="from")
    selector: LabelSelector | None = None


class AllowedRoutes(Value):
    namespaces: RouteNamespaces = always(RouteNamespaces())
    kinds: tuple[RouteGroupKind, ...] = ()


class Listener(Value, kw_only=True):
    """One port, protocol and hostname that a Gateway listens for; its `name` is the `sectionName` of parentRefs."""

    name: str
    hostname: str | None = None
    port: int
    protocol: str
    tls: ListenerTLSConfig | None = None
    allowedRoutes: AllowedRoutes = always(AllowedRoutes())


class GatewaySpecAddress(Value, kw_only=True):
    type: str = always("IPAddress")
    value: str = ""


class LocalParametersReference(Value):
    group: str
    kind: str
    name: str


class GatewayInfrastructure(Value):
    """Labels and annotations of what is made for the Gateway."""

    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    parametersRef: LocalParametersReference | None = None


class GatewaySpec(Value):
    gatewayClassName: str
    listeners: tuple[Listener, ...]
    addresses: tuple[GatewaySpecAddress, ...] = ()
    infrastructure: GatewayInfrastructure | None = None


class GatewayStatusAddress(Value, kw_only=True):
    type: str = always("IPAddress")
    value: str


class ListenerStatus(Value):
    name: str
    supportedKinds: tuple[RouteGroupKind, ...] = always(())
    attachedRoutes: int = always(0)
    conditions: tuple[Condition, ...] = always(())


class GatewayStatus(Value):
    addresses: tuple[GatewayStatusAddress, ...] = ()
    conditions: tuple[Condition, ...] = always(_pending("Accepted", "Programmed"))
    listeners: tuple[ListenerStatus, ...] = ()


class Gateway(Object, kw_only=True):
    KIND: ClassVar[str] = "Gateway"
    API_VERSION: ClassVar[str] = f"{GROUP}/v1"
    counted: ClassVar[bool] = True
    lined: ClassVar[bool] = True

    spec: GatewaySpec
    status: GatewayStatus = always(GatewayStatus())


# --- HTTPRoute ------------------------------------------------------------------------------------------------------


class RouteParentReference(Value, kw_only=True):
    """The Gateway, and with `sectionName` or `port` those of its listeners, that a route is for."""

    group: str = always(GROUP)
    kind: str = always("Gateway")
    namespace: str | None = None
    name: str
    sectionName: str | None = None
    port: int | None = None


class HTTPPathMatch(Value):
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = always("PathPrefix")
    value: str = always("/")


class HTTPHeaderMatch(Value, kw_only=True):
    type: MatchType = always("Exact")
    name: str
    value: str


class HTTPQueryParamMatch(Value, kw_only=True):
    type: MatchType = always("Exact")
    name: str
    value: str


class HTTPRouteMatch(Value):
    """All that it names must be so."""

    path: HTTPPathMatch = always(HTTPPathMatch())
    headers: tuple[HTTPHeaderMatch, ...] = ()
    queryParams: tuple[HTTPQueryParamMatch, ...] = ()
    method: Method | None = None


class HTTPHeader(Value):
    name: str
    value: str


class HTTPHeaderFilter(Value):
    set: tuple[HTTPHeader, ...] = ()
    add: tuple[HTTPHeader, ...] = ()
    remove: tuple[str, ...] = ()


class HTTPPathModifier(Value):
    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replaceFullPath: str | None = None
    replacePrefixMatch: str | None = None


class HTTPRequestRedirectFilter(Value):
    """What is left out is as in the request."""

    scheme: Literal["http", "https"] | None = None
    hostname: str | None = None
    path: HTTPPathModifier | None = None
    port: int | None = None
    statusCode: int = always(302)


class HTTPURLRewriteFilter(Value):
    hostname: str | None = None
    path: HTTPPathModifier | None = None


class RouteBackendReference(Value, kw_only=True):
    group: str = always("")
    kind: str = always("Service")
    name: str
    namespace: str | None = None
    port: int | None = None


class Fraction(Value):
    numerator: int
    denominator: int = always(100)


class HTTPRequestMirrorFilter(Value):
    backendRef: RouteBackendReference
    percent: int | None = None
    fraction: Fraction | None = None


class HTTPCORSFilter(Value):
    allowOrigins: tuple[str, ...] = ()
    allowCredentials: bool = False
    allowMethods: tuple[str, ...] = ()
    allowHeaders: tuple[str, ...] = ()
    exposeHeaders: tuple[str, ...] = ()
    maxAge: int = always(5)


class ExtensionReference(Value):
    group: str
    kind: str
    name: str


class HTTPRouteFilter(Value):
    """The field that its `type` names, and no other."""

    type: FilterType
    requestHeaderModifier: HTTPHeaderFilter | None = None
    responseHeaderModifier: HTTPHeaderFilter | None = None
    requestMirror: HTTPRequestMirrorFilter | None = None
    requestRedirect: HTTPRequestRedirectFilter | None = None
    urlRewrite: HTTPURLRewriteFilter | None = None
    cors: HTTPCORSFilter | None = None
    extensionRef: ExtensionReference | None = None


class BackendRef(RouteBackendReference, kw_only=True):
    """Of the requests or connections of a rule, `weight` of the sum of all its weights."""

    weight: int = always(1)


class HTTPBackendRef(BackendRef, kw_only=True):
    filters: tuple[HTTPRouteFilter, ...] = ()


class HTTPRouteTimeouts(Value):
    """Durations such as 10s or 500ms; 0s is none."""

    request: str | None = None
    backendRequest: str | None = None


class HTTPRouteRule(Value):
    name: str | None = None
    matches: tuple[HTTPRouteMatch, ...] = always((HTTPRouteMatch(),))
    filters: tuple[HTTPRouteFilter, ...] = ()
    backendRefs: tuple[HTTPBackendRef, ...] = ()
    timeouts: HTTPRouteTimeouts | None = None


class HTTPRouteSpec(Value):
    parentRefs: tuple[RouteParentReference, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[HTTPRouteRule, ...] = always((HTTPRouteRule(),))


class RouteParentStatus(Value):
    parentRef: RouteParentReference
    controllerName: str
    conditions: tuple[Condition, ...] = always(())


class RouteStatus(Value):
    parents: tuple[RouteParentStatus, ...] = always(())


class HTTPRoute(Object):
    KIND: ClassVar[str] = "HTTPRoute"
    API_VERSION: ClassVar[str] = f"{GROUP}/v1"
    counted: ClassVar[bool] = True
    lined: ClassVar[bool] = True

    spec: HTTPRouteSpec = always(HTTPRouteSpec())
    status: RouteStatus = RouteStatus()

    @property
    def services(self) -> tuple[tuple[str, str], ...]:
        """(namespace, name) of the Services that it leads to, each once."""
        backends = (one for rule in self.spec.rules for one in rule.backendRefs)
        found = ((one.namespace or self.namespace, one.name) for one in backends if is_service(one))
        return tuple(dict.fromkeys(found))


def is_service(reference: Any) -> bool:
    """Whether a reference is to a Service."""
    return (reference.group, reference.kind) == ("", "Service")


def seconds(duration: str | None) -> float:
    """Of 1h30m, 10s, 500ms; 0 where there is none."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"([0-9]+)(ms|h|m|s)", duration or ""))


# --- ReferenceGrant -------------------------------------------------------------------------------------------------


class ReferenceGrantFrom(Value):
    group: str
    kind: str
    namespace: str


class ReferenceGrantTo(Value):
    """All objects of that kind, or the one of that `name`."""

    group: str
    kind: str
    name: str | None = None


class ReferenceGrantSpec(Value):
    """`from_` is the API's `from`."""

    from_: tuple[ReferenceGrantFrom, ...] = msgspec.field(name="from")
    to: tuple[ReferenceGrantTo, ...]


class ReferenceGrant(Object, kw_only=True):
    """Who of other namespaces may refer to what in its own."""

    KIND: ClassVar[str] = "ReferenceGrant"
    API_VERSION: ClassVar[str] = f"{GROUP}/v1beta1"
    counted: ClassVar[bool] = True

    spec: ReferenceGrantSpec
