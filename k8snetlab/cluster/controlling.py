"""The loop that runs the controllers over a cluster's objects, and what it does about what fails.

A failure is one object's: the write that was refused, or the object at which a controller failed, is tried again after
5 ms, 10 ms, 20 ms, … 30 s, as by client-go's workqueue, and all other writes go on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from msgspec.structs import replace

from k8snetlab.api.core import Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.cluster import failing
from k8snetlab.cluster.failing import Concerned, Failing
from k8snetlab.cluster.node_status import ALLOCATABLE, architecture, capacity
from k8snetlab.cluster.resting import Rests
from k8snetlab.controllers import ENOUGH, Bug, Context, EndpointMemory, Outcome, ReplicaMemory, Write, work_out
from k8snetlab.controllers.components import ALL
from k8snetlab.controllers.correlation import Note
from k8snetlab.errors import K8sNetLabError

log = logging.getLogger(__name__)
FIRST, LONGEST = 0.005, 30.0
"""Seconds before a failure is tried again: the first time, and at most."""
MANY = 500
"""With so many pods the controllers work in a thread: they take so long that requests would wait for them."""
BATCH = 100
"""Writes at a time; requests are answered in between."""


class Door(Protocol):
    """What of a Cluster the loop needs."""

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def returns(self) -> int:
        """How often all objects became others at once: what was worked out before that is void."""
        ...

    def changes(self) -> AsyncIterator[Snapshot]: ...

    async def write_batch(self, writes: Sequence[Write], *, returns: int) -> list[Exception | None]: ...

    def refusal(self, write: Write) -> Exception | None: ...

    def tell(self, note: Note) -> None: ...


def _timed(snapshot: Snapshot, previous: Snapshot | None, context: Context) -> tuple[Outcome, float]:
    """Their outcome, and the seconds that it took."""
    began = time.monotonic()
    return work_out(snapshot, previous, context), time.monotonic() - began


class _Held:
    """A failure between two tries. `write` is what was refused, None for a controller's bug. While it is `tried` again
    it is not in the controllers' way; a try that does not fail ends it."""

    def __init__(self, said: Failing, owner: Object | None, write: Write | None, due: float) -> None:
        self.failing, self.write, self.due = said, write, due
        self.owner, self.version = owner, failing.version(owner)
        self.tried = False


class ControllerLoop:
    def __init__(self, door: Door, component: str = ALL) -> None:
        """`component` says whose controllers are run."""
        self._door = door
        self._held: dict[tuple[str, Concerned], _Held] = {}
        self._look: list[Concerned] = []
        """Objects whose status does not say yet what fails."""
        self._alarms: dict[tuple[type[Object], Key], float] = {}
        """Objects to look at again at a time of the wall's clock, though nothing may have changed."""
        self._seen: Snapshot | None = None
        self._controlled: Snapshot | None = None
        self._wake, self._turn = asyncio.Event(), asyncio.Event()
        self._ended, self._rests = False, Rests()
        self._anew = False
        """Whether all is to be looked at again, whatever has changed."""
        self._behind: dict[str, float] = {}
        """Since when a controller has not looked at what changed (seconds, monotonic)."""
        identity = f"{platform.node()}_{uuid.uuid4()}"
        self._context = Context(
            architecture(),
            memory=EndpointMemory(),
            replicas=ReplicaMemory(),
            capacity=capacity(),
            allocatable=ALLOCATABLE,
            identity=identity,
            component=component,
        )
        # One of its own: agents at work may keep all threads that others share.
        self._worker = ThreadPoolExecutor(1, "controllers")

    @property
    def failing(self) -> tuple[Failing, ...]:
        """May be asked from any thread."""
        return tuple(held.failing for held in list(self._held.values()))

    @property
    def behind(self) -> dict[str, float]:
        """The controllers that have not looked at what changed, and the seconds for which they have not."""
        return {name: time.monotonic() - since for name, since in self._behind.items()}

    def hold(self, stuck: frozenset[str]) -> None:
        """Lets these controllers hang, and no others: those that do no more look at everything."""
        if self._context.stuck - stuck:
            self._anew, self._controlled = True, None
        self._context = replace(self._context, stuck=stuck)
        self._wake.set()

    def end(self) -> None:
        """Wakes those who wait until it is idle."""
        self._ended = True
        self._turn.set()

    async def rested(self) -> bool:
        """True once there is nothing left to write that is not refused; False when the loop has ended."""
        while not self._ended:
            if self._controlled is not None and self._controlled.objects is self._door.snapshot.objects:
                return True
            self._turn.clear()
            await self._turn.wait()
        return False

    async def run(self) -> None:
        """Until it is cancelled. Raises StoreError when the store does not take writes; begin anew then."""
        listening = asyncio.create_task(self._listen(), name="controllers' events")
        try:
            previous: Snapshot | None = None
            returns = self._door.returns
            while not listening.done():
                snapshot = self._door.snapshot
                if returns != self._door.returns or self._anew:
                    previous, returns, self._anew = None, self._door.returns, False
                if previous is not None and failing.frame(snapshot) != failing.frame(previous):
                    for held in self._held.values():
                        held.due = 0.0  # a change of these ends most refusals
                again = self._due(snapshot)
                if previous is None or snapshot.objects is not previous.objects or again is not None:
                    base = failing.without(previous, again)
                    previous = self._seen = snapshot
                    await self._once(snapshot, base, returns)
                    continue
                self._controlled = snapshot
                self._turn.set()
                await self._rest()
            listening.result()
        finally:
            self._worker.shutdown(wait=False)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self) -> None:
        async for _ in self._door.changes():
            self._wake.set()

    async def _rest(self) -> None:
        waits = [held.due - time.monotonic() for held in self._held.values()]
        waits += [at - time.time() for at in self._alarms.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(waits)) if waits else None):
                await self._wake.wait()
        self._wake.clear()

    async def _once(self, snapshot: Snapshot, previous: Snapshot | None, returns: int) -> None:
        context, rest = replace(self._context, failures=self._refused(), time=time.time()), 0.0
        now = time.monotonic()
        self._behind = {name: self._behind.get(name, now) for name in context.stuck}
        if len(snapshot.all(Pod)) < MANY:
            outcome = work_out(snapshot, previous, context)
        else:
            outcome, took = await asyncio.get_running_loop().run_in_executor(
                self._worker, _timed, snapshot, previous, context
            )
            if len(outcome.writes) < ENOUGH:  # else more of their own is to follow
                rest = self._rests.after(took)
        self._alarms.update(outcome.dues)
        for bug in outcome.bugs:
            self._failed_at(bug, snapshot)
        waiting = [write for write in outcome.writes if self._waits(write)]
        lacking = {(write.object.KIND, *write.object.key) for write in waiting if write.action == "create"}
        todo = [write for write in outcome.writes if write not in waiting] if waiting else outcome.writes
        for some in failing.batches(todo, BATCH):
            batch = [write for write in some if not failing.depends(write, lacking)]
            for write, error in zip(batch, await self._door.write_batch(batch, returns=returns), strict=True):
                if error is not None:
                    self._refuse(write, error)
                    if write.action == "create":
                        lacking.add((write.object.KIND, *write.object.key))
            await asyncio.sleep(0)
        for key in [key for key, held in self._held.items() if held.tried]:
            log.info("works again: %s", self._held.pop(key).failing)
        await asyncio.sleep(rest)

    # --- failures ---

    def _refused(self) -> dict[Concerned, str]:
        """For the controllers: of which objects none is to be made for now, and why."""
        return {
            concerned: held.failing.message
            for (_, concerned), held in self._held.items()
            if held.write is not None and held.write.action == "create" and not held.tried
        }

    def _waits(self, write: Write) -> bool:
        """Whether this very write was refused and is not to be tried yet."""
        held = self._held.get((write.by, failing.concerned(write)))
        return held is not None and not held.tried and held.write is not None and failing.same(held.write, write)

    def _due(self, snapshot: Snapshot) -> list[Concerned] | None:
        """The objects to look at again; None if there are none."""
        again, self._look = [*self._look, *self._rung(snapshot)], []
        now = time.monotonic()
        for key, held in list(self._held.items()):
            _, concerned = key
            owner = failing.find(concerned, snapshot)
            if concerned[0] and owner is None and held.owner is not None:
                del self._held[key]
            elif failing.version(owner) != held.version:
                # Somebody has asked for something else, which may mend it.
                held.version, held.tried = failing.version(owner), True
                again.append(concerned)
            elif held.due <= now:
                again += self._try(key, held, owner, snapshot)
        return again or None

    def _rung(self, snapshot: Snapshot) -> Iterable[Concerned]:
        """The objects whose time has come, and that the controllers have seen before."""
        for type_, key in [of for of, at in self._alarms.items() if at <= time.time()]:
            del self._alarms[type_, key]
            if self._seen is not None and key in snapshot.all(type_) and key in self._seen.all(type_):
                yield (type_.KIND, *key)

    def _try(
        self, key: tuple[str, Concerned], held: _Held, owner: Object | None, snapshot: Snapshot
    ) -> Iterable[Concerned]:
        """Lets the controller try again, unless its write would be refused again: then it writes nothing else."""
        by, concerned = key
        if held.write is None or owner is None:
            held.tried = True
            return [concerned]
        others = {k: v for k, v in self._refused().items() if k != concerned}
        context = replace(self._context, failures=others, time=time.time())
        wanted = work_out(snapshot, failing.without(snapshot, [concerned]), context).writes
        sought = (by, held.write.action, concerned)
        write = next((w for w in wanted if (w.by, w.action, failing.concerned(w)) == sought), None)
        if write is not None and (error := self._door.refusal(write)) is not None:
            self._hold(key, write, error, owner)
            return []
        if write is None:
            del self._held[key]
        else:
            held.tried = True
        return [concerned]

    def _failed_at(self, bug: Bug, snapshot: Snapshot) -> None:
        obj = bug.object
        concerned = (obj.KIND, *obj.key) if obj else ("", "", "")
        held = self._held.get((bug.by, concerned))
        if held is None:
            log.error("%s failed at %s", bug.by, "/".join(concerned), exc_info=bug.error)
        elif not held.tried:
            return
        self._hold((bug.by, concerned), None, bug.error, failing.find(concerned, snapshot))

    def _refuse(self, write: Write, error: Exception) -> None:
        concerned = failing.concerned(write)
        if (write.by, concerned) not in self._held:
            known = isinstance(error, K8sNetLabError)
            log.warning(
                "%s: %s %s is refused: %s",
                *(write.by, write.action, "/".join((write.object.KIND, *write.object.key)), error),
                exc_info=None if known else error,
            )
        self._hold((write.by, concerned), write, error, failing.find(concerned, self._door.snapshot))
        self._look.append(concerned)

    def _hold(self, key: tuple[str, Concerned], write: Write | None, error: Exception, owner: Object | None) -> None:
        by, concerned = key
        old = self._held.get(key)
        tries = old.failing.tries + 1 if old else 1
        message = failing.message(error)
        said = Failing(by, *concerned, message, old.failing.since if old else time.time(), tries)
        due = time.monotonic() + min(LONGEST, FIRST * 2 ** min(tries - 1, 30))
        self._held[key] = _Held(said, owner, write, due)
        if owner is not None:
            self._door.tell(failing.note(owner, by, write, message))
