"""What a pod's container wrote, on this machine: which run's log, from when on, to its end or on and on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime

from k8snetlab.api.core import Container, Pod
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import ConflictError, NotFoundError, RequestError
from k8snetlab.messages.places import LogsQuestion
from k8snetlab.running import logs
from k8snetlab.state.paths import LabPaths
from k8snetlab.wording import nearest

LOOK = 0.5
"""Seconds between two looks whether a pod without a command has ended."""


async def written(cluster: Cluster, paths: LabPaths, asked: LogsQuestion) -> AsyncGenerator[bytes, None]:
    """Raises NotFoundError, ConflictError, RequestError."""
    left = asked.limitBytes
    async with aclosing(_whole(cluster, paths, asked)) as pieces:
        async for piece in pieces:
            yield piece[:left]
            left = None if left is None else left - len(piece)
            if left is not None and left <= 0:
                return


async def _whole(cluster: Cluster, paths: LabPaths, asked: LogsQuestion) -> AsyncGenerator[bytes, None]:
    pod = cluster.current(Pod, asked.name, asked.namespace)
    wanted = logs.Wanted(asked.tailLines, since(asked), asked.timestamps)
    container = _chosen(pod, asked.container)
    if not pod.spec.nodeName:
        raise unscheduled(pod)
    directory = paths.logs_of(pod) / container.name
    kept = logs.runs(directory)
    if asked.previous and len(kept) < 2:
        message = f'previous terminated container "{container.name}" in pod "{pod.name}" not found'
        raise RequestError(message, "it has not been started again yet: leave --previous out")
    if not kept and pod.status.phase == "Pending":
        raise _waiting(pod, container.name)
    run = kept[-2 if asked.previous else -1] if kept else -1

    def ended() -> bool:
        now = cluster.snapshot.get(Pod, pod.name, pod.namespace)
        if now is None or now.metadata.uid != pod.metadata.uid or (kept and logs.runs(directory)[-1:] != [run]):
            return True
        statuses = (*now.status.initContainerStatuses, *now.status.containerStatuses)
        status = next((s for s in statuses if s.name == container.name), None)
        return status is not None and not status.state.running and status.restartCount >= run

    follow = asked.follow and not asked.previous
    if not kept and not container.argv:
        pieces = _of_stand_in(pod, container, wanted, follow, ended)
    else:
        pieces = logs.read(directory / f"{run}.log", follow, wanted, ended)
    async with aclosing(pieces):
        async for data in pieces:
            yield data


async def _of_stand_in(
    pod: Pod, container: Container, wanted: logs.Wanted, follow: bool, ended: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """One line, of when it began: who looks for the output of an image is told that none runs."""
    status = next((s for s in pod.status.containerStatuses if s.name == container.name), None)
    running = status.state.running if status else None
    began = _instant(running.startedAt) if running and running.startedAt else 0
    if wanted.last and began >= wanted.since:
        ports = ", ".join(f"{port.containerPort}/{port.protocol}" for port in container.ports)
        line = f"k8snetlab: no command, so no image runs: a stand-in answers on {ports or 'no port'} and logs nothing\n"
        yield (logs.stamp(began) if wanted.stamped else b"") + line.encode()
    while follow and not ended():
        await asyncio.sleep(LOOK)


def since(asked: LogsQuestion) -> int:
    """From when on (ns since 1970), 0 for the beginning. Raises RequestError."""
    if asked.sinceSeconds is not None:
        if asked.sinceTime:
            raise RequestError("at most one of `sinceTime` or `sinceSeconds` may be specified")
        return time.time_ns() - asked.sinceSeconds * 10**9
    return _instant(asked.sinceTime) if asked.sinceTime else 0


def _instant(text: str) -> int:
    """RFC 3339 as ns since 1970. Raises RequestError."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError
        return max(0, int(found.timestamp() * 1e6) * 1000)
    except (ValueError, OverflowError) as error:
        raise RequestError(f"sinceTime: {text[:60]!r} is no time as 2026-11-29T12:00:00Z is one") from error


def _chosen(pod: Pod, name: str) -> Container:
    """Raises NotFoundError."""
    containers = pod.spec.serving_containers + pod.spec.initContainers
    if not name:
        return containers[0]
    found = next((one for one in containers if one.name == name), None)
    if found is None:
        names = [one.name for one in pod.spec.serving_containers]
        hint = nearest(name, names, f"containers: {', '.join(names)}")
        raise NotFoundError(f"pod {pod.name} has no container {name!r}", hint)
    return found


def unscheduled(pod: Pod) -> ConflictError:
    """Why a pod that is on no node has written nothing, and what is to be looked at."""
    said = [c.message or c.reason for c in pod.status.conditions if c.type == "PodScheduled" and c.status == "False"]
    why = said[0] if said and said[0] else "the scheduler has not come to it yet"
    return ConflictError(
        f"pod {pod.short_name} has not started, no node has been found for it: {why}",
        "`k8snetlab get nodes -o wide` shows the nodes' labels and states; the pod's nodeSelector must match one",
    )


def _waiting(pod: Pod, container: str) -> RequestError:
    states = [s.state.waiting for s in pod.status.containerStatuses if s.name == container]
    told = next((w.reason + (f": {w.message}" if w.message else "") for w in states if w), "") or pod.status.message
    return RequestError(
        f'container "{container}" in pod "{pod.name}" is waiting to start: {told or "ContainerCreating"}',
        "`k8snetlab diagnose` says what keeps it",
    )
