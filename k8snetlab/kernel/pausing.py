"""The first process of a pod whose containers share their processes: it reaps, and waits to be ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

_PR_SET_NAME = 15


def main() -> None:
    """Returns when SIGTERM has come."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"pause", 0, 0, 0)
    awaited = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if signal.sigwait(awaited) == signal.SIGTERM:
            return


if __name__ == "__main__":
    main()
