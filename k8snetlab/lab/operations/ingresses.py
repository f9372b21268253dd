"""What the nginx of Ingresses and of Gateways serves by, shown."""

from __future__ import annotations

import asyncio

from k8snetlab.api.gateway import Gateway
from k8snetlab.api.lines import line
from k8snetlab.api.networking import Ingress
from k8snetlab.api.routes import KINDS
from k8snetlab.api.scheme import BY_KIND
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import show
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import NotFoundError
from k8snetlab.gateways import names
from k8snetlab.lab.table import answers
from k8snetlab.messages.ingress import NGINX_CONF, IngressProblem, NginxConf, NginxLine, NginxQuestion
from k8snetlab.render.gateway import conf, streams
from k8snetlab.render.gateway import matching as gates
from k8snetlab.render.ingress import matching
from k8snetlab.render.ingress.model import Origin, Problem
from k8snetlab.running.doors import Doors
from k8snetlab.running.ingress_refusals import Written
from k8snetlab.wording import nearest


class IngressesShown:
    def __init__(self, cluster: Cluster, doors: Doors) -> None:
        self._cluster, self._ingresses, self._gateways = cluster, doors.ingresses, doors.gateways

    @answers(NGINX_CONF)
    async def nginx_conf(self, asked: NginxQuestion) -> NginxConf:
        """The whole of nginx.conf, or the server that a host's requests come to. Raises NotFoundError."""
        snapshot = self._cluster.snapshot
        if asked.gateway:
            gateway = _gateway(snapshot, asked.gateway)
            return await asyncio.to_thread(self._of_gateway, snapshot, gateway, asked.host)
        used = self._ingresses.written
        written = await asyncio.to_thread(self._ingresses.wanted, snapshot) if used is None else used
        if not asked.host or matching.server(written.site, asked.host) is None:
            has = snapshot.lab.spec.ingress.controller != "none" and not asked.host
            gateways = names.own(snapshot).values() if not has else ()
            found = [await asyncio.to_thread(self._of_gateway, snapshot, one, asked.host) for one in gateways]
            if shown := [one for one in found if one.servers]:
                return min(shown, key=lambda one: all(host == "_" for host in one.servers))
        return await asyncio.to_thread(_shown, snapshot, written, asked.host, used is not None)

    def _of_gateway(self, snapshot: Snapshot, gateway: Gateway, host: str) -> NginxConf:
        """Without servers where the host is none of its own."""
        used = self._gateways.written.get(gateway.key)
        written = used or self._gateways.wanted(gateway, snapshot)
        servers = [one for one in written.site.servers if not host or gates.server(written.site, one.port, host) == one]
        through = [one for one in written.site.streams if not host or gates.choice(one, host)]
        lines = _lines(written.text, written.origins)
        if host:
            texts = [text for text, _ in lines]
            titles = [*map(conf.title, servers), *map(streams.title, through)]
            marks = [(f"\t## start {one}", f"\t## end {one}") for one in titles]
            lines = [one for first, last in marks for one in lines[texts.index(first) : texts.index(last) + 1]]
        hosts = [one.host for one in servers]
        hosts += [
            one.host for stream in through for one in stream.choices if not host or gates.choice(stream, host) == one
        ]
        shown = "/".join(gateway.key)
        return NginxConf(used is not None, tuple(one or "_" for one in hosts), _told(snapshot, lines), (), shown)


def _gateway(snapshot: Snapshot, asked: str) -> Gateway:
    """Raises NotFoundError."""
    namespace, _, name = asked.rpartition("/")
    found = names.own(snapshot).get((namespace or "default", name))
    if found is None:
        known = [f"{one}/{two}" if one != "default" else two for one, two in names.own(snapshot)]
        hint = nearest(asked, known) or "`k8snetlab get gateway -A` lists them"
        raise NotFoundError(f"no Gateway that this lab serves is called {asked!r}", hint)
    return found


Lines = list[tuple[str, Origin | None]]


def _lines(text: str, origins: tuple[Origin | None, ...]) -> Lines:
    lines = text.splitlines()
    return list(zip(lines, (None,) * (len(lines) - len(origins)) + origins, strict=True))


def _told(snapshot: Snapshot, lines: Lines) -> tuple[NginxLine, ...]:
    shown = {origin: _written(snapshot, origin) for origin in {one for _, one in lines}}
    return tuple(NginxLine(text, _title(o.kind, o.key) if o else "", shown[o]) for text, o in lines)


def _shown(snapshot: Snapshot, written: Written, host: str, used: bool) -> NginxConf:
    problems = tuple(
        IngressProblem(_title(one.kind, one.key), one.reason, one.message, _written(snapshot, _origin(one)))
        for one in written.site.problems
    )
    found = _lines(written.text, written.origins)
    lines = [text for text, _ in found]
    servers = tuple(server.host for server in written.site.servers)
    if host:
        server = matching.server(written.site, host)
        if server is None:
            known = [one for one in servers if one != "_"]
            raise NotFoundError(f"no Ingress has the host {host!r}: the server _ answers", nearest(host, known))
        servers = (server.host,)
        first = lines.index(f"\t## start server {server.host}")
        found = found[first : lines.index(f"\t## end server {server.host}") + 1]
    return NginxConf(used, servers, _told(snapshot, found), problems)


def _origin(problem: Problem) -> Origin:
    return Origin(problem.kind, problem.key, problem.path)


def _title(kind: str, key: tuple[str, str]) -> str:
    return f"{kind} {key[0]}/{key[1]}"


def _written(snapshot: Snapshot, origin: Origin | None) -> str:
    """Where the field of an object was written."""
    if origin is None or origin.kind not in _WRITTEN:
        return ""
    obj = snapshot.all(BY_KIND[origin.kind].type).get(origin.key)
    found = line(obj, origin.path) if obj else ""
    return found or show(origin.path)


_WRITTEN = (Ingress.KIND, Gateway.KIND, *KINDS)
