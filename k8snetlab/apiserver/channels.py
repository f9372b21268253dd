"""A WebSocket with Kubernetes' channels: what `exec` of a client says and hears (v4.channel.k8s.io and v5).

A message's first octet is its channel: 0 standard input, 1 and 2 what the command writes, 3 how it ended (a Status),
4 a window's size, 255 (v5) that a channel has ended.
Source: apimachinery pkg/util/remotecommand, client-go tools/remotecommand (v4.go, v5.go), KEP-4006.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from k8snetlab.apiserver.transport import Json, Receive, Send

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
WAITING = 16
"""Messages of a client that are kept until the command reads."""
LOOK = 10.0
"""Seconds between two looks whether a client is there that has to wait."""


class Resized(msgspec.Struct, frozen=True):
    """A window's size, as the client has it."""

    Width: int
    Height: int


class Channels:
    """One connection that was accepted, to its `end`."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._heard: asyncio.Queue[bytes | Resized | None] = asyncio.Queue(WAITING)
        self.gone = asyncio.Event()
        """The client has gone."""

    async def ready(self) -> None:
        """Returns once all channels are there."""

    async def listen(self) -> None:
        """Takes in what the client says, until it has gone."""
        try:
            while (message := await self._receive())["type"] == "websocket.receive":
                data: bytes = message.get("bytes") or (message.get("text") or "").encode()
                if data:
                    await self._take(data[0], data[1:])
        finally:
            self.gone.set()

    async def _take(self, channel: int, data: bytes) -> None:
        if channel == STDIN and data:
            await self._keep(data)
        elif channel == RESIZE:
            try:
                await self._keep(msgspec.json.decode(data, type=Resized))
            except msgspec.MsgspecError:
                return  # a size that is none changes nothing
        elif channel == CLOSE and data[:1] == bytes([STDIN]):
            await self._keep(None)

    async def _keep(self, one: bytes | Resized | None) -> None:
        """Where there is no room nothing is read: only a write, which raises then, tells that the client has gone."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._heard.put(one)
                return
            await self.write(STDOUT, b"")

    async def input(self) -> AsyncIterator[bytes | Resized]:
        """Standard input and sizes, until the client ends its input."""
        while (one := await self._heard.get()) is not None:
            yield one

    async def write(self, channel: int, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": bytes([channel]) + data})

    async def end(self, status: Any) -> None:
        """Tells how the command ended, and closes."""
        await self.write(ERROR, msgspec.json.encode(status))
        await self._send({"type": "websocket.close", "code": 1000})


def ended(code: int) -> Json:
    """The Status of a command that ended with a code."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
