"""The terminal that this process was started at, lent to a command on another machine."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from types import FrameType
from typing import Any

from k8snetlab.exec.channels import Size, Terminal, resized, typed

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class OwnTerminal:
    """In the block the terminal is raw: every key, Ctrl-C too, is a byte for the command.

    However the block is left, also by SIGTERM or SIGHUP, the terminal is then as it was. Only for the main thread.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._wakened, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> OwnTerminal:
        self._attributes = termios.tcgetattr(self._descriptor)
        self._before = {number: signal.signal(number, _end) for number in _ENDING}
        self._before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        tty.setraw(self._descriptor, termios.TCSADRAIN)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._waker.close()
        with contextlib.suppress(termios.error):  # the terminal itself may have gone
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._attributes)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def described(self) -> Terminal:
        return Terminal(self._size(), os.environ.get("TERM") or "dumb")

    def pieces(self) -> Iterator[bytes]:
        """`events` in `channels`."""
        return (resized(event) if isinstance(event, Size) else typed(event) for event in self.events())

    def events(self) -> Iterator[bytes | Size]:
        """What is typed and how the window changes, until the block ends. For a thread of its own."""
        while True:
            ready, _, _ = select.select([self._descriptor, self._wakened.fileno()], [], [])
            if self._wakened.fileno() in ready:
                if not self._wakened.recv(64):
                    return
                yield self._size()
            elif data := _read(self._descriptor):
                yield data
            else:
                return

    def _size(self) -> Size:
        columns, rows = os.get_terminal_size(self._descriptor)
        return Size(rows, columns)


def _read(descriptor: int) -> bytes:
    with contextlib.suppress(OSError):
        return os.read(descriptor, 4096)
    return b""


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
