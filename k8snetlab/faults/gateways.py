"""Faults of Gateways, as a manifest brings them: nginx does what it is told, and that is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api.gateway import Gateway, HTTPRoute, Listener, ReferenceGrant
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import to_dict
from k8snetlab.faults.fault import Damage, Edit, Fault, Said, Seen, content
from k8snetlab.faults.scene import Scene
from k8snetlab.gateways import names
from k8snetlab.gateways.attaching import Attachment, doors
from k8snetlab.gateways.references import backend_trouble

Way = tuple[Gateway, HTTPRoute, Attachment, Listener]


def _ways(scene: Scene) -> Iterator[Way]:
    """Routes with an exact host and a first rule that leads to Services alone, and the HTTP listener that they are
    at."""
    for gateway in names.own(scene.snapshot).values():
        held = doors(gateway, scene.snapshot)
        for one in held.attachments:
            listeners = [
                state.listener for state in held.listeners if state.listener.protocol == "HTTP" and state.serves
            ]
            first = next((listener for listener in listeners if listener.name in one.hosts), None)
            route = one.route
            if first is not None and one.refused is None and isinstance(route, HTTPRoute) and _is_usual(route):
                yield gateway, route, one, first


def _is_usual(route: HTTPRoute) -> bool:
    hosts, rules = route.spec.hostnames, route.spec.rules
    if not hosts or "*" in hosts[0] or not rules[0].backendRefs or rules[0].filters:
        return False
    match = rules[0].matches[0]
    return not (match.headers or match.queryParams or match.method)


def _damage(obj: Object, after: Object, route: HTTPRoute) -> Damage:
    before, changed = content(to_dict(obj)), content(to_dict(after))
    path = route.spec.rules[0].matches[0].path.value
    seen = Seen("outside", f"http://{route.spec.hostnames[0]}{path}", what="http")
    edit = Edit(obj.KIND, obj.namespace, obj.name, before, changed)
    return Damage(f"{route.namespace}/{route.name}", seen, edits=(edit,))


def _hostname(scene: Scene) -> Damage:
    """Of a listener that no other one stands in for."""
    found = [(gateway, route, listener) for gateway, route, one, listener in _ways(scene) if len(one.hosts) == 1]
    gateway, route, listener = scene.one(found, "HTTPRoute at one listener")
    wrong = replace(listener, hostname="www.shop.exmaple")
    listeners = tuple(wrong if one == listener else one for one in gateway.spec.listeners)
    return _damage(gateway, replace(gateway, spec=replace(gateway.spec, listeners=listeners)), route)


def _grant(scene: Scene) -> Damage:
    """One by which a route's only backend, of another namespace, is let."""
    found = []
    for _, route, _, _ in _ways(scene):
        backends = route.spec.rules[0].backendRefs
        space = backends[0].namespace or route.namespace
        if len(backends) > 1 or space == route.namespace or backend_trouble(scene.snapshot, route, backends[0]):
            continue
        grants = [grant for grant in scene.snapshot.all(ReferenceGrant).values() if grant.namespace == space]
        found += [(grants[0], route)] if len(grants) == 1 else []
    grant, route = scene.one(found, "HTTPRoute whose backend is in another namespace, let by a ReferenceGrant")
    froms = tuple(replace(one, namespace=f"{one.namespace[:50]}-old") for one in grant.spec.from_)
    return _damage(grant, replace(grant, spec=replace(grant.spec, from_=froms)), route)


def faults() -> Iterator[Fault]:
    yield Fault(
        name="gateway-listener-hostname",
        title="a Gateway's listener is for another host than the routes at it",
        level=1,
        group="objects",
        touches="a Gateway",
        symptom="a host is not found from outside (404)",
        said=Said("httproute", "hostname"),
        make=_hostname,
    )
    yield Fault(
        name="reference-grant-namespace",
        title="a ReferenceGrant is for routes of another namespace",
        level=2,
        group="objects",
        touches="a ReferenceGrant",
        symptom="a host answers with 500 Internal Server Error",
        said=Said("httproute", "grant"),
        make=_grant,
    )
