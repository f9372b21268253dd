"""When an agent looks at the kernel: at once, but not all the time where others have their doings."""

from __future__ import annotations

import asyncio
import os
import time
from types import SimpleNamespace
from typing import Any

import pytest

from k8snetlab.agent.report import Report
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import KernelError
from k8snetlab.running import agents
from k8snetlab.running.agents import AgentTask
from k8snetlab.supervision import Supervisor

LOOK = 0.02


class Monitors:
    """Of one namespace: tell of a change for as long as nobody has asked."""

    def __init__(self, namespace: str) -> None:
        self._fd, self._namespace = os.eventfd(0, os.EFD_NONBLOCK), namespace

    def fileno(self) -> int:
        return self._fd

    def happen(self) -> None:
        os.eventfd_write(self._fd, 1)

    def changed(self) -> list[str]:
        os.eventfd_read(self._fd)
        return [self._namespace]

    def close(self) -> None:
        os.close(self._fd)


class Agent:
    """Takes LOOK seconds for a sync, which finds `operations` to do."""

    name = "node1"

    def __init__(self, namespace: str, operations: int) -> None:
        self.monitors = Monitors(namespace)
        self.marked: list[str] = []
        self.trusted: list[bool] = []
        self.syncs = 0
        self._operations = operations
        self.failing = False

    def mark(self, namespace: str) -> None:
        self.marked.append(namespace)

    def noticed_change(self) -> bool:
        return False

    def sync(self, snapshot: Snapshot, trusting: bool) -> Report:
        time.sleep(LOOK)
        self.marked.clear()
        self.trusted.append(trusting)
        self.syncs += 1
        if self.failing:
            raise KernelError("refused")
        return Report(self._operations)

    def suspect(self) -> None:
        """What failed is read anew."""

    def close(self) -> None:
        self.monitors.close()


def storm(namespace: str, operations: int = 0, events: int = 100) -> int:
    """The number of syncs while something happens every 5 ms; the last event is heard as well."""

    async def run() -> int:
        agent: Any = Agent(namespace, operations)
        cluster: Any = SimpleNamespace(snapshot=Snapshot())
        task = AgentTask(agent, cluster, lambda *_: None, Supervisor())
        await task.sync()
        task.start()
        for _ in range(events):
            agent.monitors.happen()
            await asyncio.sleep(0.005)
        during = int(agent.syncs)
        while agent.marked:
            await asyncio.sleep(0.005)
        assert agent.syncs > 1
        await task.stop()
        return during

    return asyncio.run(run())


def test_a_storm_in_a_machines_own_namespace_is_looked_at_now_and_then() -> None:
    """A namespace of the lab's own is looked at all the time, and so is a machine's where there is much to mend."""
    rests = storm("")
    assert rests * 2 < storm("lab.node1")
    assert rests * 2 < storm("", operations=1)


def test_rules_are_looked_at_for_the_first_time_after_a_failure_and_once_in_a_tick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However often something else wakes the agent."""
    monkeypatch.setattr(agents, "TICK", 20 * LOOK)

    async def run() -> list[bool]:
        agent: Any = Agent("lab.node1", 0)
        cluster: Any = SimpleNamespace(snapshot=Snapshot())
        task = AgentTask(agent, cluster, lambda *_: None, Supervisor())
        began = time.monotonic()
        while time.monotonic() - began < 3 * agents.TICK:
            await task.sync()
        agent.failing = True
        await task.sync()
        agent.failing = False
        await task.sync()
        agent.close()
        return list(agent.trusted)

    *often, _, after = asyncio.run(run())
    assert not often[0] and not after
    assert 2 <= often.count(False) <= 4 < often.count(True)


class Broken(Agent):
    """Raises a bug at its first looks, and at its first removals a refusal."""

    def __init__(self, looks: int = 0, removals: int = 0) -> None:
        super().__init__("lab.node1", 0)
        self.looks, self.removals, self.noticed = looks, removals, 0

    def noticed_change(self) -> bool:
        self.noticed += 1
        if self.noticed <= self.looks:
            raise ValueError("a bug")
        return False

    def remove(self) -> None:
        self.removals -= 1
        if self.removals >= 0:
            raise KernelError("busy")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_an_agent_that_a_bug_ends_is_begun_again_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "TICK", 0.01)
    agent: Any = Broken(looks=2)
    cluster: Any = SimpleNamespace(snapshot=Snapshot())
    supervisor = Supervisor(pauses=(0.01,))
    task = AgentTask(agent, cluster, lambda *_: None, supervisor)
    task.start()
    async with asyncio.timeout(20):
        while agent.noticed < 4:
            await asyncio.sleep(0.01)
    (failure,) = supervisor.failures
    assert (failure.name, failure.cause, failure.times) == ("agent node1", "ValueError: a bug", 2)
    await task.stop()
    await supervisor.close()


@pytest.mark.anyio
async def test_a_node_that_cannot_be_removed_says_so_and_is_removed_later() -> None:
    agent: Any = Broken(removals=2)
    cluster: Any = SimpleNamespace(snapshot=Snapshot())
    supervisor = Supervisor(pauses=(0.01,))
    task = AgentTask(agent, cluster, lambda *_: None, supervisor)
    task.start()
    async with asyncio.timeout(20):
        await supervisor.finish("removal of node node1", task.remove)
    assert (agent.removals, task.state.failures, task.state.error) == (-1, 2, "busy")
    assert not supervisor.failures, "what is done has not failed"
    agent.close()
