"""One run of a container's command: begun, waited for, ended with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from signal import Signals
from typing import Protocol

import msgspec
from msgspec.structs import replace

from k8snetlab.kernel import bounds, cgroups, fault, launch
from k8snetlab.kubelet.waiting import readable

LONGEST_HINDRANCE = 1 << 16
"""Octets that are read of why a command did not begin."""
BEGINNING = 10.0
"""Seconds that one which is to end before it has begun gets for its beginning."""
KILLED = 5.0
"""Seconds in which SIGKILL is waited for."""
_TERM = 1 << (signal.SIGTERM - 1)


class Exit(msgspec.Struct, frozen=True):
    """How a command ended; `hindrance` says why it did not even begin, `message` what it said last, where that is
    known. `starved`: the kernel killed it, or something of it, for want of memory."""

    code: int = 0
    signal: int = 0
    hindrance: launch.Hindrance | None = None
    message: str = ""
    starved: bool = False


class Process(Protocol):
    """What `subprocess.Popen` has of a child: `poll` and `wait` give its exit code, or minus the signal's number."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...


class Sibling:
    """A child of this process that another one began."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        return self._reaped(os.WNOHANG)

    def wait(self) -> int:
        code = self._reaped(0)
        assert code is not None
        return code

    def _reaped(self, flags: int) -> int | None:
        if self._code is None:
            try:
                pid, status = os.waitpid(self.pid, flags)
            except ChildProcessError:
                pid, status = self.pid, signal.SIGKILL
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code


class Instance:
    """A started command. All of its processes are in its control group, where it has one, or in its pid namespace.

    The start pipe is what `launch.popen` gives: it ends when the command has begun, after a Hindrance where it cannot.
    """

    def __init__(self, process: Process, start_pipe: int, setting: launch.Setting) -> None:
        self._process, self._start_pipe, self._setting = process, start_pipe, setting
        self._main = 0
        self._beginning = asyncio.create_task(self._begin())

    @classmethod
    def start(cls, setting: launch.Setting, argv: Sequence[str], environment: dict[str, str], log: Path) -> Instance:
        """Raises K8sNetLabError, OSError, ValueError: whatever hinders a process from being made."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            process, start_pipe = launch.popen(setting, argv, environment, file.fileno())
        return cls(process, start_pipe, setting)

    async def begun(self) -> launch.Hindrance | None:
        """Returns once the command has begun, or with why it cannot."""
        return await asyncio.shield(self._beginning)

    async def _begin(self) -> launch.Hindrance | None:
        said = b""
        os.set_blocking(self._start_pipe, False)
        try:
            while len(said) < LONGEST_HINDRANCE:
                await readable(self._start_pipe)
                with contextlib.suppress(BlockingIOError):
                    data = os.read(self._start_pipe, LONGEST_HINDRANCE)
                    if not data:
                        break
                    said += data
        finally:
            os.close(self._start_pipe)
        if self._setting.reports and (found := launch.reported(said)):
            self._main = found.pid
            if not found.waits:
                await exit_code(self._process)
                self._process = Sibling(found.pid)
        return launch.hindrance(said)

    @property
    def pid(self) -> int:
        """The command's own process, 0 where there is none."""
        if not self._beginning.done() or self._process.poll() is not None:
            return 0
        return self._main or launch.main_process(self._process.pid)

    async def wait(self) -> Exit:
        """Waits for the command's end, and then ends whatever it has left behind, as a container's end does."""
        code = await exit_code(self._process)
        starved = bool(self._setting.cgroup and self._setting.own) and bounds.killed(Path(self._setting.cgroup)) > 0
        await self._end_rest()
        return replace(_exit(code), starved=starved)

    async def stop(self, grace: float) -> Exit:
        """SIGTERM to the command, SIGKILL to all after `grace` seconds; SIGKILL alone where that is less than none.

        To the first process of a pid namespace the kernel brings SIGTERM only where it has a handler for it
        (pid_namespaces(7)): one without takes all of its grace, as on a cluster."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEGINNING):
                await asyncio.shield(self._beginning)
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, KILLED))[grace < 0 :]:
            if self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    self._send(number)
                with contextlib.suppress(TimeoutError, ProcessLookupError):
                    await asyncio.wait_for(exit_code(self._process), seconds)
        await self._end_rest()
        code = self._process.poll()
        return _exit(0 if code is None else code)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the command itself, and to nothing that it has started."""
        fault.point()
        if pid := self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _send(self, number: Signals) -> None:
        """To a container's first process, which alone is told; to the group of processes of what is no container."""
        if self._main:
            os.kill(self._main, number)
        else:
            os.killpg(self._process.pid, number)

    @property
    def is_deaf(self) -> bool:
        """Whether SIGTERM is lost on it."""
        with contextlib.suppress(OSError, ValueError, LookupError):
            lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{self._main}/status").read_text().splitlines())
            first = lines["NSpid"].split()[-1] == "1"
            heard = int(lines["SigCgt"], 16) | int(lines["SigIgn"], 16) | int(lines["SigBlk"], 16)
            return first and not heard & _TERM
        return False

    async def _end_rest(self) -> None:
        if self._setting.cgroup:
            await asyncio.to_thread(cgroups.end, Path(self._setting.cgroup))
            if self._setting.bounds:
                await asyncio.to_thread(bounds.remove, Path(self._setting.cgroup))


def _exit(code: int) -> Exit:
    return Exit(code) if code >= 0 else Exit(128 - code, -code)


async def exit_code(process: Process) -> int:
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
        await readable(fd)
    finally:
        os.close(fd)
    return process.wait()
