"""What can be wrong with the kinds of gateway.networking.k8s.io.

Source: their CustomResourceDefinitions (kubernetes-sigs/gateway-api v1.6, config/crd/standard): the bounds of fields,
and the rules in CEL, which are written here by hand with their messages.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from k8snetlab.api.gateway import (
    BackendRef,
    Gateway,
    GatewayClass,
    HTTPBackendRef,
    HTTPPathMatch,
    HTTPPathModifier,
    HTTPRoute,
    HTTPRouteFilter,
    HTTPRouteRule,
    Listener,
    ReferenceGrant,
    RouteParentReference,
    is_service,
    seconds,
)
from k8snetlab.api.meta import LabelSelector, Object, Value
from k8snetlab.api.problems import Report, labels
from k8snetlab.api.routes import StreamRoute, backends, hostnames
from k8snetlab.api.rules import invalid, label_selector
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import Path, show

_HOST = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_GROUP = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_KIND = r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"
_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_HEADER = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$"
_CONTROLLER = rf"{_NAME[:-1]}\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$"
_PROTOCOL = rf"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|{_NAME[1:-1]}\/[A-Za-z0-9]+$"
_DURATION = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
_PATH = r"^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$"
_ANY: Mapping[str, tuple[int, int, str]] = {
    "group": (0, 253, _GROUP),
    "kind": (1, 63, _KIND),
    "name": (1, 253, ""),
    "namespace": (1, 63, _LABEL),
    "hostname": (1, 253, _NAME),
    "sectionName": (1, 253, _NAME),
    "controllerName": (1, 253, _CONTROLLER),
    "gatewayClassName": (1, 253, ""),
    "description": (0, 64, ""),
    "request": (0, 253, _DURATION),
    "backendRequest": (0, 253, _DURATION),
    "replaceFullPath": (0, 1024, ""),
    "replacePrefixMatch": (0, 1024, ""),
    "protocol": (1, 255, _PROTOCOL),
}
"""Of a field of any type: its least and most characters, and its pattern."""
_TEXTS: Mapping[tuple[str, str], tuple[int, int, str]] = {
    ("Listener", "name"): (1, 253, _NAME),
    ("Listener", "hostname"): (1, 253, _HOST),
    ("HTTPRouteRule", "name"): (1, 253, _NAME),
    ("HTTPRouteSpec", "hostnames"): (1, 253, _HOST),
    ("TLSRouteSpec", "hostnames"): (1, 253, _HOST),
    **{(type_, "name"): (1, 253, _NAME) for type_ in ("TLSRouteRule", "TCPRouteRule")},
    ("HTTPPathMatch", "value"): (0, 1024, ""),
    ("HTTPQueryParamMatch", "value"): (1, 1024, ""),
    **{(type_, "name"): (1, 256, _HEADER) for type_ in ("HTTPHeader", "HTTPHeaderMatch", "HTTPQueryParamMatch")},
    **{(type_, "value"): (1, 4096, "") for type_ in ("HTTPHeader", "HTTPHeaderMatch")},
}
_COUNTS: Mapping[str, tuple[int, int]] = {
    "listeners": (1, 64),
    "certificateRefs": (0, 64),
    "kinds": (0, 8),
    "addresses": (0, 16),
    "parentRefs": (0, 32),
    "hostnames": (0, 16),
    "rules": (1, 16),
    "matches": (0, 64),
    **dict.fromkeys(("filters", "backendRefs", "headers", "queryParams", "set", "add", "remove"), (0, 16)),
    **dict.fromkeys(("from", "to"), (1, 16)),
}
"""How many items a list has at least and at most."""
_COUNTS_OF: Mapping[tuple[str, str], tuple[int, int]] = {
    ("TLSRouteSpec", "hostnames"): (1, 1024),
    **{(type_, "rules"): (1, 1) for type_ in ("TLSRouteSpec", "TCPRouteSpec")},
    **{(type_, "backendRefs"): (1, 16) for type_ in ("TLSRouteRule", "TCPRouteRule")},
}
"""The same of a list in one type, where it is another one there."""
_BOUNDS: Mapping[str, tuple[int, int]] = {
    "port": (1, 65535),
    "weight": (0, 1_000_000),
    "percent": (0, 100),
    "numerator": (0, 2**31 - 1),
    "denominator": (1, 2**31 - 1),
    "maxAge": (1, 2**31 - 1),
}
_KEYED = {("HTTPHeaderFilter", "set"), ("HTTPHeaderFilter", "add"), ("HTTPRouteMatch", "headers")} | {
    ("HTTPRouteMatch", "queryParams"),
    ("GatewaySpec", "listeners"),
}
"""Lists of which each item has a name of its own."""
_MOST_MATCHES = 128
STATUS_CODES = (301, 302, 303, 307, 308)
_TYPES: Mapping[str, str] = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestMirror": "requestMirror",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "ExtensionRef": "extensionRef",
    "CORS": "cors",
}
"""The field of a filter that its type names."""
Wrong = Iterator[tuple[Path, str]]


def gateway_class(report: Report, obj: GatewayClass, _: Snapshot) -> None:
    _check(report, obj, obj.spec, ())


def gateway(report: Report, obj: Gateway, _: Snapshot) -> None:
    made = obj.spec.infrastructure
    if made is not None:
        where: Path = ("spec", "infrastructure")
        labels(report, obj, (*where, "labels"), made.labels)
        labels(report, obj, (*where, "annotations"), made.annotations, keys_only=True)
    _check(report, obj, obj.spec, _listeners(obj))


def http_route(report: Report, obj: HTTPRoute, _: Snapshot) -> None:
    _check(report, obj, obj.spec, _route(obj))


def stream_route(report: Report, obj: StreamRoute, _: Snapshot) -> None:
    _check(report, obj, obj.spec, _stream(obj))


def reference_grant(report: Report, obj: ReferenceGrant, _: Snapshot) -> None:
    _check(report, obj, obj.spec, ())


def _check(report: Report, obj: Object, spec: Value, rules: Iterable[tuple[Path, str]]) -> None:
    """Rules are asked of an object whose fields are as they may be."""
    found = list(_bounded(report, obj, spec, ("spec",)))
    for where, message in found or rules:
        report.error(obj, where, message)


# --- the bounds of fields -------------------------------------------------------------------------------------------


def _bounded(report: Report, obj: Object, value: Value, path: Path) -> Wrong:
    type_ = type(value).__name__
    for field in msgspec.structs.fields(type(value)):
        held, name = getattr(value, field.name), field.encode_name
        where: Path = (*path, name)
        if isinstance(held, LabelSelector):
            label_selector(report, obj, where, held)
        elif isinstance(held, Value):
            yield from _bounded(report, obj, held, where)
        elif isinstance(held, tuple):
            yield from _listed(report, obj, held, where, type_)
        elif isinstance(held, str):
            yield from _text(held, where, _TEXTS.get((type_, name)) or _ANY.get(name))
        elif type(held) is int and name in _BOUNDS:
            yield from _number(held, where, *_BOUNDS[name])


def _listed(report: Report, obj: Object, items: tuple[Any, ...], path: Path, type_: str) -> Wrong:
    name = str(path[-1])
    least, most = _COUNTS_OF.get((type_, name)) or _COUNTS.get(name, (0, 64))
    if len(items) > most:
        yield path, f"Too many: {len(items)}: must have at most {most} items"
        return
    if len(items) < least:
        yield path, invalid(len(items), f"{show(path)} in body should have at least {least} items")
    seen: set[str] = set()
    for number, item in enumerate(items):
        where: Path = (*path, number)
        if isinstance(item, Value):
            yield from _bounded(report, obj, item, where)
            if (type_, name) in _KEYED:
                known = getattr(item, "name", "")
                if known in seen:
                    yield where, f'Duplicate value: {{"name":"{known}"}}'
                seen.add(known)
        elif isinstance(item, str):
            yield from _text(item, where, _TEXTS.get((type_, name)))


def _text(text: str, path: Path, bound: tuple[int, int, str] | None) -> Wrong:
    if bound is None:
        return
    least, most, pattern = bound
    if len(text) > most:
        yield path, f"Too long: may not be more than {most} bytes"
    elif len(text) < least:
        yield path, invalid(text, f"{show(path)} in body should be at least {least} chars long")
    elif pattern and not _matches(pattern, text):
        yield path, invalid(text, f"{show(path)} in body should match '{pattern}'")


def _matches(pattern: str, text: str) -> bool:
    """Go's dollar is the end of the text, and not what stands before a last newline."""
    return re.search(re.sub(r"\$(?=\Z|\|)", r"\\Z", pattern), text) is not None


def _number(number: int, path: Path, low: int, high: int) -> Wrong:
    if number < low:
        yield path, invalid(number, f"{show(path)} in body should be greater than or equal to {low}")
    if number > high:
        yield path, invalid(number, f"{show(path)} in body should be less than or equal to {high}")


def _refused(why: str, kind: str = "object") -> str:
    """In the words of a rule in CEL."""
    return invalid(kind, why)


# --- Gateway --------------------------------------------------------------------------------------------------------


def _listeners(obj: Gateway) -> Wrong:
    path: Path = ("spec", "listeners")
    listeners = obj.spec.listeners
    for wrong, why in _LISTENER_RULES:
        if any(wrong(one) for one in listeners):
            yield path, _refused(why, "array")
    known = Counter((one.port, one.protocol, one.hostname) for one in listeners)
    if max(known.values(), default=0) > 1:
        yield path, _refused("Combination of port, protocol and hostname must be unique for each listener", "array")
    for number, one in enumerate(listeners):
        if one.tls and one.tls.mode == "Terminate" and not one.tls.certificateRefs and not one.tls.options:
            why = "certificateRefs or options must be specified when mode is Terminate"
            yield (*path, number, "tls"), _refused(why)


_LISTENER_RULES: tuple[tuple[Callable[[Listener], bool], str], ...] = (
    (
        lambda one: one.protocol in ("HTTP", "TCP", "UDP") and one.tls is not None,
        "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
    ),
    (
        lambda one: one.protocol == "HTTPS" and one.tls is not None and one.tls.mode != "Terminate",
        "tls mode must be Terminate for protocol HTTPS",
    ),
    (lambda one: one.protocol == "TLS" and one.tls is None, "tls mode must be set for protocol TLS"),
    (
        lambda one: one.protocol in ("TCP", "UDP") and bool(one.hostname),
        "hostname must not be specified for protocols ['TCP', 'UDP']",
    ),
)

# --- HTTPRoute ------------------------------------------------------------------------------------------------------


def _route(obj: HTTPRoute) -> Wrong:
    spec = obj.spec
    yield from _parents(spec.parentRefs)
    if sum(len(rule.matches) for rule in spec.rules) > _MOST_MATCHES:
        why = (
            "While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules in a "
            "route must be less than 128"
        )
        yield ("spec", "rules"), _refused(why, "array")
    for number, rule in enumerate(spec.rules):
        yield from _rule(rule, ("spec", "rules", number))


def _parents(parents: tuple[RouteParentReference, ...]) -> Wrong:
    known: dict[object, list[RouteParentReference]] = {}
    for one in parents:
        known.setdefault((one.group, one.kind, one.namespace, one.name), []).append(one)
    path, same = ("spec", "parentRefs"), "when parentRefs includes 2 or more references to the same parent"
    for those in known.values():
        if len(those) < 2:
            continue
        if not all(one.sectionName for one in those) and len({one.port for one in those}) < len(those):
            yield path, _refused(f"sectionName must be specified {same}", "array")
        elif len({(one.sectionName, one.port) for one in those}) < len(those):
            yield path, _refused(f"sectionName must be unique {same}", "array")


def _rule(rule: HTTPRouteRule, path: Path) -> Wrong:
    if rule.backendRefs and any(one.requestRedirect for one in rule.filters):
        yield path, _refused("RequestRedirect filter must not be used together with backendRefs")
    for name, modifiers in (
        ("RequestRedirect", [one.requestRedirect.path for one in rule.filters if one.requestRedirect]),
        ("URLRewrite", [one.urlRewrite.path for one in rule.filters if one.urlRewrite]),
    ):
        if any(one and one.type == "ReplacePrefixMatch" for one in modifiers) and not _one_prefix(rule):
            why = (
                f"When using {name} filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified"
            )
            yield path, _refused(why)
    for number, match in enumerate(rule.matches):
        yield from _path(match.path, (*path, "matches", number, "path"))
    yield from _filters(rule.filters, (*path, "filters"))
    for number, backend in enumerate(rule.backendRefs):
        yield from _backend(backend, (*path, "backendRefs", number))
    if rule.timeouts is not None:
        whole, each = seconds(rule.timeouts.request), seconds(rule.timeouts.backendRequest)
        if whole and each > whole:
            why = "backendRequest timeout cannot be longer than request timeout"
            yield (*path, "timeouts"), _refused(why)


def _one_prefix(rule: HTTPRouteRule) -> bool:
    return len(rule.matches) == 1 and rule.matches[0].path.type == "PathPrefix"


def _path(match: HTTPPathMatch, path: Path) -> Wrong:
    value, types = match.value, "when type one of ['Exact', 'PathPrefix']"
    if match.type == "RegularExpression":
        return
    if not value.startswith("/"):
        yield path, _refused(f"value must be an absolute path and start with '/' {types}")
    for text in ("//", "/./", "/../", "%2f", "%2F", "#"):
        if text in value:
            yield path, _refused(f"must not contain '{text}' {types}")
    for text in ("/..", "/."):
        if value.endswith(text):
            yield path, _refused(f"must not end with '{text}' {types}")
    if not _matches(_PATH, value):
        yield path, _refused(f"must only contain valid characters (matching {_PATH}) for types ['Exact', 'PathPrefix']")


def _filters(filters: tuple[HTTPRouteFilter, ...], path: Path) -> Wrong:
    counts = Counter(one.type for one in filters)
    if counts["RequestRedirect"] and counts["URLRewrite"]:
        why = "May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both"
        yield path, _refused(why, "array")
    for name, count in counts.items():
        if count > 1 and name not in ("RequestMirror", "ExtensionRef"):
            yield path, _refused(f"{name} filter cannot be repeated", "array")
    for number, one in enumerate(filters):
        yield from _filter(one, (*path, number))


def _filter(one: HTTPRouteFilter, path: Path) -> Wrong:
    for type_, field in _TYPES.items():
        if getattr(one, field) is not None and one.type != type_:
            yield path, _refused(f"filter.{field} must be nil if the filter.type is not {type_}")
        elif getattr(one, field) is None and one.type == type_:
            yield path, _refused(f"filter.{field} must be specified for {type_} filter.type")
    redirect, rewrite = one.requestRedirect, one.urlRewrite
    if redirect is not None and redirect.statusCode not in STATUS_CODES:
        codes = ", ".join(map(str, STATUS_CODES))
        message = f"Unsupported value: {redirect.statusCode}: supported values: {codes}"
        yield (*path, "requestRedirect", "statusCode"), message
    if redirect is not None and redirect.path is not None:
        yield from _modifier(redirect.path, (*path, "requestRedirect", "path"))
    if rewrite is not None and rewrite.path is not None:
        yield from _modifier(rewrite.path, (*path, "urlRewrite", "path"))


def _modifier(modifier: HTTPPathModifier, path: Path) -> Wrong:
    for type_, field in (("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")):
        held = getattr(modifier, field)
        if modifier.type == type_ and held is None:
            yield path, _refused(f"{field} must be specified when type is set to '{type_}'")
        elif modifier.type != type_ and held is not None:
            yield path, _refused(f"type must be '{type_}' when {field} is set")


def _backend(backend: HTTPBackendRef, path: Path) -> Wrong:
    yield from _port(backend, path)
    yield from _filters(backend.filters, (*path, "filters"))


def _port(backend: BackendRef, path: Path) -> Wrong:
    if is_service(backend) and backend.port is None:
        yield path, _refused("Must have port for Service reference")


# --- TLSRoute and TCPRoute ------------------------------------------------------------------------------------------


def _stream(obj: StreamRoute) -> Wrong:
    yield from _parents(obj.spec.parentRefs)
    if any(_is_address(one) for one in hostnames(obj)):
        yield ("spec", "hostnames"), _refused("Hostnames cannot contain an IP", "array")
    for where, backend in backends(obj):
        yield from _port(backend, where)


def _is_address(host: str) -> bool:
    """One that is a hostname by its signs, too: of IPv4."""
    try:
        return ipaddress.ip_address(host).version == 4
    except ValueError:
        return False
