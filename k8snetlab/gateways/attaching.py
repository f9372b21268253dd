"""Which routes attach to which listeners of a Gateway, for which hosts, and why others do not.

Source: kubernetes-sigs/gateway-api, apis/v1/shared_types.go (ParentReference), httproute_types.go (hostnames).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from k8snetlab.api.gateway import GROUP, Gateway, HTTPRoute, RouteParentReference
from k8snetlab.api.routes import ROUTES, Route, backends, hostnames
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.words import show
from k8snetlab.gateways import listeners, rules
from k8snetlab.gateways.listeners import ListenerState
from k8snetlab.gateways.references import Trouble, backend_trouble

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
ANY = ""
"""Stands for all hosts."""


class Attachment(msgspec.Struct, frozen=True):
    """A parentRef of a route. `hosts` are those it is for at each listener, by its name, ANY for all; none where it
    does not attach, for which `refused` says why. `partly` says what of it is not served, `unresolved` what it refers
    to in vain."""

    route: Route
    number: int
    hosts: Mapping[str, tuple[str, ...]] = {}
    refused: Trouble | None = None
    partly: str = ""
    unresolved: Trouble | None = None

    @property
    def parent(self) -> RouteParentReference:
        return self.route.spec.parentRefs[self.number]


class Doors(msgspec.Struct, frozen=True):
    """A Gateway with its listeners, and the routes that name it."""

    gateway: Gateway
    listeners: tuple[ListenerState, ...]
    attachments: tuple[Attachment, ...]


def routes_by_gateway(route: Route) -> Iterable[Key]:
    """The keys of the Gateways that a route names, for `Snapshot.select`."""
    return dict.fromkeys(key for one in route.spec.parentRefs if (key := gateway_of(route, one)))


def gateway_of(route: Route, parent: RouteParentReference) -> Key | None:
    """None where the parent is no Gateway."""
    if (parent.group, parent.kind) != (GROUP, "Gateway"):
        return None
    return parent.namespace or route.namespace, parent.name


def age(route: Route) -> tuple[str, str, str]:
    """By which routes that say the same are told apart: the oldest, then by name."""
    return route.metadata.creationTimestamp or "~", route.namespace, route.name


def doors(gateway: Gateway, snapshot: Snapshot) -> Doors:
    states = listeners.states(gateway, snapshot)
    naming = (snapshot.select(kind, routes_by_gateway, gateway.key) for kind in ROUTES)
    routes = sorted((one for those in naming for one in those.values()), key=age)
    found = (
        _attached(gateway, states, (route, number), snapshot)
        for route in routes
        if not route.metadata.deletionTimestamp
        for number, parent in enumerate(route.spec.parentRefs)
        if gateway_of(route, parent) == gateway.key
    )
    return Doors(gateway, states, tuple(found))


def _attached(
    gateway: Gateway, states: tuple[ListenerState, ...], asked: tuple[Route, int], snapshot: Snapshot
) -> Attachment:
    route, number = asked
    parent = route.spec.parentRefs[number]
    hosts, refused = _hosts(gateway, states, route, parent, snapshot)
    whole, partly = _served(route) if isinstance(route, HTTPRoute) else (True, "")
    if refused is None and not whole:
        refused = Trouble("UnsupportedValue", partly)
    return Attachment(route, number, hosts, refused, partly, _unresolved(route, snapshot))


def _hosts(
    gateway: Gateway,
    states: tuple[ListenerState, ...],
    route: Route,
    parent: RouteParentReference,
    snapshot: Snapshot,
) -> tuple[dict[str, tuple[str, ...]], Trouble | None]:
    meant = [
        one
        for one in states
        if parent.sectionName in (None, one.listener.name) and parent.port in (None, one.listener.port)
    ]
    shown = f"gateway {gateway.namespace}/{gateway.name}"
    if not meant:
        there = ", ".join(f"{one.listener.name} at port {one.listener.port}" for one in states)
        asked = " ".join(
            [
                *([f"named {parent.sectionName}"] if parent.sectionName else []),
                *([f"at port {parent.port}"] if parent.port else []),
            ]
        )
        return {}, Trouble("NoMatchingParent", f"{shown} has no listener {asked} (it has {there})")
    allowed = [one for one in meant if listeners.lets_in(one, route.KIND, route.namespace, gateway, snapshot)]
    if not allowed:
        names = ", ".join(one.listener.name for one in meant)
        said = f"listener {names} of {shown} takes no {route.KIND} of namespace {route.namespace} (allowedRoutes)"
        return {}, Trouble("NotAllowedByListeners", said)
    found = {one.listener.name: common(one.listener.hostname or ANY, hostnames(route)) for one in allowed}
    hosts = {name: those for name, those in found.items() if those}
    if not hosts:
        names = ", ".join(f"{one.listener.name} ({one.listener.hostname})" for one in allowed)
        said = f"none of the hostnames {', '.join(hostnames(route))} is one of listener {names} of {shown}"
        return {}, Trouble("NoMatchingListenerHostname", said)
    return hosts, None


def common(host: str, hostnames: tuple[str, ...]) -> tuple[str, ...]:
    """The hosts that both a listener's hostname and a route's hostnames stand for, the more specific of each two."""
    if not hostnames:
        return (host,)
    found = (one if covers(host, one) else host for one in hostnames if covers(host, one) or covers(one, host))
    return tuple(dict.fromkeys(one for one in found if is_host(one)))


def is_host(text: str) -> bool:
    """Whether it is one, or ANY: what the API server lets pass."""
    return text == ANY or _HOST.fullmatch(text) is not None


def covers(wide: str, narrow: str) -> bool:
    """Whether all that `narrow` stands for is what `wide` stands for; `*.` is one label or more."""
    if wide in (ANY, narrow):
        return True
    return wide.startswith("*.") and narrow != ANY and narrow.removeprefix("*").endswith(wide[1:])


def specific(host: str) -> tuple[int, int, str]:
    """The smaller, the more specific: exact hosts, then wildcards by their length, then all hosts."""
    return (2 if host == ANY else 1 if host.startswith("*") else 0), -len(host), host


def hosts_of(states: Iterable[ListenerState], attachments: Iterable[Attachment]) -> Iterator[tuple[str, ListenerState]]:
    """The hosts at one port, the most specific first, each with the listener that it is for: the most specific one
    alone."""
    those = list(states)
    names = {one.listener.name for one in those}
    hosts = {one.listener.hostname or ANY for one in those}
    for attachment in attachments:
        hosts |= {host for name, found in attachment.hosts.items() if name in names for host in found}
    for host in sorted(hosts, key=specific):
        owners = [one for one in those if covers(one.listener.hostname or ANY, host)]
        yield host, min(owners, key=lambda one: specific(one.listener.hostname or ANY))


def nearest(attachment: Attachment, listener: str, host: str) -> tuple[int, int, str] | None:
    """How specific that of its hosts at a listener is that stands for a host; None where none does."""
    return min((specific(one) for one in attachment.hosts.get(listener, ()) if covers(one, host)), default=None)


def _served(route: HTTPRoute) -> tuple[bool, str]:
    """Whether any rule is served whole, and what is not."""
    whole, troubles = False, []
    for number, rule in enumerate(route.spec.rules):
        found = [why for match in rule.matches if (why := rules.match_trouble(match))]
        found += [why] if (why := rules.rule_trouble(rule)) else []
        troubles += [f"spec.rules[{number}]: {why}" for why in found]
        whole = whole or not found
    return whole, "; ".join(dict.fromkeys(troubles))


def _unresolved(route: Route, snapshot: Snapshot) -> Trouble | None:
    for where, backend in backends(route):
        if trouble := backend_trouble(snapshot, route, backend):
            return Trouble(trouble.reason, f"{show(where)}: {trouble.message}")
    return None
