"""Streams over SPDY: what waits is bounded, and a client that goes or speaks nonsense ends its own connection only."""

from __future__ import annotations

import asyncio

import pytest
import spdied
from spdied import Line, run

from k8snetlab.apiserver import stream_channels, streams
from k8snetlab.apiserver.channels import STDERR, STDOUT, Resized
from k8snetlab.apiserver.stream_channels import StreamChannels
from k8snetlab.apiserver.streams import WINDOW, Stream, Streams
from k8snetlab.errors import RequestError


async def first(many: Streams) -> Stream:
    return await anext(many.opened())


def test_a_stream_that_nobody_reads_holds_up_its_connection_and_takes_no_more_room() -> None:
    async def test(line: Line) -> None:
        many = Streams(line.receive, line.send)
        listening = asyncio.create_task(many.listen())
        piece = b"x" * (WINDOW // 4)
        line.say(line.client.open(1, name="a"), *[spdied.data(1, piece)] * 40, spdied.data(1, b"", last=True))
        stream = await first(many)
        await asyncio.sleep(0.05)
        assert line.read == 5  # the opening and a window
        assert b"".join([one async for one in stream.pieces()]) == piece * 40
        line.hang_up()
        await listening

    run(test)


def test_a_client_that_goes_while_nobody_reads_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK", 0.01)

    async def test(line: Line) -> None:
        many = Streams(line.receive, line.send)
        listening = asyncio.create_task(many.listen())
        line.say(line.client.open(1), spdied.data(1, b"x" * WINDOW))
        stream = await first(many)
        line.broken = True
        await listening
        assert stream.given_up.is_set()

    run(test)


def test_nonsense_ends_the_streams_and_raises_nothing() -> None:
    async def test(line: Line) -> None:
        many = Streams(line.receive, line.send)
        line.say(line.client.open(1, name="a"), b"\xff" * 64, line.client.open(3))
        await many.listen()
        assert [stream.headers async for stream in many.opened()] == [{"name": "a"}]

    run(test)


def test_streams_that_were_ended_are_forgotten() -> None:
    async def test(line: Line) -> None:
        many = Streams(line.receive, line.send)
        listening = asyncio.create_task(many.listen())
        for number in range(1, 4001, 2):
            line.say(line.client.open(number, 1))
            stream = await first(many)
            await stream.end(b"bye")
        assert not many._streams and not listening.done()
        line.hang_up()
        await listening

    run(test)


def test_an_exec_over_spdy_has_its_channels() -> None:
    async def test(line: Line) -> None:
        channels = StreamChannels(line.receive, line.send, frozenset({"error", "stdin", "stdout", "stderr", "resize"}))
        listening = asyncio.create_task(channels.listen())
        names = ("error", "stdin", "stdout", "stderr", "resize", "nonsense", "stdin")
        line.say(*(line.client.open(1 + 2 * n, streamType=name) for n, name in enumerate(names)))
        await channels.ready()
        line.say(spdied.data(9, b'{"Width":80,"Height":24}\n{"Width":'), spdied.data(9, b"no size}\n"))
        said = channels.input()
        assert await anext(said) == Resized(80, 24)
        line.say(spdied.data(3, b"typed"), spdied.data(3, b"", last=True))
        assert [one async for one in said] == [b"typed"]
        await channels.write(STDOUT, b"out")
        await channels.write(STDERR, b"err")
        line.hang_up()
        await channels.end({"status": "Success"})
        await listening
        told = line.frames()
        assert [stream for kind, stream, _ in told if kind == 3] == [11, 13]  # reset: none of those that were asked for
        assert [(stream, rest) for kind, stream, rest in told if not kind] == [
            *((5, b"\x00out"), (7, b"\x00err"), (5, b"\x01"), (7, b"\x01"), (1, b'\x01{"status":"Success"}')),
        ]
        assert line.closed

    run(test)


def test_a_client_that_opens_too_few_streams_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_channels, "CREATION", 0.05)

    async def test(line: Line) -> None:
        channels = StreamChannels(line.receive, line.send, frozenset({"error", "stdout"}))
        listening = asyncio.create_task(channels.listen())
        line.say(line.client.open(1, streamType="error"))
        with pytest.raises(RequestError, match=r"timed out waiting for client to create streams \(stdout\)"):
            await channels.ready()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    run(test)
