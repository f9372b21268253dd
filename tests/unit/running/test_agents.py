"""The agents of a machine together."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from face import face_of

from k8snetlab.agent.node import NodeAgent
from k8snetlab.agent.report import Report
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.lab.operations.pausing import Pausing
from k8snetlab.messages.nodes import NodeName
from k8snetlab.running.agents import AT_ONCE, Agents
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths
from k8snetlab.supervision import Supervisor
from k8snetlab.testing.services import node


class Busy:
    """An agent whose sync takes as long as `until` is not set."""

    monitors = statuses = ()

    def __init__(self, name: str, until: threading.Event) -> None:
        self.name, self._until, self.began = name, until, threading.Event()

    def sync(self, snapshot: Snapshot, trusting: bool) -> Report:
        self.began.set()
        assert self._until.wait(60)
        return Report()

    def mark(self, namespace: str) -> None:
        pass

    def noticed_change(self) -> bool:
        return False

    def pause(self) -> None:
        pass

    resume = suspect = pause


def test_who_asks_the_daemon_does_not_wait_behind_the_agents_of_a_large_lab() -> None:
    """What the verbs ask is worked out in threads as well, and these are other ones."""

    async def run() -> None:
        paths, cluster = LabPaths("l"), cast(Cluster, SimpleNamespace(snapshot=Snapshot()))
        agents = Agents(cluster, Ledger(paths.ledger), paths, lambda task, report: None, Supervisor())
        until = threading.Event()
        busy = [Busy(f"node{number}", until) for number in range(8 * AT_ONCE)]
        for agent in busy:
            agents.nodes[agent.name] = agents._task(cast(NodeAgent, agent))
        syncs = [asyncio.create_task(cast(Any, task).sync()) for task in agents.tasks]
        try:
            while sum(agent.began.is_set() for agent in busy) < AT_ONCE:
                await asyncio.sleep(0.005)
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "answered"), 30) == "answered"
            assert not all(agent.began.is_set() for agent in busy)
        finally:
            until.set()
            await asyncio.gather(*syncs)

    asyncio.run(run())


def test_a_node_that_is_paused_while_another_one_comes_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))

    async def run() -> None:
        async with face_of() as face:
            await face.cluster.apply(node("node1", "192.168.0.21"))
            paths, comes, may = LabPaths("l"), asyncio.Event(), asyncio.Event()
            agents = Agents(face.cluster, Ledger(paths.ledger), paths, lambda task, report: None, Supervisor())
            agents.nodes["node1"] = task = agents._task(cast(NodeAgent, Busy("node1", threading.Event())))

            async def keep(*_: object) -> None:
                comes.set()
                await may.wait()

            monkeypatch.setattr(agents, "_keep", keep)
            following = asyncio.create_task(agents.follow())
            await comes.wait()
            await Pausing(face.cluster, agents).pause(NodeName("node1"))
            may.set()
            await following
            assert task.state.paused

    asyncio.run(run())
