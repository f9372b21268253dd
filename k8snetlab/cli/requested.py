"""A request's way in words: `trace` of a URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from k8snetlab.cli import screen, story, summed

if TYPE_CHECKING:
    from k8snetlab.messages.ingress import HttpTrace
    from k8snetlab.messages.trace import Trace


def tell(found: HttpTrace, verbose: bool) -> None:
    """Prints the whole story."""
    width = screen.columns()
    for text, trace in _parts(found):
        if text:
            screen.say(text, hang=2)
        if trace is not None:
            for line, hang in story.lines_hung(trace) if verbose else summed.lines(trace):
                for part in screen.fold(f"  {line.shown}", width, None if hang is None else hang + 2):
                    screen.say(part)


def _parts(found: HttpTrace) -> Iterator[tuple[str, Trace | None]]:
    route, answer = found.route, found.answer
    yield f"1. {found.source} connects to nginx, by {found.address} port {found.port}", found.first
    if (behind := found.first.behind) is not None:
        to = f"{behind.address}:{behind.port}"
        yield f"   haproxy in the router answers, and opens a connection of its own to {to}", behind
    listener = f", listener {route.listener}" if route.listener else ""
    where = f" of gateway {route.gateway}{listener}" if route.gateway else ""
    yield f"2. nginx{where}: server {route.server}", None
    if route.location:
        owner = f"httproute {route.route}" if route.gateway else f"ingress {route.ingress}"
        yield f"   location {route.location}   ({owner}, {route.written})", None
        if route.service:
            yield f"   service {route.service}, endpoints {', '.join(route.endpoints) or 'none'}", None
    else:
        nobody = "no match of a route is for that request" if route.listener else "no listener is for that host"
        yield f"   {nobody if route.gateway else 'no location for that path: the default backend'}", None
    if found.second is not None:
        where = f"{answer.pod} at {answer.upstream}" if answer.pod else answer.upstream
        yield f"3. {answer.controller} connects to {where}, and tells it", None
        yield f"   Host: {_host(found.url)}", None
        yield f"   X-Real-IP, X-Forwarded-For: {answer.client}   (the client as nginx saw it)", None
        seen = f"; it says that its client is {answer.podSees}" if answer.podSees else ""
        yield f"   the connection that the pod sees comes from nginx{seen}", found.second
    if answer.redirect:
        yield f"   to {answer.redirect}", None
    yield found.verdict, None


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]
