"""Jobs that are over go, and their pods with them, when `ttlSecondsAfterFinished` have passed.

Source: Kubernetes pkg/controller/ttlafterfinished.
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.ages import moment
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workloads import Job
from k8snetlab.controllers.changes import NOTHING, Answer, Context, due, each, remove_after


def reconcile(now: Snapshot, before: Snapshot | None, context: Context = NOTHING) -> Iterator[Answer]:
    changed = [job for key in now.changes(Job, before) if (job := now.all(Job).get(key))]

    def work(job: Job) -> Iterator[Answer]:
        at = _end(job)
        if at is not None and at <= context.time:
            yield from remove_after(job, now)
        else:
            yield from due(job, at)

    yield from each([job for job in changed if not job.metadata.deletionTimestamp], work, lambda job: job)


def _end(job: Job) -> float | None:
    """When it is to go, in seconds since 1970."""
    seconds = job.spec.ttlSecondsAfterFinished
    over = [one for one in job.status.conditions if one.type in ("Complete", "Failed") and one.status == "True"]
    since = moment(over[0].lastTransitionTime) if over else None
    return None if seconds is None or since is None else since + seconds
