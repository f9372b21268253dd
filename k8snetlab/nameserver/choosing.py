"""Which of several servers is asked first.

Source: CoreDNS' plugin forward: its policies, and that a server which has failed twice is left out until it is well.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from k8snetlab.dns.corefile import Policy
from k8snetlab.nameserver.sockets import End

FAILS = 2
"""So many times one after another a server fails before it is asked last."""
REST = 5.0
"""Seconds for which it is asked last; then one question tells whether it is well."""


class Choice:
    """Of one upstream. `clock` is in seconds."""

    def __init__(
        self, servers: Sequence[End], policy: Policy = "sequential", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._servers, self._policy, self._clock = tuple(servers), policy, clock
        self._turn = -1
        self._failed: dict[End, int] = {}
        self._rests: dict[End, float] = {}

    def __bool__(self) -> bool:
        return bool(self._servers)

    def order(self) -> list[End]:
        """Those that rest come last."""
        servers = list(self._servers)
        if self._policy == "random":
            random.shuffle(servers)
        elif self._policy == "round_robin":
            self._turn = (self._turn + 1) % len(servers)
            servers = servers[self._turn :] + servers[: self._turn]
        now = self._clock()
        return sorted(servers, key=lambda server: self._rests.get(server, 0.0) > now)

    def answered(self, server: End) -> None:
        self._failed.pop(server, None)
        self._rests.pop(server, None)

    def failed(self, server: End) -> None:
        self._failed[server] = self._failed.get(server, 0) + 1
        if self._failed[server] >= FAILS:
            self._rests[server] = self._clock() + REST
