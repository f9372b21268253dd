"""A command's session: the command, and all that it has started and that has not begun a session of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

GRACE = 2.0
"""Seconds between the first signal and SIGKILL."""


async def end(leader: int, first: signal.Signals) -> None:
    """Sends `first` to the processes of a session, SIGKILL to those that are left after GRACE seconds."""
    for number in (first, signal.SIGKILL):
        for pid in members(leader):
            _signal(pid, leader, number)
        with contextlib.suppress(TimeoutError):
            # Called by who has been cancelled: there asyncio.timeout ends in CancelledError until Python 3.11.3.
            await asyncio.wait_for(_gone(leader), GRACE)


async def _gone(leader: int) -> None:
    while members(leader):
        await asyncio.sleep(0.02)


def members(leader: int) -> list[int]:
    """The processes in the session of this leader, which may have ended itself."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(int(entry.name)) == leader:
                    found.append(int(entry.name))
    return found


def _signal(pid: int, leader: int, number: signal.Signals) -> None:
    """Held by a pidfd, so that a number which is given away again is not hit."""
    with contextlib.suppress(ProcessLookupError):
        held = os.pidfd_open(pid)
        try:
            if os.getsid(pid) == leader:
                signal.pidfd_send_signal(held, number)
        finally:
            os.close(held)
