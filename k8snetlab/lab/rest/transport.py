"""HTTP as raw ASGI: a request as it came, a body used while it still comes, an answer whole or line by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs, quote

import msgspec

from k8snetlab.errors import InputError

Json = dict[str, Any]
Send = Callable[[Json], Awaitable[None]]
Receive = Callable[[], Awaitable[Json]]
MAX_BODY = 256 << 20
MAX_STDIN = 64 << 20


class Request(msgspec.Struct):
    """`target` is path and query as they came; `query` holds the last value of each parameter; `body` is decoded JSON
    or None. `alone`: another machine's daemon asks for what this one knows, and asks the others itself."""

    method: str
    path: str
    target: str
    query: dict[str, str]
    body: Any
    alone: bool = False


async def read_request(scope: Json, receive: Receive) -> Request:
    """The request with all of its body."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            raise InputError("the request is too large")
    target, query = target_of(scope)
    last = {key: values[-1] for key, values in query.items()}
    said = msgspec.json.decode(body) if body else None
    return Request(scope["method"], scope["path"], target, last, said, scope.get("alone", False))


def target_of(scope: Json) -> tuple[str, dict[str, list[str]]]:
    """Path and query as they came, and all values of each parameter."""
    query = scope["query_string"].decode()
    return quote(scope["path"]) + (f"?{query}" if query else ""), parse_qs(query, keep_blank_values=True)


class Body:
    """A request's body that is used while it still comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._come: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> None:
        """Takes in what comes, until whoever sends it has gone."""
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
    """One response: whole, or JSON lines (bytes as they are) as they come; an error in a stream is its last line."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def json(self, value: Any, code: int) -> None:
        await self._start(code)
        await self._send({"type": "http.response.body", "body": msgspec.json.encode(value)})

    async def stream(self, lines: AsyncIterator[Any]) -> None:
        try:
            async for line in lines:
                if not self._begun:
                    await self._start(200)
                data = line if isinstance(line, bytes) else msgspec.json.encode(line) + b"\n"
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            if isinstance(lines, AsyncGenerator):
                await lines.aclose()
        if not self._begun:
            await self._start(200)
        await self._send({"type": "http.response.body", "body": b""})

    async def error(self, value: Json, code: int) -> None:
        if not self._begun:
            await self.json(value, code)
            return
        body = msgspec.json.encode({"type": "error", "status": value}) + b"\n"
        await self._send({"type": "http.response.body", "body": body})

    async def _start(self, code: int) -> None:
        self._begun = True
        headers = [(b"content-type", b"application/json")]
        await self._send({"type": "http.response.start", "status": code, "headers": headers})


async def while_heard(streaming: Coroutine[Any, Any, None], leaving: Awaitable[Any]) -> None:
    """Shows something that may have no end, until whoever asked for it has gone."""
    stream, gone = asyncio.ensure_future(streaming), asyncio.ensure_future(leaving)
    try:
        await asyncio.wait({stream, gone}, return_when=asyncio.FIRST_COMPLETED)
        if stream.done():
            stream.result()
    finally:
        for task in (stream, gone):
            task.cancel()
        await asyncio.gather(stream, gone, return_exceptions=True)
