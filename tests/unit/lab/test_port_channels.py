"""port-forward over a WebSocket's channels: what is said on which, and what becomes of errors, ends, slow readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from k8snetlab.api.core import Pod
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.errors import ConflictError, RequestError
from k8snetlab.lab import port_channels
from k8snetlab.lab.port_channels import WAITING, forward, ports_of
from k8snetlab.messages.places import Connect, Received

POD = Pod(metadata=ObjectMeta(name="web", namespace="default"))
GREETING = [b"\x00\x90\x1f", b"\x01\x90\x1f", b"\x02\x51\x00", b"\x03\x51\x00"]


class Client:
    """Says messages, and holds what it is told."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.told: list[bytes] = []
        self.closed = 0

    def say(self, data: bytes) -> None:
        self.says.put_nowait({"type": "websocket.receive", "bytes": data})

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            self.closed = message["code"]
        else:
            self.told.append(message["bytes"])


async def echoing(verb: Any, question: Connect, body: AsyncIterator[bytes]) -> AsyncIterator[Received]:
    """Port 81 is closed; another one answers each message, and ends after `end`."""
    if question.port == 81:
        raise ConflictError("connection refused")

    async def pieces() -> AsyncIterator[Received]:
        async for piece in body:
            if piece == b"end":
                return
            yield Received(piece.upper())

    return pieces()


def test_each_port_has_two_channels_and_ends_by_itself() -> None:
    async def run() -> Client:
        client = Client()
        client.say(b"\x00one")
        client.say(b"\x02lost")  # of a connection that was refused
        client.say(b"\x09nowhere")
        client.say(b"\x00")
        client.say(b"")
        client.say(b"\x00end")
        async with asyncio.timeout(10):
            await forward(echoing, POD, (8080, 81), client.says.get, client.send)
        return client

    client = asyncio.run(run())
    assert client.told[:4] == GREETING
    assert sorted(client.told[4:]) == [b"\x00ONE", b"\x03connection refused"] and client.closed == 1000


def test_a_client_that_goes_ends_all_of_its_connections() -> None:
    ended: list[int] = []

    async def held(verb: Any, question: Connect, body: AsyncIterator[bytes]) -> AsyncIterator[Received]:
        async def pieces() -> AsyncIterator[Received]:
            try:
                await asyncio.Event().wait()
                yield Received(b"")
            finally:
                ended.append(question.port)

        return pieces()

    async def run() -> Client:
        client = Client()
        client.says.put_nowait({"type": "websocket.disconnect"})
        async with asyncio.timeout(10):
            await forward(held, POD, (8080, 82), client.says.get, client.send)
        return client

    assert asyncio.run(run()).closed == 0 and sorted(ended) == [82, 8080]


def test_of_a_pod_that_reads_nothing_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_channels, "LOOK", 0.01)

    async def run() -> Client:
        client, looked = Client(), asyncio.Event()

        async def deaf(verb: Any, question: Connect, body: AsyncIterator[bytes]) -> AsyncIterator[Received]:
            await looked.wait()
            raise ConflictError("it was reset")

        for _ in range(10 * WAITING):
            client.say(b"\x00x")
        left: list[int] = []

        async def look() -> None:
            while client.told[2:].count(b"\x00") < 3:  # said to see whether the client, which waits for room, is there
                await asyncio.sleep(0.01)
            left.append(client.says.qsize())
            looked.set()

        async with asyncio.timeout(10):
            await asyncio.gather(forward(deaf, POD, (8080,), client.says.get, client.send), look())
        assert left == [10 * WAITING - WAITING - 1], "what there is no room for is not read"
        return client

    client = asyncio.run(run())
    said = [one for one in client.told if one != b"\x00"]
    assert len(said) < len(client.told), "a client that has to wait is looked after"
    assert said[-1] == b"\x01it was reset" and client.closed == 1000, "maybe with a look as it ended"


@pytest.mark.parametrize(("said", "ports"), [(["80"], (80,)), (["80,81"], (80, 81)), (["80", "81,82"], (80, 81, 82))])
def test_ports_are_said_one_by_one_or_with_commas(said: list[str], ports: tuple[int, ...]) -> None:
    assert ports_of({"ports": said}) == ports


@pytest.mark.parametrize("said", [[], ["0"], ["65536"], ["-1"], ["x"], ["80,"], ["٣"], ["1" * 999], ["80"] * 101])
def test_what_is_no_port_is_refused(said: list[str]) -> None:
    with pytest.raises(RequestError, match="port"):
        ports_of({"ports": said})
