"""Running one pod: its init containers first, one by one, then the others; over when none of these is started again.

Of init containers a sidecar goes on running, any other ends before the next one begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from k8snetlab.api.core import ContainerStatus
from k8snetlab.api.workload import CHANGED, PAUSE, SANDBOX_CHANGED, ContainerWork, Happening, PodState, PodWork
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import bounds, cgroups, fault
from k8snetlab.kubelet import telling
from k8snetlab.kubelet.container import Container
from k8snetlab.kubelet.ending import LEAST, at_least
from k8snetlab.kubelet.nameserver import NameServer
from k8snetlab.kubelet.rotation import LogKeeper
from k8snetlab.kubelet.sandbox import Sandbox

STATUSES = "statuses.json"
"""In the directory of a pod's logs: its containers' statuses, for a kubelet that comes after this one."""
PIDS = 2048
"""Processes and threads that a pod may have, so that one which forks without end harms nobody."""
SOON, LATE = 1.0, 60.0
"""Seconds until a sandbox is tried again: the first time, and at most."""


class PodRunner:
    """One pod's containers; `changed` is called with this runner when a container's state changes by itself."""

    def __init__(
        self, pod: PodWork, logs: LogKeeper, changed: Callable[[PodRunner], None], nameserver: NameServer
    ) -> None:
        self._file = Path(pod.log_directory) / STATUSES
        known = _read(self._file)
        self._remembers = bool(known) or any(work.command for work in pod.containers)
        cut = any(telling.was_cut_off(one) for one in known)
        pod = msgspec.structs.replace(pod, statuses=known or pod.statuses, anew=pod.anew or cut)
        if pod.anew:
            pod = msgspec.structs.replace(pod, anew=_begins_again(pod))
        self._pod, self._notify = pod, changed
        self._happened = [Happening("", SANDBOX_CHANGED, CHANGED)] if cut and pod.anew else []
        self._sandbox = Sandbox(pod, self._lost_sandbox) if pod.has_pause else None
        self._adrift = False
        self._containers = [
            (
                work,
                Container(
                    pod,
                    work,
                    logs,
                    self._changed,
                    self._happened.append,
                    nameserver=nameserver,
                    sandbox=self._sandbox,
                ),
            )
            for work in pod.containers
        ]
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def uid(self) -> str:
        return self._pod.uid

    @property
    def grace(self) -> float:
        """Seconds that it has to end."""
        return self._pod.grace

    @property
    def state(self) -> PodState:
        processes = {work.name: pid for work, container in self._containers if (pid := container.pid)}
        if self._sandbox is not None and (pid := self._sandbox.pid):
            processes[""] = pid
        statuses = tuple(container.status for _, container in self._containers)
        return PodState(self.uid, statuses, processes=processes, adrift=self._adrift)

    def take(self) -> PodState:
        """The state with what happened since this was last asked."""
        happened, self._happened[:] = tuple(self._happened), []
        return msgspec.structs.replace(self.state, happened=happened)

    async def start(self) -> None:
        """Returns when every container runs, waits for a sidecar, or is known not to start; or when `stop` comes."""
        beginning = self._spawn(self._begin())
        await asyncio.wait({beginning})
        if not beginning.cancelled():
            beginning.result()

    async def _begin(self) -> None:
        if self._sandbox is None:
            await self._start_containers()
        elif await self._has_sandbox(self._sandbox):
            await self._start_containers()
            self._changed()
        else:
            self._spawn(self._try_sandbox(self._sandbox))

    async def _has_sandbox(self, sandbox: Sandbox) -> bool:
        try:
            if self._pod.cgroup:
                await asyncio.to_thread(bounds.hold, Path(self._pod.cgroup), bounds.Bounds(pids=PIDS))
            await sandbox.start()
        except (K8sNetLabError, OSError, ValueError) as error:
            message = f"Failed to create pod sandbox: {error}"
            self._happened.append(Happening("", "FailedCreatePodSandBox", message, True))
            return False
        return True

    async def _try_sandbox(self, sandbox: Sandbox) -> None:
        """Again and again, less and less often."""
        wait = SOON
        while not await self._has_sandbox(sandbox):
            self._changed()
            await asyncio.sleep(wait)
            wait = min(2 * wait, LATE)
        await self._start_containers()
        self._changed()

    def _lost_sandbox(self) -> None:
        """The pause process has ended: who asked for this pod is told, and has it run anew in another sandbox."""
        self._happened.append(Happening("", SANDBOX_CHANGED, CHANGED))
        self._adrift = True
        self._changed()

    async def _start_containers(self) -> None:
        initial = [(work, one) for work, one in self._containers if _is_initial(work)]
        for number, (work, one) in enumerate(initial):
            await one.start()
            if not _passed(work, one).is_set():
                self._spawn(self._when_it_passed(initial[number:]))
                break
            if _has_failed(work, one):
                self._spawn(self._end_sidecars())
                break
        else:
            await self._start_others()
        self._save()

    async def stop(self, grace: float | None = None, keep: bool = True, hasty: bool = False) -> None:
        """Ends all containers, sidecars last, the first of them at the very last; commands get SIGTERM, and all of them
        together `grace` seconds (the pod's own by default)."""
        for task in self._tasks:
            task.cancel()
        grace = self._pod.grace if grace is None else grace
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(c.stop(grace, hasty) for work, c in self._containers if not work.sidecar))
        await self._stop_sidecars(grace, began, hasty)
        await self._end_all()
        if keep:
            self._save(cut=grace < 0)
        elif self._file.parent.is_dir():
            await asyncio.to_thread(forget_logs, self._file.parent)

    async def hurry(self, grace: float) -> None:
        """Has a pod that is being stopped end within `grace` seconds."""
        await asyncio.sleep(grace)
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals, container: str = "") -> None:
        """Sends a signal to the commands of its containers that run, or of one of them; or to its pause process."""
        if container == PAUSE and self._sandbox is not None:
            self._sandbox.signal(number)
            return
        for work, one in self._containers:
            if container in ("", work.name):
                one.signal(number)

    async def _when_it_passed(self, initial: list[tuple[ContainerWork, Container]]) -> None:
        """The first of them has been started; the others follow, each when the one before it has passed."""
        for number, (work, one) in enumerate(initial):
            if number:
                await one.start()
                self._changed()
            await _passed(work, one).wait()
            if _has_failed(work, one):
                await self._end_sidecars()
                return
        await self._start_others()
        self._changed()

    async def _start_others(self) -> None:
        await asyncio.gather(*(c.start() for work, c in self._containers if not _is_initial(work)))
        if self._pod.restart != "Always":
            self._spawn(self._end_sidecars())

    async def _end_sidecars(self) -> None:
        """Sidecars run for as long as one of the others does or will; what `exec` has started in the pod ends too."""
        for work, container in self._containers:
            if _has_failed(work, container):
                break
            if not work.sidecar:
                await container.done.wait()
        await self._stop_sidecars(self._pod.grace, asyncio.get_running_loop().time())
        await self._end_all()
        self._changed()

    async def _stop_sidecars(self, grace: float, began: float, hasty: bool = False) -> None:
        """One after the other, the last one first; together once their pod's time has passed."""
        loop = asyncio.get_running_loop()
        left = [container for work, container in self._containers if work.sidecar]
        while left and grace > loop.time() - began:
            await left.pop().stop(at_least(grace, loop.time() - began), hasty)
        await asyncio.gather(*(container.stop(at_least(min(grace, LEAST)), hasty) for container in left))

    async def _end_all(self) -> None:
        """Its sandbox, and whatever else is in its control group."""
        if self._sandbox is not None:
            await self._sandbox.stop()
        if self._pod.cgroup:
            await asyncio.to_thread(cgroups.end, Path(self._pod.cgroup))
        if self._pod.cgroup and self._sandbox is not None:
            await asyncio.to_thread(bounds.remove, Path(self._pod.cgroup))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _changed(self) -> None:
        self._save()
        self._notify(self)

    def _save(self, cut: bool = False) -> None:
        """Of pods with a command: what ran once must not be run twice because a kubelet forgot it; of all that were
        `cut` off, whose end nobody else knows."""
        if cut or self._remembers:
            with contextlib.suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                draft = self._file.with_suffix(".new")
                draft.write_bytes(msgspec.json.encode(self.state.containers))
                fault.point()
                draft.replace(self._file)


def _begins_again(pod: PodWork) -> bool:
    """Whether a pod in a new sandbox goes through its init containers again: not where none of the others is started
    again. Source: kuberuntime's computePodActions."""
    if pod.restart != "OnFailure":
        return pod.restart == "Always"
    ends = {status.name: status.state.terminated for status in pod.statuses}
    others = [ends.get(work.name) for work in pod.containers if not _is_initial(work)]
    return any(ended is None or ended.exitCode for ended in others)


def _is_initial(work: ContainerWork) -> bool:
    return work.sidecar or work.init


def _passed(work: ContainerWork, container: Container) -> asyncio.Event:
    """What the container after an init container waits for."""
    return container.done if work.init else container.runs


def _has_failed(work: ContainerWork, container: Container) -> bool:
    """Whether an init container has ended badly, and is not started again."""
    ended = container.status.state.terminated
    return work.init and container.done.is_set() and (ended is None or ended.exitCode != 0)


def _read(file: Path) -> tuple[ContainerStatus, ...]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=tuple[ContainerStatus, ...])
    except (OSError, msgspec.MsgspecError, ValueError):
        return ()


def forget_logs(directory: Path) -> None:
    """A pod's directory, and those above it that were for this pod only."""
    fault.point()
    shutil.rmtree(directory, ignore_errors=True)
    for parent in list(directory.parents)[:2]:
        with contextlib.suppress(OSError):
            parent.rmdir()
