"""SPDY/3.1, the server's side of it: bytes in, events out. Pure.

kubectl's exec and port-forward carry their streams in it: those before 1.30 and 1.31 as an upgraded HTTP connection,
port-forward until today, inside a WebSocket. As moby/spdystream, which every client of Kubernetes uses, it keeps no
windows: a client is slowed down by its connection not being read.
Source: The Chromium Projects, SPDY Protocol draft 3.1; moby/spdystream.
"""

from __future__ import annotations

import struct
import zlib

import msgspec

_WORDS = (
    "options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|accept-language|accept-ranges|age|allow|"
    "authorization|cache-control|connection|content-base|content-encoding|content-language|content-length|"
    "content-location|content-md5|content-range|content-type|date|etag|expect|expires|from|host|if-match|"
    "if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|location|max-forwards|pragma|"
    "proxy-authenticate|proxy-authorization|range|referer|retry-after|server|te|trailer|transfer-encoding|upgrade|"
    "user-agent|vary|via|warning|www-authenticate|method|get|status|200 OK|version|HTTP/1.1|url|public|set-cookie|"
    "keep-alive|origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(word)) + word.encode() for word in _WORDS.split("|")) + _TEXT.encode()
"""What header blocks are compressed with from the first on (2.6.10.1)."""

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN, UNIDIRECTIONAL = 1, 2
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL, STREAM_IN_USE, STREAM_ALREADY_CLOSED = 1, 2, 3, 5, 8, 9
LARGEST_CONTROL = 1 << 14
"""Octets of a control frame; data frames are passed on as they come, whatever their length."""
LARGEST_HEADERS = 1 << 14
"""Octets of a header block, unpacked."""
MOST_STREAMS = 1024
"""Streams that a client may have open."""
LARGEST_DATA = 1 << 16
"""Octets of a data frame that is sent."""
_CONTROL, _VERSION, _ID = 0x80000000, 3, 0x7FFFFFFF


class SpdyError(Exception):
    """What the client sends is no SPDY/3.1: the connection is of no more use."""


class Opened(msgspec.Struct, frozen=True):
    """A stream of the client's; its headers, names in small letters, one value each (of several, the first)."""

    stream: int
    headers: dict[str, str]


class Data(msgspec.Struct, frozen=True):
    stream: int
    data: bytes


class Ended(msgspec.Struct, frozen=True):
    """The client says no more on this stream."""

    stream: int


class Reset(msgspec.Struct, frozen=True):
    """The client has given the stream up, in both directions."""

    stream: int


class Going(msgspec.Struct, frozen=True):
    """The client opens no more streams."""


Event = Opened | Data | Ended | Reset | Going


class Session:
    """One connection. What is to be sent gathers in `outgoing` until `take`."""

    def __init__(self) -> None:
        self._come = bytearray()
        self._unpack, self._pack = zlib.decompressobj(zdict=DICTIONARY), zlib.compressobj(zdict=DICTIONARY)
        self._outgoing = bytearray()
        self._last = 0
        self._hearing: set[int] = set()
        """Streams on which the client may still say something."""
        self._saying: set[int] = set()
        """Streams on which something may still be said to it."""
        self._left, self._of, self._final = 0, 0, False
        """Octets that are to come of the data frame that has begun, its stream, whether it is that stream's last."""
        self._pings = 0

    def take(self) -> bytes:
        """What is to be sent."""
        sent, self._outgoing = bytes(self._outgoing), bytearray()
        return sent

    # --- what comes ---

    def receive(self, data: bytes) -> list[Event]:
        """Raises SpdyError."""
        self._come += data
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def _step(self, events: list[Event]) -> bool:
        """One frame, or the piece of one that has come; False where that is nothing."""
        if self._left:
            return self._piece(events)
        if len(self._come) < 8:
            return False
        first, second = struct.unpack_from(">II", self._come)
        flags, length = second >> 24, second & 0xFFFFFF
        if not first & _CONTROL:
            del self._come[:8]
            self._of, self._left, self._final = first, length, bool(flags & FIN)
            if not self._known_for_data(first):
                self._final = False
            if not length:
                self._finish(events)
            return True
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != _VERSION:
            raise SpdyError(f"SPDY version {version}, expected {_VERSION}")
        if length > LARGEST_CONTROL:
            raise SpdyError(f"a control frame of {length} octets, at most {LARGEST_CONTROL} are read")
        if len(self._come) < 8 + length:
            return False
        payload = bytes(self._come[8 : 8 + length])
        del self._come[: 8 + length]
        self._control(kind, flags, payload, events)
        return True

    def _piece(self, events: list[Event]) -> bool:
        piece = bytes(self._come[: self._left])
        if not piece:
            return False
        del self._come[: len(piece)]
        self._left -= len(piece)
        if self._of in self._hearing:
            events.append(Data(self._of, piece))
        if not self._left:
            self._finish(events)
        return True

    def _known_for_data(self, stream: int) -> bool:
        if stream in self._hearing:
            return True
        if stream not in self._saying:
            self._outgoing += _control_frame(RST_STREAM, struct.pack(">II", stream, INVALID_STREAM))
        return False

    def _finish(self, events: list[Event]) -> None:
        if self._final and self._of in self._hearing:
            self._hearing.discard(self._of)
            events.append(Ended(self._of))

    def _control(self, kind: int, flags: int, payload: bytes, events: list[Event]) -> None:
        if kind == SYN_STREAM:
            self._opened(flags, payload, events)
        elif kind == RST_STREAM:
            stream = _words(payload, 2)[0] & _ID
            if self.is_open(stream):
                self._forget(stream)
                events.append(Reset(stream))
        elif kind == PING:
            (number,) = _words(payload, 1)
            if number & 1:  # one of ours comes back else
                self._outgoing += _control_frame(PING, payload[:4])
        elif kind == GOAWAY:
            _words(payload, 2)
            events.append(Going())
        elif kind in (HEADERS, SYN_REPLY):
            _words(payload, 1)
            self._headers(payload[4:])  # those that follow are compressed with these
        elif kind not in (SETTINGS, WINDOW_UPDATE):
            raise SpdyError(f"a control frame of type {kind}")

    def _opened(self, flags: int, payload: bytes, events: list[Event]) -> None:
        stream = _words(payload, 2)[0] & _ID
        headers = self._headers(payload[10:])
        if not stream & 1 or stream <= self._last:
            raise SpdyError(f"stream {stream} is opened after stream {self._last}")
        self._last = stream
        if len(self._hearing | self._saying) >= MOST_STREAMS:
            self._outgoing += _control_frame(RST_STREAM, struct.pack(">II", stream, REFUSED_STREAM))
            return
        self._hearing.add(stream)
        if not flags & UNIDIRECTIONAL:
            self._saying.add(stream)
        events.append(Opened(stream, headers))
        if flags & FIN:
            self._hearing.discard(stream)
            events.append(Ended(stream))

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            unpacked = self._unpack.decompress(block, LARGEST_HEADERS + 1)
        except zlib.error as error:
            raise SpdyError(f"headers that cannot be unpacked: {error}") from error
        if len(unpacked) > LARGEST_HEADERS:
            raise SpdyError(f"headers of more than {LARGEST_HEADERS} octets")
        found: dict[str, str] = {}
        at, (count,) = 4, _words(unpacked, 1)
        for _ in range(count):
            name, at = _string(unpacked, at)
            value, at = _string(unpacked, at)
            found.setdefault(name.lower(), value.partition("\0")[0])
        return found

    # --- what is said ---

    def reply(self, stream: int) -> None:
        """The stream is taken, without headers."""
        if stream in self._saying:
            block = self._pack.compress(bytes(4)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
            self._outgoing += _control_frame(SYN_REPLY, struct.pack(">I", stream) + block)

    def say(self, stream: int, data: bytes, last: bool = False) -> None:
        """`last`: nothing more is said on the stream. Where the client has given it up already, it is dropped."""
        if stream not in self._saying:
            return
        pieces = [data[at : at + LARGEST_DATA] for at in range(0, len(data), LARGEST_DATA)] or ([b""] if last else [])
        for number, piece in enumerate(pieces, 1):
            flags = FIN if last and number == len(pieces) else 0
            self._outgoing += struct.pack(">II", stream, flags << 24 | len(piece)) + piece
        if last:
            self._saying.discard(stream)

    def reset(self, stream: int, status: int = CANCEL) -> None:
        """Gives the stream up, in both directions."""
        if self.is_open(stream):
            self._forget(stream)
            self._outgoing += _control_frame(RST_STREAM, struct.pack(">II", stream, status))

    def ping(self) -> None:
        self._pings = (self._pings + 2) & _ID
        self._outgoing += _control_frame(PING, struct.pack(">I", self._pings))

    def go(self) -> None:
        """Takes no more streams."""
        self._outgoing += _control_frame(GOAWAY, struct.pack(">II", self._last, 0))

    def is_open(self, stream: int) -> bool:
        """In one direction at least."""
        return stream in self._hearing or stream in self._saying

    def _forget(self, stream: int) -> None:
        self._hearing.discard(stream)
        self._saying.discard(stream)


def _control_frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">II", _CONTROL | _VERSION << 16 | kind, len(payload)) + payload


def _words(data: bytes, count: int) -> tuple[int, ...]:
    """Raises SpdyError where there are fewer."""
    if len(data) < 4 * count:
        raise SpdyError("a frame that ends too early")
    return struct.unpack_from(f">{count}I", data)


def _string(data: bytes, at: int) -> tuple[str, int]:
    """The string with its length before it, and where it ends."""
    if at + 4 > len(data):
        raise SpdyError("headers that end too early")
    (length,) = struct.unpack_from(">I", data, at)
    end = at + 4 + length
    if end > len(data):
        raise SpdyError("headers that end too early")
    return data[at + 4 : end].decode("utf-8", "replace"), end
