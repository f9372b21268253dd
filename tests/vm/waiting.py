"""Waiting for what takes its time on an emulated processor."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(what: Callable[[], object], seconds: float = 300.0) -> None:
    """Waits until `what` is true; the time is generous, because the machine may be busy, and never the point."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.2)
