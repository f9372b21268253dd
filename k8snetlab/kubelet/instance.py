"""One run of a container's command: begun, waited for, ended with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from k8snetlab.kernel import cgroups, fault, launch

LONGEST_HINDRANCE = 1 << 16
"""Octets that are read of why a command did not begin."""


class Exit(msgspec.Struct, frozen=True):
    """How a command ended; `hindrance` says why it did not even begin, `message` what it said last, where that is
    known."""

    code: int = 0
    signal: int = 0
    hindrance: launch.Hindrance | None = None
    message: str = ""


class Instance:
    """A started command. All of its processes are in its control group, where it has one, or in its pid namespace.

    The start pipe is what `launch.popen` gives: it ends when the command has begun, after a Hindrance where it cannot.
    """

    def __init__(self, process: subprocess.Popen[bytes], start_pipe: int, group: str) -> None:
        self._process, self._start_pipe, self._group = process, start_pipe, group

    @classmethod
    def start(cls, setting: launch.Setting, argv: Sequence[str], environment: dict[str, str], log: Path) -> Instance:
        """Raises K8sNetLabError, OSError, ValueError: whatever hinders a process from being made."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            process, start_pipe = launch.popen(setting, argv, environment, file.fileno())
        return cls(process, start_pipe, setting.cgroup)

    async def begun(self) -> launch.Hindrance | None:
        """Returns once the command has begun, or with why it cannot."""
        loop, said = asyncio.get_running_loop(), b""
        os.set_blocking(self._start_pipe, False)
        try:
            while len(said) < LONGEST_HINDRANCE:
                await _readable(loop, self._start_pipe)
                with contextlib.suppress(BlockingIOError):
                    data = os.read(self._start_pipe, LONGEST_HINDRANCE)
                    if not data:
                        break
                    said += data
        finally:
            os.close(self._start_pipe)
            self._start_pipe = -1
        return launch.hindrance(said)

    async def wait(self) -> Exit:
        """Waits for the command's end, and then ends whatever it has left behind, as a container's end does."""
        code = await exit_code(self._process)
        await self._end_rest()
        return Exit(code) if code >= 0 else Exit(128 - code, -code)

    async def stop(self, grace: float) -> Exit:
        """SIGTERM to the command and its group of processes, SIGKILL to all after `grace` seconds; SIGKILL alone where
        that is less than none."""
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0))[grace < 0 :]:
            if self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, number)
                with contextlib.suppress(TimeoutError, ProcessLookupError):
                    await asyncio.wait_for(exit_code(self._process), seconds)
        await self._end_rest()
        if self._start_pipe >= 0:
            os.close(self._start_pipe)
            self._start_pipe = -1
        code = self._process.poll()
        return Exit(0 if code is None else code) if code is None or code >= 0 else Exit(128 - code, -code)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the command itself, and to nothing that it has started."""
        fault.point()
        with contextlib.suppress(ProcessLookupError):
            os.kill(launch.main_process(self._process.pid), number)

    async def _end_rest(self) -> None:
        if self._group:
            await asyncio.to_thread(cgroups.end, Path(self._group))


async def _readable(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def exit_code(process: subprocess.Popen[bytes]) -> int:
    """Waits for the process without a thread or a signal handler: its pidfd becomes readable."""
    if (code := process.poll()) is not None:
        return code
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:  # no descriptor is left
        while (code := process.poll()) is None:
            await asyncio.sleep(0.1)
        return code
    try:
        await _readable(asyncio.get_running_loop(), fd)
    finally:
        os.close(fd)
    return process.wait()
