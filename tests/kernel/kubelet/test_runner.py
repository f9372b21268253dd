"""A pod's containers, begun and ended in this process, where what comes between can be said exactly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from k8snetlab.api.workload import ContainerWork, PodWork
from k8snetlab.kernel import processes
from k8snetlab.kubelet.nameserver import NameServer
from k8snetlab.kubelet.rotation import LogKeeper
from k8snetlab.kubelet.runner import PodRunner


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
