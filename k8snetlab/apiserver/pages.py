"""A server that asks nobody who he is answers programs of this machine, and no page in a browser of it.

A page may send requests to a loopback address, too (cross-site), or have its own name lead there (DNS rebinding). A
browser tells of the one by an Origin, of the other by the Host.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from k8snetlab.api.words import shorten
from k8snetlab.apiserver.transport import Answer, Json, Receive, Send, refuse
from k8snetlab.errors import ForbiddenError
from k8snetlab.messages.errors import status_of


class NoPages:
    """An ASGI application before another one."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Json, receive: Receive, send: Send) -> None:
        if problem := _problem(scope):
            status = status_of(ForbiddenError(problem, "this server runs with --plain, for programs of this machine"))
            await (refuse(send, status) if scope["type"] == "websocket" else Answer(send).error(status))
            return
        await self._app(scope, receive, send)


def _problem(scope: Json) -> str:
    headers = {name: value.decode("latin-1") for name, value in scope.get("headers", ())}
    if b"origin" in headers:
        return f"a page of {shorten(headers[b'origin'])} may ask nothing here"
    host = headers.get(b"host", "localhost")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    try:
        local = name == "localhost" or ip_address(name.strip("[]")).is_loopback
    except ValueError:
        local = False
    return "" if local else f"Host: {shorten(host)} is no name of this machine's own loopback"
