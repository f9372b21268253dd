"""One request and its answer, over a unix socket.

http.client would do, were it not for the 15 ms in which it loads email and ssl: a sixth of what a short verb takes.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterable, Iterator

import httptools

PIECE = 1 << 16
"""Octets that are read at once, at most."""
_TARGET = re.compile(r"[!-~]+")
"""What a request's target is made of; anything else would end it early."""


class WireError(Exception):
    """What came is no answer of HTTP."""


class CutError(WireError):
    """An answer that ended before it was whole."""


class Exchange:
    """A connection for one request. Methods raise OSError where the other side is not there or goes away, TimeoutError
    where nothing comes for `silence` seconds (None: for ever), WireError where what comes is not HTTP."""

    def __init__(self, path: str, silence: float | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(silence)
        try:
            self._socket.connect(path)
        except BaseException:
            self._socket.close()
            raise
        self._answer = _Answer()

    def close(self) -> None:
        self._socket.close()

    def set_silence(self, silence: float | None) -> None:
        """Nothing may come for so many seconds from now on."""
        self._socket.settimeout(silence)

    def ask(self, method: str, target: str, body: bytes = b"") -> None:
        length = () if method == "GET" and not body else (f"Content-Length: {len(body)}",)
        self._socket.sendall(_head(method, target, *length) + body)

    def begin(self, method: str, target: str) -> None:
        """Asks; the request's body follows by `send`."""
        self._socket.sendall(_head(method, target, "Transfer-Encoding: chunked"))

    def send(self, body: Iterable[bytes]) -> None:
        """The body in chunks (RFC 9112, 7.1); what nobody reads any more is dropped."""
        with contextlib.suppress(OSError):
            for data in body:
                self._socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            self._socket.sendall(b"0\r\n\r\n")

    def begun(self) -> tuple[int, dict[str, str]]:
        """Waits for the answer's head: its status and its headers, their names in small letters."""
        while not self._answer.headed:
            if not self._receive():
                raise ConnectionResetError("it closed the connection without an answer")
        return self._answer.status, self._answer.headers

    def read(self) -> bytes:
        """The answer's whole body."""
        return b"".join(self._pieces())

    def lines(self) -> Iterator[bytes]:
        """The body's lines as they come, each with its end; CutError where the last one has none."""
        held = bytearray()
        for piece in self._pieces():
            begin, look = 0, len(held)
            held += piece
            while (end := held.find(b"\n", look) + 1) > 0:
                yield bytes(held[begin:end])
                begin = look = end
            del held[:begin]
        if held:
            raise CutError("it ended within a line")

    def _pieces(self) -> Iterator[bytes]:
        answer = self._answer
        while True:
            yield from answer.taken()
            if answer.whole:
                return
            if not self._receive():
                if answer.framed:
                    raise CutError("it ended too early")
                return

    def _receive(self) -> bool:
        """Whether anything came, or the other side has closed."""
        if data := self._socket.recv(PIECE):
            self._answer.feed(data)
        return bool(data)


class _Answer:
    """What has come of it so far."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.headed = self.whole = False
        self._held: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    @property
    def status(self) -> int:
        return self._parser.get_status_code()

    @property
    def framed(self) -> bool:
        """Whether it says itself where it ends; else the connection's end is its end."""
        return not self.headers.keys().isdisjoint(("content-length", "transfer-encoding"))

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise WireError(str(error)) from error

    def taken(self) -> list[bytes]:
        """The body's pieces since the last call."""
        held, self._held = self._held, []
        return held

    # --- what the parser calls ---

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.headed = True

    def on_body(self, body: bytes) -> None:
        self._held.append(body)

    def on_message_complete(self) -> None:
        self.whole = True


def _head(method: str, target: str, *headers: str) -> bytes:
    if not _TARGET.fullmatch(target):
        raise WireError(f"{target!r:.200} cannot be asked for")
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "\r\n")).encode("ascii")
