"""A request for a URL at a Gateway: which one it comes to, by which port, and where its nginx leads it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult

import msgspec

from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.gateway import Gateway, HTTPRoute
from k8snetlab.api.lines import line
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import show
from k8snetlab.gateways import names
from k8snetlab.messages.ingress import HttpRoute
from k8snetlab.render.gateway import collect, matching
from k8snetlab.render.gateway.model import Action, Candidate, Server, Site
from k8snetlab.render.ingress.syntax import word

MEANT = {
    400: "the path that the client wrote hides the prefix that is to be replaced",
    404: "no listener is for this host, or no match of its routes for this request",
    500: "the rule has no backend, one that there is not, one that no ReferenceGrant lets, or an unsupported filter",
    502: "the pod's answer is none of HTTP, or nobody listens on that port",
    503: "the Service has no ready endpoint",
    504: "the pod did not answer in time (spec.rules[].timeouts)",
}


class Gate(msgspec.Struct, frozen=True):
    """A Gateway and a port of its listeners. `server` is None where no listener of the port is for the host."""

    gateway: Gateway
    site: Site
    port: int
    server: Server | None

    def pods(self, snapshot: Snapshot) -> list[Pod]:
        return names.pods_of(self.gateway, snapshot)

    def entry(self, snapshot: Snapshot) -> tuple[str, str, int] | None:
        """Where it is reached from outside: a target of a trace, an address and a port; None where it is not yet."""
        service = snapshot.get(Service, names.name_of(self.gateway), self.gateway.namespace)
        port = next((one for one in service.spec.ports if one.port == self.port), None) if service else None
        if service is None or port is None:
            return None
        balanced = [one.ip for one in service.status.loadBalancer.ingress if one.ip]
        if balanced:
            return balanced[0], balanced[0], port.port
        nodes = [node for node in snapshot.all(Node).values() if node.addresses]
        return (nodes[0].name, nodes[0].addresses[0], port.nodePort) if nodes and port.nodePort else None


def found(snapshot: Snapshot, url: SplitResult) -> Gate | None:
    """The Gateway whose listener is the most specific for the host; else one that has a port for the scheme."""
    gates = [one for gateway in names.own(snapshot).values() for one in _gates(snapshot, gateway, url)]
    return min(gates, key=_distance, default=None)


def _gates(snapshot: Snapshot, gateway: Gateway, url: SplitResult) -> Iterator[Gate]:
    site, secure = collect.site(gateway, snapshot), url.scheme == "https"
    service = snapshot.get(Service, names.name_of(gateway), gateway.namespace)
    numbers = {one.nodePort: one.port for one in service.spec.ports} if service else {}
    asked = numbers.get(url.port or 0, url.port)
    for port in dict.fromkeys(one.port for one in site.servers if one.secure == secure):
        if asked in (None, port):
            yield Gate(gateway, site, port, matching.server(site, port, url.hostname or ""))


def _distance(gate: Gate) -> tuple[bool, bool, bool, int]:
    """From what is meant: a port that nobody named is the scheme's own before others."""
    host = gate.server.host if gate.server else ""
    return gate.server is None, not host, host.startswith("*"), gate.port not in (80, 443)


def route(gate: Gate, snapshot: Snapshot, url: SplitResult) -> HttpRoute:
    """Where its nginx leads a request."""
    shown = f"{gate.gateway.namespace}/{gate.gateway.name}"
    if gate.server is None:
        return HttpRoute(server="_", gateway=shown, expected=404)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    spot, candidate = matching.candidate(gate.server, "GET", target, {"Host": url.netloc})
    server = gate.server.host or "_"
    if candidate is None:
        return HttpRoute(server=server, listener=gate.server.listener, gateway=shown, expected=404)
    action = candidate.action
    there = [gate.site.upstreams[one.upstream] for one in action.shares if one.upstream]
    return HttpRoute(
        server=server,
        listener=gate.server.listener,
        gateway=shown,
        location=f"{'= ' if spot[0] == 'exact' else ''}{word(spot[1])}",
        route="/".join(candidate.origin.key),
        written=_written(snapshot, candidate),
        service=", ".join(f"{one.service[0]}/{one.service[1]}:{one.port}" for one in there),
        endpoints=tuple(address for one in there for address in one.addresses),
        expected=_expected(action, any(one.addresses for one in there)),
    )


def _written(snapshot: Snapshot, candidate: Candidate) -> str:
    held, path = snapshot.all(HTTPRoute).get(candidate.origin.key), candidate.origin.path
    return f"{show(path)}{', ' + where if held and (where := line(held, path)) else ''}"


def _expected(action: Action, answered: bool) -> int:
    """The status that nginx gives itself, 0 where a pod's answer is passed on."""
    if action.redirect is not None and not action.trouble:
        return action.redirect.statusCode
    if action.trouble or not any(one.upstream for one in action.shares):
        return 500
    return 0 if answered else 503
