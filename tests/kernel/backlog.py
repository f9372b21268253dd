"""The queues of packets that a machine has, one for each processor, and that all its namespaces share: 1,000 packets
(net.core.netdev_max_backlog). What one test fills them with, others lose, and nobody is told.

So a test that floods waits for `room`, and one whose only packet must arrive asks again where packets were `lost`.
"""

from __future__ import annotations

import time
from pathlib import Path

ROOM = 250
"""Packets that may wait in a queue before a flood goes on."""
_LOST, _WAITING = 1, 11
"""Columns of /proc/net/softnet_stat (net/core/net-procfs.c)."""


def room() -> None:
    """Waits until no queue holds more than a quarter of what it may."""
    while any(counts[_WAITING] > ROOM for counts in _processors()):
        time.sleep(0.001)


def lost() -> int:
    """How many packets the machine has lost in these queues since it was started."""
    return sum(counts[_LOST] for counts in _processors())


def _processors() -> list[list[int]]:
    lines = Path("/proc/net/softnet_stat").read_text().splitlines()
    return [[int(word, 16) for word in line.split()] for line in lines]
