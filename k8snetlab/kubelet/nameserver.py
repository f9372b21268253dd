"""The machine's name server: one process that answers in the namespaces of all pods that answer names.

It takes 20 MB and a tenth of a second to begin, so there is one for all of them. It ends with the kubelet, whatever
ends that; when it dies, each of its pods has died, and the first that is started again begins the next one. Where
memory is short it is a thread of the kubelet.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import msgspec

from k8snetlab.api.workload import NAMESERVER, NameService, NamesRequest, NamesResponse
from k8snetlab.kernel import fault, launch
from k8snetlab.kubelet.instance import Exit, exit_code

log = logging.getLogger(__name__)
SMALL = "K8SNETLAB_SMALL"
"""Set where memory is short, as in a seat of a class: two thirds of a server's are Python's, which the kubelet has."""
IDLE = 60.0
"""Seconds that a server without pods stays."""
END = 2.0
"""Seconds that it has to end."""
PATIENCE = 30.0
"""Seconds in which it takes a pod; it may have to begin first, on a busy machine."""


class Program:
    """A server that is a process of its own. Raises OSError where none can be made."""

    ends_idle = True

    def __init__(self, lab: str, control: socket.socket) -> None:
        command = [sys.executable, "-m", NAMESERVER, "--lab", lab, "--control", str(control.fileno())]
        self._popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=[control.fileno()], start_new_session=True, cwd="/"
        )
        self.terminate, self.kill = self._popen.terminate, self._popen.kill

    async def code(self) -> int:
        return await exit_code(self._popen)


class Within:
    """A server that is a thread of this process, with an event loop of its own, and ends with its line."""

    ends_idle = False

    def __init__(self, lab: str, control: socket.socket) -> None:
        self._line = control.dup()
        self._done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        threading.Thread(target=self._serve, args=(lab, asyncio.get_running_loop()), daemon=True).start()

    def _serve(self, lab: str, loop: asyncio.AbstractEventLoop) -> None:
        try:
            importlib.import_module(f"{NAMESERVER}.main").within(lab, self._line.dup())
            code = 0
        except BaseException:
            log.exception("the name server")
            code = 1
        self._line.close()
        with contextlib.suppress(RuntimeError):  # the kubelet has ended
            loop.call_soon_threadsafe(self._end, code)

    def _end(self, code: int) -> None:
        if not self._done.done():
            self._done.set_result(code)

    def terminate(self) -> None:
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RD)

    def kill(self) -> None:
        """A thread cannot be killed: one that does not end is waited for no more."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._end(-signal.SIGKILL)

    async def code(self) -> int:
        return await asyncio.shield(self._done)


class NameServer:
    """Started when it is first needed, and again when it has ended."""

    def __init__(self) -> None:
        self._process: _Process | None = None

    def prepare(self, lab: str) -> _Process:
        """The server that runs, or one that begins. Raises OSError."""
        if self._process is None or self._process.ended.done():
            fault.point()
            ours, theirs = socket.socketpair()
            with theirs:
                running = Within(lab, theirs) if os.environ.get(SMALL) else Program(lab, theirs)
            self._process = _Process(running, ours)
        return self._process

    def serve(self, key: str, names: NameService) -> Seat:
        """Has a pod's names answered. Raises OSError where no process can be made."""
        return Seat(self.prepare(names.lab), key, names)

    async def close(self) -> None:
        if self._process is not None:
            await self._process.end()


class Seat:
    """A pod's part in the server, with what `Instance` has: it begins, is waited for, is stopped."""

    def __init__(self, process: _Process, key: str, names: NameService) -> None:
        self._process, self._key = process, key
        self._left, self._failure = asyncio.Event(), ""
        process.failing[key] = self._fail
        self._taken = asyncio.create_task(process.ask(key, names))

    async def begun(self) -> launch.Hindrance | None:
        """Returns once names are answered, or with why they cannot be."""
        error = await self._taken
        if not error:
            return None
        self._left.set()
        return launch.Hindrance(error)

    async def wait(self) -> Exit:
        """Until it is stopped, or the server ends."""
        left = asyncio.create_task(self._left.wait())
        await asyncio.wait({left, self._process.ended}, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        if self._failure:
            return Exit(1, message=self._failure)
        return Exit() if self._left.is_set() else self._process.ended.result()

    def _fail(self, why: str) -> None:
        self._failure = why
        self._left.set()

    async def stop(self, grace: float) -> Exit:
        """Lets go of the pod's namespace; a server that does not is killed."""
        if not self._process.ended.done():
            try:
                async with asyncio.timeout(max(grace, END)):
                    await self._process.ask(self._key, None)
            except TimeoutError:
                await self._process.end()
        self._left.set()
        return Exit()

    def signal(self, number: signal.Signals) -> None:
        """Only an end can be sent to one pod's part of a process."""
        if number in (signal.SIGTERM, signal.SIGKILL):
            self._left.set()


class _Process:
    """The server, from its start to its end. `ended` is done when it is over."""

    def __init__(self, running: Program | Within, line: socket.socket) -> None:
        self._running, self._line = running, line
        self._seats, self._ids = set[str](), itertools.count(1)
        self._asked: dict[int, asyncio.Future[str]] = {}
        self.failing: dict[str, Callable[[str], None]] = {}
        """What is told why a pod is served no more, by key."""
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self.ended = asyncio.create_task(self._live(), name="name server")
        self._idle: asyncio.TimerHandle | None = None
        self._rest()

    async def ask(self, key: str, names: NameService | None) -> str:
        """Has it serve a pod, or leave it: why it cannot, "" where it does."""
        await self._connected.wait()
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        number = next(self._ids)
        if self._writer is None:
            return GONE
        self._asked[number] = answer
        self._writer.write(msgspec.json.encode(NamesRequest(number, key, names)) + b"\n")
        self._seats.add(key)
        self._rest()
        try:
            async with asyncio.timeout(PATIENCE):
                error = await answer
        except TimeoutError:
            error = f"the name server says nothing for {PATIENCE:.0f} s"
        if error or names is None:
            self._forget(key)
        return error

    async def end(self) -> None:
        """Asks it to end, and kills it where it does not."""
        self._running.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END):
                await asyncio.shield(self.ended)
        self._running.kill()
        await self.ended

    def _fails(self, key: str, why: str) -> None:
        if told := self.failing.get(key):
            told(why)
        self._forget(key)

    def _forget(self, key: str) -> None:
        self._seats.discard(key)
        self.failing.pop(key, None)
        self._rest()

    def _rest(self) -> None:
        """Counts how long it has no pods."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self._seats and self._running.ends_idle:
            self._idle = asyncio.get_running_loop().call_later(IDLE, self._running.terminate)

    async def _live(self) -> Exit:
        reader, self._writer = await asyncio.open_unix_connection(sock=self._line)
        self._connected.set()
        try:
            with contextlib.suppress(ConnectionError, msgspec.MsgspecError):
                while line := await reader.readline():
                    response = msgspec.json.decode(line, type=NamesResponse)
                    if not response.id:
                        self._fails(response.key, response.error)
                    answer = self._asked.pop(response.id, None)
                    if answer is not None and not answer.done():
                        answer.set_result(response.error)
            code = await self._running.code()
        finally:
            self._writer.close()
            self._writer = None
            if self._idle is not None:
                self._idle.cancel()
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_result(GONE)
        return Exit(code) if code >= 0 else Exit(128 - code, -code)


GONE = "the name server has ended"
