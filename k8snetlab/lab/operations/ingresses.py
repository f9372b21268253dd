"""What the Ingress controller's nginx serves by, shown."""

from __future__ import annotations

import asyncio

from k8snetlab.api.lines import line
from k8snetlab.api.networking import Ingress
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import show
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import NotFoundError
from k8snetlab.lab.table import answers
from k8snetlab.messages.ingress import NGINX_CONF, IngressProblem, NginxConf, NginxLine, NginxQuestion
from k8snetlab.render.ingress import matching
from k8snetlab.render.ingress.model import Origin, Problem
from k8snetlab.running.ingress_refusals import Written
from k8snetlab.running.ingresses import Ingresses
from k8snetlab.wording import nearest


class IngressesShown:
    def __init__(self, cluster: Cluster, ingresses: Ingresses) -> None:
        self._cluster, self._ingresses = cluster, ingresses

    @answers(NGINX_CONF)
    async def nginx_conf(self, asked: NginxQuestion) -> NginxConf:
        """The whole of nginx.conf, or the server that a host's requests come to. Raises NotFoundError."""
        snapshot = self._cluster.snapshot
        used = self._ingresses.written
        written = await asyncio.to_thread(self._ingresses.wanted, snapshot) if used is None else used
        return await asyncio.to_thread(_shown, snapshot, written, asked.host, used is not None)


def _shown(snapshot: Snapshot, written: Written, host: str, used: bool) -> NginxConf:
    problems = tuple(
        IngressProblem(_title(one.kind, one.key), one.reason, one.message, _written(snapshot, _origin(one)))
        for one in written.site.problems
    )
    lines = written.text.splitlines()
    origins = (None,) * (len(lines) - len(written.origins)) + written.origins
    found = list(zip(lines, origins, strict=True))
    servers = tuple(server.host for server in written.site.servers)
    if host:
        server = matching.server(written.site, host)
        if server is None:
            known = [one for one in servers if one != "_"]
            raise NotFoundError(f"no Ingress has the host {host!r}: the server _ answers", nearest(host, known))
        servers = (server.host,)
        first = lines.index(f"\t## start server {server.host}")
        found = found[first : lines.index(f"\t## end server {server.host}") + 1]
    shown = {origin: _written(snapshot, origin) for origin in {one for _, one in found}}
    told = tuple(NginxLine(text, _title(o.kind, o.key) if o else "", shown[o]) for text, o in found)
    return NginxConf(used, servers, told, problems)


def _origin(problem: Problem) -> Origin:
    return Origin(problem.kind, problem.key, problem.path)


def _title(kind: str, key: tuple[str, str]) -> str:
    return f"{kind} {key[0]}/{key[1]}"


def _written(snapshot: Snapshot, origin: Origin | None) -> str:
    """Where the field of an object was written."""
    if origin is None or origin.kind != Ingress.KIND:
        return ""
    ingress = snapshot.all(Ingress).get(origin.key)
    found = line(ingress, origin.path) if ingress else ""
    return found or show(origin.path)
