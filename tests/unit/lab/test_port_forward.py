"""port-forward over SPDY: two streams make a connection, whichever comes first, and what waits is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import spdied
from spdied import Line, run

from k8snetlab.api.core import Container, Pod, PodSpec
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.apiserver.streams import MOST, Streams
from k8snetlab.errors import ConflictError
from k8snetlab.lab import port_forward
from k8snetlab.lab.port_forward import forward
from k8snetlab.messages.places import Connect, Received

POD = Pod(metadata=ObjectMeta(name="web"), spec=PodSpec(containers=(Container(name="c"),)))


async def echoing(verb: Any, question: Connect, body: AsyncIterator[bytes]) -> AsyncIterator[Received]:
    """Port 81 is closed; another one answers each piece."""
    if question.port == 81:
        raise ConflictError("connection refused")

    async def pieces() -> AsyncIterator[Received]:
        async for piece in body:
            yield Received(piece.upper())

    return pieces()


def test_a_connection_is_made_of_two_streams_in_any_order() -> None:
    async def test(line: Line) -> None:
        forwarding = asyncio.create_task(forward(echoing, POD, Streams(line.receive, line.send)))
        opened = ((1, "error", "0"), (3, "data", "0"), (5, "data", "1"), (7, "error", "1"), (9, "nonsense", "2"))
        for stream, kind, number in opened:
            line.say(line.client.open(stream, streamType=kind, requestID=number, port="80"))
        for stream in (3, 5):
            line.say(spdied.data(stream, b"one"), spdied.data(stream, b"", last=True))
        line.say(line.client.open(11, streamType="error", requestID="3", port="81"))
        line.say(line.client.open(13, streamType="data", requestID="3", port="81"))
        found = list[tuple[int, int, bytes]]()
        ends = {(0, stream, b"\x01") for stream in (1, 3, 5, 7, 13)}
        while not ends < set(found):
            await asyncio.sleep(0.01)
            found += line.frames()
        assert {(0, 3, b"\x00ONE"), (0, 5, b"\x00ONE"), (0, 11, b"\x01connection refused")} < set(found)
        assert [stream for kind, stream, _ in found if kind == 3] == [9]
        line.hang_up()
        await forwarding

    run(test)


def test_streams_without_a_mate_that_are_given_up_are_forgotten() -> None:
    async def test(line: Line) -> None:
        streams, pairs = Streams(line.receive, line.send), port_forward._Pairs()
        listening = asyncio.create_task(streams.listen())
        opened = streams.opened()
        for number in range(1, 4 * MOST, 2):
            line.say(line.client.open(number, streamType="error", requestID=str(number)))
            assert await pairs.with_mate(await anext(opened)) is None
            line.say(spdied.control(3, number.to_bytes(4, "big") + (5).to_bytes(4, "big")))
        assert len(pairs._waiting) <= MOST + 1
        line.hang_up()
        await listening

    run(test)
