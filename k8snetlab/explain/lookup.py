"""A name looked up from inside a place, as its C library would, query by query."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from k8snetlab.api.core import Pod, Service
from k8snetlab.api.dns import LOCAL as LOCAL_CACHE
from k8snetlab.api.dns import PORT
from k8snetlab.api.selection import pods_by_ip, pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import end, family_of
from k8snetlab.dns import asking, nodelocal, resolv, walk
from k8snetlab.dns.resolv import Resolv
from k8snetlab.errors import InputError, K8sNetLabError, NotFoundError
from k8snetlab.explain.places import Place
from k8snetlab.kernel import asking as sockets
from k8snetlab.kernel import connections, etc
from k8snetlab.kernel.asking import Heard
from k8snetlab.messages.dig import Dig, DnsQuery, DnsRecord, Library

_LAME = "lame"
_HEARD = ("NOERROR", "NODATA", "NXDOMAIN")
MUSL_RETRIES = 2
"""So often, of each type, musl asks a server again that has said SERVFAIL."""
LOCAL = "127.0.0.1"
"""Who is asked where resolv.conf names nobody (resolv.conf(5))."""


def dig(snapshot: Snapshot, place: Place, name: str, type_: str = "", library: Library = "glibc") -> Dig:
    """Sends the queries, really. Blocking. Raises InputError, NotFoundError."""
    asked, types = _meant(name, type_)
    has = _resolv(place)
    asker = _Asker(place, has, types, library)
    reverse = asked != name
    walked = walk.names(asked, replace(has, searches=()) if reverse else has, library)
    began, status = time.monotonic(), ""
    with contextlib.suppress(StopIteration):
        one = next(walked)
        while True:
            status = asker.ask(one)
            one = walked.send(status)
    took = (time.monotonic() - began) * 1000
    sent = [query for _, query in asker.sent]
    records = [record for query in sent for record in query.records]
    return Dig(
        source=place.name,
        sourceNode=place.node,
        name=name,
        library=library,
        nameservers=has.nameservers,
        searches=has.searches,
        ndots=has.ndots,
        queries=tuple(_answerers(snapshot, place, asker.sent)),
        found=status == "NOERROR",
        addresses=tuple(dict.fromkeys(r.data for r in records if r.type in asking.ADDRESSES)),
        milliseconds=round(took, 3),
        notes=tuple(_notes(place, asked)),
    )


def _meant(name: str, type_: str) -> tuple[str, tuple[str, ...]]:
    """What is asked for, and of which types."""
    try:
        asked, reverse = asking.name_of(name)
    except ValueError as error:
        raise InputError(f"name {name[:80]!r}: {error}", "k8snetlab dig client web.default.svc.cluster.local") from None
    if not type_:
        return asked, ("PTR",) if reverse else asking.ADDRESSES
    try:
        return asked, (asking.type_of(type_),)
    except ValueError as error:
        raise InputError(f"type {type_[:32]!r}: {error}", "A, AAAA, SRV, PTR, CNAME, TXT, NS, SOA …") from None


def _resolv(place: Place) -> Resolv:
    """The place's own resolv.conf, as libc reads it."""
    try:
        text = etc.read(place.netns, "resolv.conf")
    except OSError as error:
        raise NotFoundError(f"the resolv.conf of {place.name} cannot be read: {error.strerror}") from None
    if text is None:
        raise NotFoundError(
            f"{place.name} has no resolv.conf of its own: it asks nobody of the lab",
            "set `dns: {enabled: true}` in the lab file, and `k8snetlab up` again",
        )
    has = resolv.read(text)
    return replace(has, nameservers=has.servers or (LOCAL,))


class _Asker:
    """Asks for one name after another; `sent` are the queries, each with where it was sent from."""

    def __init__(self, place: Place, has: Resolv, types: tuple[str, ...], library: Library) -> None:
        self._place, self._has, self._types, self._library = place, has, types, library
        self.sent: list[tuple[sockets.End, DnsQuery]] = []

    def ask(self, name: str) -> str:
        """What became of a name: of several types the best."""
        try:
            asking.query(0, name, self._types[0])
        except ValueError as error:
            self._note(name, self._types[0], Heard(b"", (self._has.nameservers[0], PORT), ("", 0), 0, str(error)))
            return "FORMERR"
        found = self._musl(name) if self._library == "musl" else self._glibc(name)
        statuses = [found.get(type_, "") for type_ in self._types]
        if "NOERROR" in statuses:
            return "NOERROR"
        return next((s for s in statuses if s != "NODATA"), "NODATA")

    def _glibc(self, name: str) -> dict[str, str]:
        """Servers one after another, all of them as often as `attempts` says; by TCP where that is an option."""
        refused = False
        for _ in range(self._has.attempts):
            for place, server in enumerate(self._has.nameservers):
                patience = self._has.timeout if not place else self._has.timeout * 2**place / len(self._has.nameservers)
                together = not {"single-request", "single-request-reopen"} & set(self._has.options)
                found = self._try((server,), name, self._types, patience, together=together)
                if 0 < sum(map(bool, found.values())) < len(self._types):  # as with a server that takes one at a time
                    found = self._try((server,), name, self._types, patience, together=False)
                if set(found.values()) - {"", "SERVFAIL", "REFUSED", "NOTIMP", _LAME}:
                    return found
                refused = bool(self.sent[-1][1].error)
                last = found
        if not any(last.values()) and refused:
            return dict.fromkeys(self._types, walk.REFUSED)
        return last

    def _musl(self, name: str) -> dict[str, str]:
        """All servers at once, and again what is not answered; ICMP's errors are not heard, and what is neither
        NOERROR nor NXDOMAIN is no answer. Whose server fails is asked again at once, a few times (musl,
        src/network/res_msend.c)."""
        found: dict[str, str] = {}
        for _ in range(self._has.attempts):
            left = tuple(type_ for type_ in self._types if found.get(type_, "") not in _HEARD)
            if left:
                began, patience = time.monotonic(), self._has.timeout / self._has.attempts
                found |= self._try(self._has.nameservers, name, left, patience, together=True)
                again = MUSL_RETRIES * len(left)
                while failed := tuple(type_ for type_ in left if found.get(type_) == "SERVFAIL")[:again]:
                    again -= len(failed)
                    server = self.sent[-1][1].server
                    found |= self._try(
                        (server,), name, failed, max(0.0, began + patience - time.monotonic()), together=True
                    )
                if not all(found.get(type_, "") in _HEARD for type_ in left):
                    time.sleep(max(0.0, began + patience - time.monotonic()))
        return found

    def _try(
        self, servers: tuple[str, ...], name: str, types: tuple[str, ...], patience: float, *, together: bool
    ) -> dict[str, str]:
        """The status of each type that was answered, "" for the others."""
        ends = [(server, PORT) for server in servers]
        groups = [types] if together else [(type_,) for type_ in types]
        found: dict[str, str] = {}
        for group in groups:
            requests = [asking.query(secrets.randbits(16), name, type_) for type_ in group]
            if "use-vc" in self._has.options and self._library == "glibc":
                heard = [sockets.by_tcp(self._place.netns, ends[0], request, patience) for request in requests]
                transport = "tcp"
            else:
                told, transport = self._library == "glibc", "udp"
                heard = sockets.by_udp(self._place.netns, ends, requests, asking.belongs, patience, told=told)
            for type_, request, one in zip(group, requests, heard, strict=True):
                found[type_] = self._note(name, type_, one, transport)
                if transport == "udp" and (read := asking.reply(one.octets)) and read.truncated:
                    again = sockets.by_tcp(self._place.netns, one.server, request, patience)
                    found[type_] = self._note(name, type_, again, "tcp")
        return found

    def _note(self, name: str, type_: str, heard: Heard, transport: str = "udp") -> str:
        read = asking.reply(heard.octets) if heard.octets else None
        query = DnsQuery(
            name=name,
            type=type_,
            server=heard.server[0],
            transport=transport,
            status=read.status if read else "",
            records=tuple(DnsRecord(r.name, r.type, r.ttl, r.data) for r in read.records) if read else (),
            authoritative=bool(read and read.authoritative),
            answeredBy="",
            answeredNode="",
            answeredIP="",
            service="",
            milliseconds=round(heard.milliseconds, 3),
            error=heard.error or ("" if read else "no answer"),
            truncated=bool(read and read.truncated),
        )
        self.sent.append((heard.source, query))
        return _LAME if read and read.lame and self._library == "glibc" else query.status


class _Way(NamedTuple):
    protocol: str
    port: int
    server: str


def _answerers(snapshot: Snapshot, place: Place, sent: list[tuple[sockets.End, DnsQuery]]) -> Iterator[DnsQuery]:
    """The queries with who answered them: where conntrack of the place's node says that each was led."""
    ways = _ways(snapshot, place, {family_of(query.server) for _, query in sent})
    for source, query in sent:
        led = ways.get(_Way(query.transport, source[1], query.server))
        to = led or ((query.server, PORT) if query.status else None)
        if to is None:
            yield query
            continue
        pod = _pod_at(snapshot, to[0], place.node)
        service = _service(snapshot, query.server) if led and led[0] != query.server else None
        yield replace(
            query,
            answeredBy=f"{pod.namespace}/{pod.name}" if pod and query.status else "",
            answeredNode=pod.spec.nodeName if pod and query.status else "",
            answeredIP=end(*to),
            service=f"{service.namespace}/{service.name}" if service else "",
        )


def _pod_at(snapshot: Snapshot, address: str, node: str) -> Pod | None:
    """Whose an address is; a node's own DNS cache has one that all nodes have."""
    if address == LOCAL_CACHE:
        mine = snapshot.select(Pod, pods_by_node, node).values()
        return next((p for p in mine if nodelocal.LABELS.items() <= p.metadata.labels.items() and p.ready), None)
    return next((p for p in snapshot.select(Pod, pods_by_ip, address).values() if not p.ended), None)


def _ways(snapshot: Snapshot, place: Place, families: Iterable[str]) -> dict[_Way, sockets.End]:
    lab = snapshot.lab
    node = names.namespace_of(lab.name, place.node, lab.spec.machines) if place.node else place.netns
    found: dict[_Way, sockets.End] = {}
    for family in families:
        with contextlib.suppress(K8sNetLabError):
            for entry in connections.entries(node, "ipv6" if family == "ipv6" else "ipv4"):
                if entry.original.dport == PORT and (not place.ips or entry.original.src in place.ips):
                    way = _Way(entry.protocol, entry.original.sport, entry.original.dst)
                    found[way] = (entry.reply.src, entry.reply.sport)
    return found


def _service(snapshot: Snapshot, address: str) -> Service | None:
    return next((s for s in snapshot.all(Service).values() if address in s.clusterIPs), None)


def _notes(place: Place, name: str) -> Iterator[str]:
    """Whether libc would have asked at all."""
    with contextlib.suppress(OSError):
        for line in (etc.read(place.netns, "hosts") or "").splitlines():
            address, *known = line.partition("#")[0].split() or [""]
            if name.rstrip(".").lower() in (one.lower() for one in known):
                yield f"/etc/hosts of {place.name} has this name, as {address}: it is read first, and nobody is asked"
                return
