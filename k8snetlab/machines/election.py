"""Which machine's daemon runs the controllers: Kubernetes' leader election, by one key with a lease.

Source: client-go tools/leaderelection (LeaseDuration 15 s, RetryPeriod 2 s) and kube-controller-manager's Lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid

from k8snetlab.api import leases
from k8snetlab.cluster.admitted import now
from k8snetlab.cluster.leading import Leadership
from k8snetlab.errors import StoreError
from k8snetlab.machines.following import RETRY, Followed
from k8snetlab.machines.leased import SOON, Leased
from k8snetlab.store.protocol import Store

log = logging.getLogger(__name__)
DURATION = 15
"""Seconds for which a leader that falls silent stays the leader."""
_RELEASE = 1.0
"""Seconds that a daemon that ends waits for the store to take its leadership back."""


class Election(Leadership):
    """It leads for as long as the store has promised."""

    def __init__(self, store: Store, followed: Followed, node: str, duration: int = DURATION) -> None:
        super().__init__()
        self.identity = f"{node}_{uuid.uuid4()}"
        self._leased = Leased(store, followed, duration, self._is_mine)
        self._duration, self._value = duration, b""
        self._wake = asyncio.Event()

    @property
    def leader(self) -> bool:
        return self._leased.left > 0

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Stands for election for ever; gives the leadership back when cancelled."""
        try:
            while True:
                await self._once()
        finally:
            with contextlib.suppress(StoreError, TimeoutError):
                await asyncio.wait_for(self._leased.release(), _RELEASE)  # as in exec/session.end

    async def _once(self) -> None:
        self._wake.clear()
        try:
            if not self.leader:
                self._value = leases.coordination_lease(leases.LEADER, self.identity, self._duration, now())
            pause = SOON if (await self._leased.hold({leases.LEADER: self._value})).pending else self._leased.due
        except StoreError:
            pause = RETRY
        self._say()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()
        self._say()

    def _say(self) -> None:
        if self.turned():
            log.info("this machine %s the lab's controllers", "runs" if self.leader else "no longer runs")

    def _is_mine(self, _: str, value: bytes) -> bool:
        return leases.holder_of(value).identity == self.identity
