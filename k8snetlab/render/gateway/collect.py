"""From a Gateway and the routes that attach to it to what is served: which host, and in which order matches are tried.

Source: kubernetes-sigs/gateway-api, apis/v1/httproute_types.go (precedence of hostnames and of matches).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from k8snetlab.api.gateway import Gateway, HTTPHeaderFilter, HTTPRoute, HTTPRouteMatch, HTTPRouteRule, seconds
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.gateways import attaching, rules, status
from k8snetlab.gateways.attaching import ANY, Attachment, Doors, hosts_of, is_host, nearest
from k8snetlab.gateways.listeners import ListenerState
from k8snetlab.render.gateway import streaming
from k8snetlab.render.gateway.model import Action, Candidate, Server, Site, Test
from k8snetlab.render.ingress.model import Origin, Upstream
from k8snetlab.render.ingress.syntax import regex

NONE = 86400.0
"""Seconds that stand for no timeout: 0s."""


def site(gateway: Gateway, snapshot: Snapshot, refused: Mapping[str, str] = {}) -> Site:
    """`refused`: files that nginx does not take, and why; their listeners are not served."""
    if status.is_refused(gateway):
        return Site()
    return _Collector(attaching.doors(gateway, snapshot), snapshot, refused).site()


class _Collector:
    def __init__(self, doors: Doors, snapshot: Snapshot, refused: Mapping[str, str]) -> None:
        self._doors, self._snapshot, self._refused = doors, snapshot, refused
        self._upstreams: dict[str, Upstream] = {}
        self._actions: dict[tuple[Any, int], Action] = {}

    def site(self) -> Site:
        known = (one for one in self._doors.listeners if one.serves and not one.streams)
        states = [one for one in known if is_host(one.listener.hostname or ANY)]
        states = [one for one in states if not one.secure or one.certificate.file not in self._refused]
        servers: list[Server] = []
        for port in sorted({one.listener.port for one in states}):
            servers += self._servers([one for one in states if one.listener.port == port])
        streams, passed = streaming.streams(self._doors, self._snapshot)
        files = {one.certificate.file: one.certificate.text for one in states if one.secure}
        ipv6 = ":" in self._snapshot.lab.spec.podCIDR
        upstreams = dict(sorted(self._upstreams.items()))
        return Site(tuple(servers), upstreams, streams, passed, files, ipv6=ipv6)

    def _servers(self, states: list[ListenerState]) -> Iterable[Server]:
        """Of one port; a request is for the most specific listener alone."""
        for host, owner in hosts_of(states, [one for one, _ in self._attached()]):
            yield self._server(host, owner)

    def _server(self, host: str, owner: ListenerState) -> Server:
        name, gateway = owner.listener.name, self._doors.gateway
        found: list[tuple[Any, Candidate]] = []
        for attachment, route in self._attached():
            near = nearest(attachment, name, host)
            if near is not None:
                found += [((near, *order), one) for order, one in self._candidates(route)]
        found.sort(key=lambda one: one[0])
        number = gateway.spec.listeners.index(owner.listener)
        return Server(
            port=owner.listener.port,
            secure=owner.secure,
            host=host,
            listener=name,
            origin=Origin(gateway.KIND, gateway.key, ("spec", "listeners", number)),
            certificate=owner.certificate.file if owner.secure else "",
            candidates=tuple(one for _, one in found),
        )

    def _attached(self) -> Iterable[tuple[Attachment, HTTPRoute]]:
        """Those of which nothing is served answer with 500, rather than letting others have their requests."""
        for one in self._doors.attachments:
            served = one.refused is None or one.refused.reason == "UnsupportedValue"
            if one.hosts and served and isinstance(one.route, HTTPRoute):
                yield one, one.route

    # --- rules ---

    def _candidates(self, route: HTTPRoute) -> Iterable[tuple[Any, Candidate]]:
        """With what they are sorted by."""
        for number, rule in enumerate(route.spec.rules):
            for place, match in enumerate(rule.matches or (HTTPRouteMatch(),)):
                if rules.match_trouble(match):
                    continue
                origin = Origin(route.KIND, route.key, ("spec", "rules", number, "matches", place))
                path = unquote(match.path.value)
                exact = match.path.type == "Exact"
                path = path if exact else path.rstrip("/") or "/"
                action = self._action(route, number, rule)
                found = Candidate("exact" if exact else "prefix", path, action, origin, _tests(match))
                order = (not exact, -len(path), match.method is None, -len(match.headers), -len(match.queryParams))
                yield (*order, *attaching.age(route), number, place), found

    def _action(self, route: HTTPRoute, number: int, rule: HTTPRouteRule) -> Action:
        mark = (route.key, number)
        if mark in self._actions:
            return self._actions[mark]
        filters = {one.type: one for one in rule.filters}
        redirect, rewrite = filters.get("RequestRedirect"), filters.get("URLRewrite")
        request, response = filters.get("RequestHeaderModifier"), filters.get("ResponseHeaderModifier")
        given = redirect.requestRedirect if redirect else None
        change = rewrite.urlRewrite if rewrite else None
        path = given.path if given else change.path if change else None
        action = Action(
            name=f"{route.namespace}__{route.name}__{number}".replace("-", "_h").replace(".", "_d"),
            origin=Origin(route.KIND, route.key, ("spec", "rules", number)),
            trouble=rules.rule_trouble(rule),
            shares=tuple(streaming.shares(self._snapshot, route, rule.backendRefs, self._upstreams)),
            redirect=given,
            host=(change.hostname or "") if change else "",
            path=path,
            prefix=unquote(rule.matches[0].path.value).rstrip("/") if len(rule.matches) == 1 else "",
            request_headers=(request.requestHeaderModifier if request else None) or HTTPHeaderFilter(),
            response_headers=(response.responseHeaderModifier if response else None) or HTTPHeaderFilter(),
            timeout=_timeout(rule),
        )
        self._actions[mark] = action
        return action


def _timeout(rule: HTTPRouteRule) -> float:
    """The shorter one; 0 for nginx' usual, where the rule says nothing."""
    said = (rule.timeouts.request, rule.timeouts.backendRequest) if rule.timeouts else ()
    given = [seconds(one) for one in said if one is not None]
    return min((one for one in given if one), default=NONE if given else 0.0)


def _tests(match: HTTPRouteMatch) -> tuple[Test, ...]:
    found = []
    if match.method is not None:
        found.append(Test("request_method", f"^{match.method}$", "method", "", match.method))
    known: set[str] = set()
    for header in match.headers:  # of one name in two spellings the first counts
        name = header.name.lower()
        if name not in known:
            known.add(name)
            variable = "http_" + name.replace("-", "_")
            found.append(Test(variable, f"^{regex(header.value)}$", "header", header.name, header.value))
    for one in match.queryParams:
        first, rest = f"{_encoded(one.name)}=", _encoded(one.value, plus=True)
        found.append(Test("args", f"^(?:(?!{first})[^&]*&)*{first}{rest}(?:&|$)", "parameter", one.name, one.value))
    return tuple(found)


def _encoded(text: str, plus: bool = False) -> str:
    """An expression that matches the text however a client encodes it in a URL."""
    return (
        "".join(map(_character, text))
        if not plus
        else "".join(r"(?:\+|%20)" if c == " " else _character(c) for c in text)
    )


def _character(sign: str) -> str:
    code = "".join(f"%{byte:02x}" for byte in sign.encode())
    plain = sign if sign.isascii() and sign.isalnum() else regex(sign)
    if quote(sign, safe="") != sign and not (sign.isascii() and sign.isprintable()):
        return f"(?i:{code})"
    return f"(?:{plain}|(?i:{code}))"
