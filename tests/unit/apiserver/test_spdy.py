"""SPDY/3.1: frames whole, in pieces, and as nobody should send them."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
import zlib

import pytest
from spdied import Client, control, data

from k8snetlab.apiserver import spdy
from k8snetlab.apiserver.spdy import Data, Ended, Going, Opened, Reset, Session, SpdyError


def test_the_dictionary_is_that_of_the_specification() -> None:
    assert len(spdy.DICTIONARY) == 1423
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2  # what zlib's header of every SPDY/3 connection names


def test_streams_are_opened_said_on_and_ended() -> None:
    client, session = Client(), Session()
    sent = client.open(1, streamType="error") + client.open(3, streamType="stdin", port="80")
    sent += data(3, b"hello") + data(3, b"", last=True) + control(7, bytes(8))
    assert session.receive(sent) == [
        Opened(1, {"streamtype": "error"}),
        Opened(3, {"streamtype": "stdin", "port": "80"}),
        Data(3, b"hello"),
        Ended(3),
        Going(),
    ]
    session.reply(1)
    session.say(1, b"all is well", last=True)
    session.say(1, b"too late")
    assert client.read(session.take()) == [(2, 1, bytes(4)), (0, 1, b"\x01all is well")]
    assert session.take() == b""


def test_frames_may_come_in_pieces_of_any_length() -> None:
    client = Client()
    sent = b"".join(client.open(1 + 2 * n, streamType="data", number=str(n)) for n in range(20))
    sent += data(5, b"x" * 1000) + data(7, b"y", last=True)
    whole = Session().receive(sent)
    for size in (1, 3, 7, 100):
        session, said = Session(), dict[int, bytes]()
        others = []
        for at in range(0, len(sent), size):
            for event in session.receive(sent[at : at + size]):
                if isinstance(event, Data):
                    said[event.stream] = said.get(event.stream, b"") + event.data
                else:
                    others.append(event)
        assert others == [event for event in whole if not isinstance(event, Data)]
        assert said == {5: b"x" * 1000, 7: b"y"}


def test_what_is_said_is_cut_into_frames() -> None:
    client, session = Client(), Session()
    session.receive(client.open(1))
    session.say(1, bytes(3 * spdy.LARGEST_DATA), last=True)
    sizes = [(len(rest) - 1, rest[0]) for _, _, rest in client.read(session.take())]
    assert sizes == [(spdy.LARGEST_DATA, 0), (spdy.LARGEST_DATA, 0), (spdy.LARGEST_DATA, 1)]


def test_a_ping_comes_back_and_one_of_ours_does_not() -> None:
    session = Session()
    session.receive(control(6, struct.pack(">I", 7)) + control(6, struct.pack(">I", 2)))
    assert session.take() == control(6, struct.pack(">I", 7))
    session.ping()
    session.ping()
    assert session.take() == control(6, struct.pack(">I", 2)) + control(6, struct.pack(">I", 4))


def test_a_stream_that_was_reset_says_and_hears_no_more() -> None:
    client, session = Client(), Session()
    reset = control(3, struct.pack(">II", 1, 5))
    assert session.receive(client.open(1) + reset + reset)[1:] == [Reset(1)]
    session.say(1, b"x")
    session.reset(1)
    assert session.take() == b""
    session.receive(client.open(3))
    session.reset(3)
    assert client.read(session.take()) == [(3, 3, struct.pack(">I", 5))]


def test_data_of_no_stream_are_refused_and_passed_over() -> None:
    client, session = Client(), Session()
    assert session.receive(data(9, b"x" * 100, last=True) + client.open(11)) == [Opened(11, {})]
    assert client.read(session.take()) == [(3, 9, struct.pack(">I", spdy.INVALID_STREAM))]


def test_a_stream_beyond_the_limit_is_refused_and_the_others_live() -> None:
    client, session = Client(), Session()
    ids = [1 + 2 * n for n in range(spdy.MOST_STREAMS + 1)]
    assert len(session.receive(b"".join(client.open(one) for one in ids))) == spdy.MOST_STREAMS
    assert client.read(session.take()) == [(3, ids[-1], struct.pack(">I", spdy.REFUSED_STREAM))]
    session.reset(1)
    assert session.receive(client.open(ids[-1] + 2, name="x")) == [Opened(ids[-1] + 2, {"name": "x"})]


def test_headers_of_frames_that_nobody_needs_keep_the_compression_in_step() -> None:
    client, session = Client(), Session()
    sent = (
        client.open(1, a="b")
        + control(8, struct.pack(">I", 1) + client.block({"more": "b"}))
        + client.open(3, more="b")
    )
    sent += control(4, struct.pack(">I", 0)) + control(9, struct.pack(">II", 1, 100))
    assert session.receive(sent) == [Opened(1, {"a": "b"}), Opened(3, {"more": "b"})]


@pytest.mark.parametrize(
    "wrong",
    [
        control(1, bytes(10), version=2),
        control(1, bytes(3)),
        control(1, struct.pack(">IIH", 1, 0, 0) + b"no zlib"),
        control(1, struct.pack(">IIH", 1, 0, 0)),
        Client().open(2),
        Client().open(0),
        control(99, b""),
        control(6, b""),
        control(3, bytes(4)),
        struct.pack(">II", 1 << 31 | 3 << 16 | 1, spdy.LARGEST_CONTROL + 1),
        control(1, struct.pack(">IIH", 1, 0, 0) + zlib.compress(struct.pack(">I", 1 << 31))),
        control(1, struct.pack(">IIH", 1, 0, 0) + zlib.compress(struct.pack(">II", 1, 1 << 31))),
        control(1, struct.pack(">IIH", 1, 0, 0) + zlib.compress(struct.pack(">II", 1, 3) + b"abc")),
    ],
)
def test_what_is_no_spdy_is_an_error(wrong: bytes) -> None:
    with pytest.raises(SpdyError):
        Session().receive(wrong)


def test_a_stream_is_opened_once() -> None:
    client, session = Client(), Session()
    session.receive(client.open(5))
    with pytest.raises(SpdyError, match="stream 3 is opened after stream 5"):
        session.receive(client.open(3))


def test_headers_that_unpack_to_a_flood_are_an_error_before_they_take_room() -> None:
    bomb = zlib.compress(struct.pack(">II", 1, 12 << 20) + bytes(12 << 20), 9)[: spdy.LARGEST_CONTROL - 100]
    tracemalloc.start()
    with pytest.raises(SpdyError, match="headers of more than"):
        Session().receive(control(1, struct.pack(">IIH", 1, 0, 0) + bomb))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_garbage_ends_in_an_error_or_in_nothing_and_is_not_kept() -> None:
    """Frames that are cut, turned around and made up: no other exception, and no more held than a control frame."""
    chance = random.Random(14)
    client = Client()
    good = [
        client.open(1, streamType="error"),
        client.open(3, streamType="data"),
        data(3, b"abc"),
        control(6, bytes(4)),
    ]
    for _ in range(int(os.environ.get("FUZZ", "2000"))):
        session = Session()
        stream = b"".join(good[: chance.randrange(5)])
        for _ in range(chance.randrange(1, 6)):
            stream += _garbage(chance)
        try:
            for at in range(0, len(stream), step := chance.choice((1, 5, 64, 1 << 16))):
                session.receive(stream[at : at + step])
                assert len(session._come) <= 8 + spdy.LARGEST_CONTROL
        except SpdyError:
            continue


def _garbage(chance: random.Random) -> bytes:
    match chance.randrange(4):
        case 0:
            return chance.randbytes(chance.randrange(200))
        case 1:
            return control(chance.randrange(12), chance.randbytes(chance.randrange(60)), chance.randrange(256))
        case 2:
            whole = Client().open(chance.randrange(1 << 31), chance.randrange(4), a="b", c="d" * chance.randrange(300))
            return whole[: chance.randrange(len(whole))]
        case _:
            return struct.pack(">II", chance.randrange(1 << 31), chance.randrange(1 << 32)) + chance.randbytes(99)
