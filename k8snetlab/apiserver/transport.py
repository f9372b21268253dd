"""HTTP as raw ASGI: a request as it came, a body that is used while it still arrives, an answer whole or line by
line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, quote

import msgspec

from k8snetlab.api.words import shorten
from k8snetlab.apiserver.access import ROOT, User
from k8snetlab.errors import InputError, RequestError
from k8snetlab.messages.errors import BrokenOff, Status

Json = dict[str, Any]
Send = Callable[[Json], Awaitable[None]]
Receive = Callable[[], Awaitable[Json]]
MAX_BODY = 256 << 20
MAX_STDIN = 64 << 20
WARNINGS, WARNING = 50, 256
"""Headers that warn, and characters of each, so that every client reads the answer."""
LARGE = 1 << 14
"""Bytes of a piece after which it is others' turn."""
PATIENCE = 60.0
"""Seconds in which the body of a request has to come."""
MAX_FIELDS = 1000
"""Parameters of a query."""


class Request(msgspec.Struct):
    """`target` is path and query as they came; `query` holds the last value of each parameter, `values` all; `body` is
    decoded JSON or None, `size` its bytes. `alone`: another machine's daemon asks for what this one knows, and asks the
    others itself."""

    method: str
    path: str
    target: str
    query: dict[str, str]
    values: dict[str, list[str]]
    body: Any
    size: int = 0
    accept: str = ""
    content_type: str = ""
    alone: bool = False
    user: User = ROOT
    """Who asks."""
    agent: str = ""
    """The User-Agent."""


class Reply(msgspec.Struct, frozen=True):
    """What is answered: one value (Raw: its JSON, bytes: as they are), or (AsyncIterator) events as they come.
    `warnings` go into headers, `media` says what the value is."""

    value: Any
    code: int = 200
    warnings: tuple[str, ...] = ()
    media: str = "application/json"


async def read_request(scope: Json, receive: Receive, limit: int = MAX_BODY) -> tuple[Request, bytes]:
    """The request, its body not decoded yet, and that. Raises RequestError."""
    try:
        async with asyncio.timeout(PATIENCE):
            body = await _body(receive, limit)
    except TimeoutError:
        raise RequestError(f"the request did not end within {PATIENCE:.0f} s", "", "Timeout", 504) from None
    target, query = target_of(scope)
    headers: dict[bytes, bytes] = {}
    for name, value in scope.get("headers", ()):
        headers[name] = headers[name] + b"," + value if name in headers else value
    return Request(
        scope["method"],
        scope["path"],
        target,
        {key: values[-1] for key, values in query.items()},
        query,
        None,
        len(body),
        headers.get(b"accept", b"").decode("latin-1"),
        headers.get(b"content-type", b"").decode("latin-1"),
        scope.get("alone", False),
        agent=headers.get(b"user-agent", b"").decode("latin-1"),
    ), body


async def _body(receive: Receive, limit: int) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError("the request broke off before its end")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise RequestError(f"Request entity too large: limit is {limit}", "", "RequestEntityTooLarge", 413)
    return bytes(body)


def decoded(body: bytes) -> Any:
    """The JSON in a request's body, None where there is none; raises RequestError."""
    if not body.strip():
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RequestError(f"the body of the request is no JSON: {what}") from error


def target_of(scope: Json) -> tuple[str, dict[str, list[str]]]:
    """Path and query as they came, and all values of each parameter. Raises RequestError."""
    raw: bytes = scope["query_string"]
    try:
        query = raw.decode("ascii")
        values = parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise RequestError("the query of the request is not of the form name=value&name=value, or not UTF-8") from error
    return quote(scope["path"]) + (f"?{query}" if query else ""), values


async def accept(scope: Json, receive: Receive, send: Send, protocols: Iterable[str]) -> str:
    """Takes a WebSocket; the subprotocol that is spoken from now on. Raises RequestError (400) where the client speaks
    none of `protocols`."""
    offered = scope.get("subprotocols", ())
    chosen = next((one for one in protocols if one in offered), None)
    if chosen is None:
        said = shorten(", ".join(map(str, offered))) or "none"
        raise RequestError(f"unable to upgrade: none of {', '.join(protocols)} is spoken by the client ({said})")
    await receive()  # websocket.connect
    await send({"type": "websocket.accept", "subprotocol": chosen})
    return chosen


async def refuse(send: Send, status: Status) -> None:
    """Instead of `accept`."""
    body = msgspec.json.encode(status)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": status.code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


class Body:
    """A request's body that is used while it still comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._come: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> None:
        """Takes in what comes, until the client has gone."""
        size, more = 0, True
        while (message := await self._receive())["type"] != "http.disconnect":
            if more:
                piece, more = message.get("body", b""), message.get("more_body", False)
                size += len(piece)
                if piece:
                    self._come.put_nowait(piece)
                if not more:
                    self._come.put_nowait(b"")
            if size > MAX_STDIN:
                raise InputError(f"standard input of more than {MAX_STDIN >> 20} MiB goes to no other machine")

    async def pieces(self) -> AsyncIterator[bytes]:
        while piece := await self._come.get():
            yield piece


class Answer:
    """One response: whole, or as JSON lines as they come (bytes are whole lines already); an error in a stream is its
    last line."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def whole(self, reply: Reply, pretty: bool = False) -> None:
        raw = isinstance(reply.value, bytes)
        body = reply.value if raw else msgspec.json.encode(reply.value)
        if pretty and not raw:
            body = msgspec.json.format(body, indent=2) + b"\n"
        await self._start(reply.code, reply.warnings, reply.media, len(body))
        await self._send({"type": "http.response.body", "body": body})

    async def stream(self, lines: AsyncIterator[Any], media: str = "application/json") -> None:
        try:
            async for line in lines:
                if not self._begun:
                    await self._start(200, media=media)
                data = line if isinstance(line, bytes) else msgspec.json.encode(line) + b"\n"
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
                if len(data) >= LARGE:
                    await asyncio.sleep(0)  # it may be the first of many, and others wait for their turn
        finally:
            if isinstance(lines, AsyncGenerator):
                await lines.aclose()
        if not self._begun:
            await self._start(200, media=media)
        await self._send({"type": "http.response.body", "body": b""})

    async def error(self, status: Status, warnings: tuple[str, ...] = ()) -> None:
        if not self._begun:
            await self.whole(Reply(status, status.code, warnings))
            return
        body = msgspec.json.encode(BrokenOff(status)) + b"\n"
        await self._send({"type": "http.response.body", "body": body})

    async def _start(
        self, code: int, warnings: Iterable[str] = (), media: str = "application/json", size: int | None = None
    ) -> None:
        self._begun = True
        headers = [(b"content-type", media.encode("latin-1"))]
        headers += [] if size is None else [(b"content-length", str(size).encode())]
        for text in islice(warnings, WARNINGS):
            safe = text[:WARNING].encode("ascii", "backslashreplace").decode().replace("\\", "\\\\").replace('"', '\\"')
            printable = "".join(letter if letter.isprintable() else "?" for letter in safe)
            headers.append((b"warning", f'299 - "{printable}"'.encode()))
        await self._send({"type": "http.response.start", "status": code, "headers": headers})


async def while_connected(streaming: Coroutine[Any, Any, None], leaving: Awaitable[Any]) -> None:
    """Sends something that may have no end, until the client has gone. Raises what `streaming` or `leaving` raises."""
    stream, gone = asyncio.ensure_future(streaming), asyncio.ensure_future(leaving)
    try:
        await asyncio.wait({stream, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stream, gone):
            if task.done():
                task.result()
    finally:
        for task in (stream, gone):
            task.cancel()
        await asyncio.gather(stream, gone, return_exceptions=True)
