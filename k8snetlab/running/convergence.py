"""When is a lab as a request asks? Waiting for that, to an end that is known beforehand, with reasons to show."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.pod_state import over, trouble
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers.rejection import rejected
from k8snetlab.errors import DaemonError, K8sNetLabError, KernelError
from k8snetlab.peers.pace import Agent, Pace
from k8snetlab.peers.requests import Remote
from k8snetlab.running.agents import Agents, AgentTask, is_paused
from k8snetlab.running.own import Own

Event = dict[str, Any]
TIMEOUT = 120.0
FAILURE_THRESHOLD = 3
"""Syncs in a row that an agent fails before it is not waited for any more."""
SETTLING = 0.2
"""Seconds that one look waits for the controllers."""
HOPELESS = 2.0
"""Seconds after which a pod that fits no node is given up, when nothing is ending that may make room for it."""
BEAT = 1.0
"""Seconds between two words about what is waited for."""
LINES = 8
"""So many reasons are told at once."""


async def converge(
    cluster: Cluster,
    agents: Agents,
    remote: Remote | None,
    own: Own,
    *,
    since: float | None = None,
    timeout: float = TIMEOUT,
) -> AsyncGenerator[Event, None]:
    """Yields events until the request's own objects are in every kernel they concern, and its pods run, have failed (an
    event of type "failed" for each) or have gone. `since` (seconds, monotonic) is when the request came: agents must
    have looked at their kernels later than that, and the `timeout` counts from there.

    Events are {"type": "progress", …}, at least once a second {"type": "waiting", "seconds", "for": [reason, …]}, and
    at the end warnings that name what was not waited for: nodes that are paused, machines that do not answer, agents
    that fail. Raises KernelError when an agent fails whose node the request concerns, DaemonError after `timeout`.
    """
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        pace = await stack.enter_async_context(Pace(cluster, remote)) if remote else None
        asked = began if since is None else since
        waiting = _Waiting(cluster, agents, pace, own, asked)
        shown: list[Event] = []
        said = began
        while True:
            looked = time.monotonic()
            look = await waiting.look()
            for event in look.progress:
                if event not in shown:
                    shown.append(event)
                    yield event
            if not look.reasons:
                break
            now = time.monotonic()
            if now - asked > timeout:
                raise DaemonError(
                    f"after {timeout:g} s still waiting for {_listed(look.reasons)}",
                    "`k8snetlab status` says what each of them is doing; --timeout gives it longer",
                )
            if now - said >= BEAT:
                said = now
                yield {"type": "waiting", "seconds": round(now - began, 1), "for": look.reasons[:LINES]}
            await asyncio.sleep(max(0.005, 3 * (now - looked)))
        events, refused = waiting.ending(look)
        for event in events:
            yield event
        if refused:
            raise refused


class _Look(msgspec.Struct):
    """What is so now; `reasons` is what is still waited for, in words."""

    snapshot: Snapshot
    nodes: frozenset[str] | None
    progress: list[Event]
    reasons: list[str]
    failed: list[Pod]
    over: list[Pod]
    """Pods that have failed, or of which a container has ended, and is not started again, as restartPolicy asks."""
    orphaned: list[Pod]
    """Pods bound to a node that has not joined yet, or has gone."""
    failing: list[AgentTask]
    paused: dict[str, list[Pod]]


class _Waiting:
    """The looks of one request, and what has to be remembered between them."""

    def __init__(self, cluster: Cluster, agents: Agents, pace: Pace | None, own: Own, since: float) -> None:
        self._cluster, self._agents, self._pace, self._own, self._since = cluster, agents, pace, own, since
        self._reached: tuple[Snapshot, float] | None = None
        """The snapshot in which the pods are as they should be, and when it was seen first."""
        self._hopeless: set[str] = set()
        """The pods, by uid, that fit no node, and since when they are just these."""
        self._hoped = 0.0

    async def look(self) -> _Look:
        settled = await self._settled()
        snapshot, now = self._cluster.snapshot, time.monotonic()
        pods, tasks = self._own.look(snapshot), self._agents.tasks
        if self._pace:
            self._pace.look()
        silent = self._pace.silent if self._pace else {}
        failing = [t for t in tasks if t.state.failures >= FAILURE_THRESHOLD and t.state.failed >= self._since]
        refusing = [agent.name for agent in self._failing_remotely()]
        broken = {*refusing, *(task.name for task in failing)}
        look = _Look(snapshot, None, [], [], [], [], [], failing, {})
        ready, misfits = 0, []
        for pod in pods:
            node = snapshot.get(Node, pod.spec.nodeName) if pod.spec.nodeName else None
            if pod.spec.nodeName and node is None and not pod.metadata.deletionTimestamp:
                look.orphaned.append(pod)
            elif node and is_paused(node) and (pod.metadata.deletionTimestamp or not pod.ready):
                look.paused.setdefault(node.name, []).append(pod)
            elif pod.spec.nodeName in silent or (pod.spec.nodeName in broken and not pod.ready):
                continue
            elif pod.metadata.deletionTimestamp:
                look.reasons.append(f"pod {pod.namespace}/{pod.name}: Terminating")
            elif pod.ready or pod.status.phase == "Succeeded":
                ready += 1
            elif _unschedulable(pod):
                misfits.append(pod)
            elif rejected(pod):
                look.failed.append(pod)
            elif pod.ended:
                ready += 1
                look.over.append(pod)
            elif trouble(pod):
                look.failed.append(pod)
            elif over(pod):
                ready += 1
                look.over.append(pod)
            else:
                look.reasons.append(f"pod {pod.namespace}/{pod.name}: {_doing(pod)}")
        if misfits and settled and not look.reasons and self._are_hopeless(misfits, now):
            look.failed += misfits
        else:
            look.reasons += [f"pod {pod.namespace}/{pod.name}: {_why(pod)}" for pod in misfits]
        pending = [f"{pod.namespace}/{pod.name}" for pod in pods if not pod.ready and not pod.ended]
        if settled:
            look.reasons += self._own.short(snapshot)
        else:
            look.reasons.append("the controllers: they have not come to an end")
        if look.reasons:
            self._reached = None
        elif self._reached is None:
            self._reached = snapshot, now
        look.nodes = self._own.nodes(snapshot)
        awaited = [t for t in tasks if self._concerns(look, t) and not t.state.paused and t not in failing]
        behind = [t for t in awaited if not self._has(t)]
        remote = [name for name in self._pace.behind if name not in refusing] if self._pace else []
        if self._reached:
            look.reasons += [f"{t.name}: {t.state.error or 'its kernel is not in step yet'}" for t in behind]
            look.reasons += [f"{name}: its kernel is not in step yet" for name in remote]
            missing = self._agents.nodes.keys() ^ self._agents.local(snapshot) if look.nodes is None else ()
            look.reasons += [f"{name}: its agent comes or goes" for name in sorted(missing)]
            if self._pace and not look.reasons and snapshot.revision < self._pace.needed:
                look.reasons.append("the store: what was written has not come back from it")
        known, machines = len([t for t in tasks if t.state.snapshot]), self._pace.machines if self._pace else 0
        done = len(awaited) + machines - len(behind) - len(remote)
        late = f"waiting for {', '.join(remote)}" if remote else "iptables in step with the Services"
        look.progress = [
            _progress("nodes", known, len(tasks), "namespaces, links, routes"),
            _progress("pods", ready, len(pods), _cut(", ".join(pending), 60)),
            _progress("rules", done, len(awaited) + machines, late),
        ]
        return look

    def ending(self, look: _Look) -> tuple[list[Event], K8sNetLabError | None]:
        """What is to be said when nothing is waited for any more, and what was refused of the request's own."""
        events = [
            _warning(f"{why}; it was not waited for") for why in (self._pace.silent if self._pace else {}).values()
        ]
        for task in self._agents.tasks:
            if task.state.paused and (task.name in look.paused or self._concerns(look, task)):
                events.append(_warning(_of_paused(task.name, look.paused.get(task.name, []))))
        here = {task.name for task in self._agents.tasks}
        events += [_warning(_of_paused(name, pods)) for name, pods in look.paused.items() if name not in here]
        events += [
            _warning(f"pod {pod.namespace}/{pod.name} {over(pod) or f'has failed: {_why(pod)}'}") for pod in look.over
        ]
        for pod in look.failed:
            message = f"pod {pod.namespace}/{pod.name}: {_why(pod)}"
            events.append({"type": "failed", "namespace": pod.namespace, "name": pod.name, "message": message})
        for name in dict.fromkeys(pod.spec.nodeName for pod in look.orphaned):
            count = sum(pod.spec.nodeName == name for pod in look.orphaned)
            events.append(_warning(f"{count} pod{'s wait' if count > 1 else ' waits'} for {name} to join"))
        failures = [
            (task.name, task.state.error, task.state.hint, task.state.operation, task in look.failing)
            for task in self._agents.tasks
            if task in look.failing or task.state.failures >= FAILURE_THRESHOLD
        ]
        failures += [(a.name, a.error, a.hint, a.operation, True) for a in self._failing_remotely()]
        refused: K8sNetLabError | None = None
        for why in self._own.refused(look.snapshot):
            refused = refused or DaemonError(why, "`k8snetlab get events` shows it; it is tried again")
        for name, error, hint, operation, awaited in failures:
            if refused is None and awaited and (look.nodes is None or name in look.nodes):
                refused = KernelError(f"{name}: {error}", hint, operation)
            else:
                events.append(_warning(f"{name}: its agent fails: {error}" + (f" ({hint})" if hint else "")))
        return events, refused

    def _failing_remotely(self) -> list[Agent]:
        return [agent for agent in self._pace.failing if agent.failures >= FAILURE_THRESHOLD] if self._pace else []

    async def _settled(self) -> bool:
        """Whether the controllers have nothing left to write, or come to that in a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLING):
                await self._cluster.settled()
                return True
        return False

    def _concerns(self, look: _Look, task: AgentTask) -> bool:
        return look.nodes is None or task.name in look.nodes

    def _has(self, task: AgentTask) -> bool:
        """Whether what was reached, or something newer, is in the agent's kernel, and was found there by this time."""
        if self._reached is None or task.state.failures or task.state.began < self._since:
            return False
        snapshot, seen = self._reached
        return task.has(snapshot) or task.state.began >= seen

    def _are_hopeless(self, pods: list[Pod], now: float) -> bool:
        """Whether the pods that fit no node, none of which is another than before, have waited long enough for room."""
        uids = {pod.metadata.uid for pod in pods}
        if uids != self._hopeless or any(
            pod.metadata.deletionTimestamp for pod in self._cluster.snapshot.all(Pod).values()
        ):
            self._hopeless, self._hoped = uids, now
        return now - self._hoped >= HOPELESS


def _unschedulable(pod: Pod) -> bool:
    return not pod.spec.nodeName and any(
        c.type == "PodScheduled" and c.status == "False" for c in pod.status.conditions
    )


def _doing(pod: Pod) -> str:
    """What a pod that is not ready is about."""
    if not pod.spec.nodeName:
        return "Pending, no node was chosen yet"
    return _why(pod) if pod.status.phase == "Running" else f"ContainerCreating on {pod.spec.nodeName}"


def _why(pod: Pod) -> str:
    said = [trouble(pod), *(c.message for c in pod.status.conditions if c.status == "False")]
    return next((message for message in said if message), pod.status.reason or pod.status.phase)


def _of_paused(name: str, pods: list[Pod]) -> str:
    """`pods` are those of the request that wait for the node."""
    ending = [pod.name for pod in pods if pod.metadata.deletionTimestamp]
    coming = [pod.name for pod in pods if not pod.metadata.deletionTimestamp]
    what = [f"{_cut(', '.join(names), 60)} {verb}" for names, verb in ((ending, "stays"), (coming, "waits")) if names]
    return (
        f"{name} is paused: nothing was changed there"
        + (f", {' and '.join(what)}" if what else "")
        + (f" (resume {name})")
    )


def _progress(phase: str, done: int, total: int, message: str) -> Event:
    return {"type": "progress", "phase": phase, "done": done, "total": total, "message": message}


def _warning(message: str) -> Event:
    return {"type": "warning", "message": message}


def _listed(reasons: list[str]) -> str:
    more = [f"and {len(reasons) - LINES} more"] if len(reasons) > LINES else []
    return "; ".join(reasons[:LINES] + more)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
