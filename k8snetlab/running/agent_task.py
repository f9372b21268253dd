"""One agent at work: woken by objects, kernel and time, one sync at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Literal, ParamSpec, TypeVar, get_args

import msgspec

from k8snetlab.agent.failure import failure_of
from k8snetlab.agent.node import NodeAgent
from k8snetlab.agent.report import Report
from k8snetlab.agent.router import RouterAgent
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane.holds import Holds
from k8snetlab.dataplane.names import is_host
from k8snetlab.errors import K8sNetLabError
from k8snetlab.messages.status import ManagerStatus
from k8snetlab.running import beats
from k8snetlab.running.looks import Looks
from k8snetlab.supervision import Supervisor

log = logging.getLogger(__name__)
TICK = 1.0
"""Seconds between two looks at iptables and sysctls; netlink reports everything else."""
REST, LONGEST_REST = 10, 1.0
"""A look at a machine's own namespace that found nothing to do is followed by a rest of so many times its length, and
of that many seconds at most: most of what happens there is not the lab's, and may happen all the time."""
GATHERING = 0.01
"""Seconds from one hearing of the kernel's events to the next: while pods come there are thousands a second."""
BACKOFF = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before a failed sync is tried again."""
LATE = 1.0
"""Seconds after which routes of routing daemons are looked at of which fewer have come than are waited for: in a large
mesh they come one by one, and to read all of them for each is more work than to make them."""
LEARNED = frozenset(("learned",))
Why = Literal["follow", "look", "sync"]
WHYS: tuple[Why, ...] = get_args(Why)
"""What an agent is woken for, in the order of what it does then."""
P = ParamSpec("P")
R = TypeVar("R")


class AgentState(msgspec.Struct, frozen=True):
    """What `status` says of an agent.

    `snapshot` is the last one that is fully in the kernel, `sandboxes` the last whose pods have theirs even if
    something else was refused, taken from the cluster at `began` (seconds, monotonic); `synced_at` is in epoch seconds.
    `pending` is what managers are still about; the agent is not in step before.
    """

    snapshot: Snapshot | None = None
    sandboxes: Snapshot | None = None
    began: float = 0.0
    synced_at: float = 0.0
    seconds: float = 0.0
    operations: int = 0
    error: str = ""
    hint: str = ""
    operation: str = ""
    warnings: tuple[str, ...] = ()
    managers: tuple[ManagerStatus, ...] = ()
    pending: tuple[str, ...] = ()
    failures: int = 0
    failed: float = 0.0
    paused: bool = False


class AgentTask:
    """Runs one agent: blocking work in a thread, one sync at a time, always with the newest snapshot."""

    def __init__(
        self,
        agent: NodeAgent | RouterAgent,
        cluster: Cluster,
        synced: Callable[[AgentTask, Report], None],
        supervisor: Supervisor,
        *,
        looks: Looks | None = None,
        threads: Executor | None = None,
    ) -> None:
        """Agents of one machine share `looks`, to look at what no event tells of, and the `threads` they work in."""
        self.agent, self._cluster, self._synced = agent, cluster, synced
        self._looks, self._threads = looks or Looks(), threads
        self.state = AgentState()
        self._supervisor = supervisor
        self._wake = asyncio.Event()
        self._why: Why = "follow"
        self._work = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._complaint = ""
        self._rests_until = 0.0
        self._looked = -math.inf
        """When the rules were last seen to be as they were left (seconds, monotonic)."""
        self._alarm: asyncio.TimerHandle | None = None
        self._learned: asyncio.TimerHandle | None = None
        """Until routes of daemons are looked at that have come or gone."""
        self._arrived = 0
        """Such routes that have come since the last sync began."""
        self._stuck = False
        self._asked = math.inf
        """Since when it was called and has not begun to sync (seconds, monotonic)."""

    @property
    def behind(self) -> float:
        """Seconds for which it has been asked to sync and has not begun to; 0 where it is paused, or at work."""
        return 0.0 if self.state.paused or self._work.locked() else max(0.0, time.monotonic() - self._asked)

    @property
    def name(self) -> str:
        return self.agent.name

    @property
    def looked(self) -> float:
        """When it last saw that nothing has changed of what no event tells (seconds, monotonic); -inf where it has
        something to look at."""
        waits = self._wake.is_set() or self._alarm is not None or self._learned is not None
        return -math.inf if waits else self._looked

    def has(self, snapshot: Snapshot) -> bool:
        """Whether exactly these objects are in the kernel."""
        return self.state.snapshot is not None and self.state.snapshot.objects is snapshot.objects

    def start(self) -> None:
        if self._task is None:
            self._task = self._supervisor.keep(f"agent {self.name}", self._run)
            self._listen()

    def wake(self) -> None:
        """Has it sync, whatever it knows."""
        self._call("sync")

    def look(self) -> None:
        """A request wants to know that the kernel is as the objects have it."""
        self._call("look")

    def follow(self) -> None:
        """There are other objects, which may concern its node."""
        self._call("follow")

    def _call(self, why: Why) -> None:
        self._why = max(self._why, why, key=WHYS.index)
        self._asked = min(self._asked, time.monotonic())
        self._wake.set()

    async def hold(self, held: Holds) -> None:
        """Has the agent leave these objects alone, and no others, once no sync is under way."""
        async with self._work:
            self.held(held)
        self._looked = -math.inf
        self.wake()

    def held(self, held: Holds) -> None:
        """As `hold`, of one that does nothing yet."""
        self.agent.hold(held)
        self._stuck = any(one.kind == "agent" and one.object == self.name for one in held)

    async def stop(self) -> None:
        """Ends the task and leaves the kernel as it is."""
        await self.halt()
        await self._in_thread(self.agent.close)

    async def remove(self) -> None:
        """Ends the task and deletes the node's namespaces; may be tried again when it is refused (K8sNetLabError)."""
        await self.halt()
        try:
            async with self._work:
                await self._in_thread(self.agent.remove)
        except K8sNetLabError as error:
            self._suspect()
            self._failed(time.monotonic(), error)
            raise

    async def halt(self) -> None:
        """Ends the task, once what was begun has its end."""
        task, self._task = self._task, None
        if task is not None:
            asyncio.get_running_loop().remove_reader(self.agent.monitors.fileno())
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for alarm in (self._alarm, self._learned):
            if alarm is not None:
                alarm.cancel()
        async with self._work:
            pass  # what was begun ends

    def keep_pause(self, paused: bool) -> None:
        """Stops or starts the repairs, where that is new."""
        if paused == self.state.paused:
            return
        self._say(paused=paused)
        if paused:
            self.agent.pause()
        else:
            self.agent.resume()
            self._suspect()
            self.wake()

    async def rests(self, seconds: float) -> bool:
        """Whether no work is under way, or ends within `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._work:
                return True
        return False

    async def drift(self, patience: float = math.inf) -> list[str]:
        """What differs from what is desired now, as the commands that would mend it. Nothing while other work takes
        longer than `patience` seconds: what is being changed is no drift."""
        try:
            async with asyncio.timeout(None if patience == math.inf else patience):
                await self._work.acquire()
        except TimeoutError:
            return []
        try:
            return await self._in_thread(self.agent.drift, self._cluster.snapshot)
        finally:
            self._work.release()

    async def sync(self, why: Why = "sync") -> None:
        """Syncs with the newest snapshot; the outcome is in `state`. Nothing is done, in no thread, where that snapshot
        and all that the kernel has told do not concern the node."""
        if why != "sync" and time.monotonic() - self._looked >= TICK:
            await self._noticed_change()
        async with self._work:
            if self._stuck:
                return
            snapshot, self._asked = self._cluster.snapshot, math.inf
            began = time.monotonic()
            trusting = began - self._looked < TICK
            if why != "sync" and trusting and not self._learned and not self._is_concerned(snapshot, why):
                held = self.state.snapshot if self.state.pending else snapshot
                self._say(snapshot=held, sandboxes=snapshot, began=began, synced_at=time.time())
                return
            self._forget_learned()  # it finds them
            self._arrived = 0
            try:
                report = await self._in_thread(self.agent.sync, snapshot, trusting)
            except Exception as error:
                self._say(managers=self.agent.statuses)
                self._suspect()
                self._failed(began, failure_of(f"agent {self.name}", error))
                return
            if not trusting:
                self._looked = began
            self.state = AgentState(
                snapshot=self.state.snapshot if report.failure or report.pending else snapshot,
                sandboxes=self.state.sandboxes if report.holds else snapshot,
                began=began,
                synced_at=time.time(),
                seconds=time.monotonic() - began,
                operations=self.state.operations + report.operations,
                warnings=report.warnings,
                managers=report.managers,
                pending=report.pending,
                failures=self.state.failures if report.failure else 0,
                paused=self.state.paused,
            )
        if report.again:
            asyncio.get_running_loop().call_later(report.again, self.wake)
        rest = 0.0 if report.operations else min(REST * self.state.seconds, LONGEST_REST)
        self._rests_until = asyncio.get_running_loop().time() + rest
        # What one manager cannot do is in nobody's way: pods run, and only then this agent has failed. What the other
        # managers know of the kernel stays true.
        self._synced(self, report)
        if report.failure:
            self._failed(began, report.failure)

    async def _run(self) -> None:
        while True:
            failures = self.state.failures
            delay = BACKOFF[min(failures, len(BACKOFF)) - 1] if failures else beats.until(TICK)
            try:
                # Not wait_for: that of Python 3.11 forgets a cancellation that comes together with the event.
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                if self.state.paused or not (await self._noticed_change() or self.state.failures):
                    continue
                self._why = "sync"
            self._wake.clear()
            why, self._why = self._why, "follow"
            if not self.state.paused:
                try:
                    await self.sync(why)
                except Exception:
                    self.wake()  # what it was woken for is still to be done, once this task is begun again
                    raise

    def _is_concerned(self, snapshot: Snapshot, why: Why) -> bool:
        return bool(self.state.failures) or self.agent.concerned(snapshot, looking=why == "look")

    async def _noticed_change(self) -> bool:
        async with self._work:
            began = time.monotonic()
            try:
                changed = await self._ended(self._looks.ask(self.agent.noticed_change))
            except K8sNetLabError:
                changed = True
            self._looked = -math.inf if changed else began
            return changed

    def _suspect(self) -> None:
        self.agent.suspect()
        self._looked = -math.inf

    async def _in_thread(self, work: Callable[P, R], *args: P.args, **more: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await self._ended(loop.run_in_executor(self._threads, partial(work, *args, **more)))

    async def _ended(self, done: asyncio.Future[R]) -> R:
        """What a thread came to. A cancellation is raised when that has ended: two are never at work."""
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            while not done.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({done})
            if not done.cancelled() and (error := done.exception()):
                log.warning("agent %s: %s", self.name, error)
            raise

    def _failed(self, began: float, error: K8sNetLabError) -> None:
        operation = getattr(error, "operation", "")
        if error.message != self._complaint:
            log.warning("agent %s: %s %s", self.name, error.message, operation)
        self._complaint = error.message
        failures = self.state.failures + 1
        self._say(error=error.message, hint=error.hint, operation=operation, failures=failures, failed=began)
        self._synced(self, Report())

    def _say(self, **changes: object) -> None:
        """Another state than before, so that who waits for one sees it."""
        self.state = msgspec.structs.replace(self.state, **changes)

    def _listen(self) -> None:
        """Hears the next event of the kernel's at once, unless the task has ended meanwhile."""
        if self._task is not None:
            asyncio.get_running_loop().add_reader(self.agent.monitors.fileno(), self._kernel_event)

    def _kernel_event(self) -> None:
        """Those that come in the next moment are heard together."""
        loop, monitors = asyncio.get_running_loop(), self.agent.monitors
        loop.remove_reader(monitors.fileno())
        loop.call_later(GATHERING, self._listen)
        for name, kinds in monitors.changed().items():
            if kinds == LEARNED and self.agent.leaves_learned(name):
                arrived, monitors[name].arrived = monitors[name].arrived, 0
                self._learn(arrived)
            else:
                self._changed(name)

    def _learn(self, arrived: int) -> None:
        """Routes of daemons have come, so many, or gone."""
        loop = asyncio.get_running_loop()
        self._arrived += arrived
        enough = self._arrived >= self.agent.lacks
        due = self._rests_until if enough else loop.time() + LATE
        if self._learned is not None and due >= self._learned.when():
            return
        self._forget_learned()
        self._learned = loop.call_at(due, self._learned_rested)

    def _learned_rested(self) -> None:
        self._learned = None
        self.wake()

    def _forget_learned(self) -> None:
        if self._learned is not None:
            self._learned.cancel()
            self._learned = None

    def _changed(self, name: str) -> None:
        self.agent.mark(name)
        loop = asyncio.get_running_loop()
        if not is_host(name) or loop.time() >= self._rests_until:
            self.wake()
        elif self._alarm is None:
            self._alarm = loop.call_at(self._rests_until, self._rested)

    def _rested(self) -> None:
        self._alarm = None
        self.wake()
