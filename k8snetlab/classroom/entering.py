"""Entering a student's seat: a command in there, at a terminal of the seat's own or between pipes.

Nothing of this process's own is open in there: whoever holds a terminal open may read and write it, and type into it if
it is his session's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import termios
import threading
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from k8snetlab.classroom import seats
from k8snetlab.errors import ConflictError
from k8snetlab.exec.channels import Size
from k8snetlab.exec.terminal import OwnTerminal
from k8snetlab.kernel import syscalls

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def run(seat: seats.Seat, argv: Sequence[str]) -> int:
    """Runs it, as root of the seat and in its home; the exit code. Without `argv` a shell. At a terminal where standard
    input is one."""
    environment = seats.environment(os.environ)
    words = list(argv) or [environment["SHELL"], "-i"]
    if sys.stdin is not None and sys.stdin.isatty():
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if not pid:
            ours.close()
            _inside(seat, words, environment, theirs)
        theirs.close()
        _proxied(ours)
    else:
        pid = _piped(seat, words, environment)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def _proxied(line: socket.socket) -> None:
    """Until nobody in there has the terminal open any more."""
    _, given, _, _ = socket.recv_fds(line, 1, 1)
    if not given:
        return  # it has said why
    [pty] = given
    with OwnTerminal(sys.stdin.fileno()) as own:
        termios.tcsetwinsize(pty, _window(own.described().size))
        threading.Thread(target=_type, args=(own, pty), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := os.read(pty, 65536):
                _write(sys.stdout.fileno(), data)


def _type(own: OwnTerminal, pty: int) -> None:
    with contextlib.suppress(OSError, termios.error):
        for event in own.events():
            if isinstance(event, Size):
                termios.tcsetwinsize(pty, _window(event))
            else:
                _write(pty, event)


def _window(size: Size) -> tuple[int, int]:
    return size.rows, size.columns


def _piped(seat: seats.Seat, words: list[str], environment: dict[str, str]) -> int:
    """The process that waits for the command, when that has ended; what it has left behind keeps nobody waiting."""
    output, error = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(output[1], 1)
        os.dup2(error[1], 2)
        _inside(seat, words, environment, None)
    for number in _PASSED_ON:
        signal.signal(number, lambda number, _: os.kill(pid, number))
    os.close(output[1])
    os.close(error[1])
    into, ended = {output[0]: 1, error[0]: 2}, os.pidfd_open(pid)
    over = False
    while into and not (over and not select.select(list(into), [], [], 0)[0]):
        for fd in select.select([*into, ended], [], [])[0]:
            if fd == ended:
                over = True
            elif data := os.read(fd, 65536):
                _write(into[fd], data)
            else:
                del into[fd]
    os.close(ended)
    return pid


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


# --- in the seat ------------------------------------------------------------------------------------------------------


def _inside(seat: seats.Seat, words: list[str], environment: dict[str, str], line: socket.socket | None) -> NoReturn:
    """The parent of the command, which is a process in there, and has all signals that this one gets."""
    try:
        os.setsid()
        seats.enter(seat)
        pty, slave = os.openpty() if line else (-1, -1)
        child = os.fork()
        if not child:
            _become(words, environment, slave)
        if line:
            socket.send_fds(line, [b"\n"], [pty])
        seats.only(-1)

        def pass_on(number: int, _: FrameType | None) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

        for number in _PASSED_ON:
            signal.signal(number, pass_on)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else 128 - code)
    except ConflictError as error:
        _say(f"error: {error.message}\nhint: {error.hint}")
    except BaseException as error:
        _say(f"error: {seat.name}: {error}")
    os._exit(1)


def _become(words: list[str], environment: dict[str, str], terminal: int) -> NoReturn:
    try:
        syscalls.end_with_parent(signal.SIGKILL)
        os.setsid()
        if terminal >= 0:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
            for number in (0, 1, 2):
                os.dup2(terminal, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # also what this program was started with
        os.umask(0o022)
        with contextlib.suppress(OSError):  # a student may have taken it away, and is to be visited all the more
            os.chdir("/root")
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvpe(words[0], words, environment)
    except OSError as error:
        _say(f"error: {words[0]}: {error.strerror}")
    except BaseException as error:
        _say(f"error: {words[0]!r}: {error}")
    os._exit(127)


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode(errors="replace"))
