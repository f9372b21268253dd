"""When is a lab as its objects ask? Waiting for that, with progress to show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from k8snetlab.api.core import Node, Pod
from k8snetlab.errors import DaemonError, K8sNetLabError, KernelError
from k8snetlab.lab.agents import Agents
from k8snetlab.lab.cluster import Cluster

TIMEOUT = 120.0
PATIENCE = 3
"""Syncs in a row that an agent may fail before `up` gives up on it."""


async def converge(cluster: Cluster, agents: Agents, timeout: float = TIMEOUT) -> AsyncIterator[dict[str, Any]]:
    """Yields progress events until every object is in the kernel and every pod runs or has failed (then, last, an event
    for each of those); raises with what is in the way."""
    began = asyncio.get_running_loop().time()
    deadline = began + timeout
    shown: list[dict[str, Any]] = []
    while True:
        snapshot = await cluster.settled()
        pods = list(snapshot.all(Pod).values())
        homeless = [pod for pod in pods if pod.spec.nodeName and snapshot.get(Node, pod.spec.nodeName) is None]
        stuck = [pod for pod in pods if pod.status.message and not pod.ready]
        ready = [pod for pod in pods if pod.ready]
        ending = [pod for pod in pods if pod.metadata.deletionTimestamp]
        tasks = agents.tasks
        synced = [task for task in tasks if task.has(snapshot) or task.state.paused]
        for event in (
            _progress("nodes", len([t for t in tasks if t.state.snapshot]), len(tasks), "namespaces, links, routes"),
            _progress("pods", len(ready), len(pods), ", ".join(p.name for p in pods if not p.ready)[:60]),
            _progress("rules", len(synced), len(tasks), "iptables in step with the Services"),
        ):
            if event not in shown:
                shown.append(event)
                yield event
        for task in tasks:
            if task.state.failures >= PATIENCE and task.state.failed >= began:
                raise KernelError(f"{task.name}: {task.state.error}", task.state.hint, task.state.operation)
        waiting = [pod for pod in pods if pod not in ready and pod not in stuck and pod not in homeless]
        complete = agents.nodes.keys() == agents.local(snapshot) and len(synced) == len(tasks)
        if complete and not waiting and not ending and cluster.snapshot.objects is snapshot.objects:
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
            raise _late(timeout, [p.name for p in waiting + ending], [t.name for t in tasks if t not in synced])
        await asyncio.sleep(0.005)


def _progress(phase: str, done: int, total: int, message: str) -> dict[str, Any]:
    return {"type": "progress", "phase": phase, "done": done, "total": total, "message": message}


def _late(timeout: float, pods: list[str], agents: list[str]) -> K8sNetLabError:
    what = [f"pods {', '.join(pods)}"] if pods else []
    what += [f"nodes {', '.join(agents)}"] if agents else []
    return DaemonError(
        f"after {timeout:.0f} s still waiting for {' and '.join(what)}",
        "`k8snetlab status` says what each of them is doing",
    )
