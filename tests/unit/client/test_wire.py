"""A request and its answer over a real unix socket: however the answer is cut into pieces, its lines are the same, and
one that lacks its end is told from one that has it."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8snetlab.client.wire import CutError, Exchange, WireError

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: k8snetlab/1\r\n\r\n"


@contextmanager
def answering(directory: Path, *pieces: bytes, silence: float | None = 10, ends: bool = True) -> Iterator[Exchange]:
    """An exchange whose other side writes these pieces, one send each, and then closes (or, without `ends`, waits)."""
    path = str(directory / "s")
    Path(path).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        exchange = Exchange(path, silence)
        other, _ = listener.accept()
    done = threading.Event()

    def write() -> None:
        for piece in pieces:
            other.sendall(piece)
        if not ends:
            done.wait()
        other.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield exchange
    finally:
        done.set()
        exchange.close()
        writer.join()


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)


def test_status_headers_and_body_are_read(tmp_path: Path) -> None:
    with answering(tmp_path, CHUNKED + chunked(b"a\nb", b"c\n") + b"0\r\n\r\n", ends=False) as exchange:
        assert exchange.begun() == (200, {"transfer-encoding": "chunked", "server": "k8snetlab/1"})
        assert [*exchange.lines()] == [b"a\n", b"bc\n"]


def test_a_body_without_a_length_ends_with_the_connection(tmp_path: Path) -> None:
    with answering(tmp_path, b"HTTP/1.0 404 Not Found\r\n\r\n", b"so", b" it is") as exchange:
        assert exchange.begun() == (404, {})
        assert exchange.read() == b"so it is"


def test_an_answer_without_a_body_is_whole(tmp_path: Path) -> None:
    with answering(tmp_path, LENGTH % 0, ends=False) as exchange:
        exchange.begun()
        assert exchange.read() == b""


@pytest.mark.parametrize(
    "answer",
    [LENGTH % 3 + b"a\n", CHUNKED + chunked(b"a\n"), CHUNKED + b"5\r\na\n", CHUNKED + chunked(b"a\n") + b"0\r\n"],
    ids=["fewer octets than said", "no last chunk", "in a chunk", "in the last chunk"],
)
def test_an_answer_that_lacks_its_end_is_told(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path, answer) as exchange, pytest.raises(CutError):
        exchange.begun()
        exchange.read()
    with answering(tmp_path, answer) as exchange:
        exchange.begun()
        lines = exchange.lines()
        assert next(lines) == b"a\n"
        with pytest.raises(CutError):
            next(lines)


def test_a_last_line_without_its_end_is_told(tmp_path: Path) -> None:
    with answering(tmp_path, LENGTH % 3 + b"a\nb") as exchange, pytest.raises(CutError):
        exchange.begun()
        list(exchange.lines())


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", CHUNKED + b"zz\r\n"], ids=["no head", "no chunk"])
def test_what_is_no_http_is_told(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path, answer, ends=False) as exchange, pytest.raises(WireError) as caught:
        exchange.begun()
        exchange.read()
    assert not isinstance(caught.value, CutError)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent"])
def test_a_side_that_goes_before_its_answers_head_is_told(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path, answer) as exchange, pytest.raises(ConnectionResetError):
        exchange.begun()


def test_silence_ends_the_wait(tmp_path: Path) -> None:
    with answering(tmp_path, LENGTH % 3, silence=0.05, ends=False) as exchange:
        exchange.begun()
        with pytest.raises(TimeoutError):
            exchange.read()


@pytest.mark.parametrize("target", ["/a b", "/a\r\nHost: other", "/ä", ""])
def test_a_target_that_would_end_early_is_not_asked_for(tmp_path: Path, target: str) -> None:
    with answering(tmp_path) as exchange, pytest.raises(WireError):
        exchange.ask("GET", target)


@pytest.mark.parametrize(
    ("method", "body", "length"), [("GET", b"", None), ("POST", b"", "0"), ("PUT", b"x" * 3, "3"), ("GET", b"y", "1")]
)
def test_a_request_says_how_long_it_is(tmp_path: Path, method: str, body: bytes, length: str | None) -> None:
    asked = heard(tmp_path, lambda exchange: exchange.ask(method, "/a?b=c", body))
    head, _, rest = asked.partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")
    assert first == f"{method} /a?b=c HTTP/1.1" and rest == body
    assert dict(line.split(": ") for line in headers).get("Content-Length") == length


def test_a_request_in_pieces_is_chunked(tmp_path: Path) -> None:
    def ask(exchange: Exchange) -> None:
        exchange.begin("POST", "/a")
        exchange.send([b"one", b"two"])

    head, _, rest = heard(tmp_path, ask).partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked" in head and rest == chunked(b"one", b"two") + b"0\r\n\r\n"


def heard(directory: Path, ask: Callable[[Exchange], None]) -> bytes:
    """What the other side hears when `ask` has an exchange."""
    path = str(directory / "h")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        exchange = Exchange(path, 10)
        other, _ = listener.accept()
    with other:
        ask(exchange)
        exchange.close()
        return b"".join(iter(lambda: other.recv(4096), b""))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.text("a\n", min_size=1, max_size=6).map(str.encode), max_size=5),
    cuts=st.sets(st.integers(1, 200), max_size=12),
    form=st.sampled_from(["length", "chunked", "close"]),
)
def test_lines_are_the_same_however_the_answer_is_cut(
    tmp_path: Path, parts: list[bytes], cuts: set[int], form: str
) -> None:
    """What http.client makes of the same octets is the measure."""
    body = b"".join([*parts, b"z\n"])
    answer = {
        "length": LENGTH % len(body) + body,
        "chunked": CHUNKED + chunked(*parts, b"z\n") + b"0\r\n\r\n",
        "close": b"HTTP/1.1 200 OK\r\n\r\n" + body,
    }[form]
    at = sorted(cut for cut in cuts if cut < len(answer))
    pieces = [answer[begin:end] for begin, end in zip([0, *at], [*at, len(answer)], strict=True)]
    with answering(tmp_path, *pieces) as exchange:
        exchange.begun()
        assert [*exchange.lines()] == said_by_the_library(answer).splitlines(keepends=True)


def said_by_the_library(answer: bytes) -> bytes:
    mine, other = socket.socketpair()
    with mine, other:
        other.sendall(answer)
        other.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(mine)
        response.begin()
        return response.read()
