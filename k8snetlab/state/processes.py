"""The lab's own processes, told by their start time from others with the same pid."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

import msgspec


class ProcessId(msgspec.Struct, frozen=True):
    """A process that no other can be taken for: `started` is in clock ticks since boot (proc(5), stat field 22)."""

    pid: int
    started: int

    @staticmethod
    def of(pid: int) -> ProcessId | None:
        """The process now running as `pid`; None when there is none or it is only waiting to be reaped."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        return ProcessId(pid, int(fields[19])) if fields[0] != "Z" else None

    @property
    def alive(self) -> bool:
        return ProcessId.of(self.pid) == self

    @property
    def halted(self) -> bool:
        """Whether a signal or a debugger has stopped it (SIGSTOP): it lives and does nothing."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
        except OSError:
            return False

    def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds; returns when the process is gone."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not self.alive:
                return
            for sig, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, sig)
                if select.select([fd], [], [], wait)[0]:
                    return
        finally:
            os.close(fd)


def processor_seconds(pid: int) -> float:
    """For how long the process has had a processor; 0 where there is none. Source: proc(5), stat fields 14 and 15."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
