"""Running one pod: its responders, and its commands restarted when they end, as restartPolicy Always asks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from k8snetlab.agent.responder import Listener
from k8snetlab.agent.workload import ContainerState, ContainerWork, PodState, PodWork
from k8snetlab.errors import K8sNetLabError, NotFoundError
from k8snetlab.kernel import launch, processes

BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds before each restart of a command that ended, as CrashLoopBackOff grows (kubelet: 10 s doubling to 5 min)."""


LOGS = "K8SNETLAB_LOGS"
"""In the environment of every command: the directory of its pod's logs, by which a lab knows its own."""
SETTLED = 0.2
"""Seconds after which a command that has not ended counts as running: one that cannot start never does."""


class PodRunner:
    """One pod's containers; `changed` is called with this runner when a container's state changes by itself."""

    def __init__(self, pod: PodWork, changed: Callable[[PodRunner], None]) -> None:
        self._containers = [_Container(pod, work, lambda: changed(self)) for work in pod.containers]
        self._pod = pod

    @property
    def state(self) -> PodState:
        return PodState(self._pod.uid, tuple(container.state for container in self._containers))

    async def start(self) -> None:
        for container in self._containers:
            await container.start()

    async def stop(self, grace: float | None = None) -> None:
        """Ends all containers; commands get SIGTERM and `grace` seconds (the pod's own by default)."""
        grace = self._pod.grace if grace is None else min(grace, self._pod.grace)
        await asyncio.gather(*(container.stop(grace) for container in self._containers))


class _Container:
    def __init__(self, pod: PodWork, work: ContainerWork, changed: Callable[[], None]) -> None:
        self._pod, self._work, self._changed = pod, work, changed
        self._listeners: list[Listener] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._restarts = 0
        self._state: Literal["Running", "Waiting", "Terminated"] = "Waiting"
        self._message = "ContainerCreating"

    @property
    def state(self) -> ContainerState:
        return ContainerState(self._work.name, self._state, self._restarts, self._message)

    async def start(self) -> None:
        if self._work.command:
            self._supervisor = asyncio.create_task(self._supervise())
            await self._started.wait()
            return
        problems = []
        for port, protocol in self._work.ports:
            listener = Listener(self._pod, port, protocol)
            try:
                await listener.start()
                self._listeners.append(listener)
            except (K8sNetLabError, OSError) as error:
                problems.append(str(error))
        self._set("Waiting" if problems else "Running", "; ".join(problems))

    async def stop(self, grace: float) -> None:
        for listener in self._listeners:
            listener.close()
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        if self._process is not None:
            await _end(self._process, grace)
        self._set("Terminated", "")

    def _set(self, state: Literal["Running", "Waiting", "Terminated"], message: str) -> None:
        self._state, self._message = state, message
        self._started.set()

    async def _supervise(self) -> None:
        """Keeps the command running; what it prints is appended to the container's log."""
        await asyncio.to_thread(self._end_leftovers)
        while True:
            began = asyncio.get_running_loop().time()
            try:
                self._process = self._spawn()
            except (K8sNetLabError, OSError) as error:
                self._set("Waiting", f"RunContainerError: {error}")
            else:
                staying = asyncio.create_task(self._stay(self._process))
                try:
                    code = await _exit_code(self._process)
                finally:
                    staying.cancel()
                self._set("Waiting", f"CrashLoopBackOff: exited with {code}")
            self._changed()
            if asyncio.get_running_loop().time() - began > 60:
                self._restarts = 0
            await asyncio.sleep(BACKOFF[min(self._restarts, len(BACKOFF) - 1)])
            self._restarts += 1

    async def _stay(self, process: subprocess.Popen[bytes]) -> None:
        """Says that the command runs when it has not ended for a while."""
        await asyncio.sleep(SETTLED)
        while launch.under_way(process.pid):
            await asyncio.sleep(SETTLED)
        self._set("Running", "")
        if self._restarts:
            self._changed()

    def _end_leftovers(self) -> None:
        """Ends what a kubelet that was killed left running of this container."""
        with contextlib.suppress(NotFoundError):
            processes.terminate(processes.with_environment(self._pod.netns, self._mark), 1.0)

    @property
    def _mark(self) -> str:
        return f"K8SNETLAB_CONTAINER={self._pod.uid}/{self._work.name}"

    def _spawn(self) -> subprocess.Popen[bytes]:
        directory = Path(self._pod.log_directory)
        directory.mkdir(parents=True, exist_ok=True)
        pod = self._pod
        environment = {
            "PATH": os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            "HOSTNAME": pod.hostname,
            "HOME": "/root",
            **self._work.env,
            LOGS: pod.log_directory,
            **dict([self._mark.split("=", 1)]),
        }
        with (directory / f"{self._work.name}.log").open("ab") as log:
            work = self._work
            return launch.popen(
                pod.netns, pod.hostname, work.command, environment, log.fileno(), work.workingDir or "/", pod.flannel
            )


async def _exit_code(process: subprocess.Popen[bytes]) -> int:
    """Waits for the process without a thread or a signal handler: its pidfd becomes readable."""
    loop = asyncio.get_running_loop()
    fd = os.pidfd_open(process.pid)
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)  # before it is closed: its number may be another's at once
        os.close(fd)
    return process.wait()


async def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    """SIGTERM to the process's session, SIGKILL after the grace."""
    for sig, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sig)
        with contextlib.suppress(TimeoutError, ProcessLookupError):
            await asyncio.wait_for(_exit_code(process), seconds)
