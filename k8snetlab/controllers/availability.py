"""Which pods are available: ready, and for `minReadySeconds` without a break.

Source: Kubernetes pkg/api/v1/pod/util.go (IsPodAvailable).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from k8snetlab.api.ages import moment
from k8snetlab.api.core import Pod


class Availability(NamedTuple):
    """The names of the available pods, and when (seconds since 1970) the next of the others may become one."""

    names: frozenset[str]
    next: float | None


def available(pods: Iterable[Pod], seconds: int, time: float) -> Availability:
    """Of these pods, which have been ready for that many seconds at `time` (seconds since 1970)."""
    ready = [pod for pod in pods if pod.ready]
    if not seconds:
        return Availability(frozenset(pod.name for pod in ready), None)
    moments = {pod.name: since + seconds for pod in ready if (since := _since(pod)) is not None}
    return Availability(
        frozenset(name for name, at in moments.items() if at <= time),
        min((at for at in moments.values() if at > time), default=None),
    )


def _since(pod: Pod) -> float | None:
    return next((moment(one.lastTransitionTime) for one in pod.status.conditions if one.type == "Ready"), None)
