"""One container: its command, or the built-in responder in its place; started again as its restartPolicy asks.

Whatever goes wrong with it is in its status, and nowhere else: another try follows, later and later.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import signal
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from k8snetlab.api.core import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
)
from k8snetlab.api.workload import ContainerWork, Happening, PodWork
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import bounds, fault, launch
from k8snetlab.kubelet import health_service, readiness, starting, telling
from k8snetlab.kubelet.asking import Asked, ask
from k8snetlab.kubelet.backoff import RELIST, BackOff
from k8snetlab.kubelet.ending import at_least
from k8snetlab.kubelet.instance import Exit, Instance
from k8snetlab.kubelet.nameserver import NameServer, Seat
from k8snetlab.kubelet.past import again, begun_with, restarts
from k8snetlab.kubelet.prober import Prober, Probes, Unhealthy, askable
from k8snetlab.kubelet.responder import Listener
from k8snetlab.kubelet.rotation import LogKeeper
from k8snetlab.kubelet.sandbox import Sandbox

SETTLED = 0.2
"""Seconds for which one waits whether a command that has begun ends at once."""
NO_CONTROLLER = "this machine lets nobody use the cgroup controller {}"
HOOK = "FailedPostStartHook"
TERMINATED = 128 + signal.SIGTERM
START_ERROR = 128
"""The exit code of a container that could not be started, as containerd gives it."""


class Container:
    """`changed` is called when its status has changed by itself; `tell` with what an Event should say."""

    def __init__(
        self,
        pod: PodWork,
        work: ContainerWork,
        logs: LogKeeper,
        changed: Callable[[], None],
        tell: Callable[[Happening], None],
        *,
        nameserver: NameServer,
        sandbox: Sandbox | None = None,
    ) -> None:
        self._pod, self._logs, self._changed, self._tell = pod, logs, changed, tell
        self._work, self._unasked = askable(work)
        self._sandbox = sandbox
        self._mark, self._group = starting.mark(pod, work), starting.group(pod, work)
        self._nameserver = nameserver
        self._listeners: list[Listener] = []
        self._instance: Instance | Seat | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self.runs = asyncio.Event()
        """Set once it has run, for those that wait for a sidecar."""
        self.done = asyncio.Event()
        """Set when it has ended and is not started again."""
        self._stopping = False
        self._condemned = False
        """Whether this run is ended because its probes or its postStart failed."""
        self.status, self._resumed = begun_with(pod, work)

    def _again(self, code: int) -> bool:
        return not self._stopping and again(self._pod, self._work, code != 0 or self._condemned)

    @property
    def _is_watched(self) -> bool:
        """Whether somebody asks it, or it does something when it begins."""
        work = self._work
        return any(one is not None for one in (work.startup, work.liveness, work.readiness, work.begins))

    # --- its life ---

    async def start(self) -> None:
        """Returns when it runs, cannot be started, or has ended again; names are waited for by nobody."""
        if self._resumed:
            if self._work.command:
                await asyncio.to_thread(self._end_leftovers)
            self._conclude()
            return
        if not (self._work.has_process or self._work.init or self._is_watched) and await self._listen() is None:
            self._begun()
            self._running()
            return
        self._supervisor = asyncio.create_task(self._supervise(), name=f"{self._pod.name}/{self._work.name}")
        self._supervisor.add_done_callback(lambda _: self._settled.set())
        if self._work.names is None:
            await self._settled.wait()

    async def stop(self, grace: float, hasty: bool = False) -> None:
        """Ends it; a command gets SIGTERM and `grace` seconds; in haste not one that is deaf to that."""
        fault.point()
        self._stopping = True
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        ended: ContainerStateTerminated | None = None
        running = self.status.state.running
        if self._instance is not None or running is not None:
            self._event("Killing", f"Stopping container {self._work.name}")
            grace = await self._before_its_end(at_least(grace))
        self._silence()
        if self._instance is not None:
            in_vain = hasty and isinstance(self._instance, Instance) and self._instance.is_deaf
            ended = self._ended(await self._instance.stop(-1.0 if in_vain else grace))
            self._instance = None
            self._logs.forget(self._log)
        elif running is not None:
            ended = telling.terminated(0, "Completed", running.startedAt)
        if ended is not None and grace < 0:
            ended = telling.cut_off(ended)
        if ended is not None:
            self.status = replace(self.status, state=ContainerState(terminated=ended), ready=False, started=False)
        self._conclude()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to its command, where that runs."""
        if self._instance is not None:
            self._instance.signal(number)

    async def _supervise(self) -> None:
        backoff, loop = BackOff(), asyncio.get_running_loop()
        if self._work.command:
            await asyncio.to_thread(self._end_leftovers)
        while True:
            try:
                ended = await self._once()
            except Exception as error:  # one container's trouble is that container's
                ended = self._not_started(telling.words(error))
            self._silence()
            if not self._again(ended.exitCode):
                state, done = ContainerState(terminated=ended), self._work.init and not ended.exitCode
                self.status = replace(self.status, state=state, ready=done, started=False)
                self._conclude()
                self._changed()
                return
            wait = backoff.ended(loop.time())
            self._waits(ended, wait)
            await asyncio.sleep(max(wait, RELIST))
            backoff.restarted(loop.time())
            self.status = replace(
                self.status,
                restartCount=self.status.restartCount + 1,
                lastState=ContainerState(terminated=ended),
            )

    async def _once(self) -> ContainerStateTerminated:
        """Starts it and waits for its end."""
        self._condemned = False
        if self._work.init and not self._work.has_process:
            self._begun()
            return telling.terminated(0, "Completed", telling.now())
        if not self._work.has_process:
            problem = await self._listen()
            if problem is None:
                self._begun()
                return await self._answering()
            return telling.terminated(1, "Error", telling.now(), problem)
        fault.point()
        self._instance = instance = self._started()
        self._logs.keep(self._log, self._pod.log_size, self._pod.log_files)
        try:
            if (hindrance := await instance.begun()) is not None:
                await instance.wait()
                return self._not_started(telling.explained(hindrance, next(iter(self._work.command), "")))
            self._begun()
            return await self._alive(instance)
        finally:
            if not self._stopping:
                self._instance = None
                self._logs.forget(self._log)

    async def _alive(self, instance: Instance | Seat) -> ContainerStateTerminated:
        """For as long as its process runs, and its probes say that it may."""
        if self._work.begins is None:
            self._running(settled=False)
        ending = asyncio.create_task(instance.wait())
        watching = asyncio.create_task(self._watched(ending))
        looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait({ending}, timeout=SETTLED)
            if not ending.done():
                self._settled.set()
                self._changed()
            await asyncio.wait({ending, watching}, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                return self._ended(ending.result())
            grace = await self._unhealthy(watching.result())
            return self._ended(await instance.stop(grace))
        finally:
            for task in (ending, watching, looking):
                task.cancel()

    async def _answering(self) -> ContainerStateTerminated:
        """For as long as the responder's probes say that it may answer."""
        self._settled.set()
        found = await self._watched(None)
        began = self.status.state.running
        await self._unhealthy(found)
        return replace(
            telling.terminated(TERMINATED, "Error", began.startedAt if began else telling.now()),
            signal=int(signal.SIGTERM),
        )

    async def _watched(self, ending: asyncio.Task[Exit] | None) -> Unhealthy:
        """Does what is to be done at its beginning, and asks its probes; returns when it is to be ended."""
        work = self._work
        if work.begins is not None:
            answer = await ask(self._asked, work.begins, self._start, None)
            if not answer.ok:
                self._event(HOOK, "PostStartHook failed", True)
                return Unhealthy(HOOK)
        if ending is None or (work.begins is not None and not ending.done()):
            self._running()
            self._changed()
        probes = Probes(work.startup, work.liveness, work.readiness)
        if not probes.asked:
            await asyncio.Event().wait()
        prober = Prober(
            probes,
            lambda probe: ask(self._asked, probe, self._start, float(probe.timeoutSeconds)),
            started=self._has_started,
            ready=self._is_ready,
            failed=self._failed,
        )
        return await prober.run()

    def _failed(self, message: str) -> None:
        """A probe got no good answer; that is told even where nothing follows from it yet."""
        self._event("Unhealthy", message, True)
        self._changed()

    def _has_started(self) -> None:
        self.status = replace(self.status, started=True)
        self.runs.set()
        self._changed()

    def _is_ready(self, ready: bool) -> None:
        if self._work.ready is None and self.status.ready != ready:
            self.status = replace(self.status, ready=ready)
            self._changed()

    async def _unhealthy(self, found: Unhealthy) -> float:
        """Tells why it is ended, and does what is to be done before; the seconds that it has."""
        self._condemned = True
        restarted = ", will be restarted" if restarts(self._pod, self._work) else ""
        message = found.why if found.why == HOOK else f"Container {self._work.name} {found.why}{restarted}"
        self._event("Killing", message)
        self.status = replace(self.status, ready=False, started=False)
        self._changed()
        return await self._before_its_end(at_least(self._pod.grace if found.grace is None else found.grace))

    async def _before_its_end(self, grace: float) -> float:
        """Its preStop, for as long as it has; how many seconds are left."""
        hook, loop = self._work.ends, asyncio.get_running_loop()
        if hook is None or grace <= 0 or self.status.state.running is None:
            return grace
        began = loop.time()
        doing = asyncio.create_task(ask(self._asked, hook, self._start, grace))
        waits: set[asyncio.Task[object]] = {doing}
        if self._instance is not None:
            waits.add(asyncio.create_task(self._instance.wait()))
        try:
            await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            if doing.done() and not doing.result().ok:
                self._event("FailedPreStopHook", "PreStopHook failed", True)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return at_least(grace, loop.time() - began)

    @property
    def _asked(self) -> Asked:
        return Asked(self._pod.netns, next(iter(self._pod.ips), "127.0.0.1"))

    @property
    def pid(self) -> int:
        """Of its command's own process, 0 where there is none."""
        return self._instance.pid if isinstance(self._instance, Instance) else 0

    def _start(self) -> tuple[launch.Setting, dict[str, str]]:
        """How a command beside the container's own is started: it ends with the container, where there are control
        groups. Raises NotFoundError where the container has ended: it would see the machine's files."""
        setting, _, environment = self._command()
        if setting.own is not None:
            if not (pid := self.pid):
                raise NotFoundError("the container has ended")
            return replace(setting, own=None, process=pid, stdin=False), environment
        return replace(setting, held=bool(self._group)), environment

    async def _look(self) -> None:
        """Whether it is ready, where it is to be asked."""
        if self._work.ready is not None:
            async for ready in readiness.looks(self._pod.netns, *self._work.ready):
                self.status = replace(self.status, ready=ready)
                self._settled.set()
                self._changed()

    async def _listen(self) -> str | None:
        """Opens the responder's ports, all or none; what is in the way where one cannot be had."""
        try:
            for port, protocol in self._work.ports:
                fault.point()
                listener = Listener(self._pod, port, protocol)
                await listener.start()
                self._listeners.append(listener)
        except Exception as error:
            self._silence()
            return telling.words(error)
        return None

    def _silence(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    # --- what is said of it ---

    def _running(self, settled: bool = True) -> None:
        state = ContainerState(running=ContainerStateRunning(startedAt=telling.now()))
        begun = self._work.startup is None
        ready = begun and self._work.ready is None and self._work.readiness is None
        self.status = replace(self.status, state=state, ready=ready, started=begun, containerID=self._id())
        if begun:
            self.runs.set()
        if settled:
            self._settled.set()

    def _id(self) -> str:
        """One of its own for each time that it runs, of the form that runtimes have."""
        run = f"{self._pod.uid}/{self._work.name}/{self.status.restartCount}"
        return f"k8snetlab://{hashlib.sha256(run.encode()).hexdigest()}"

    def _conclude(self) -> None:
        self.done.set()
        self._settled.set()

    def _waits(self, ended: ContainerStateTerminated, wait: float) -> None:
        """Between two runs: as it ended, and from the second time on as what waits to be started again."""
        state = ContainerState(terminated=ended)
        where = f"{self._pod.name}_{self._pod.namespace}({self._pod.uid})"
        if wait:
            message = f"back-off {telling.duration(wait)} restarting failed container={self._work.name} pod={where}"
            state = ContainerState(waiting=ContainerStateWaiting(reason="CrashLoopBackOff", message=message))
            self._event("BackOff", f"Back-off restarting failed container {self._work.name} in pod {where}", True)
        elif ended.reason == "StartError":
            waiting = ContainerStateWaiting(reason="RunContainerError", message=ended.message)
            state = ContainerState(waiting=waiting)
        last = self.status.lastState if state.terminated else ContainerState(terminated=ended)
        self.status = replace(self.status, state=state, lastState=last, ready=False, started=False)
        self._settled.set()
        self._changed()

    def _ended(self, exit: Exit) -> ContainerStateTerminated:
        running = self.status.state.running
        reason = "Completed" if exit.code == 0 else "OOMKilled" if exit.starved else "Error"
        if exit.message:
            self._event("Failed", f"Error: {exit.message}", True)
        began = running.startedAt if running else telling.now()
        return replace(telling.terminated(exit.code, reason, began, exit.message), signal=exit.signal)

    def _not_started(self, message: str) -> ContainerStateTerminated:
        self._event("Failed", f"Error: {message}", True)
        with contextlib.suppress(OSError):
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a", errors="replace") as log:
                log.write(f"k8snetlab: {message}\n")
        return telling.terminated(START_ERROR, "StartError", telling.now(), message)

    def _begun(self) -> None:
        self._event("Created", "Container created")
        self._event("Started", "Container started")
        for kind in self._unasked:
            message = f"{kind} probe of container {self._work.name} is not asked: {health_service.LACKING}"
            self._event("ProbeNotAsked", message, True)

    def _event(self, reason: str, message: str, warning: bool = False) -> None:
        self._tell(Happening(self._work.name, reason, message, warning))

    # --- how it is started ---

    @property
    def _log(self) -> Path:
        return log_file(Path(self._pod.log_directory), self._work.name, self.status.restartCount)

    def _started(self) -> Instance | Seat:
        if (names := self._work.names) is None:
            self._bound()
            return Instance.start(*self._command(), self._log)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.touch()
        return self._nameserver.serve(self._mark, replace(names, netns=self._pod.netns, log=str(self._log)))

    def _command(self) -> tuple[launch.Setting, tuple[str, ...], dict[str, str]]:
        return starting.command(self._pod, self._work, self._sandbox.pid if self._sandbox else 0)

    def _bound(self) -> None:
        """Its limits; what nobody can hold it to here is told."""
        work, wanted = self._work, bounds.Bounds(self._work.memory, self._work.cpu)
        if not wanted or not self._pod.scratch:
            return
        lacking = bounds.hold(Path(self._group), wanted) if self._group else ("memory", "cpu")
        for name in lacking:
            if getattr(wanted, name):
                message = f"Container {work.name} is not held to limits.{name}: {NO_CONTROLLER.format(name)}"
                self._event("LimitNotEnforced", message, True)

    def _end_leftovers(self) -> None:
        starting.end_leftovers(self._pod.netns, self._group, self._mark)


def log_file(directory: Path, container: str, restarts: int) -> Path:
    """Where a container's output goes that has been started again so many times."""
    return directory / container / f"{restarts}.log"
