"""What is wrong with the doors: Ingresses of no class, whose host and path is another's, that lead to nobody, without
their Secret; and what a real request to them is answered.

Kernel and objects may agree in all this: no agent mends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from k8snetlab.api.lines import line
from k8snetlab.api.networking import Ingress
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import show
from k8snetlab.diagnose.finding import Finding
from k8snetlab.render.ingress import collect
from k8snetlab.render.ingress.model import CATCH_ALL, Location, Problem, Site

FAULTS: Mapping[str, tuple[str, str]] = {
    "Conflict": ("conflict", "its host and path lead where the older Ingress says"),
    "Rejected": ("refused", "what it asks for is not served; other Ingresses are"),
    "ServiceNotFound": ("backend", "requests for it are answered with 503 Service Temporarily Unavailable"),
    "ServicePortNotFound": ("port", "requests for it are answered with 503 Service Temporarily Unavailable"),
    "ServiceUnsupported": ("backend", "requests for it are answered with 503 Service Temporarily Unavailable"),
    "BackendUnsupported": ("backend", "requests for it are answered with 503 Service Temporarily Unavailable"),
    "SecretNotFound": ("secret", "HTTPS for its hosts shows a certificate that no client trusts, or nobody is let in"),
    "AnnotationIgnored": ("annotation", "it is as if that annotation were not there"),
    "CanaryIdle": ("canary", "nobody comes to the canary"),
}
"""By the reason of a problem: what is the matter, and what follows."""
ANSWERS = {
    404: ("nobody", "no path of that host is meant, or the Service's own program has no such page"),
    413: ("body", "annotation proxy-body-size says how large a body may be"),
    502: ("protocol", "nginx reached the pod, and what that said is not the protocol that it was asked by"),
    503: ("backend", "no endpoint of the Service is ready"),
    504: ("late", "nginx asked the pod, and had no answer in time"),
}
"""What the status of an answer tells, where nginx itself gave it."""
MOST = 200
"""Requests of one diagnosis."""


class Asked(msgspec.Struct, frozen=True):
    """One request: for which host and path, and the answer's status where nginx gave it itself, 0 where the pod did."""

    host: str
    path: str
    status: int


def doors(snapshot: Snapshot, site: Site) -> Iterator[Finding]:
    """What the objects alone tell, and what nginx has refused of them."""
    ingresses = snapshot.all(Ingress)
    if not ingresses:
        return
    for ingress in ingresses.values():
        if why := collect.why_unserved(ingress, snapshot):
            path = ("spec", "ingressClassName")
            problem = Problem(Ingress.KIND, ingress.key, "class", why, path)
            yield _found(snapshot, problem, "class", "requests for its hosts are answered with 404 Not Found")
    for problem in site.problems:
        fault, consequence = FAULTS.get(problem.reason, ("refused", "it is not served as it asks"))
        yield _found(snapshot, problem, fault, consequence)
    for location, host in _empty(site, snapshot):
        title = f"service {location.namespace}/{location.service}"
        message = f"{title} has no ready endpoint: http://{_url(host)}{location.path} has nobody to answer"
        problem = Problem(Ingress.KIND, location.origin.key, "backend", message, location.origin.path)
        yield _found(snapshot, problem, "endpoints", ANSWERS[503][1] + ": 503 Service Temporarily Unavailable")


def _empty(site: Site, snapshot: Snapshot) -> Iterator[tuple[Location, str]]:
    """Locations whose Service is there, with that port, and has no endpoint; each Service once."""
    blamed = {(one.key, one.path[:-1]) for one in site.problems}
    seen = set()
    for server in site.servers:
        for location in server.locations:
            upstream = site.upstreams.get(location.upstream)
            if upstream is None or upstream.addresses or upstream.name in seen:
                continue
            seen.add(upstream.name)
            if not any(key == location.origin.key and "backend" in path for key, path in blamed):
                yield location, server.host


def tried(snapshot: Snapshot, site: Site, ask: Callable[[str, str], int | None]) -> Iterator[Finding]:
    """What real requests show that the objects do not: `ask` sends one for a host and a path, and tells the status that
    nginx gave itself, None where another one answered or nobody did."""
    asked = 0
    for server in site.servers:
        for location in server.locations:
            upstream = site.upstreams.get(location.upstream)
            if upstream is None or not upstream.addresses or location.match == "regex" or asked >= MOST:
                continue
            if location.options.auth or location.options.allow or location.options.redirect:
                continue
            asked += 1
            host = _url(server.host)
            status = ask(host, location.path)
            if status in (502, 504):
                fault, why = ANSWERS[status]
                spoken = location.options.protocol
                message = f"http://{host}{location.path} is answered with {status}: {why} ({spoken})"
                problem = Problem(Ingress.KIND, location.origin.key, "protocol", message, location.origin.path)
                yield _found(snapshot, problem, fault, f"all requests for it are answered with {status}")


def _url(host: str) -> str:
    """A host that the server's name stands for."""
    return "localhost" if host == CATCH_ALL else host.replace("*", "any", 1)


def _found(snapshot: Snapshot, problem: Problem, fault: str, consequence: str) -> Finding:
    namespace, name = problem.key
    ingress = snapshot.get(Ingress, name, namespace)
    where = line(ingress, problem.path) if ingress else ""
    field = show(problem.path) if problem.path else ""
    return Finding(
        kind="ingress",
        fault=fault,
        node="",
        object=f"{namespace}/{name}",
        message=f"ingress {namespace}/{name}: {problem.message}",
        consequence=consequence,
        show=f"k8snetlab get ingress {name} -n {namespace} -o yaml",
        mend=f"# {field or 'the Ingress'} in the manifest, then `k8snetlab apply -f`",
        owner=f"ingress {namespace}/{name}" + (f", {where}" if where else ""),
    )
