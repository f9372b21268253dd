"""The channels of an exec as SPDY has them: a stream for each, with a header, streamType.

Source: kubelet pkg/cri/streaming/remotecommand (httpstream.go), client-go tools/remotecommand (v2.go to v4.go).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from k8snetlab.apiserver.channels import ERROR, STDERR, STDOUT, Resized
from k8snetlab.apiserver.streams import Stream, Streams
from k8snetlab.apiserver.transport import Receive, Send
from k8snetlab.errors import RequestError

CREATION = 30.0
"""Seconds in which a client has to open its streams."""
FAREWELL = 5.0
"""Seconds that a client has to go by itself, so that it has read all."""
LARGEST_SIZE = 1 << 12
"""Octets of a window's size, as JSON."""
_NAMES = {STDOUT: "stdout", STDERR: "stderr", ERROR: "error"}


class StreamChannels:
    """As `Channels`; `wanted` are the streamTypes that the client is to open."""

    def __init__(self, receive: Receive, send: Send, wanted: frozenset[str]) -> None:
        self._streams, self._wanted = Streams(receive, send), wanted
        self._by_name: dict[str, Stream] = {}
        self._complete, self.gone = asyncio.Event(), asyncio.Event()
        self._heard: asyncio.Queue[bytes | Resized | None] = asyncio.Queue(1)

    async def listen(self) -> None:
        tasks = [asyncio.create_task(self._streams.listen())]
        try:
            async for stream in self._streams.opened():
                name = stream.headers.get("streamtype", "")
                if name not in self._wanted or name in self._by_name:
                    await stream.reset()
                    continue
                self._by_name[name] = stream
                if name == "stdin":
                    tasks.append(asyncio.create_task(self._stdin(stream)))
                elif name == "resize":
                    tasks.append(asyncio.create_task(self._sizes(stream)))
                if len(self._by_name) == len(self._wanted):
                    self._complete.set()
        finally:
            self.gone.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def ready(self) -> None:
        try:
            async with asyncio.timeout(CREATION):
                await self._complete.wait()
        except TimeoutError as error:
            missing = ", ".join(sorted(self._wanted - set(self._by_name)))
            raise RequestError(f"timed out waiting for client to create streams ({missing})") from error

    async def _stdin(self, stream: Stream) -> None:
        async for piece in stream.pieces():
            await self._heard.put(piece)
        await self._heard.put(None)

    async def _sizes(self, stream: Stream) -> None:
        """JSON values one after the other, each with a line end."""
        held = b""
        async for piece in stream.pieces():
            *lines, held = (held + piece).split(b"\n")
            held = held[:LARGEST_SIZE]
            for line in lines:
                with contextlib.suppress(msgspec.MsgspecError):  # a size that is none changes nothing
                    await self._heard.put(msgspec.json.decode(line, type=Resized))

    async def input(self) -> AsyncIterator[bytes | Resized]:
        while (one := await self._heard.get()) is not None:
            yield one

    async def write(self, channel: int, data: bytes) -> None:
        if stream := self._by_name.get(_NAMES[channel]):
            await stream.write(data)

    async def end(self, status: Any) -> None:
        for name in ("stdout", "stderr", "error"):
            if stream := self._by_name.get(name):
                await stream.end(msgspec.json.encode(status) if name == "error" else b"")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self.gone.wait()
        await self._streams.close()
