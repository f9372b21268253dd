"""From a Gateway's listeners of TLS and TCP, and the routes that attach to them, to who gets which connection.

Source: kubernetes-sigs/gateway-api, GEP-2643 (TLSRoute) and GEP-2644 (TCPRoute: of several routes the oldest).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from k8snetlab.api.gateway import BackendRef
from k8snetlab.api.routes import Route
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.gateways import attaching
from k8snetlab.gateways.attaching import ANY, Attachment, Doors, hosts_of, is_host, nearest
from k8snetlab.gateways.listeners import ListenerState
from k8snetlab.gateways.references import backend_trouble
from k8snetlab.render.gateway.model import Choice, Share, Stream
from k8snetlab.render.ingress import backends
from k8snetlab.render.ingress.model import Origin, Upstream


def streams(doors: Doors, snapshot: Snapshot) -> tuple[tuple[Stream, ...], Mapping[str, Upstream]]:
    """With the upstreams that they name. A port at which nobody answers anyone is left out: the kernel refuses its
    connections."""
    upstreams: dict[str, Upstream] = {}
    known = [one for one in doors.listeners if one.serves and one.streams and is_host(one.listener.hostname or ANY)]
    attached = [one for one in doors.attachments if one.refused is None and one.hosts]
    found = []
    for port in sorted({one.listener.port for one in known}):
        those = [one for one in known if one.listener.port == port]
        choices = tuple(_choices(those, attached, doors, (snapshot, upstreams)))
        if any(answers(one, upstreams) for one in choices):
            first = those[0]
            by_name = first.listener.protocol == "TLS"
            found.append(Stream(port, by_name, first.listener.name, _origin(doors, first), choices))
    named = {one.upstream for stream in found for choice in stream.choices for one in choice.shares}
    return tuple(found), {name: one for name, one in sorted(upstreams.items()) if name in named}


def answers(choice: Choice, upstreams: Mapping[str, Upstream]) -> bool:
    """Whether there is somebody."""
    return any(one.upstream and upstreams[one.upstream].addresses for one in choice.shares)


def _choices(
    states: list[ListenerState],
    attached: list[Attachment],
    doors: Doors,
    where: tuple[Snapshot, dict[str, Upstream]],
) -> Iterator[Choice]:
    """Of one port: of several routes of a host the oldest has it."""
    for host, owner in hosts_of(states, attached):
        name = owner.listener.name
        fitting = [(near, one) for one in attached if (near := nearest(one, name, host)) is not None]
        if not fitting:
            yield Choice(host, _origin(doors, owner))
            continue
        _, chosen = min(fitting, key=lambda one: (one[0], attaching.age(one[1].route)))
        route = chosen.route
        led = shares(where[0], route, route.spec.rules[0].backendRefs if route.spec.rules else (), where[1])
        yield Choice(host, Origin(route.KIND, route.key, ("spec", "rules", 0)), tuple(led))


def _origin(doors: Doors, state: ListenerState) -> Origin:
    number = doors.gateway.spec.listeners.index(state.listener)
    return Origin(doors.gateway.KIND, doors.gateway.key, ("spec", "listeners", number))


def shares(
    snapshot: Snapshot, route: Route, led: Iterable[BackendRef], upstreams: dict[str, Upstream]
) -> Iterator[Share]:
    """Of a rule's backends; the upstreams that are new are put to the others."""
    for backend in led:
        if backend.weight == 0:
            continue
        if backend_trouble(snapshot, route, backend):
            yield Share("", backend.weight)
            continue
        key = backend.namespace or route.namespace, backend.name
        name = f"{key[0]}_{key[1]}_{backend.port}"
        if name not in upstreams:
            there = backends.addresses(snapshot, key, backends.numbered(backend.port))
            upstreams[name] = Upstream(name, name, key, str(backend.port), there)
        yield Share(name, backend.weight)
