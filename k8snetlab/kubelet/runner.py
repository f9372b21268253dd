"""Running one pod: its init containers first, one by one, then the others; over when none of these is started again.

Of init containers a sidecar goes on running, any other ends before the next one begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec

from k8snetlab.api.core import ContainerStatus
from k8snetlab.api.workload import ContainerWork, Happening, PodState, PodWork
from k8snetlab.kernel import cgroups, fault
from k8snetlab.kubelet.container import Container
from k8snetlab.kubelet.nameserver import NameServer
from k8snetlab.kubelet.rotation import LogKeeper

STATUSES = "statuses.json"
"""In the directory of a pod's logs: its containers' statuses, for a kubelet that comes after this one."""


class PodRunner:
    """One pod's containers; `changed` is called with this runner when a container's state changes by itself."""

    def __init__(
        self, pod: PodWork, logs: LogKeeper, changed: Callable[[PodRunner], None], nameserver: NameServer
    ) -> None:
        self._file = Path(pod.log_directory) / STATUSES
        pod = msgspec.structs.replace(pod, statuses=_read(self._file) or pod.statuses)
        self._pod, self._notify = pod, changed
        self._happened: list[Happening] = []
        self._containers = [
            (work, Container(pod, work, logs, self._changed, self._happened.append, nameserver=nameserver))
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
        return PodState(self.uid, tuple(container.status for _, container in self._containers))

    def take(self) -> PodState:
        """The state with what happened since this was last asked."""
        happened, self._happened[:] = tuple(self._happened), []
        return msgspec.structs.replace(self.state, happened=happened)

    async def start(self) -> None:
        """Returns when every container runs, waits for a sidecar, or is known not to start."""
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

    async def stop(self, grace: float | None = None, keep: bool = True) -> None:
        """Ends all containers, sidecars last; commands get SIGTERM and `grace` seconds (the pod's own by default)."""
        for task in self._tasks:
            task.cancel()
        grace = self._pod.grace if grace is None else grace
        await asyncio.gather(*(c.stop(grace) for work, c in self._containers if not work.sidecar))
        await asyncio.gather(*(c.stop(grace) for work, c in self._containers if work.sidecar))
        if self._pod.cgroup:
            await asyncio.to_thread(cgroups.end, Path(self._pod.cgroup))
        if keep:
            self._save()
        elif self._file.parent.is_dir():
            await asyncio.to_thread(forget_logs, self._file.parent)

    async def hurry(self, grace: float) -> None:
        """Has a pod that is being stopped end within `grace` seconds."""
        await asyncio.sleep(grace)
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the commands of its containers that run."""
        for _, container in self._containers:
            container.signal(number)

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
        sidecars = [container for work, container in self._containers if work.sidecar]
        await asyncio.gather(*(container.stop(self._pod.grace) for container in sidecars))
        if self._pod.cgroup:
            await asyncio.to_thread(cgroups.end, Path(self._pod.cgroup))
        self._changed()

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _changed(self) -> None:
        self._save()
        self._notify(self)

    def _save(self) -> None:
        """Of pods with a command: what ran once must not be run twice because a kubelet forgot it."""
        if any(work.command for work in self._pod.containers):
            with contextlib.suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                draft = self._file.with_suffix(".new")
                draft.write_bytes(msgspec.json.encode(self.state.containers))
                fault.point()
                draft.replace(self._file)


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
