"""Where a crash can be tried: K8SNETLAB_FAULT=N kills the process (SIGKILL) before its Nth effect on the machine.

An effect is a step of a plan, a namespace made or deleted, a line of the ledger, a file or mount that others would see.
Each process counts its own. What is inherited is passed on: a command line's daemon is killed at its own Nth.
"""

from __future__ import annotations

import itertools
import os
import signal

_count = itertools.count(1)


def point() -> None:
    """To be called before an effect."""
    if (wanted := os.environ.get("K8SNETLAB_FAULT")) and str(next(_count)) == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
