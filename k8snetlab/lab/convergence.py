"""When is a lab as its objects ask? Waiting for that, with progress to show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from k8snetlab.api.core import Node, Pod
from k8snetlab.errors import DaemonError, K8sNetLabError, KernelError
from k8snetlab.lab.across.pace import Pace
from k8snetlab.lab.across.remote import Remote
from k8snetlab.lab.agents import Agents
from k8snetlab.lab.cluster import Cluster

TIMEOUT = 120.0
PATIENCE = 3
"""Syncs in a row that an agent may fail before `up` gives up on it."""


async def converge(
    cluster: Cluster, agents: Agents, remote: Remote | None = None, timeout: float = TIMEOUT
) -> AsyncIterator[dict[str, Any]]:
    """`followed`, in a lab of machines on all of them; one that does not answer is said in a warning at the end."""
    if remote is None:
        async for event in followed(cluster, agents, None, timeout):
            yield event
        return
    async with Pace(cluster, remote) as pace:
        async for event in followed(cluster, agents, pace, timeout):
            yield event


async def followed(
    cluster: Cluster, agents: Agents, pace: Pace | None, timeout: float
) -> AsyncIterator[dict[str, Any]]:
    """Yields progress events until every object is in the kernel and every pod runs or has failed (then, last, an event
    for each of those); raises with what is in the way."""
    began = asyncio.get_running_loop().time()
    deadline = began + timeout
    shown: list[dict[str, Any]] = []
    while True:
        snapshot = await cluster.settled()
        pods = list(snapshot.all(Pod).values())
        homeless = [pod for pod in pods if pod.spec.nodeName and snapshot.get(Node, pod.spec.nodeName) is None]
        silent, behind, machines = _others(pace)
        stuck = [pod for pod in pods if pod.status.message and not pod.ready]
        ready = [pod for pod in pods if pod.ready]
        ending = [pod for pod in pods if pod.metadata.deletionTimestamp]
        tasks = agents.tasks
        synced = [task for task in tasks if task.has(snapshot) or task.state.paused]
        for event in (
            _progress("nodes", len([t for t in tasks if t.state.snapshot]), len(tasks), "namespaces, links, routes"),
            _progress("pods", len(ready), len(pods), ", ".join(p.name for p in pods if not p.ready)[:60]),
            _progress(
                "rules",
                len(synced) + machines - len(behind),
                len(tasks) + machines,
                f"waiting for {', '.join(behind)}" if behind else "iptables in step with the Services",
            ),
        ):
            if event not in shown:
                shown.append(event)
                yield event
        for task in tasks:
            if task.state.failures >= PATIENCE and task.state.failed >= began:
                raise KernelError(f"{task.name}: {task.state.error}", task.state.hint, task.state.operation)
        for agent in pace.failing if pace else ():
            if agent.failures >= PATIENCE:
                raise KernelError(f"{agent.name}: {agent.error}", agent.hint, agent.operation)
        unseen = [pod for pod in pods if pod.spec.nodeName in silent]
        seen = {pod.key for pod in (*ready, *stuck, *homeless, *unseen)}
        waiting = [pod for pod in pods if pod.key not in seen]
        ending = [pod for pod in ending if pod not in unseen]
        complete = agents.nodes.keys() == agents.local(snapshot) and len(synced) == len(tasks)
        reached = not behind and (pace is None or snapshot.revision >= pace.needed)
        if complete and reached and not waiting and not ending and cluster.snapshot.objects is snapshot.objects:
            for why in silent.values():
                yield {"type": "warning", "message": f"{why}; it was not waited for"}
            for pod in stuck:
                message = f"pod {pod.namespace}/{pod.name}: {pod.status.message}"
                yield {"type": "failed", "namespace": pod.namespace, "name": pod.name, "message": message}
            for name in dict.fromkeys(pod.spec.nodeName for pod in homeless):
                count = sum(pod.spec.nodeName == name for pod in homeless)
                yield {
                    "type": "warning",
                    "message": f"{count} pod{'s wait' if count > 1 else ' waits'} for {name} to join",
                }
            return
        if asyncio.get_running_loop().time() > deadline:
            slow = [t.name for t in tasks if t not in synced] + behind
            raise _late(timeout, [p.name for p in waiting + ending], slow)
        await asyncio.sleep(0.005)


def _others(pace: Pace | None) -> tuple[dict[str, str], list[str], int]:
    """The other machines: those that do not answer and why, those that are behind, and how many there are."""
    if pace is None:
        return {}, [], 0
    pace.look()
    return pace.silent, pace.behind, pace.machines


def _progress(phase: str, done: int, total: int, message: str) -> dict[str, Any]:
    return {"type": "progress", "phase": phase, "done": done, "total": total, "message": message}


def _late(timeout: float, pods: list[str], agents: list[str]) -> K8sNetLabError:
    what = [f"pods {', '.join(pods)}"] if pods else []
    what += [f"nodes {', '.join(agents)}"] if agents else []
    return DaemonError(
        f"after {timeout:.0f} s still waiting for {' and '.join(what)}",
        "`k8snetlab status` says what each of them is doing",
    )
