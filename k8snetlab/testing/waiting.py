"""Time in tests: what is waited for, without a word about how long it takes; and a clock that stands still."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack

from k8snetlab.errors import NotFoundError


def eventually(what: Callable[[], object], seconds: float = 120.0) -> None:
    """Waits until `what` is true; the time is generous, because the machine may be busy, and never the point.

    What raises AssertionError, LookupError or NotFoundError is not so yet: a command that failed, an item or an object
    that is not there. Between two looks it sleeps as long as a look takes, or (up to a second) an eighth of what it has
    waited: a look that runs a command must not keep a core from what it waits for. Raises AssertionError when it is
    still not so after `seconds`.
    """
    began = asked = time.monotonic()
    while True:
        wrong: Exception | None = None
        try:
            if what():
                return
        except (AssertionError, LookupError, NotFoundError) as error:
            wrong = error
        now = time.monotonic()
        if now >= began + seconds:
            raise AssertionError(f"still not so after {seconds} s") from wrong
        time.sleep(min(max(0.05, now - asked, (now - began) / 8), 1.0))
        asked = time.monotonic()


def kill(*pids: int) -> None:
    """Ends processes by SIGKILL, and waits until all their threads have ended: what they had open is closed then.

    Raises ProcessLookupError when there is none, AssertionError when one does not end.
    """
    with ExitStack() as stack:
        held = {}
        for pid in pids:
            held[pid] = os.pidfd_open(pid)
            stack.callback(os.close, held[pid])
        for process in held.values():
            signal.pidfd_send_signal(process, signal.SIGKILL)
        for pid, process in held.items():
            assert select.select([process], [], [], 120)[0], f"process {pid} does not end"


class FakeClock:
    """A clock that stands still until it is set: `now`, in seconds, is what it says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
