"""Waits until a lab has come to what its objects say, so that what was just asked of it is not judged half done."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any

from k8snetlab.api.ages import moment
from k8snetlab.api.apps import ReplicaSet
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.workloads import MAKERS
from k8snetlab.client.client import Client
from k8snetlab.errors import K8sNetLabError, NotFoundError
from k8snetlab.messages.changes import WAIT, Named, Wait

LONGEST = 15.0
"""Seconds for which a lab is waited for: one that never comes to rest is judged as it is."""
SOON = 3.0
"""Seconds, likewise, where it is asked whether somebody has done something already: what is broken never comes to rest.
"""
KINDS: tuple[type[Object], ...] = (Node, Pod, *MAKERS)
PATIENCE = 3.0
"""Seconds after which a pod that runs, and says that it is not ready, is taken at its word."""
BEGINNING = ("", "ContainerCreating", "PodInitializing")
"""What a container waits for that comes by itself."""
TRIES = 5
"""Times that it is asked what there is: what goes meanwhile cannot be waited for by its name."""


def at_rest(client: Client, longest: float = LONGEST) -> None:
    """Until every kernel of the lab is as its objects say and every pod runs, has failed or has gone, for `longest`
    seconds at most. Nodes that are paused are not waited for, and a lab that does not answer is left to those who ask
    it next."""
    with contextlib.suppress(K8sNetLabError):
        for _ in range(TRIES):
            with contextlib.suppress(NotFoundError):
                for _ in client.stream(WAIT, Wait(objects=_all(client), timeout=longest)):
                    pass
                return


def _all(client: Client) -> tuple[Named, ...]:
    """Without pods that wait for what does not come by itself, and without what makes them."""
    held = {kind: list(client.list(kind.KIND)) for kind in KINDS}
    hopeless = _hopeless(held[Pod], held[ReplicaSet], time.time())
    return tuple(
        Named(*name)
        for kind, objects in held.items()
        for one in objects
        if (name := _named(kind.KIND, one)) not in hopeless
    )


def _named(kind: str, one: Any) -> tuple[str, str, str]:
    return kind, one["metadata"]["name"], one["metadata"].get("namespace", "")


def _hopeless(pods: Iterable[Any], sets: Iterable[Any], now: float) -> set[tuple[str, str, str]]:
    """The pods that stand still, and owners of which no pod moves."""
    above = {_named("ReplicaSet", one): [*_owners(one)] for one in sets}
    still: set[tuple[str, str, str]] = set()
    moving: set[tuple[str, str, str]] = set()
    for pod in pods:
        owners = [*_owners(pod)]
        names = {_named("Pod", pod), *owners, *(name for owner in owners for name in above.get(owner, ()))}
        if stands_still(pod, now):
            still |= names
        elif not _is_ready(pod):
            moving |= names
    return still - moving


def _owners(one: Any) -> Iterator[tuple[str, str, str]]:
    for owner in one["metadata"].get("ownerReferences", ()):
        yield owner["kind"], owner["name"], one["metadata"].get("namespace", "")


def stands_still(pod: Any, now: float) -> bool:
    """Whether a pod waits for what does not come by itself: it fits nowhere, its program cannot be run or ends again
    and again, or it runs and has said for PATIENCE that it is not ready. `now` is in seconds since 1970."""
    status = pod.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", ())}
    if conditions.get("PodScheduled", {}).get("status") == "False":
        return True
    states = [one.get("state", {}) for one in status.get("containerStatuses", ())]
    if any(state.get("waiting", {}).get("reason", "") not in BEGINNING for state in states):
        return True
    since = moment(conditions.get("Ready", {}).get("lastTransitionTime"))
    runs = bool(states) and all("running" in state for state in states)
    return runs and not _is_ready(pod) and since is not None and now - since > PATIENCE


def _is_ready(pod: Any) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)
