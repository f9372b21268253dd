"""How a Job counts each of its pods once, also one that is deleted as soon as it has ended.

A pod has a finalizer until it is counted. One that has ended is first written down in the Job's status by its uid; once
that is stored the finalizer goes, and once that is stored the uid becomes a number. So nothing is lost or counted twice
where a write between fails. Of an indexed Job what has succeeded is known by the pods' numbers.
Source: Kubernetes pkg/controller/job/job_controller.go (trackJobStatusAndRemoveFinalizers, syncOrphanPod), KEP-2307.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import Pod
from k8snetlab.api.selection import by_owner
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.workloads import COMPLETION_INDEX, Job
from k8snetlab.controllers.changes import Answer, put, released
from k8snetlab.controllers.identity import controller_of

TRACKING = "batch.kubernetes.io/job-tracking"
_Uids = frozenset[str]


def kept(pod: Pod) -> Pod:
    """A new pod of a Job's, with the finalizer."""
    finalizers = tuple(dict.fromkeys((*pod.metadata.finalizers, TRACKING)))
    return replace(pod, metadata=replace(pod.metadata, finalizers=finalizers))


class Tracked(msgspec.Struct, frozen=True):
    """The pods of a Job that have ended: those that are counted, as numbers, and those that are not yet, by uid."""

    counted_succeeded: int
    counted_failed: int
    _succeeded: _Uids
    _failed: _Uids
    released: tuple[Pod, ...]
    """Pods that may go: they are written down."""

    @property
    def succeeded(self) -> int:
        return self.counted_succeeded + len(self._succeeded)

    @property
    def failed(self) -> int:
        return self.counted_failed + len(self._failed)

    @property
    def uncounted(self) -> dict[str, list[str]]:
        """As status.uncountedTerminatedPods."""
        named = {"succeeded": sorted(self._succeeded), "failed": sorted(self._failed)}
        return {name: uids for name, uids in named.items() if uids}

    @classmethod
    def of(cls, job: Job, pods: Iterable[Pod], stored: Snapshot) -> Tracked:
        """`pods` are the Job's; `stored` has Job and pods as the store has them."""
        written, held = _written(stored.get(Job, job.name, job.namespace), job), _held(job, stored)
        tracked = [pod for pod in pods if TRACKING in pod.metadata.finalizers]
        indexed = job.spec.completionMode == "Indexed"
        done = {pod.metadata.uid for pod in tracked if pod.status.phase == "Succeeded" and not indexed}
        lost = {pod.metadata.uid for pod in tracked if _failed(pod, job)}
        succeeded, failed = _uids(job, "succeeded"), _uids(job, "failed")
        over = {
            "succeeded": succeeded & _uids(written, "succeeded") - held,
            "failed": failed & _uids(written, "failed") - held,
        }
        return cls(
            job.status.succeeded + len(over["succeeded"]),
            job.status.failed + len(over["failed"]),
            (succeeded - over["succeeded"]) | (done - failed),
            (failed - over["failed"]) | (lost - succeeded),
            tuple(released(pod, TRACKING) for pod in _written_down(tracked, written, indexed)),
        )


def _written(stored: Job | None, job: Job) -> Job | None:
    """The Job as it is stored; None where that is another one."""
    return stored if stored is not None and stored.metadata.uid == job.metadata.uid else None


def _held(job: Job, stored: Snapshot) -> _Uids:
    pods = stored.select(Pod, by_owner, (job.KIND, *job.key)).values()
    return frozenset(pod.metadata.uid for pod in pods if TRACKING in pod.metadata.finalizers)


def _written_down(pods: Iterable[Pod], written: Job | None, indexed: bool) -> Iterator[Pod]:
    """Those of the pods that the stored Job counts."""
    if written is None:
        return
    completions = written.spec.completions or 0
    numbers = completed(written.status.completedIndexes, completions) if indexed else set[int | None]()
    uids = _uids(written, "succeeded") | _uids(written, "failed")
    for pod in pods:
        if indexed and pod.status.phase == "Succeeded":
            index = index_of(pod)
            # One that has lost its number, or is beyond those that the Job has now, is not counted.
            if index is None or index >= completions or index in numbers:
                yield pod
        elif pod.metadata.uid in uids:
            yield pod


def _failed(pod: Pod, job: Job) -> bool:
    """One that is deleted before it has succeeded is as good as failed, where it is replaced at once."""
    if pod.status.phase == "Failed" or replaces_ended_only(job):
        return pod.status.phase == "Failed"
    return bool(pod.metadata.deletionTimestamp) and pod.status.phase != "Succeeded"


def replaces_ended_only(job: Job) -> bool:
    """Whether a pod on its way out is replaced, and counted, only once it has ended."""
    return job.spec.podReplacementPolicy == "Failed"


def terminating(pods: Iterable[Pod]) -> list[Pod]:
    """Those on their way out that have not ended."""
    return [pod for pod in pods if pod.metadata.deletionTimestamp and not pod.ended]


def _uids(job: Job | None, field: str) -> _Uids:
    uncounted: Mapping[str, Any] = (job.status.uncountedTerminatedPods if job else None) or {}
    said = uncounted.get(field)
    return frozenset(one for one in said if isinstance(one, str)) if isinstance(said, list | tuple) else frozenset()


def orphans(now: Snapshot, before: Snapshot | None, jobs: Iterable[Key]) -> Iterator[Answer]:
    """Lets pods go that no Job counts any more: `jobs` are the keys of those of which something has changed."""
    pods = {key: pod for key in now.changes(Pod, before) if (pod := now.all(Pod).get(key))}
    for key in jobs:
        pods.update(now.select(Pod, by_owner, (Job.KIND, *key)))
    for pod in pods.values():
        if TRACKING in pod.metadata.finalizers and _counting(pod, now) is None:
            yield put(released(pod, TRACKING))


def _counting(pod: Pod, now: Snapshot) -> Job | None:
    owner = controller_of(pod)
    job = now.get(Job, owner.name, pod.namespace) if owner else None
    return job if job is not None and is_of(pod, job) and not job.metadata.deletionTimestamp else None


def is_of(pod: Pod, job: Job) -> bool:
    """Whether a pod is this Job's, not that of one before it with its name."""
    owner = controller_of(pod)
    if owner is None or (owner.kind, owner.name) != (job.KIND, job.name):
        return False
    return owner.uid in ("", job.metadata.uid)


# --- the numbers of an indexed Job's pods ---


def index_of(pod: Pod) -> int | None:
    return _index(pod.metadata.annotations.get(COMPLETION_INDEX, ""))


def _index(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None


def completed(text: str, completions: int | None) -> set[int | None]:
    """The numbers in `0-2,4`, which rise, as far as a Job has them: whoever may write its status may write any."""
    found: set[int | None] = set()
    after = 0
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        start, end = _index(first), _index(last or first)
        if start is not None and end is not None:
            numbers = range(max(start, after), min(end + 1, completions or 0))
            after = max(after, numbers.stop)
            found.update(numbers)
    return found


def ranges(numbers: set[int | None]) -> str:
    """{0, 1, 2, 4} as 0-2,4; two in a row stand apart."""
    parts: list[str] = []
    ordered = sorted(number for number in numbers if number is not None)
    for _, group in itertools.groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run)
    return ",".join(parts)
