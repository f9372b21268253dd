"""The API over TCP: TLS with a CA of the lab's own, to which users show a certificate, as an API server has it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools

from k8snetlab.apiserver.access import ANONYMOUS, AUTHENTICATED, MASTERS, VIEWERS, User
from k8snetlab.apiserver.connections import Connections
from k8snetlab.apiserver.protocol import Protocol
from k8snetlab.apiserver.upgrades import SPDY, SpdyConnection
from k8snetlab.errors import InputError

if TYPE_CHECKING:
    from k8snetlab.store.keys import Keys
    from k8snetlab.store.pki import Authority, Pair

log = logging.getLogger(__name__)
LOOPBACK, PORT = "127.0.0.1", 6443
GROUPS = {"admin": MASTERS, "view": VIEWERS}
"""Users for whom there are certificates, and the group of each."""
CONNECTIONS = 4096
"""Beyond so many a request is answered with 429, beyond a quarter more no connection is taken."""
FREEBIND = {socket.AF_INET: (socket.SOL_IP, 15), socket.AF_INET6: (socket.IPPROTO_IPV6, 78)}
"""Level and number of the option. Source: <linux/in.h>, <linux/in6.h>."""
BETWEEN = 0.1
"""Seconds between two looks at a port that is taken."""
MESSAGE = 1 << 20
"""Bytes of one message of a WebSocket."""
NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


class TlsProtocol(Protocol):
    """HTTP over TLS; a request's `state` (ASGI) has as `user` whom the connection's certificate names."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS * 5 // 4:
            transport.abort()
        connection = transport.get_extra_info("ssl_object")
        self.app_state = {**self.app_state, "user": user_of(connection.getpeercert() if connection else None)}

    def _should_upgrade(self) -> bool:
        return self._get_upgrade() == SPDY or super()._should_upgrade()

    def handle_websocket_upgrade(self) -> None:
        if self._get_upgrade() != SPDY:
            super().handle_websocket_upgrade()
            return
        self.connections.discard(self)
        url = httptools.parse_url(self.url)
        path = {"path": unquote(url.path.decode("ascii")), "raw_path": url.path, "query_string": url.query or b""}
        upgraded = SpdyConnection(self.app, {**self.scope, **path}, self.server_state)
        upgraded.connection_made(self.transport)
        self.transport.set_protocol(upgraded)


def user_of(certificate: Any) -> User:
    """Whom a client's certificate names, as `ssl` has it: common name and organisations; nobody without one."""
    if not certificate:
        return ANONYMOUS
    named = [pair for part in certificate.get("subject", ()) for pair in part]
    names = [value for key, value in named if key == "commonName"]
    groups = tuple(value for key, value in named if key == "organizationName")
    return User(names[0], (*groups, AUTHENTICATED)) if names else ANONYMOUS


class Listener:
    """The socket, from `open` to `close`, and the certificates, which `keys` sign."""

    def __init__(self, keys: Keys, names: Iterable[str] = ()) -> None:
        """`names` are those that its certificate has besides the usual ones."""
        self.keys, self._names = keys, tuple(names)
        self._asked = ""
        self._connections: Connections | None = None
        self._opening = asyncio.Lock()
        self.app: Any = None
        """What answers, an ASGI application."""
        self.address = ""
        """host:port, "" while it is closed."""

    @property
    def authority(self) -> Authority:
        return self.keys.authority

    @property
    def reached_at(self) -> str:
        """The address as clients on this machine use it."""
        host, port = parted(self.address)
        return shown({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)

    def asked_for(self, where: str) -> bool:
        """Whether it is open as asked for so, although perhaps at another port."""
        return bool(self.address) and where in (self._asked, self.address)

    async def open(self, where: str = f"{LOOPBACK}:{PORT}", patience: float = 0.0) -> str:
        """Opens it, at a free port where the one asked for is taken, for `patience` seconds still; where it listens,
        host:port. Raises InputError."""
        async with self._opening:
            if self._connections is not None:
                return self.address
            host, port = parted(where)
            context = tls(self.authority.ca, self.authority.server((host, *self._names, *NAMES)))
            connections = Connections(self.app, TlsProtocol, CONNECTIONS, MESSAGE)
            with contextlib.ExitStack() as undo:
                bound = undo.enter_context(await _bind_patiently(host, port, patience))
                await connections.open(bound, context)
                undo.pop_all()
            self._connections = connections
            self._asked, self.address = where, shown(host, bound.getsockname()[1])
            log.info("the API listens at https://%s", self.address)
            return self.address

    async def close(self) -> None:
        if self._connections is None:
            return
        await self._connections.close()
        self._connections, self.address, self._asked = None, "", ""

    def pair(self, user: str) -> Pair:
        """The certificate of one of GROUPS."""
        return self.authority.user(user, GROUPS[user])


def parted(where: str) -> tuple[str, int]:
    """Host and port of 127.0.0.1:6443, [::1]:6443."""
    host, _, port = where.rpartition(":")
    return host.strip("[]"), int(port)


def shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _bind_patiently(host: str, port: int, seconds: float) -> socket.socket:
    """As `bind`, but a port that is taken is waited for."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        bound = bind(host, port)
        if port in (0, bound.getsockname()[1]) or loop.time() >= end:
            return bound
        bound.close()
        await asyncio.sleep(BETWEEN)


def bind(host: str, port: int, free: bool = False) -> socket.socket:
    """A listening socket at `port`, or where that is taken at a free one; with `free` also at an address that the
    namespace does not have yet. Raises InputError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InputError(
            f"the API cannot listen at {host}: {error.strerror}", "`ip -br address` shows what there is"
        ) from error
    made = socket.socket(
        family, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # asyncio sets TCP_NODELAY only where it is named
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if free:
        made.setsockopt(*FREEBIND[socket.AddressFamily(family)], 1)
    try:
        try:
            made.bind(address)
            made.listen(128)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            made.bind((address[0], 0, *address[2:]))
            made.listen(128)
    except OSError as error:
        made.close()
        raise InputError(
            f"the API cannot listen at {shown(host, port)}: {error.strerror}", "`ip -br address` shows what there is"
        ) from error
    return made


def tls(ca: Path, pair: Pair) -> ssl.SSLContext:
    """Of a server that asks for a client's certificate and does without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pair.cert, pair.key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context
