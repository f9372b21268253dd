"""Cluster DNS as `up` brings it: its pods take their addresses after all others, so that nobody's address moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from k8snetlab.api.apps import Deployment
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.pod_state import trouble
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dns import addon, nodelocal
from k8snetlab.gateways import objects as gateway
from k8snetlab.messages.progress import Waiting
from k8snetlab.render.ingress import addon as ingress
from k8snetlab.running.agents import is_paused
from k8snetlab.running.followed import Followed

GRACE, BEGINNING = 2.0, 20.0
"""Seconds without another pod or address, after which the rest is waited for no longer: a pod may wait for a name. The
longer ones where one is about to be ready that runs no command, and so waits for none: the machine is busy."""
PAUSE, BEAT = 0.02, 1.0
"""Seconds between two looks, and between two events."""
SHOWN = 8
"""Reasons that one event names at most."""


def with_addons(objects: list[Object]) -> list[Object]:
    """With the objects of cluster DNS and of the Ingress controller, where the lab has them; those that are there are
    left as somebody wrote them."""
    labs = [obj for obj in objects if isinstance(obj, Lab)]
    makers = (ingress.objects, gateway.objects, addon.objects, nodelocal.objects)
    added = [obj for lab in labs for make in makers for obj in make(lab)]
    there = {(type(obj), obj.key) for obj in objects} if added else set()
    return [*objects, *(with_defaults(obj) for obj in added if (type(obj), obj.key) not in there)]


def held_back(objects: list[Object], stored: Snapshot) -> list[Object]:
    """What makes the DNS pods, taken out of the objects; nothing where it is stored already."""
    if stored.get(Deployment, addon.NAME, addon.NAMESPACE):
        return []
    last: list[Object] = [
        obj for obj in objects if isinstance(obj, Deployment) and obj.key == (addon.NAMESPACE, addon.NAME)
    ]
    objects[:] = [obj for obj in objects if obj not in last]
    return last


async def addressed(cluster: Cluster, followed: Followed) -> AsyncIterator[Waiting]:
    """Until the request's workloads have all their pods, and these their addresses, as far as they come to that."""
    began = said = moved = time.monotonic()
    before: list[str] = []
    while True:
        looked = time.monotonic()
        snapshot = await cluster.settled_within(GRACE)
        missing = _missing(snapshot, followed)
        now = time.monotonic()
        if missing != before:
            before, moved = missing, now
        if not missing or now - moved > (BEGINNING if _begins(snapshot, followed) else GRACE):
            return
        if now - said > BEAT:
            said = now
            yield Waiting(round(now - began, 1), tuple(missing[:SHOWN]))
        await asyncio.sleep(max(PAUSE, 3 * (now - looked)))


def _missing(snapshot: Snapshot, followed: Followed) -> list[str]:
    pods = followed.look(snapshot).values()
    return followed.short(snapshot) + [
        f"pod {pod.namespace}/{pod.name}: it has no address yet" for pod in pods if _comes_to_one(pod, snapshot)
    ]


def _begins(snapshot: Snapshot, followed: Followed) -> bool:
    for pod in followed.look(snapshot).values():
        node = snapshot.get(Node, pod.spec.nodeName)
        if pod.ready or pod.ended or pod.metadata.deletionTimestamp or node is None or is_paused(node):
            continue
        containers = (*pod.spec.initContainers, *pod.spec.containers)
        if not any(one.argv for one in containers) and not trouble(pod):
            return True
    return False


def _comes_to_one(pod: Pod, snapshot: Snapshot) -> bool:
    if pod.ips or pod.ended or pod.metadata.deletionTimestamp:
        return False
    return not pod.spec.nodeName or snapshot.get(Node, pod.spec.nodeName) is not None
