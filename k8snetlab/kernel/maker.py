"""A process that makes sandboxes, for when there are many: it has an interpreter of its own.

A sandbox is some 30 system calls, and each of them hands the daemon's interpreter to another thread: beside one that
computes, a sandbox takes 40 ms more. Here it takes what the kernel takes. One process is enough: all that changes links
waits for one lock of the kernel's (rtnl).

Each request and each answer is one packet, in MessagePack; the watches that were begun come with the answer. The
process ends when nobody asks for a while, and between two sandboxes when the daemon has gone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from k8snetlab.errors import AlreadyExistsError
from k8snetlab.kernel import fault, sandboxes
from k8snetlab.kernel.devices import Shape, Told
from k8snetlab.kernel.netlink import Netlink
from k8snetlab.kernel.sandboxes import Begun, Sandbox
from k8snetlab.kernel.watch import Watch, adopted

MANY, TOGETHER = 20, 60
"""Sandboxes that are worth the start of the process (0.1 s): one node's, and all that are asked for within LATELY."""
LATELY = 1.0  # seconds
FEW = 1
"""Sandboxes that are made here, though the process runs: to ask takes as long."""
_AT_ONCE = 50
"""In one packet: some 40 kB; a packet has at most 253 descriptors (SCM_MAX_FD)."""
_IDLE = 10.0
"""Seconds that the process waits for work."""
_PATIENCE, _GRACE = 60.0, 5.0
"""Seconds that it may take for a packet's worth of sandboxes, and to end."""
_PACKET = 1 << 18


class _Work(msgspec.Struct):
    outer: str
    sandboxes: list[Sandbox]


class _Made(msgspec.Struct):
    """A `Watch` but for its socket."""

    number: int
    links: list[tuple[Told, Shape]]
    addresses: frozenset[bytes]
    hears: bool

    def watch(self, sock: socket.socket) -> Watch:
        return Watch(sock, self.number, dict(self.links), self.addresses, self.hears)


class Maker:
    """Makes sandboxes, here or, where they are many, in the process, which it starts. Usable from any thread."""

    def __init__(self, began: Callable[[subprocess.Popen[bytes]], None]) -> None:
        """`began` is told of the process, which waits for a byte on its standard input before it does anything."""
        self._began = began
        self._turn = threading.Lock()
        self._wanted, self._since = 0, float("-inf")
        """How many were asked for since then (seconds, monotonic)."""
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(list[_Made | str | None]).decode

    @property
    def pid(self) -> int | None:
        """Of the process, where it was started."""
        return self._process.pid if self._process is not None else None

    def make(self, outer: Netlink, wanted: Sequence[Sandbox]) -> Iterator[Begun]:
        """As `sandboxes.make`. None for all that the process had in hand, too, when it ended before its answer."""
        if not self._is_worth(len(wanted)) or fault.armed():
            yield from sandboxes.make(outer, wanted)
            return
        for start in range(0, len(wanted), _AT_ONCE):
            part = list(wanted[start : start + _AT_ONCE])
            with self._turn:
                made = self._asked(_Work(outer.namespace, part))
            yield from made or [None] * len(part)

    def _is_worth(self, wanted: int) -> bool:
        """Whether the process is to make so many. Fifty nodes of a lab ask for two each, again and again."""
        now = time.monotonic()
        if now - self._since > LATELY:
            self._wanted, self._since = 0, now
        self._wanted += wanted
        return wanted >= MANY or (wanted > FEW and (self._line is not None or self._wanted >= TOGETHER))

    def close(self) -> None:
        """Ends the process, once it has answered."""
        with self._turn:
            self._end()

    def _asked(self, work: _Work) -> list[Begun]:
        """Empty where the process has ended, or does not answer and is ended."""
        for _ in range(2):
            try:
                line = self._begun()
                line.send(self._encode(work))
                data, descriptors, _, _ = socket.recv_fds(line, _PACKET, _AT_ONCE)
            except ConnectionError:  # it had ended before it was asked, having waited for long
                self._end()
                continue
            except OSError:
                break
            if data:
                return self._handed_over(data, descriptors)
            break
        self._end()
        return []

    def _handed_over(self, data: bytes, descriptors: Sequence[int]) -> list[Begun]:
        """Where this process may have no more of them open, the descriptors are fewer than the watches that began."""
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        sockets = map(adopted, descriptors)
        begun: list[Begun] = []
        for one in self._decode(data):
            sock = next(sockets, None) if isinstance(one, _Made) else None
            begun.append(AlreadyExistsError(one) if isinstance(one, str) else one.watch(sock) if one and sock else None)
        return begun

    def _begun(self) -> socket.socket:
        if self._line is None:
            self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            for one in (self._line, theirs):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _PACKET)
            self._line.settimeout(_PATIENCE)
            try:
                with theirs:
                    self._process = subprocess.Popen(
                        [sys.executable, "-m", "k8snetlab.kernel.maker", str(theirs.fileno()), str(os.getpid())],
                        stdin=subprocess.PIPE,
                        pass_fds=[theirs.fileno()],
                        cwd="/",
                    )
                self._began(self._process)
            except BaseException:
                self._end()
                raise
        return self._line

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            try:
                self._process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def _serve(line: socket.socket, daemon: int) -> None:
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_Work).decode
    line.settimeout(_IDLE)
    while data := line.recv(_PACKET):
        work = decode(data)
        watches: list[Begun] = []
        try:
            with Netlink(work.outer) as outer:
                for begun in sandboxes.make(outer, work.sandboxes):
                    watches.append(begun)
                    if os.getppid() != daemon:
                        return  # the daemon has gone, and the next one makes the rest
        except Exception:
            watches += [None] * (len(work.sandboxes) - len(watches))
        socket.send_fds(
            line,
            [encode([_packed(one) for one in watches])],
            [one.socket.fileno() for one in watches if isinstance(one, Watch)],
        )
        for one in watches:
            if isinstance(one, Watch):
                one.socket.close()


def _packed(begun: Begun) -> _Made | str | None:
    if isinstance(begun, Watch):
        return _Made(begun.number, list(begun.links.items()), begun.addresses, begun.hears)
    return begun.message if begun else None


def main() -> None:
    if not sys.stdin.buffer.read(1):
        return  # the daemon died before it could write this process into the ledger
    with contextlib.suppress(TimeoutError, ConnectionError), socket.socket(fileno=int(sys.argv[1])) as line:
        _serve(line, int(sys.argv[2]))


if __name__ == "__main__":
    main()
