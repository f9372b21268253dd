"""Who of several leads, by a Lease that the leader renews and all others watch.

As there, nobody's clock of the day decides: a candidate takes the Lease when it has seen no renewal for as long as the
Lease lasts, by its own clock; a leader that could not renew it gives up before that. Source: client-go
tools/leaderelection (tryAcquireOrRenew, renew, release). Its times are 15, 10 and 2 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
import uuid

from msgspec.structs import replace

from k8snetlab.api import renewal
from k8snetlab.api.coordination import Lease, LeaseSpec
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.cluster.leading import Leadership
from k8snetlab.controllers.leaders import SYSTEM
from k8snetlab.errors import AlreadyExistsError, ConflictError, K8sNetLabError

log = logging.getLogger(__name__)
DURATION, DEADLINE, PERIOD = 2, 1.5, 0.5
"""Seconds: for which a leader that falls silent leads, after which it gives up itself, and between two renewals."""
JITTER = 0.1
"""Seconds by which candidates come at different moments, at most."""


class Election(Leadership):
    """One candidate for the Lease `name` in kube-system; its identity is that of a process on `host`."""

    def __init__(self, cluster: Cluster, name: str, host: str) -> None:
        super().__init__()
        self.identity = f"{host}_{uuid.uuid4()}"
        self._cluster, self._name = cluster, name
        self._seen: LeaseSpec | None = None
        """The Lease as it was last, and since when it has been so (monotonic)."""
        self._since = 0.0
        self._until = 0.0

    @property
    def leader(self) -> bool:
        return time.monotonic() < self._until

    async def run(self) -> None:
        """Stands for election for ever; gives the Lease back when cancelled."""
        watching = asyncio.create_task(self._watch())
        try:
            while not watching.done():
                began = time.monotonic()
                await self._try()
                self._say()
                await asyncio.sleep(self._pause(time.monotonic() - began))
                self._say()
            watching.result()
        finally:
            watching.cancel()
            await self._release()

    async def _watch(self) -> None:
        """The moment of a renewal is that at which it is seen."""
        async for _ in self._cluster.changes(reports=True):
            self._observe()

    def _observe(self) -> Lease | None:
        held = self._cluster.snapshot.get(Lease, self._name, SYSTEM)
        spec = held.spec if held else None
        if spec != self._seen:
            self._seen, self._since = spec, time.monotonic()
        return held

    def _pause(self, took: float) -> float:
        """Until the next renewal, or until the leader's time may be over."""
        if self.leader or self._seen is None:
            return max(0.0, PERIOD - took)
        left = self._since + (self._seen.leaseDurationSeconds or DURATION) - time.monotonic()
        return min(PERIOD, max(0.0, left)) + random.uniform(0, JITTER)

    async def _try(self) -> None:
        """Takes the Lease, or renews it, where that is ours to do."""
        began, held = time.monotonic(), self._observe()
        if held is not None and not self._is_ours_to_take(held):
            return
        try:
            async with asyncio.timeout(max(PERIOD, self._until - began)):
                if held is None:
                    metadata = ObjectMeta(name=self._name, namespace=SYSTEM)
                    await self._cluster.create(Lease(metadata=metadata, spec=self._taken(None)))
                else:
                    await self._cluster.edit(held, lambda stored: self._won(stored, held))
        except (_LostError, AlreadyExistsError, ConflictError):
            return
        except (K8sNetLabError, TimeoutError) as error:
            log.warning("%s: %s", self._name, error or "the store does not answer in time")
            return
        self._until = began + DEADLINE

    def _is_ours_to_take(self, held: Lease) -> bool:
        if held.spec.holderIdentity in ("", None, self.identity):
            return True
        return time.monotonic() >= self._since + (held.spec.leaseDurationSeconds or DURATION)

    def _won(self, stored: Lease, held: Lease) -> Lease:
        """Raises ConflictError where another candidate was quicker, or the leader has come back."""
        if stored.spec != held.spec and stored.spec.holderIdentity != self.identity:
            raise _LostError(f"{stored.spec.holderIdentity} leads")
        return replace(stored, spec=self._taken(stored))

    def _taken(self, held: Lease | None) -> LeaseSpec:
        now = renewal.moment(time.time())
        ours = held is not None and held.spec.holderIdentity == self.identity
        changes = ((held.spec.leaseTransitions or 0) + (not ours)) if held else 0
        since = held.spec.acquireTime if held and ours else now
        return LeaseSpec(
            holderIdentity=self.identity,
            leaseDurationSeconds=DURATION,
            acquireTime=since,
            renewTime=now,
            leaseTransitions=changes,
        )

    def _say(self) -> None:
        if self.turned():
            what = "became leader" if self.leader else "stopped leading"
            log.warning("%s: %s %s", self._name, self.identity, what)
            if held := self._cluster.snapshot.get(Lease, self._name, SYSTEM):
                text = f"{self.identity} {what}"
                self._cluster.record(held, "Normal", "LeaderElection", text, component=self._name)

    async def _release(self) -> None:
        """So that the next one need not wait, as it must for one that was killed."""
        if self.leader and (held := self._observe()):
            self._until = 0.0
            free = replace(held.spec, holderIdentity="", leaseDurationSeconds=1)
            with contextlib.suppress(K8sNetLabError, TimeoutError):
                async with asyncio.timeout(PERIOD):
                    await self._cluster.edit(held, lambda stored: replace(self._won(stored, held), spec=free))


class _LostError(K8sNetLabError):
    """Another one has the Lease."""
