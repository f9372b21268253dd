"""A pod's pause process: it holds the namespaces that the pod's containers share, and does nothing else.

It is a `sleep` by the name of pause, of some hundred kilobytes, and where it is the first of the pod's processes a
program that also reaps those whose parents have gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from k8snetlab.api.workload import LOGS, PAUSE, PodWork
from k8snetlab.errors import KernelError
from k8snetlab.kernel import bounds, fault, launch
from k8snetlab.kubelet import starting
from k8snetlab.kubelet.instance import Instance

REAPING = "k8snetlab.kernel.pausing"


class Sandbox:
    """`ended` is called when the process ends by itself."""

    def __init__(self, pod: PodWork, ended: Callable[[], None]) -> None:
        self._pod, self._ended = pod, ended
        self._instance: Instance | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """0 while there is none."""
        return self._instance.pid if self._instance else 0

    async def start(self) -> None:
        """Raises K8sNetLabError, OSError, ValueError."""
        pod = self._pod
        await asyncio.to_thread(self._prepare)
        setting = launch.Setting(
            pod.netns,
            pod.hostname,
            cgroup=f"{pod.cgroup}/{PAUSE}" if pod.cgroup else "",
            pause="shared" if pod.shared else "alone",
            bounds=bounds.joined(Path(pod.cgroup, PAUSE)) if pod.cgroup else (),
        )
        environment = {"PATH": os.defpath, LOGS: pod.log_directory, starting.MARK: self._mark}
        fault.point()
        self._instance = Instance.start(setting, self._argv(), environment, Path(os.devnull))
        if (hindrance := await self._instance.begun()) is not None:
            await self._instance.wait()
            self._instance = None
            raise KernelError(hindrance.message)
        self._watch = asyncio.create_task(self._until_it_ends(self._instance), name=f"{pod.name}/{PAUSE}")

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._instance is not None:
            await self._instance.stop(0.0)
            self._instance = None

    def signal(self, number: signal.Signals) -> None:
        if self._instance is not None:
            self._instance.signal(number)

    async def _until_it_ends(self, instance: Instance) -> None:
        await instance.wait()
        self._ended()

    @property
    def _mark(self) -> str:
        return f"{self._pod.uid}/{PAUSE}"

    def _prepare(self) -> None:
        """Its directory, and the end of one that a kubelet which was killed has left."""
        scratch = Path(self._pod.scratch)
        shared = scratch / "shm"
        shared.mkdir(parents=True, exist_ok=True)
        shared.chmod(0o1777)
        group = f"{self._pod.cgroup}/{PAUSE}" if self._pod.cgroup else ""
        starting.end_leftovers(self._pod.netns, group, self._mark)

    def _argv(self) -> tuple[str, ...]:
        sleep = shutil.which("sleep")
        if self._pod.shared or sleep is None or Path(sleep).resolve().name != "sleep":  # one program for all commands
            return sys.executable, "-I", "-m", REAPING
        link = Path(self._pod.scratch, PAUSE)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(sleep)
        return str(link), "infinity"
