"""What comes in at the API's sockets, from whoever likes to: each wrong thing gets its Status, in bounded memory, and
nobody else waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from face import Face, face_of

from k8snetlab.apiserver import protocol, telling, transport
from k8snetlab.apiserver.connections import Connections
from k8snetlab.apiserver.listener import Listener, TlsProtocol, parted
from k8snetlab.apiserver.protobuf import MAGIC
from k8snetlab.apiserver.server import PeerProtocol
from k8snetlab.store.keys import Keys

pytestmark = pytest.mark.anyio
MAPS = "/api/v1/namespaces/default/configmaps"
WATCH = f"GET {MAPS}?watch=true HTTP/1.1\r\nHost: l\r\n\r\n".encode()
VERSION = b"GET /version HTTP/1.1\r\nHost: l\r\n\r\n"
JSON, PROTOBUF = "application/json", "application/vnd.kubernetes.protobuf"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Socket:
    """The face behind a unix socket, as root is answered there."""

    def __init__(self, path: Path, face: Face) -> None:
        self.path, self.face, self.made = path, face, list[PeerProtocol]()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Streams]:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 24)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def said(self, sent: bytes) -> bytes:
        """All that is answered until the server closes, or after the client has said that nothing more comes."""
        async with asyncio.timeout(30), self.connected() as (reader, writer):
            writer.write(sent)
            writer.write_eof()
            return await reader.read()

    async def asked(self, method: str, path: str, body: bytes, form: str = JSON) -> tuple[int, Any]:
        head = f"{method} {path} HTTP/1.1\r\nHost: l\r\nContent-Type: {form}\r\nContent-Length: {len(body)}\r\n\r\n"
        async with asyncio.timeout(30), self.connected() as (reader, writer):
            writer.write(head.encode() + body)
            return await answer(reader)


@asynccontextmanager
async def at_socket(directory: Path) -> AsyncIterator[Socket]:
    import socket

    async with face_of() as face:
        one = Socket(directory / "s", face)

        class Noted(PeerProtocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                one.made.append(self)
                super().connection_made(transport)

        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(one.path))
        listener.listen(1024)
        connections = Connections(face.api, Noted)
        await connections.open(listener)
        try:
            yield one
        finally:
            await connections.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    head = await reader.readuntil(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head)
    assert found, head
    body = await reader.readexactly(int(found[1]))
    return int(head.split()[1]), json.loads(body) if body else None


def a_map(name: str, size: int = 10) -> bytes:
    return json.dumps({"metadata": {"name": name}, "data": {"a": "x" * size}}).encode()


async def until(true: Any) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.005)


GOOD = a_map("a")


@pytest.mark.parametrize(
    ("method", "path", "form", "body", "code", "reason", "words"),
    [
        ("POST", MAPS, JSON, GOOD[:-3], 400, "BadRequest", "is no JSON: Input data was truncated"),
        ("POST", MAPS, JSON, b"\xff\xfe", 400, "BadRequest", "is no JSON"),
        ("POST", MAPS, JSON, b'{"a":' * 100_000, 400, "BadRequest", "nested too deeply"),
        ("POST", MAPS, JSON, b"", 400, "BadRequest", "holds no object"),
        ("POST", MAPS, JSON, a_map("a", 10 << 20), 413, "RequestEntityTooLarge", "limit is 3145728"),
        ("PUT", f"{MAPS}/x", JSON, a_map("x", 10 << 20), 413, "RequestEntityTooLarge", "limit is 3145728"),
        ("POST", MAPS, "text/plain", GOOD, 415, "UnsupportedMediaType", "accepted media types include"),
        ("POST", MAPS, "application/merge-patch+json", GOOD, 415, "UnsupportedMediaType", "accepted media types"),
        ("PATCH", f"{MAPS}/x", JSON, GOOD, 415, "UnsupportedMediaType", "application/strategic-merge-patch+json"),
        ("PATCH", f"{MAPS}/x", "", GOOD, 415, "UnsupportedMediaType", "accepted media types include"),
        ("POST", MAPS, PROTOBUF, MAGIC, 400, "BadRequest", ""),
        ("POST", MAPS, PROTOBUF, b"k8s", 400, "BadRequest", ""),
        ("POST", MAPS, PROTOBUF, MAGIC + b"\x0a\xff\xff\xff\xff\x0f", 400, "BadRequest", ""),
        ("POST", MAPS, PROTOBUF, MAGIC + b"\x12" * 5000, 400, "BadRequest", ""),
        ("POST", MAPS, "application/yaml", b"a: [", 400, "BadRequest", "is no YAML"),
        ("POST", MAPS, "application/yaml", b"a: &a [*a]", 400, "BadRequest", ""),
        ("PATCH", f"{MAPS}/x", "application/merge-patch+json", b"[1]", 400, "BadRequest", ""),
        ("PATCH", f"{MAPS}/x", "application/json-patch+json", b"{}", 400, "BadRequest", ""),
        ("PATCH", f"{MAPS}/x", "application/json-patch+json", b'[{"op":"x"}]', 400, "BadRequest", ""),
        ("PATCH", f"{MAPS}/x", "application/json-patch+json", b'[{"op":"remove","path":"/x"}]', 422, "Invalid", ""),
        ("PATCH", f"{MAPS}/x", "application/strategic-merge-patch+json", b'{"$patch":1}', 400, "BadRequest", ""),
        ("PATCH", f"{MAPS}/x", "application/apply-patch+yaml", b"{", 400, "BadRequest", "is no YAML"),
    ],
)  # fmt: skip
async def test_a_wrong_body_gets_its_status_and_changes_nothing(
    tmp_path: Path, method: str, path: str, form: str, body: bytes, code: int, reason: str, words: str
) -> None:
    async with at_socket(tmp_path) as at:
        await at.asked("POST", MAPS, a_map("x"))
        before = at.face.cluster.snapshot
        got, status = await at.asked(method, path, body, form)
        assert (got, status["kind"], status["code"], status["reason"]) == (code, "Status", code, reason), status
        assert words in status["message"]
        assert len(status["message"]) < 1000
        assert at.face.cluster.snapshot.objects is before.objects


async def test_of_a_body_that_is_too_large_no_more_is_kept_than_its_limit(tmp_path: Path) -> None:
    async with at_socket(tmp_path) as at, at.connected() as (reader, writer):
        size = 200 << 20
        writer.write(f"POST {MAPS} HTTP/1.1\r\nHost: l\r\nContent-Length: {size}\r\n\r\n".encode())
        held = []
        async with asyncio.timeout(60):
            for _ in range(size >> 18):
                writer.write(bytes(1 << 18))
                await writer.drain()
                held.append(len(at.made[0].cycle.body) if at.made and at.made[0].cycle else 0)
            assert (await answer(reader))[0] == 413
        assert max(held) <= 1 << 20
        writer.write(VERSION)
        assert (await answer(reader))[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +3\r\n",
        b"Content-Length: 3x\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"X: a\x00b\r\n",
        b"X\x0b: a\r\n",
        b": a\r\n",
        b"X: " + b"a" * 100_000 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(10_000)),
    ],
    ids=lambda head: head[:40].decode("latin-1"),
)
async def test_of_a_request_with_two_meanings_nothing_behind_it_is_answered(tmp_path: Path, head: bytes) -> None:
    smuggled = b"0\r\n\r\nDELETE " + MAPS.encode() + b"/x HTTP/1.1\r\nHost: l\r\n\r\n"
    async with at_socket(tmp_path) as at:
        await at.asked("POST", MAPS, a_map("x"))
        said = await at.said(b"POST " + MAPS.encode() + b" HTTP/1.1\r\nHost: l\r\n" + head + b"\r\n" + smuggled)
        assert said.count(b"HTTP/1.1 ") == 1 and re.match(rb"HTTP/1.1 (400|431|501|505) ", said), said
        assert json.loads(said.partition(b"\r\n\r\n")[2])["kind"] == "Status"
        assert (await at.asked("GET", f"{MAPS}/x", b""))[0] == 200


@pytest.mark.parametrize("body", [True, False])
async def test_what_comes_behind_a_protocol_that_is_not_spoken_is_no_request(tmp_path: Path, body: bool) -> None:
    head = f"POST {MAPS} HTTP/1.1\r\nHost: l\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n"
    smuggled = f"DELETE {MAPS}/x HTTP/1.1\r\nHost: l\r\n\r\n".encode()
    size = f"Content-Length: {len(smuggled) if body else 0}\r\n\r\n"
    async with at_socket(tmp_path) as at, asyncio.timeout(30):
        await at.asked("POST", MAPS, a_map("x"))
        async with at.connected() as (reader, _):
            await until(lambda: len(at.made) == 2)
            at.made[-1].data_received((head + size).encode())  # as two packets, of which none is answered in between
            at.made[-1].data_received(smuggled)
            said = await reader.read()
        assert said.count(b"HTTP/1.1 ") == 1 and said.startswith(b"HTTP/1.1 501 " if body else b"HTTP/1.1 400 "), said
        assert (await at.asked("GET", f"{MAPS}/x", b""))[0] == 200


@pytest.mark.parametrize(
    "line",
    [b"GET", b"GET / HTTP/x", b"GET / HTTP /1.1", b"G\x00T / HTTP/1.1", b"GET /\xff HTTP/1.1", b"\x16\x03"],
)
async def test_what_is_no_http_is_refused(tmp_path: Path, line: bytes) -> None:
    async with at_socket(tmp_path) as at:
        said = await at.said(line + b"\r\nHost: l\r\n\r\n" + VERSION)
        assert said.startswith(b"HTTP/1.1 400 ") and said.count(b"HTTP/1.1 ") == 1
        assert json.loads(said.partition(b"\r\n\r\n")[2])["reason"] == "BadRequest"


@pytest.mark.parametrize(
    "body", [b"x\r\nabc\r\n0\r\n\r\n", b"-3\r\nabc\r\n", b"3\r\nabcdef\r\n", b"f" * 30 + b"\r\n", b"3;" + b"a" * 90_000]
)
async def test_a_bad_chunk_ends_the_connection(tmp_path: Path, body: bytes) -> None:
    head = f"POST {MAPS} HTTP/1.1\r\nHost: l\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    async with at_socket(tmp_path) as at:
        said = await at.said(head + body + VERSION)
        assert said.startswith(b"HTTP/1.1 400 ") and said.count(b"HTTP/1.1 ") == 1
        assert not at.face.cluster.snapshot.get(type(at.face.cluster.snapshot.lab), "abc")


async def test_a_bad_chunk_behind_the_start_of_the_answer_breaks_it_off(tmp_path: Path) -> None:
    async with at_socket(tmp_path) as at, at.connected() as (reader, writer), asyncio.timeout(30):
        # of a watch the answer begins when its body, which may not be, has not ended
        writer.write(WATCH[:-2] + b"Transfer-Encoding: chunked\r\n\r\nx\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 4")


ENDLESS = f"POST {MAPS} HTTP/1.1\r\nHost: l\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


@pytest.mark.parametrize(
    "begin",
    [b"", b"GET /", VERSION[:-2] + b"X: ", ENDLESS + b"3;", ENDLESS + b"0\r\nX: ", VERSION + b"GET /", WATCH + b"X"],
    ids=["nothing", "path", "header", "extension", "trailer", "second path", "behind a watch"],
)
async def test_what_goes_on_for_ever_is_ended_whatever_part_of_a_request_it_is(tmp_path: Path, begin: bytes) -> None:
    more = b"\r\n" if not begin else b"a"
    async with at_socket(tmp_path) as at, at.connected() as (reader, writer), asyncio.timeout(30):
        writer.write(begin)
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(more * 4096)
                await writer.drain()
                await asyncio.sleep(0.001)
            while await reader.read(1 << 16):
                pass
        await until(lambda: len(at.made) == 1 and at.made[0].transport.is_closing())


async def test_an_answer_without_a_length_has_no_chunks_for_a_client_that_knows_none(tmp_path: Path) -> None:
    async with at_socket(tmp_path) as at, at.connected() as (reader, writer), asyncio.timeout(30):
        writer.write(WATCH.replace(b"/1.1", b"/1.0"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" not in head and b"connection: close" in head
        await at.asked("POST", MAPS, a_map("x"))
        assert json.loads(await reader.readline())["type"] == "ADDED"
        whole = await at.said(VERSION.replace(b"/1.1", b"/1.0"))
        assert json.loads(whole.partition(b"\r\n\r\n")[2])["gitVersion"]


async def test_http_0_9_is_not_spoken(tmp_path: Path) -> None:
    async with at_socket(tmp_path) as at:
        said = await at.said(b"GET /\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 505 ") and said.count(b"\r\n\r\n") == 1


async def test_requests_in_one_packet_are_answered_in_their_order(tmp_path: Path) -> None:
    asked = [f"GET {MAPS}/{name} HTTP/1.1\r\nHost: l\r\n\r\n".encode() for name in ("x", "nothing", "x")]
    async with at_socket(tmp_path) as at:
        await at.asked("POST", MAPS, a_map("x"))
        async with asyncio.timeout(30), at.connected() as (reader, writer):
            writer.write(b"".join(asked) * 100)
            codes = [(await answer(reader))[0] for _ in range(300)]
    assert codes == [200, 404, 200] * 100


async def test_who_begins_a_request_and_no_more_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST", 0.05)
    async with at_socket(tmp_path) as at, asyncio.timeout(30):
        async with at.connected() as (reader, writer):
            writer.write(b"GET /version HTTP/1.1\r\nHo")
            assert await ended(reader)
        async with at.connected() as (reader, writer):
            writer.write(VERSION)
            assert (await answer(reader))[0] == 200
            writer.write(b"GET /version HTTP/1.1\r\nHo")  # of a second request
            assert await ended(reader)


async def test_who_asks_nothing_for_a_while_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST", 0.01)
    async with at_socket(tmp_path) as at, asyncio.timeout(30), at.connected() as (reader, writer):
        writer.write(VERSION)
        await answer(reader)
        await asyncio.sleep(0.1)
        writer.write(VERSION)
        assert (await answer(reader))[0] == 200


async def test_a_body_that_never_ends_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PATIENCE", 0.05)
    monkeypatch.setattr(protocol, "FIRST", 0.05)
    async with at_socket(tmp_path) as at, asyncio.timeout(30), at.connected() as (reader, writer):
        writer.write(f"POST {MAPS} HTTP/1.1\r\nHost: l\r\nContent-Length: 100\r\n\r\n{{".encode())
        code, status = await answer(reader)
        assert (code, status["reason"]) == (504, "Timeout")
        assert await ended(reader)


async def test_a_thousand_watches_whose_clients_have_gone_leave_nothing(tmp_path: Path) -> None:
    async with at_socket(tmp_path) as at, asyncio.timeout(120):
        history = at.face.api._objects._reading._history
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(1000):
                reader, writer = await stack.enter_async_context(at.connected())
                writer.write(WATCH)
                await reader.readuntil(b"\r\n\r\n")
            await until(lambda: len(history._readers) == 1000)
            assert (await at.asked("POST", MAPS, a_map("x")))[0] == 201
        await until(lambda: not history._readers)
        await until(lambda: not at.made[0].connections)
        await until(lambda: not at.made[0].tasks)


async def test_who_does_not_read_is_cut_off_and_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(protocol, "UNREAD", 0.3)
    caplog.set_level("INFO")
    events, waiting, heard = 40, list[int](), b""
    async with (
        at_socket(tmp_path) as at,
        asyncio.timeout(60),
        at.connected() as (_, silent),
        at.connected() as (reader, writer),
    ):
        silent.transport.pause_reading()  # type: ignore[attr-defined]
        for one in (silent, writer):
            one.write(WATCH)
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: len(at.face.api._objects._reading._history._readers) == 2)
        for number in range(events):
            assert (await at.asked("POST", MAPS, a_map(f"m{number}", 100_000)))[0] == 201
            waiting.append(at.made[0].transport.get_write_buffer_size())
        while heard.count(b'"type":"ADDED"') < events:
            heard += await reader.read(1 << 20)
        await until(lambda: at.made[0] not in at.made[0].connections)
        assert at.made[1] in at.made[1].connections
        assert max(waiting) < 4 * (telling.PIECE + 100_000)
    assert "a client that did not read for" in caplog.text


async def test_who_reads_late_is_told_to_list_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_socket(tmp_path) as at, asyncio.timeout(60), at.connected() as (reader, writer):
        history = at.face.api._objects._reading._history
        history._remembered = 2
        writer.write(WATCH)
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: history._readers)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(60):
            assert (await at.asked("POST", MAPS, a_map(f"m{number}", 100_000)))[0] == 201
            await at.asked("GET", f"{MAPS}?limit=1", b"")  # takes the change in
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        heard = b""
        while piece := await reader.read(1 << 20):
            heard += piece
            if b"0\r\n\r\n" in piece:
                break
        assert b'"type":"ERROR"' in heard and b'"reason":"Expired"' in heard and b'"code":410' in heard


@asynccontextmanager
async def over_tls(directory: Path) -> AsyncIterator[tuple[Face, Listener, list[TlsProtocol]]]:
    made = list[TlsProtocol]()
    really = TlsProtocol.connection_made

    def noted(one: TlsProtocol, transport: asyncio.Transport) -> None:
        made.append(one)
        really(one, transport)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TlsProtocol, "connection_made", noted)
        async with face_of() as face:
            listener = Listener(Keys(directory / "pki"))
            listener.app = face.api
            await listener.open("127.0.0.1:0")
            yield face, listener, made
            await listener.close()


@asynccontextmanager
async def stranger(listener: Listener) -> AsyncIterator[Streams]:
    """Without a certificate."""
    host, port = parted(listener.address)
    trusted = ssl.create_default_context(cafile=str(listener.authority.ca))
    reader, writer = await asyncio.open_connection(host, port, ssl=trusted)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_who_shows_no_credentials_is_told_so_before_a_body_is_read(tmp_path: Path) -> None:
    head = f"POST {MAPS} HTTP/1.1\r\nHost: l\r\nContent-Length: {1 << 40}\r\n\r\n".encode()
    async with asyncio.timeout(60), over_tls(tmp_path) as (_, listener, made), stranger(listener) as (reader, writer):
        writer.write(head)
        code, status = await answer(reader)
        assert (code, status["reason"], status["message"]) == (401, "Unauthorized", "Unauthorized")
        for _ in range(100):
            writer.write(bytes(1 << 16))
            await writer.drain()
        assert len(made[0].cycle.body) == 0


async def test_a_flood_without_credentials_keeps_no_one_from_an_answer(tmp_path: Path) -> None:
    asked = f"GET {MAPS}?watch=true HTTP/1.1\r\nHost: l\r\n\r\n".encode()
    async with asyncio.timeout(100), over_tls(tmp_path) as (face, listener, made):

        async def flood() -> list[int]:
            async with stranger(listener) as (reader, writer):
                writer.write(asked * 100)
                return [(await answer(reader))[0] for _ in range(100)]

        flooding = [asyncio.create_task(flood()) for _ in range(20)]
        said = await face.ask("GET", MAPS)
        assert said.code == 200 and not all(one.done() for one in flooding)
        for codes in await asyncio.gather(*flooding):
            assert codes == [401] * 100
        assert not face.api._objects._reading._history._readers
        await until(lambda: not made[0].connections)


async def test_beyond_so_many_connections_requests_are_put_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k8snetlab.apiserver.listener.CONNECTIONS", 4)
    async with asyncio.timeout(60), over_tls(tmp_path) as (_, listener, _made), contextlib.AsyncExitStack() as stack:
        others = [await stack.enter_async_context(stranger(listener)) for _ in range(5)]
        reader, writer = others[-1]
        writer.write(VERSION)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 429 " in head and b"retry-after: 1" in head
        assert json.loads(await reader.read())["reason"] == "TooManyRequests"
        for _ in range(2):
            reader, _writer = await stack.enter_async_context(stranger(listener))
        assert await ended(reader)


async def ended(reader: asyncio.StreamReader) -> bool:
    with contextlib.suppress(ConnectionError):
        return await reader.read() == b""
    return True
