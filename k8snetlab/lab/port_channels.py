"""`port-forward` as clients other than kubectl speak it: a WebSocket with two channels for each port, one for data and
one for an error. A message's first octet is its channel; on each the port is said first, in two octets.

Source: kubelet pkg/cri/streaming/portforward (websocket.go), apimachinery pkg/util/httpstream/wsstream.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from k8snetlab.api.core import Pod
from k8snetlab.apiserver.query import Query
from k8snetlab.apiserver.transport import Receive, Send
from k8snetlab.errors import K8sNetLabError, RequestError
from k8snetlab.lab.asking import Ask, values
from k8snetlab.messages.places import CONNECT, Connect, Received

PROTOCOL = "v4.channel.k8s.io"
MOST = 100
"""Ports of one connection; a channel is an octet."""
WAITING = 16
"""Messages of a client that are kept for a port until the pod reads."""
LOOK = 10.0
"""Seconds between two looks whether a client is there that has to wait."""


def ports_of(query: Query) -> tuple[int, ...]:
    """Said once for each, or with commas. Raises RequestError."""
    words = [word for said in query.get("ports", ()) for word in said.split(",")]
    if not words:
        raise RequestError('query parameter "ports" is required', "ports=8080")
    if len(words) > MOST:
        raise RequestError(f"ports: {len(words)} are too many; at most {MOST} go over one connection")
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) < 6 and 0 < int(word) < 1 << 16):
            raise RequestError(f"ports: {word[:20]!r} is no port")
    return tuple(map(int, words))


async def forward(ask: Ask, pod: Pod, ports: Sequence[int], receive: Receive, send: Send) -> None:
    """Until all connections have ended, or the client has gone. Raises OSError where it has."""
    talk = _Talk(ask, pod, receive, send)
    for number, port in enumerate(ports):
        await talk.begin(number, port)
    listening = asyncio.create_task(talk.listen())
    running = asyncio.create_task(talk.carry_all(ports))
    try:
        await asyncio.wait({listening, running}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
            await send({"type": "websocket.close", "code": 1000})
    finally:
        for task in (listening, running):
            task.cancel()
        await asyncio.gather(listening, running, return_exceptions=True)


class _Talk:
    def __init__(self, ask: Ask, pod: Pod, receive: Receive, send: Send) -> None:
        self._ask, self._pod, self._receive, self._send = ask, pod, receive, send
        self._heard: dict[int, asyncio.Queue[bytes]] = {}

    async def begin(self, number: int, port: int) -> None:
        self._heard[2 * number] = asyncio.Queue(WAITING)
        for channel in (2 * number, 2 * number + 1):
            await self._say(channel, port.to_bytes(2, "little"))

    async def listen(self) -> None:
        """Until the client has gone."""
        while (message := await self._receive())["type"] == "websocket.receive":
            data: bytes = message.get("bytes") or (message.get("text") or "").encode()
            if data[1:]:
                await self._keep(data[0], data[1:])

    async def _keep(self, channel: int, data: bytes) -> None:
        """Where there is no room nothing is read: only a write, which raises then, tells that the client has gone."""
        while heard := self._heard.get(channel):  # else that connection has ended, and nobody listens
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await heard.put(data)
                return
            await self._say(channel, b"")

    async def carry_all(self, ports: Sequence[int]) -> None:
        await asyncio.gather(*(self._carry(number, port) for number, port in enumerate(ports)))

    async def _carry(self, number: int, port: int) -> None:
        """One connection. What goes wrong with it is said on its error channel, and ends no other."""
        channel = 2 * number
        question = Connect(self._pod.namespace, self._pod.name, port)
        try:
            answer = await self._ask(CONNECT, question, self._pieces(channel))
            async with aclosing(values(answer, Received)) as received:
                async for one in received:
                    await self._say(channel, one.data)
        except K8sNetLabError as problem:
            with contextlib.suppress(OSError):
                await self._say(channel + 1, problem.message.encode())
        except OSError:
            return  # the client has gone
        finally:
            ended = self._heard.pop(channel)
            while not ended.empty():  # who waits for room sees that nobody listens any more
                ended.get_nowait()

    async def _pieces(self, channel: int) -> AsyncIterator[bytes]:
        while heard := self._heard.get(channel):
            yield await heard.get()

    async def _say(self, channel: int, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": bytes([channel]) + data})
