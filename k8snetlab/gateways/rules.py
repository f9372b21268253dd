"""What of an HTTPRoute's rules is served here: all of Core and some of Extended; the rest is named, and never passed
over.

Source: kubernetes-sigs/gateway-api, apis/v1/httproute_types.go; GEP-1364 (a rule that is not served: 500).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from k8snetlab.api.gateway import (
    HTTPHeaderFilter,
    HTTPPathModifier,
    HTTPRouteFilter,
    HTTPRouteMatch,
    HTTPRouteRule,
)

SERVED = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite")
_NAME = re.compile(r"[A-Za-z0-9-]+")
"""Names of headers that nginx tells apart: it drops requests' headers with a "_", and reads "-" as one."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PATH = re.compile(r"/[-A-Za-z0-9/._~!&'()*+,;=:@]*|")
HOP_BY_HOP = frozenset(
    ("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers of one connection, which nginx sees to."""
OWN_ANSWERS = HOP_BY_HOP | {"server", "date", "content-type", "content-encoding", "last-modified", "location"}
"""Headers of answers that nginx writes by itself."""


def match_trouble(match: HTTPRouteMatch) -> str:
    """Why a match is not served: no request comes to its rule by it."""
    expressions = [match.path.type, *(one.type for one in match.headers), *(one.type for one in match.queryParams)]
    if "RegularExpression" in expressions:
        return "matches of type RegularExpression are not served here; take Exact or PathPrefix"
    if _CONTROL.search(unquote(match.path.value)) or "\ufffd" in unquote(match.path.value):
        return f"path {match.path.value[:60]}: what it encodes is no text"
    for header in match.headers:
        if not _NAME.fullmatch(header.name):
            return f"header {header.name}: nginx tells only names of letters, digits and - apart"
        if _CONTROL.search(header.value):
            return f"header {header.name}: its value has a control character"
    return ""


def rule_trouble(rule: HTTPRouteRule) -> str:
    """Why requests that come to a rule are answered with 500."""
    for one in rule.filters:
        if why := _filter_trouble(one):
            return why
    for backend in rule.backendRefs:
        if backend.filters:
            return f"filters of a backendRef ({backend.filters[0].type}) are not served here; write them at the rule"
    return ""


def _filter_trouble(one: HTTPRouteFilter) -> str:
    if one.type not in SERVED:
        return f"filter {one.type} is not served here"
    if one.requestHeaderModifier is not None:
        return next(_header_troubles(one.requestHeaderModifier, HOP_BY_HOP), "")
    if one.responseHeaderModifier is not None:
        return next(_header_troubles(one.responseHeaderModifier, OWN_ANSWERS), "")
    given = one.requestRedirect or one.urlRewrite
    return _path_trouble(given.path) if given is not None and given.path is not None else ""


def _header_troubles(change: HTTPHeaderFilter, own: frozenset[str]) -> Iterator[str]:
    for name in (*(one.name for one in (*change.set, *change.add)), *change.remove):
        if not _NAME.fullmatch(name):
            yield f"header {name[:40]!r}: nginx tells only names of letters, digits and - apart"
        if name.lower() in own:
            yield f"header {name} is seen to by nginx itself"
    for one in (*change.set, *change.add):
        if _CONTROL.search(one.value):
            yield f"header {one.name}: its value has a control character"


def _path_trouble(path: HTTPPathModifier) -> str:
    text = path.replaceFullPath if path.type == "ReplaceFullPath" else path.replacePrefixMatch
    if text is None or _PATH.fullmatch(text):
        return ""
    return f"path {text[:60]!r}: a path begins with / and has only letters, digits and -._~!&'()*+,;=:@/ here"
