"""What is wrong with the doors: Ingresses of no class, whose host and path is another's, that lead to nobody, without
their Secret; and what a real request to them is answered.

Kernel and objects may agree in all this: no agent mends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urljoin, urlsplit

import msgspec

from k8snetlab.api.lines import line
from k8snetlab.api.networking import Ingress
from k8snetlab.api.selection import alb_ingresses
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import show
from k8snetlab.diagnose.finding import Finding
from k8snetlab.render.ingress import addon, annotated, collect, matching
from k8snetlab.render.ingress.model import CATCH_ALL, Location, Problem, Server, Site

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
CIRCLE = "a browser gives up: too many redirects"
HOPS = 8
"""Redirects that are followed; browsers follow 20."""
MOST = 200
"""Requests of one diagnosis."""


class Reply(msgspec.Struct, frozen=True):
    """An answer: its status, whether nginx gave it itself, and where it sends the client, or ""."""

    status: int
    own: bool
    to: str = ""


Ask = Callable[[str], Reply | None]
"""Sends a request for a URL, and tells the answer: None where nobody gave one."""


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
    for problem in _ended_before(snapshot, site):
        yield _found(snapshot, problem, "loop", CIRCLE)
    for location, host in _empty(site, snapshot):
        title = f"service {location.namespace}/{location.service}"
        message = f"{title} has no ready endpoint: http://{_url(host)}{location.path} has nobody to answer"
        problem = Problem(Ingress.KIND, location.origin.key, "backend", message, location.origin.path)
        yield _found(snapshot, problem, "endpoints", ANSWERS[503][1] + ": 503 Service Temporarily Unavailable")


def _ended_before(snapshot: Snapshot, site: Site) -> Iterator[Problem]:
    """Hosts whose TLS a balancer before nginx ends: what nginx is asked is plain HTTP for ever."""
    for ingress in (one for one in alb_ingresses(snapshot) if one.spec.tls and one.namespace == addon.NAMESPACE):
        for number, rule in enumerate(ingress.spec.rules):
            for place, path in enumerate(rule.http.paths if rule.http else ()):
                asked = path.backend.service.name if path.backend.service else ""
                server = matching.server(site, rule.host) if asked == addon.NAME else None
                location = matching.location(server, path.path or "/") if server else None
                if server is None or location is None or not _sends_to_https(server, location):
                    continue
                forced, known = location.options.force_ssl_redirect, annotated.PREFIX
                mend = f"no {known}force-ssl-redirect" if forced else f'{known}ssl-redirect: "false"'
                message = (
                    f"https://{rule.host}{path.path or '/'} is redirected (308) in a circle: haproxy ends TLS and asks "
                    "nginx by HTTP, which sends that to HTTPS; Ingress "
                    f"{location.namespace}/{location.ingress} needs {mend}"
                )
                where = ("spec", "rules", number, "http", "paths", place)
                yield Problem(Ingress.KIND, ingress.key, "loop", message, where)


def _sends_to_https(server: Server, location: Location) -> bool:
    """Whether nginx answers plain HTTP with 308."""
    options = location.options
    return options.force_ssl_redirect or (options.ssl_redirect and bool(server.certificate))


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


def tried(snapshot: Snapshot, site: Site, ask: Ask) -> Iterator[Finding]:
    """What real requests show that the objects do not."""
    asked = 0
    for server in site.servers:
        for location in server.locations:
            upstream, options = site.upstreams.get(location.upstream), location.options
            answered = bool(upstream and upstream.addresses) or bool(options.redirect)
            if not answered or location.match == "regex" or options.auth or options.allow or asked >= MOST:
                continue
            asked += 1
            url = f"http://{_url(server.host)}{location.path}"
            if reply := ask(url):
                yield from _judged(snapshot, location, url, reply, _Browser(site, ask))


def _judged(snapshot: Snapshot, location: Location, url: str, reply: Reply, browser: _Browser) -> Iterator[Finding]:
    if reply.own and reply.status in (502, 504):
        fault, why = ANSWERS[reply.status]
        message = f"{url} is answered with {reply.status}: {why} ({location.options.protocol})"
        problem = Problem(Ingress.KIND, location.origin.key, "protocol", message, location.origin.path)
        yield _found(snapshot, problem, fault, f"all requests for it are answered with {reply.status}")
    elif loop := browser.loop(url, reply):
        status, again, who = loop
        message = f"{again} is redirected ({status}) in a circle, {_by(location, again, who)}"
        problem = Problem(Ingress.KIND, location.origin.key, "loop", message, location.origin.path)
        yield _found(snapshot, problem, "loop", CIRCLE)


def _by(location: Location, url: str, own: bool) -> str:
    """Who sends the client on."""
    if own and location.options.redirect:
        return f"by annotation permanent-redirect or temporal-redirect, to {location.options.redirect}"
    if own:
        return "by nginx itself (ssl-redirect)"
    seen = url.partition(":")[0]
    return f"by the Service's own program, which is told X-Forwarded-Proto: {seen}"


class _Browser:
    """Follows redirects as long as they stay in the lab."""

    def __init__(self, site: Site, ask: Ask) -> None:
        self._site, self._ask = site, ask

    def loop(self, url: str, reply: Reply | None) -> tuple[int, str, bool] | None:
        """Of a redirect that comes back to where it was: its status, its URL, and whether it is nginx' own."""
        seen: dict[str, Reply] = {}
        while reply is not None and reply.to and 300 <= reply.status < 400 and len(seen) < HOPS:
            seen[url] = reply
            url = _next(url, reply.to)
            if url in seen:
                last = seen[url]
                return last.status, url, last.own
            here = url and matching.server(self._site, urlsplit(url).hostname or "") is not None
            reply = self._ask(url) if here else None
        return None


def _next(url: str, to: str) -> str:
    """Where a redirect leads, "" for nowhere; without a fragment, and with a path: what is the same request is the same
    text."""
    try:
        parts = urlsplit(urljoin(url, to))
        return parts._replace(path=parts.path or "/", fragment="").geturl()
    except ValueError:
        return ""


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
