"""kubectl's way to a control plane of the lab's own: the daemon takes the connection at loopback, since no process of
the machine reaches a namespace's address, and hands each request on to the balancer, inside the lab's underlay.

Who asks is found out here, and said to the API server as any proxy of a cluster's says it: by impersonation, with an
administrator's certificate. What a kubelet answers (`exec`, `logs`, `port-forward`) and the lab's own verbs stay here.
Source: Kubernetes "User impersonation"; RFC 9110, 7.6.1 for the headers that concern one connection alone.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from k8snetlab.apiserver.access import Caller, User
from k8snetlab.apiserver.door import Door, answered
from k8snetlab.apiserver.objects import LARGEST_OBJECT
from k8snetlab.apiserver.paths import PATHS
from k8snetlab.apiserver.transport import Answer, Json, Receive, Request, Send, read_request, while_connected
from k8snetlab.errors import RequestError
from k8snetlab.messages.verb import BASE, GROUP_VERSION

if TYPE_CHECKING:
    import httpx

    from k8snetlab.store.within import Opener

log = logging.getLogger(__name__)
PATIENCE = 5.0
"""Seconds for which a balancer is sought that is being started again."""
PAUSE = 0.1
_KUBELETS = re.compile(r"/api/v1/namespaces/[^/]+/pods/[^/]+/(exec|attach|portforward|log)")
_OWN = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"authorization",
    }
)
"""Headers of a request that are this connection's, or are said otherwise."""
_AGAIN = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"server", b"date"})


class Application(Protocol):
    @property
    def door(self) -> Door: ...

    async def __call__(self, scope: Json, receive: Receive, send: Send) -> None: ...


class Balanced:
    """An ASGI application before the daemon's own. `opener` opens sockets in the underlay, `url` is the balancer's, and
    `context` has the certificate by which the API servers know the daemon."""

    def __init__(self, own: Application, opener: Opener, url: str, context: Callable[[], ssl.SSLContext]) -> None:
        self._own, self._opener, self._url, self._context = own, opener, url, context
        self._made: httpx.AsyncClient | None = None

    async def __call__(self, scope: Json, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _stays(scope["path"]):
            await self._own(scope, receive, send)
            return
        begun: list[httpx.Response] = []
        await answered(scope, Answer(send), self._handed_on(scope, receive, begun))
        for response in begun:
            await while_connected(_relayed(response, send), receive())

    async def _handed_on(self, scope: Json, receive: Receive, begun: list[httpx.Response]) -> None:
        door = self._own.door
        caller = door.asks(scope)
        user = door.as_wished(caller, scope) if isinstance(caller, User) else None
        request, body = await read_request(scope, receive, LARGEST_OBJECT)
        headers = [*_kept(scope), *_impersonating(user, caller)]
        begun.append(await self._asked(request, headers, body))

    async def _asked(self, request: Request, headers: list[tuple[bytes, bytes]], body: bytes) -> httpx.Response:
        """Its answer, as it begins. What no server has got is sent again, and what changes nothing, too. Raises
        RequestError (503)."""
        import httpx

        client, until = self._client(), time.monotonic() + PATIENCE
        while True:
            asked = client.build_request(request.method, self._url + request.target, headers=headers, content=body)
            try:
                return await client.send(asked, stream=True)
            except (httpx.TransportError, OSError) as error:
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if not unsent and request.method != "GET":
                    why = "the API server ended before it answered: nobody can say whether this was done"
                    raise RequestError(why, "look, and ask again", "ServiceUnavailable", 503) from error
                if time.monotonic() > until:
                    why = f"no API server answers behind the balancer at {self._url}"
                    hint = "`k8snetlab controlplane status` says how each is"
                    raise RequestError(why, hint, "ServiceUnavailable", 503) from error
            await asyncio.sleep(PAUSE)

    def _client(self) -> httpx.AsyncClient:
        if self._made is None:
            import httpx

            from k8snetlab.store.within import transport

            timeout = httpx.Timeout(None, connect=2.0)
            self._made = httpx.AsyncClient(transport=transport(self._opener, self._context()), timeout=timeout)
            self._made.headers.clear()
        return self._made


def _stays(path: str) -> bool:
    own = path.removeprefix(f"{BASE}/")
    verb = own != path and (GROUP_VERSION, own.partition("/")[0]) not in PATHS
    return verb or _KUBELETS.fullmatch(path) is not None


def _kept(scope: Json) -> Iterator[tuple[bytes, bytes]]:
    for name, value in scope["headers"]:
        if name not in _OWN and not name.startswith(b"impersonate-"):
            yield name, value


def _impersonating(user: User | None, caller: Caller | User | None) -> Iterator[tuple[bytes, bytes]]:
    if user is None:
        raise RequestError(f"{caller} cannot be handed on", "", "Unauthorized", 401)
    yield b"impersonate-user", user.name.encode()
    for group in user.groups:
        yield b"impersonate-group", group.encode()
    if user.uid:
        yield b"impersonate-uid", user.uid.encode()
    for key, values in user.extra.items():
        for value in values:
            yield b"impersonate-extra-" + quote(key, safe="").encode(), value.encode()


async def _relayed(response: httpx.Response, send: Send) -> None:
    """Where the server ends in the middle, the client sees that its answer is not whole."""
    import httpx

    try:
        kept = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _AGAIN]
        await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
        async for piece in response.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except (httpx.TransportError, OSError) as error:
        log.info("an answer of an API server broke off: %s", error)
    finally:
        await response.aclose()
