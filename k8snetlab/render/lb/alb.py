"""The sections of haproxy.cfg for Ingresses of class alb: one address each, rules by host and path, NodePort backends.

What a user writes never becomes syntax: names are Kubernetes' and checked, hosts and paths are compared as they are
where they are made of letters, digits and a few signs, and in hexadecimal else.
Source of the order: networking.k8s.io/v1, Ingress (a host before a wildcard before none; Exact before Prefix, then the
longest); what is answered where nothing matches is as with AWS's Application Load Balancer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from k8snetlab.api.core import Service
from k8snetlab.api.networking import HTTPIngressPath, Ingress, IngressBackend
from k8snetlab.api.selection import alb_ingresses
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import family_of, pick
from k8snetlab.render.lb.certificates import certificates
from k8snetlab.render.lb.text import checked, endpoint, targets

CONF = "conf"
"""Where haproxy finds what is beside its file."""
_PLAIN = re.compile(r"[A-Za-z0-9/*][A-Za-z0-9/._~*-]*")
NOTHING = """\
backend alb-404
    mode http
    http-request return status 404 content-type text/plain string "No rule of the Ingress matches"

backend alb-503
    mode http
    http-request return status 503 content-type text/plain string "Backend service does not exist"
"""


class Rule(msgspec.Struct, frozen=True):
    """A path of a host ("" for any), and the backend that it leads to."""

    host: str
    path: HTTPIngressPath
    backend: str

    @property
    def rank(self) -> tuple[int, bool, int]:
        kind = 2 if not self.host else int(self.host.startswith("*"))
        return kind, self.path.pathType != "Exact", -len(self.path.path)


def sections(snapshot: Snapshot) -> Iterator[str]:
    """The frontends of all Ingresses, and the backends that they lead to."""
    found = [one for one in alb_ingresses(snapshot) if one.status.loadBalancer.ingress]
    backends: dict[str, str] = {}
    for ingress in found:
        yield _frontend(ingress, snapshot, backends)
    yield from backends.values()
    if found:
        yield NOTHING


def problems(ingress: Ingress, snapshot: Snapshot) -> Iterator[str]:
    """What of an Ingress the balancer does not do, a sentence each."""
    found = list(certificates(ingress, snapshot))
    closed = "" if any(one.file for one in found) else ", so port 443 is closed"
    yield from (f"{one.why}{closed}" for one in found if one.why)
    known: set[str] = set()
    for backend in _backends(ingress):
        if backend.service is None:
            yield "a backend that is no Service is answered with 503"
        elif backend.service.name not in known and _target(ingress, backend, snapshot) is None:
            known.add(backend.service.name)
            yield f"its backend {backend.service.name} is no Service with such a port and a NodePort: 503"


def _backends(ingress: Ingress) -> Iterator[IngressBackend]:
    if ingress.spec.defaultBackend is not None:
        yield ingress.spec.defaultBackend
    for rule in ingress.spec.rules:
        yield from (path.backend for path in (rule.http.paths if rule.http else ()))


def _frontend(ingress: Ingress, snapshot: Snapshot, backends: dict[str, str]) -> str:
    lines = [
        f"frontend alb:{checked(ingress.namespace)}:{checked(ingress.name)}",
        "    mode http",
        "    option httplog",
        "    option forwardfor",
        *_binds(ingress, snapshot),
        "    http-request set-header X-Forwarded-Proto http",
        "    http-request set-header X-Forwarded-Proto https if { ssl_fc }",
        "    http-request set-header X-Forwarded-Port %[dst_port]",
        "    http-request set-var(txn.host) req.hdr(host),host_only,lower",
        "    http-request set-var(txn.wild) var(txn.host),regsub(^[^.]+,*)",
    ]
    default = "alb-404"
    if ingress.spec.defaultBackend is not None:
        default = _backend(ingress, ingress.spec.defaultBackend, snapshot, backends)
    rules = [
        Rule(rule.host, path, _backend(ingress, path.backend, snapshot, backends))
        for rule in ingress.spec.rules
        for path in (rule.http.paths if rule.http else ())
    ]
    hosts = {rule.host: None for rule in ingress.spec.rules}
    for host in sorted(hosts, key=lambda host: 2 if not host else int(host.startswith("*"))):
        for rule in sorted((one for one in rules if one.host == host), key=lambda one: one.rank):
            lines += [f"    use_backend {rule.backend}{_if(host, test)}" for test in _tests(rule.path)]
        if host:
            lines.append(f"    use_backend {default}{_if(host, '')}")
    return "\n".join([*lines, f"    default_backend {default}"]) + "\n"


def _binds(ingress: Ingress, snapshot: Snapshot) -> Iterator[str]:
    """Port 80, and 443 where there is a certificate; the first one is shown to who asks for a name of none."""
    shown = " ".join(f"crt {CONF}/{one.file}" for one in certificates(ingress, snapshot) if one.file)
    for one in ingress.status.loadBalancer.ingress:
        if one.ip:
            yield f"    bind {endpoint(one.ip, 80)}"
            if shown:
                yield f"    bind {endpoint(one.ip, 443)} ssl {shown} alpn h2,http/1.1 ssl-min-ver TLSv1.2"


def files(snapshot: Snapshot) -> dict[str, str]:
    """The certificates beside haproxy.cfg, by name."""
    found = (one for ingress in alb_ingresses(snapshot) for one in certificates(ingress, snapshot) if one.file)
    return {one.file: one.text for one in found}


def _if(host: str, test: str) -> str:
    conditions = [_host(host), test]
    told = " ".join(f"{{ {one} }}" for one in conditions if one)
    return f" if {told}" if told else ""


def _host(host: str) -> str:
    if not host:
        return ""
    return _compared("var(txn.wild)" if host.startswith("*") else "var(txn.host)", "str", host.lower())


def _tests(path: HTTPIngressPath) -> Iterator[str]:
    """A condition each, of which one is enough."""
    text = path.path or "/"
    if path.pathType == "Exact":
        yield _compared("path", "str", text)
        return
    stem = text.rstrip("/")
    if stem:
        yield _compared("path", "str", stem)
    yield _compared("path", "beg", f"{stem}/")


def _compared(what: str, how: str, text: str) -> str:
    if _PLAIN.fullmatch(text):
        return f"{what} -m {how} {text}"
    return f"{what},hex -m {how} {text.encode().hex().upper()}"


def _backend(ingress: Ingress, backend: IngressBackend, snapshot: Snapshot, backends: dict[str, str]) -> str:
    """Its name; its section is put into `backends`."""
    found = _target(ingress, backend, snapshot)
    if found is None:
        return "alb-503"
    service, port, node_port = found
    name = f"alb:{checked(service.namespace)}:{checked(service.name)}:{port}"
    lines = [f"backend {name}", "    mode http", "    balance roundrobin"]
    family = family_of(service.clusterIPs[0]) if service.clusterIPs else "ipv4"
    for node in targets(snapshot):
        if to := pick(node.addresses, family):
            lines.append(f"    server {checked(node.name)} {endpoint(to, node_port)} check")
    backends[name] = "\n".join(lines) + "\n"
    return name


def _target(ingress: Ingress, backend: IngressBackend, snapshot: Snapshot) -> tuple[Service, int, int] | None:
    """The Service, its port and that one's NodePort."""
    if backend.service is None:
        return None
    service, wanted = snapshot.get(Service, backend.service.name, ingress.namespace), backend.service.port
    for port in service.spec.ports if service else ():
        named = port.name == wanted.name if wanted.name else port.port == wanted.number
        if service is not None and named and port.nodePort and port.protocol == "TCP":
            return service, port.port, port.nodePort
    return None
