"""A pod's containers, begun and ended in this process, where what comes between can be said exactly."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from k8snetlab.api.probes import ExecAction, LifecycleHandler
from k8snetlab.api.workload import ContainerWork, PodWork
from k8snetlab.kernel import processes
from k8snetlab.kubelet.instance import Instance
from k8snetlab.kubelet.nameserver import NameServer
from k8snetlab.kubelet.rotation import LogKeeper
from k8snetlab.kubelet.runner import PodRunner
from k8snetlab.testing import eventually


def work(namespace: str, at: Path, *containers: ContainerWork, scratch: str = "") -> PodWork:
    addresses = ("127.0.0.1",)
    logs = str(at / "log")
    return PodWork("uid", "default", "web", "one", namespace, "web", addresses, containers, logs, 1.0, scratch=scratch)


def runner(pod: PodWork) -> PodRunner:
    return PodRunner(pod, LogKeeper(), lambda _: None, NameServer())


def test_what_is_stopped_while_it_begins_begins_no_more(namespace: Callable[..., str], tmp_path: Path) -> None:
    name = namespace()
    pod = work(name, tmp_path, ContainerWork("c", ("sleep", "1000")), scratch=str(tmp_path / "scratch"))

    async def begun_and_stopped() -> None:
        one = runner(pod)
        starting = asyncio.create_task(one.start())
        await asyncio.sleep(0.001)
        await one.stop()
        await starting

    asyncio.run(begun_and_stopped())
    assert not processes.pids_in(name)


def test_a_container_that_has_just_ended_is_asked_for_nothing_more(
    namespace: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hook would see the machine's files in the place of the container's."""
    hook = LifecycleHandler(exec=ExecAction(("touch", str(tmp_path / "seen"))))
    pod = work(namespace(), tmp_path, ContainerWork("c", ("sleep", "1000"), ends=hook), scratch=str(tmp_path / "s"))

    async def slowly(_: Instance) -> None:
        await asyncio.sleep(1)

    async def begun_killed_and_stopped() -> None:
        one = runner(pod)
        await one.start()
        os.kill(one.state.processes["c"], signal.SIGKILL)
        eventually(lambda: "c" not in one.state.processes)  # the loop stands still, and has not heard of it
        monkeypatch.setattr(Instance, "_end_rest", slowly)
        await one.stop()

    asyncio.run(begun_killed_and_stopped())
    assert not (tmp_path / "seen").exists()
