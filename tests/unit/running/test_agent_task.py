"""When an agent looks at the kernel: at once, but not all the time where others have their doings."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from k8snetlab.agent.report import Report
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import KernelError
from k8snetlab.messages.status import ManagerStatus
from k8snetlab.running import agent_task
from k8snetlab.running.agent_task import AgentTask
from k8snetlab.supervision import Supervisor

LOOK = 0.02


class Monitors:
    """Of one namespace: tell of a change for as long as nobody has asked. It counts the routes that came, too."""

    def __init__(self, namespace: str) -> None:
        self._fd, self._namespace = os.eventfd(0, os.EFD_NONBLOCK), namespace
        self._kinds = frozenset({"link"})
        self.arrived = 0

    def fileno(self) -> int:
        return self._fd

    def happen(self) -> None:
        os.eventfd_write(self._fd, 1)

    def learn(self, routes: int) -> None:
        self._kinds = frozenset({"learned"})
        self.arrived += routes
        self.happen()

    def __getitem__(self, namespace: str) -> Monitors:
        return self

    def changed(self) -> dict[str, frozenset[str]]:
        os.eventfd_read(self._fd)
        return {self._namespace: self._kinds}

    def close(self) -> None:
        os.close(self._fd)


class Agent:
    """Takes LOOK seconds for a sync, which finds `operations` to do."""

    name = "node1"
    statuses: tuple[ManagerStatus, ...] = ()

    def __init__(self, namespace: str, operations: int) -> None:
        self.monitors = Monitors(namespace)
        self.marked: list[str] = []
        self.trusted: list[bool] = []
        self.syncs = 0
        self._operations = operations
        self.failing = False
        self.concern = True
        self.noticed = False
        self.suspected = 0
        self.lacks = 0

    def leaves_learned(self, namespace: str) -> bool:
        return True

    def mark(self, namespace: str) -> None:
        self.marked.append(namespace)

    def noticed_change(self) -> bool:
        return self.noticed

    def concerned(self, snapshot: Snapshot, looking: bool) -> bool:
        return self.concern

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
        self.suspected += 1

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
    monkeypatch.setattr(agent_task, "TICK", 20 * LOOK)

    async def run() -> list[bool]:
        agent: Any = Agent("lab.node1", 0)
        cluster: Any = SimpleNamespace(snapshot=Snapshot())
        task = AgentTask(agent, cluster, lambda *_: None, Supervisor())
        began = time.monotonic()
        while time.monotonic() - began < 3 * agent_task.TICK:
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
    monkeypatch.setattr(agent_task, "TICK", 0.01)
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


class Working(Agent):
    """Its sync lasts until it is let go; a manager of it has failed."""

    def __init__(self) -> None:
        super().__init__("lab.node1", 0)
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.done: list[str] = []

    def sync(self, snapshot: Snapshot, trusting: bool) -> Report:
        self.begun.set()
        assert self.let_go.wait(20)
        self.done.append("sync")
        return Report(0)

    def close(self) -> None:
        self.done.append("close")
        super().close()


@pytest.mark.anyio
async def test_an_agent_that_is_stopped_ends_its_sync_before_it_lets_go_of_the_kernel() -> None:
    agent: Any = Working()
    cluster: Any = SimpleNamespace(snapshot=Snapshot())
    task = AgentTask(agent, cluster, lambda *_: None, Supervisor())
    task.start()
    task.wake()
    await asyncio.to_thread(agent.begun.wait, 20)
    stopping = asyncio.create_task(task.stop())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not stopping.done() and not agent.done
    agent.let_go.set()
    await stopping
    assert agent.done == ["sync", "close"]


class Reporting(Agent):
    """One of its managers fails, or is about something still, as its reports say."""

    def __init__(self, *reports: Report | KernelError) -> None:
        super().__init__("lab.node1", 0)
        self.reports = list(reports)
        self.noticed = 0

    def noticed_change(self) -> bool:
        self.noticed += 1
        return False

    def sync(self, snapshot: Snapshot, trusting: bool) -> Report:
        report = self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]
        if isinstance(report, KernelError):
            raise report
        return report


@pytest.mark.anyio
async def test_what_one_manager_cannot_do_leaves_what_is_known_of_the_kernel() -> None:
    failing = Report(failure=KernelError("add-ons: refused"))
    agent: Any = Reporting(failing, failing, KernelError("no memory"))
    cluster: Any = SimpleNamespace(snapshot=Snapshot())
    task = AgentTask(agent, cluster, lambda *_: None, Supervisor())
    await task.sync()
    await task.sync()
    assert (task.state.failures, task.state.error, agent.suspected) == (2, "add-ons: refused", 0)
    await task.sync()
    assert (task.state.failures, task.state.error, agent.suspected) == (3, "no memory", 1)
    agent.close()


@pytest.mark.anyio
async def test_while_a_manager_fails_what_no_event_tells_is_looked_at_all_the_same() -> None:
    agent: Any = Reporting(Report(failure=KernelError("add-ons: refused")))
    cluster: Any = SimpleNamespace(snapshot=Snapshot())
    task = AgentTask(agent, cluster, lambda *_: None, Supervisor())
    task.start()
    task.wake()
    async with asyncio.timeout(20):
        while agent.noticed < 2:
            await asyncio.sleep(0.01)
    assert task.state.failures
    await task.stop()


@pytest.mark.anyio
async def test_a_sync_that_is_raised_from_shows_the_managers_as_they_are() -> None:
    agent: Any = Reporting(KernelError("no memory"))
    agent.statuses = (ManagerStatus(name="flannel", error="no socket"),)
    cluster: Any = SimpleNamespace(snapshot=Snapshot())
    task = AgentTask(agent, cluster, lambda *_: None, Supervisor())
    await task.sync()
    assert task.state.error == "no memory" and task.state.managers == agent.statuses
    agent.close()


@pytest.mark.anyio
async def test_what_managers_are_still_about_keeps_an_agent_from_being_in_step() -> None:
    agent: Any = Reporting(Report(pending=("add-on nginx",)), Report())
    cluster: Any = SimpleNamespace(snapshot=Snapshot())
    task = AgentTask(agent, cluster, lambda *_: None, Supervisor())
    await task.sync()
    assert task.state.sandboxes is cluster.snapshot, "pods are not waited for"
    assert not task.has(cluster.snapshot) and task.state.pending == ("add-on nginx",)
    await task.sync()
    assert task.has(cluster.snapshot) and not task.state.pending
    agent.close()


async def _until(task: AgentTask, snapshot: Snapshot) -> None:
    async with asyncio.timeout(60):
        while not task.has(snapshot):
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("call", ["follow", "look"])
def test_objects_that_do_not_concern_a_node_cost_it_no_sync(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(agent_task, "TICK", 0.2)

    async def run() -> None:
        agent: Any = Agent("lab.node1", 0)
        cluster: Any = SimpleNamespace(snapshot=Snapshot())
        told: list[Report] = []
        task = AgentTask(agent, cluster, lambda _, report: told.append(report), Supervisor())
        await task.sync()
        task.start()
        agent.concern = False
        for revision in range(1, 50):
            cluster.snapshot = Snapshot(revision, {})
            getattr(task, call)()
            await _until(task, cluster.snapshot)
            await asyncio.sleep(0.01)  # for longer than a tick in all: what no event tells of is looked at
        assert (agent.syncs, len(told)) == (1, 1)
        assert task.state.sandboxes is cluster.snapshot

        agent.noticed = True
        async with asyncio.timeout(60):
            while agent.syncs == 1:
                await asyncio.sleep(0.001)
        agent.noticed, before = False, agent.syncs
        task.wake()
        async with asyncio.timeout(60):
            while agent.syncs == before:
                await asyncio.sleep(0.001)
        agent.concern = True
        cluster.snapshot = Snapshot(100, {})
        getattr(task, call)()
        await _until(task, cluster.snapshot)
        assert agent.syncs == before + 2
        await task.stop()

    asyncio.run(run())


def test_one_that_has_failed_is_concerned_by_all() -> None:
    async def run() -> None:
        agent: Any = Agent("lab.node1", 0)
        cluster: Any = SimpleNamespace(snapshot=Snapshot())
        task = AgentTask(agent, cluster, lambda *_: None, Supervisor())
        agent.failing, agent.concern = True, False
        await task.sync()
        cluster.snapshot = Snapshot(1, {})
        await task.sync("follow")
        assert agent.syncs == 2 and not task.has(cluster.snapshot)
        await task.stop()

    asyncio.run(run())


def test_what_an_agent_was_woken_for_outlives_a_bug() -> None:
    """Its task is begun again by the supervisor."""

    async def run() -> None:
        agent: Any = Agent("lab.node1", 0)
        cluster: Any = SimpleNamespace(snapshot=Snapshot())
        task = AgentTask(agent, cluster, lambda *_: None, Supervisor())
        await task.sync()
        task.start()
        bugs = [ValueError("a bug")]

        def concerned(snapshot: Snapshot, looking: bool) -> bool:
            if bugs:
                raise bugs.pop()
            return False

        agent.concerned = concerned
        cluster.snapshot = Snapshot(1, {})
        task.follow()
        await _until(task, cluster.snapshot)
        assert agent.syncs == 2
        await task.stop()

    asyncio.run(run())


def test_routes_of_daemons_are_looked_at_once_as_many_have_come_as_are_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each of a hundred routes that come one by one all would be read else. Fewer are looked at in the end, too."""
    monkeypatch.setattr(agent_task, "LATE", 600.0)

    async def run() -> tuple[int, int, float, int]:
        agent: Any = Agent("node1", 1)
        cluster: Any = SimpleNamespace(snapshot=Snapshot())
        task = AgentTask(agent, cluster, lambda *_: None, Supervisor())
        await task.sync()
        task.start()
        agent.lacks = 40
        for _ in range(39):
            agent.monitors.learn(1)
            await asyncio.sleep(0.001)
        few, looked = agent.syncs, task.looked
        agent.monitors.learn(1)
        while agent.syncs == few:
            await asyncio.sleep(0.001)
        whole = agent.syncs
        monkeypatch.setattr(agent_task, "LATE", 0.02)
        agent.monitors.learn(1)
        while agent.syncs == whole:
            await asyncio.sleep(0.001)
        await task.stop()
        return few, whole, looked, agent.syncs

    few, whole, looked, late = asyncio.run(run())
    assert (few, whole, late) == (1, 2, 3)
    assert looked == -math.inf, "it has something to look at"
