"""The command line, imported once: a process that forks for every verb that a test runs.

Each verb is a process of its own all the same, with its arguments, environment, streams and exit code. What it saves is
Python's start and the imports: a tenth of a second of processor time, most of what a short verb takes.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from k8snetlab import messages
from k8snetlab.kernel import netns, syscalls

IMPORTED = (
    *("k8snetlab.cli.main", "k8snetlab.cli.manifests", "k8snetlab.cli.progress", "k8snetlab.client.client"),
    *("k8snetlab.api.load", "k8snetlab.lab.up", "k8snetlab.lab.down", "k8snetlab.trace.meaning"),
    *(f"k8snetlab.messages.{name}" for name in messages.__all__),
)
_STARTING = threading.Lock()
LARGEST = 1 << 17
"""Octets of a request: arguments, environment and directory."""


def run(
    words: Sequence[str],
    environment: Mapping[str, str],
    *,
    namespace: str = "",
    stdin: str | None = None,
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """Runs `k8snetlab WORDS` in a network namespace ("": this process's own), as subprocess.run with text and captured
    output does. Raises subprocess.TimeoutExpired.
    """
    with _STARTING:  # several threads may be the first
        server = _server(os.getpid())
    return server.run(words, environment, namespace=namespace, stdin=stdin, timeout=timeout)


def close() -> None:
    """Ends the process that forks, if there is one; the next `run` starts another."""
    if _server.cache_info().currsize:
        _server(os.getpid()).close()
        _server.cache_clear()


@functools.lru_cache(maxsize=1)
def _server(pid: int) -> _Server:
    """The one of this process (by its pid: one that was forked needs its own)."""
    atexit.register(close)
    return _Server()


class _Server:
    """This side of the process that forks."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = [sys.executable, "-m", "k8snetlab.testing.forkserver", str(theirs.fileno())]
            none = subprocess.DEVNULL
            self._process = subprocess.Popen(argv, stdin=none, stdout=none, pass_fds=[theirs.fileno()])

    def close(self) -> None:
        self._control.close()
        self._process.wait()

    def run(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        *,
        namespace: str,
        stdin: str | None,
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        deadline = time.monotonic() + timeout
        request = json.dumps([words, dict(environment), str(Path.cwd())]).encode()
        command = ["k8snetlab", *words]
        with ExitStack() as ends:
            answer, theirs = (ends.enter_context(s) for s in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            streams = ends.enter_context(_Streams(None if stdin is None else stdin.encode()))
            if namespace:
                streams.theirs.append(netns.opened(namespace))
            socket.send_fds(self._control, [request], [theirs.fileno(), *streams.theirs])
            theirs.close()
            streams.given()
            pid = int(answer.recv(32))
            try:
                streams.exchange(deadline)
                answer.settimeout(max(0.1, deadline - time.monotonic()))
                code = int(answer.recv(32))
            except BaseException as error:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                if isinstance(error, TimeoutError):
                    raise subprocess.TimeoutExpired(command, timeout) from None
                raise
            return subprocess.CompletedProcess(command, code, streams.text(streams.out), streams.text(streams.err))


class _Streams:
    """Pipes for a process's standard streams; without text its input is this process's."""

    def __init__(self, text: bytes | None) -> None:
        self.out, theirs_out = os.pipe()
        self.err, theirs_err = os.pipe()
        theirs_in, self._in = (os.dup(0), -1) if text is None else os.pipe()
        self._text = text or b""
        self._read: dict[int, list[bytes]] = {self.out: [], self.err: []}
        self._open = {self.out, self.err, *({self._in} - {-1})}
        self.theirs = [theirs_in, theirs_out, theirs_err]

    def given(self) -> None:
        """The other process has its ends."""
        while self.theirs:
            os.close(self.theirs.pop())

    def __enter__(self) -> _Streams:
        return self

    def __exit__(self, *_: object) -> None:
        self.given()
        while self._open:
            os.close(self._open.pop())

    def text(self, end: int) -> str:
        return b"".join(self._read[end]).decode().replace("\r\n", "\n").replace("\r", "\n")

    def exchange(self, deadline: float) -> None:
        """Until the other ends are closed. Raises TimeoutError."""
        with selectors.DefaultSelector() as ready:
            for end in self._open:
                ready.register(end, selectors.EVENT_WRITE if end == self._in else selectors.EVENT_READ)
            while ready.get_map():
                events = ready.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise TimeoutError
                for key, _ in events:
                    if not (self._write() if key.fd == self._in else self._take(key.fd)):
                        ready.unregister(key.fd)
                        os.close(key.fd)
                        self._open.remove(key.fd)

    def _write(self) -> bool:
        """Whether there is more to write."""
        try:
            self._text = self._text[os.write(self._in, self._text[: select.PIPE_BUF]) :]
        except BrokenPipeError:
            return False
        return bool(self._text)

    def _take(self, end: int) -> bool:
        """Whether there may be more to read."""
        data = os.read(end, 1 << 16)
        self._read[end].append(data)
        return bool(data)


# --- the process that forks -------------------------------------------------------------------------------------------


def _serve(control: socket.socket) -> tuple[bytes, list[int]]:
    """Forks for every request; returns in the forked process, with the request and its descriptors."""
    awake, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(waking)
    running: dict[int, socket.socket] = {}
    while True:
        ready = select.select([control.fileno(), awake], [], [])[0]
        if awake in ready:
            os.read(awake, 4096)
            _tell_ended(running)
        if control.fileno() not in ready:
            continue
        request, given, _, _ = socket.recv_fds(control, LARGEST, 5)
        if not request:
            sys.exit(0)  # whoever runs tests has ended
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for end in (control, *running.values()):
                end.close()
            for fd in (awake, waking):
                os.close(fd)
            return request, given
        answer, *rest = given
        running[pid] = socket.socket(fileno=answer)
        running[pid].send(b"%d" % pid)
        for fd in rest:
            os.close(fd)


def _tell_ended(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as answer, suppress(OSError):
            answer.send(b"%d" % os.waitstatus_to_exitcode(status))


def _become(request: bytes, given: list[int]) -> None:
    """This process has the streams, environment, directory and arguments that were asked for."""
    words, environment, directory = json.loads(request)
    for number, fd in enumerate(given[1:4]):
        os.dup2(fd, number)
    for fd in given[4:]:
        syscalls.setns(fd, syscalls.CLONE_NEWNET)
    for fd in given:
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = ["k8snetlab", *words]


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    _become(*_serve(socket.socket(fileno=int(sys.argv[1]))))
    importlib.import_module("k8snetlab.__main__").main()


if __name__ == "__main__":
    main()
