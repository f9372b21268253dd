"""When a Job whose pods fail makes the next one: 10 s after the first failure, then 20, 40, ..., at most 10 minutes.

Source: Kubernetes pkg/controller/job/backoff_utils.go (newBackoffRecord, getRemainingTime, getFinishedTime).
"""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.ages import moment
from k8snetlab.api.core import Pod

FIRST, LONGEST = 10.0, 600.0
"""Seconds."""


def resumes(pods: Iterable[Pod]) -> float:
    """From when on (seconds since 1970) a Job with these pods may make more; 0.0 where none has failed since the last
    one that succeeded."""
    ends = {phase: [_end(pod) for pod in pods if pod.status.phase == phase] for phase in ("Succeeded", "Failed")}
    success = max(ends["Succeeded"], default=0.0)
    failures = [end for end in ends["Failed"] if end > success]
    if not failures:
        return 0.0
    return max(failures) + min(LONGEST, FIRST * (1 << min(len(failures) - 1, 10)))


def _end(pod: Pod) -> float:
    """When a pod that is over ended: with its last container; else when it ceased to be ready, else when it came."""
    ended = [one.state.terminated.finishedAt for one in pod.status.containerStatuses if one.state.terminated]
    unready = [one.lastTransitionTime for one in pod.status.conditions if one.type == "Ready" and one.status == "False"]
    for times in (ended, unready, [pod.metadata.creationTimestamp]):
        if found := [at for at in map(moment, times) if at is not None]:
            return max(found)
    return 0.0
