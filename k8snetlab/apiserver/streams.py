"""A client's SPDY streams, over a WebSocket or what looks like one: each is read and written as a connection is."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

from k8snetlab.apiserver.spdy import MOST_STREAMS, Data, Event, Going, Opened, Reset, Session, SpdyError
from k8snetlab.apiserver.transport import Receive, Send

WINDOW = 1 << 18
"""Octets that are kept of a stream until somebody reads them; then nothing more is read of the connection."""
LOOK = 10.0
"""Seconds between two looks whether a client is there that has to wait."""
MOST = MOST_STREAMS
"""Streams of a connection that may be open."""


class Stream:
    """What the client says on it is `pieces`; what it is told, `write` and `end`."""

    def __init__(self, streams: Streams, number: int, headers: dict[str, str]) -> None:
        self._streams, self.number, self.headers = streams, number, headers
        self._held: deque[bytes] = deque()
        self._size = 0
        self.over = False
        """The client says no more, or nobody listens."""
        self._heard, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self.given_up = asyncio.Event()
        """The client has reset it, or has gone."""

    async def pieces(self) -> AsyncIterator[bytes]:
        """What the client says, to the end of it. Whoever stops reading before calls `ignore`."""
        while True:
            while self._held:
                piece = self._held.popleft()
                self._size -= len(piece)
                if self._size < WINDOW:
                    self._room.set()
                yield piece
            if self.over:
                return
            self._heard.clear()
            await self._heard.wait()

    def ignore(self) -> None:
        """What the client says from now on is dropped."""
        self.over = True
        self._held.clear()
        self._room.set()
        self._heard.set()

    async def write(self, data: bytes) -> None:
        await self._streams.say(self.number, data)

    async def end(self, data: bytes = b"") -> None:
        await self._streams.say(self.number, data, True)

    async def reset(self) -> None:
        """Gives it up, in both directions."""
        self.ignore()
        await self._streams.reset(self.number)

    def take(self, data: bytes) -> bool:
        """Whether there is room for more then."""
        if not self.over:
            self._held.append(data)
            self._size += len(data)
            self._heard.set()
            if self._size >= WINDOW:
                self._room.clear()
        return self._room.is_set()

    async def room(self) -> None:
        await self._room.wait()

    def finish(self, given_up: bool = False) -> None:
        self.over = True
        self._heard.set()
        if given_up:
            self.given_up.set()
            self.ignore()


class Streams:
    """All of one connection, from `listen`'s begin to its end."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._session = Session()
        self._sending = asyncio.Lock()
        self._streams: dict[int, Stream] = {}
        self._opened: asyncio.Queue[Stream | None] = asyncio.Queue()

    async def listen(self) -> None:
        """Takes in what the client says, until it has gone or speaks no SPDY. Raises nothing but CancelledError."""
        try:
            with contextlib.suppress(SpdyError, OSError):
                while (message := await self._receive())["type"] == "websocket.receive":
                    for event in self._session.receive(message.get("bytes") or b""):
                        await self._happened(event)
                    await self._flush()
        finally:
            self._opened.put_nowait(None)
            for stream in self._streams.values():
                stream.finish(given_up=True)

    async def opened(self) -> AsyncIterator[Stream]:
        """Each as it is opened, until the client has gone."""
        while (stream := await self._opened.get()) is not None:
            yield stream

    async def say(self, number: int, data: bytes, last: bool = False) -> None:
        """Raises OSError where the client has gone."""
        self._session.say(number, data, last)
        self._drop_closed(number)
        await self._flush()

    async def reset(self, number: int) -> None:
        """Raises OSError where the client has gone."""
        self._session.reset(number)
        self._drop_closed(number)
        await self._flush()

    async def close(self) -> None:
        """Says that nothing more comes."""
        with contextlib.suppress(OSError):
            self._session.go()
            await self._flush()
            await self._send({"type": "websocket.close", "code": 1000})

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._session.take():
                await self._send({"type": "websocket.send", "bytes": data})

    async def _happened(self, event: Event) -> None:
        if isinstance(event, Opened):
            self._streams[event.stream] = made = Stream(self, event.stream, event.headers)
            self._session.reply(event.stream)
            self._opened.put_nowait(made)
        elif isinstance(event, Going) or (stream := self._streams.get(event.stream)) is None:
            return
        elif isinstance(event, Data):
            if not stream.take(event.data):
                await self._until_room(stream)
        else:
            stream.finish(given_up=isinstance(event, Reset))
            self._drop_closed(event.stream)

    def _drop_closed(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream and stream.over and not self._session.is_open(number):
            del self._streams[number]

    async def _until_room(self, stream: Stream) -> None:
        """Meanwhile nothing is read: only a write, which raises then, tells that the client has gone."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await stream.room()
                return
            self._session.ping()
            await self._flush()
