"""A request for a URL, followed: to the Ingress controller's nginx, through its server and location, to a pod and back.

Blocking. What is sent is a real request; its connections are traced as any packet's.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import ssl
import time
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import msgspec

from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.lines import line
from k8snetlab.api.networking import Ingress
from k8snetlab.api.selection import pods_by_ip, pods_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import show
from k8snetlab.dataplane import names
from k8snetlab.errors import InputError, K8sNetLabError, NotFoundError
from k8snetlab.explain import gated, passed, tracing
from k8snetlab.explain.places import find_place, within
from k8snetlab.kernel import netns
from k8snetlab.messages.ingress import HttpAnswer, HttpQuestion, HttpRoute, HttpTrace
from k8snetlab.messages.trace import Trace, TraceQuestion
from k8snetlab.peers.remote import RemoteKernels
from k8snetlab.render.ingress import addon, locations, matching
from k8snetlab.render.ingress.model import Location, Server, Site
from k8snetlab.state.paths import LabPaths

TIMEOUT = 20.0
"""Seconds for a request."""
LOGGED = 2.0
"""Seconds in which nginx writes its line of a request."""
SHOWN = 2000
"""Octets of a body that are shown."""


class Door(msgspec.Struct, frozen=True):
    """Where the controller is reached: an address and a port, as a target of a trace, and the Service's own port."""

    target: str
    address: str
    port: int


def trace(
    snapshot: Snapshot, paths: LabPaths, site: Site, asked: HttpQuestion, remote: RemoteKernels | None
) -> HttpTrace:
    """Raises InputError, NotFoundError, KernelError."""
    url = _url(asked.url)
    source = within(snapshot, asked.source, asked.namespace)
    gate = None if matching.server(site, url.hostname or "") else gated.found(snapshot, url)
    if gate and gate.server is None and snapshot.lab.spec.ingress.controller != "none":
        gate = None
    if gate is None or gate.server is None:
        _not_passed(snapshot, asked, url)
    if source != names.OUTSIDE and gate is None and matching.server(site, url.hostname or "") is None:
        raise NotFoundError(f"no Ingress has the host {url.hostname!r}", "`k8snetlab get ingress -A` lists theirs")
    entry = _entry(gate, snapshot) if gate else door(snapshot, url.scheme == "https", url.port)
    pods = gate.pods(snapshot) if gate else controllers(snapshot)
    first = tracing.trace(snapshot, paths, TraceQuestion(source, entry.target, entry.port), remote)
    route = gated.route(gate, snapshot, url) if gate else _route(snapshot, site, url)
    answer = HttpAnswer(error="the controller was not reached")
    inner: Trace | None = None
    if first.fate == "answered":
        answer = _asked(snapshot, paths, (source, entry, url), pods)
        if answer.upstream:
            pod = next(one for one in pods if one.name == answer.controller)
            address, _, port = answer.upstream.rpartition(":")
            question = TraceQuestion(f"{pod.namespace}/{pod.name}", address.strip("[]"), int(port))
            inner = tracing.trace(snapshot, paths, question, remote)
    return HttpTrace(
        source=asked.source,
        url=asked.url,
        address=entry.address,
        port=entry.port,
        first=first,
        route=route,
        answer=answer,
        second=inner,
        verdict=_verdict(answer, route, gated.MEANT if gate else MEANT),
    )


def _not_passed(snapshot: Snapshot, asked: HttpQuestion, url: SplitResult) -> None:
    """Raises InputError where nothing between the client and the pod reads the request."""
    through = passed.by_url(snapshot, url)
    if through is None:
        return
    gateway, stream = through
    raise InputError(
        f"gateway {gateway.namespace}/{gateway.name} passes TLS for {url.hostname} on: nobody there reads the URL",
        f"`k8snetlab trace {asked.source} ADDRESS:PORT` follows a connection to its port {stream.port}, and "
        f"`k8snetlab nginx-conf {url.hostname}` says to which Service it goes on",
    )


def _url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        url, port = urlsplit(""), None
    plain = text.isascii() and text.isprintable() and " " not in text
    if url.scheme not in ("http", "https") or not url.hostname or port == 0 or not plain:
        raise InputError(f"{text!r} is no URL of a web server", "write it like http://shop.example/cart")
    return url


def _path(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def door(snapshot: Snapshot, secure: bool, port: int | None) -> Door:
    """The first node's port of the controller's Service, or its load balancer's address. Raises NotFoundError."""
    service = snapshot.get(Service, addon.NAME, addon.NAMESPACE)
    if service is None:
        hint = "spec.ingress: {controller: nginx} in lab.yaml, then `k8snetlab up`"
        raise NotFoundError("this lab has no Ingress controller of its own", hint)
    name = "https" if secure else "http"
    there = service.spec.ports
    ports = [one for one in there if (one.name == name if port is None else port in (one.nodePort, one.port))]
    if not ports:
        raise NotFoundError(f"the Ingress controller's Service has no port {port}", "`k8snetlab get service -A`")
    chosen = ports[0]
    balanced = [one.ip for one in service.status.loadBalancer.ingress if one.ip]
    if balanced and port in (None, chosen.port):
        return Door(balanced[0], balanced[0], chosen.port)
    nodes = [node for node in snapshot.all(Node).values() if node.addresses]
    if not nodes or not chosen.nodePort:
        raise NotFoundError("the Ingress controller's Service has no node port", "`k8snetlab get service -A`")
    return Door(nodes[0].name, nodes[0].addresses[0], chosen.nodePort)


def _route(snapshot: Snapshot, site: Site, url: SplitResult) -> HttpRoute:
    """nginx' server and location, as its configuration has them."""
    server = matching.server(site, url.hostname or "") or matching.catch_all(site)
    location, secure = matching.location(server, _path(url)), url.scheme == "https"
    if location is None:
        return HttpRoute(server=server.host, expected=404)
    upstream = site.upstreams.get(location.upstream)
    return HttpRoute(
        server=server.host,
        location=locations.head(location),
        ingress=f"{location.namespace}/{location.ingress}",
        written=_written(snapshot, location),
        service=f"{location.namespace}/{location.service}:{location.port}" if location.service else "",
        endpoints=upstream.addresses if upstream else (),
        expected=_expected(server, location, bool(upstream and upstream.addresses), secure),
    )


def _written(snapshot: Snapshot, location: Location) -> str:
    ingress = snapshot.all(Ingress).get(location.origin.key)
    return (line(ingress, location.origin.path) if ingress else "") or show(location.origin.path)


def _expected(server: Server, location: Location, answered: bool, secure: bool) -> int:
    """The status that nginx gives itself, 0 where the pod's answer is passed on, or it depends on who asks."""
    options = location.options
    if not secure and (options.force_ssl_redirect or (options.ssl_redirect and server.certificate)):
        return 308
    if options.redirect:
        return options.redirect_code
    return 0 if answered else 503


def _entry(gate: gated.Gate, snapshot: Snapshot) -> Door:
    found = gate.entry(snapshot)
    if found is None:
        title = f"gateway {gate.gateway.namespace}/{gate.gateway.name}"
        raise NotFoundError(f"{title} has no address", "`k8snetlab get gateway -A`; `k8snetlab diagnose` says why")
    return Door(*found)


def _asked(snapshot: Snapshot, paths: LabPaths, asked: tuple[str, Door, SplitResult], pods: list[Pod]) -> HttpAnswer:
    source, entry, url = asked
    place, mark, host = find_place(snapshot, source), secrets.token_hex(16), url.hostname or ""
    secure, path = url.scheme == "https", _path(url)
    try:
        with netns.inside(place.netns):
            raw = socket.create_connection((entry.address, entry.port), timeout=TIMEOUT)
        connection = http.client.HTTPConnection(entry.address, timeout=TIMEOUT)
        connection.sock = secured(raw, host) if secure else raw
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": url.netloc.rpartition("@")[2], "X-Request-ID": mark})
            response = connection.getresponse()
            body = response.read(SHOWN)
            status, to = response.status, response.headers.get("Location", "")
    except (OSError, http.client.HTTPException, K8sNetLabError) as error:
        return HttpAnswer(error=str(error))
    logged, controller = _logged(pods, paths, mark)
    client, upstream, inner = _parsed(logged)
    said = _json(body)
    return HttpAnswer(
        status=status,
        redirect=to,
        controller=controller,
        client=client,
        upstream=upstream,
        upstreamStatus=inner,
        pod=_pod_at(snapshot, upstream),
        podSees=str(said.get("client", "")),
        logged=logged,
    )


def secured(raw: socket.socket, host: str) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(raw, server_hostname=host)


def _json(body: bytes) -> dict[str, object]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def controllers(snapshot: Snapshot) -> list[Pod]:
    service = snapshot.get(Service, addon.NAME, addon.NAMESPACE)
    return [pod for pod in pods_of(service, snapshot) if addon.container_of(pod)] if service else []


def _logged(pods: list[Pod], paths: LabPaths, mark: str) -> tuple[str, str]:
    """The access log's line of a request, and whose it is; "" twice where it is on another machine."""
    until = time.monotonic() + LOGGED
    while True:
        for pod in pods:
            for file in sorted(paths.logs_of(pod).glob("*/*.log")):
                with contextlib.suppress(OSError), file.open("rb") as log:
                    log.seek(max(0, file.stat().st_size - (1 << 18)))
                    for entry in log.read().decode(errors="replace").splitlines():
                        if entry.endswith(mark):
                            return entry, pod.name
        if time.monotonic() > until:
            return "", ""
        time.sleep(0.02)


def _parsed(logged: str) -> tuple[str, str, int]:
    """Of a line of the access log: the client that nginx saw, the endpoint that answered, and its status."""
    if not logged:
        return "", "", 0
    words = logged.split()
    last = logged.rpartition("] ")[2].split()  # upstream_addr[, …] length time status req_id
    addresses = [word.rstrip(",") for word in last if word.rstrip(",").rpartition(":")[2].isdecimal() and ":" in word]
    status = last[-2] if len(last) > 1 and last[-2].isdecimal() else "0"
    upstream = addresses[-1] if addresses else ""
    return words[0], "" if upstream.startswith("127.0.0.1:") else upstream, int(status)


def _pod_at(snapshot: Snapshot, upstream: str) -> str:
    address = upstream.rpartition(":")[0].strip("[]")
    pods = [pod for pod in snapshot.select(Pod, pods_by_ip, address).values() if not pod.ended] if address else []
    return f"{pods[0].namespace}/{pods[0].name}" if pods else ""


MEANT = {
    308: "the host has TLS: nginx sends plain HTTP to HTTPS (ssl-redirect)",
    404: "no Ingress has this host and path",
    413: "the body is larger than proxy-body-size",
    502: "the pod's answer is none of the protocol that it was asked by, or nobody listens on that port",
    503: "the Service has no ready endpoint, or is not there",
    504: "the pod did not answer in time",
    401: "the location asks for a name and a password (auth-type basic)",
    403: "the client's address is none that whitelist-source-range lets in",
}


NGINX_OWN = (502, 504)
"""What nginx writes as the endpoint's status, too, where that gave none."""
LIMITED = "the client asks more often than limit-rps or limit-rpm let it, or the endpoints are newer than the answer"


def _verdict(answer: HttpAnswer, route: HttpRoute, meant: Mapping[int, str]) -> str:
    if answer.error:
        return answer.error
    if answer.upstream and answer.upstreamStatus == answer.status and answer.status not in NGINX_OWN:
        return f"{answer.pod or answer.upstream} answered with {answer.status}"
    if answer.status == 503 and route.endpoints and not route.gateway:
        return f"{answer.status}: {LIMITED}"
    if answer.status in meant:
        return f"{answer.status}: {meant[answer.status]}"
    return f"{answer.pod or 'nginx'} answered with {answer.status}"
