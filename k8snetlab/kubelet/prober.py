"""What a container's probes say of it while it runs: has it started, is it ready, does it live.

Source: Kubernetes pkg/kubelet/prober (worker.go): until the startup probe has succeeded, no other is asked; an error of
the prober itself is told, and counts neither as success nor as failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import msgspec

from k8snetlab.api.probes import Probe
from k8snetlab.api.workload import ContainerWork
from k8snetlab.kubelet import health_service
from k8snetlab.kubelet.asking import Answer

Kind = Literal["Startup", "Liveness", "Readiness"]
Ask = Callable[[Probe], Awaitable[Answer]]
SAID = 1024
"""Characters of a failure that are told."""


class Probes(msgspec.Struct, frozen=True):
    startup: Probe | None = None
    liveness: Probe | None = None
    readiness: Probe | None = None

    @property
    def asked(self) -> bool:
        return any(one is not None for one in (self.startup, self.liveness, self.readiness))


def askable(work: ContainerWork) -> tuple[ContainerWork, tuple[Kind, ...]]:
    """A container without those of its probes that cannot be asked here, and which these are: they count as success."""
    kinds: tuple[Kind, ...] = ("Startup", "Liveness", "Readiness")
    probes = {kind: getattr(work, kind.lower()) for kind in kinds}
    beyond = tuple(kind for kind, one in probes.items() if one is not None and one.grpc is not None)
    if not beyond or health_service.is_there():
        return work, ()
    return msgspec.structs.replace(work, **{kind.lower(): None for kind in beyond}), beyond


class Unhealthy(msgspec.Struct, frozen=True):
    """It is to be ended: `why`, in kubelet's words; `grace` are the seconds that it has, None for the pod's."""

    why: str
    grace: float | None = None


class Prober:
    """`started` and `ready` are called with what the probes find, `failed` with what to tell of one that failed."""

    def __init__(
        self,
        probes: Probes,
        ask: Ask,
        *,
        started: Callable[[], None],
        ready: Callable[[bool], None],
        failed: Callable[[str], None],
    ) -> None:
        self._probes, self._ask = probes, ask
        self._started, self._ready, self._failed = started, ready, failed
        self._began = asyncio.get_running_loop().time()

    async def run(self) -> Unhealthy:
        """Asks for as long as the container lives; returns when it is to be ended."""
        probes = self._probes
        if probes.startup is not None:
            async for good in self._verdicts("Startup", probes.startup):
                if not good:
                    return Unhealthy("failed startup probe", _grace(probes.startup))
                break
            self._started()
        asking = [asyncio.create_task(self._follow_readiness())]
        if probes.liveness is not None:
            asking.append(asyncio.create_task(self._follow_liveness(probes.liveness)))
        try:
            done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _follow_readiness(self) -> Unhealthy:
        if self._probes.readiness is not None:
            async for good in self._verdicts("Readiness", self._probes.readiness):
                self._ready(good)
        else:
            self._ready(True)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def _follow_liveness(self, probe: Probe) -> Unhealthy:
        async for good in self._verdicts("Liveness", probe):
            if not good:
                break
        return Unhealthy("failed liveness probe", _grace(probe))

    async def _verdicts(self, kind: Kind, probe: Probe) -> AsyncIterator[bool]:
        """What it is each time that this changes, after so many answers in a row; for as long as somebody asks."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._began + probe.initialDelaySeconds - loop.time()))
        verdict: bool | None = None
        last, row = False, 0
        while True:
            next_ = loop.time() + probe.periodSeconds
            answer = await self._ask(probe)
            if not answer.ok:
                how = "errored and resulted in unknown state" if answer.unknown else "failed"
                self._failed(f"{kind} probe {how}: {answer.said[:SAID]}")
            if not answer.unknown:
                row = row + 1 if answer.ok is last and row else 1
                last = answer.ok
                enough = probe.successThreshold if last else probe.failureThreshold
                if row >= enough and verdict is not last:
                    verdict = last
                    yield last
            await asyncio.sleep(max(0.0, next_ - loop.time()))


def _grace(probe: Probe) -> float | None:
    seconds = probe.terminationGracePeriodSeconds
    return None if seconds is None else float(seconds)
