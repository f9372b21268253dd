"""Jobs: pods that run to their end, as many as are to succeed.

Every pod is counted once, and may be deleted then (`job_tracking`).
Source: Kubernetes pkg/controller/job (job_controller.go, indexed_job_utils.go).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api.ages import moment
from k8snetlab.api.core import Condition, EnvVar, Pod, PodSpec
from k8snetlab.api.selection import by_owner
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workloads import COMPLETION_INDEX, Job, JobStatus
from k8snetlab.controllers import job_tracking
from k8snetlab.controllers.changes import (
    MOMENT,
    NOTHING,
    Answer,
    Context,
    active,
    due,
    each,
    owners_changed,
    put,
    record,
    released,
    remove,
    with_condition,
)
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.identity import names
from k8snetlab.controllers.job_backoff import resumes
from k8snetlab.controllers.job_tracking import (
    TRACKING,
    completed,
    index_of,
    is_of,
    ranges,
    replaces_ended_only,
    terminating,
)
from k8snetlab.controllers.making import pod_of

COMPONENT = "job-controller"
REACHED = "Reached expected number of succeeded pods"
EXCEEDED = "Job has reached the specified backoff limit"
TOO_LONG = "Job was active longer than specified deadline"


def reconcile(now: Snapshot, before: Snapshot | None, context: Context = NOTHING) -> Iterator[Answer]:
    keys = dict.fromkeys(owners_changed(Job, Pod, now, before))
    found = [one for key in keys if (one := now.all(Job).get(key)) and not one.metadata.deletionTimestamp]
    yield from job_tracking.orphans(now, before, keys)

    def work(obj: Job) -> Iterator[Answer]:
        return _Turn(obj, now, context).answers()

    yield from each(found, work, lambda one: one)


class _Turn:
    """One look at a Job and its pods."""

    def __init__(self, job: Job, now: Snapshot, context: Context) -> None:
        self._job, self._now, self._time = job, now, context.time
        self._failure = context.failures.get((job.KIND, *job.key), "")
        named = now.select(Pod, by_owner, (job.KIND, *job.key)).values()
        self._pods = [pod for pod in named if is_of(pod, job)]
        self._living = [pod for pod in self._pods if active(pod)]
        self._leaving = terminating(self._pods)
        done = {index_of(pod) for pod in self._pods if pod.status.phase == "Succeeded"}
        had = completed(job.status.completedIndexes, job.spec.completions)
        self._indexes = had | {one for one in done if one is not None and one < (job.spec.completions or 0)}
        self._tracked = job_tracking.Tracked.of(job, self._pods, context.stored or now)
        self._succeeded = len(self._indexes) if self._indexed else self._tracked.succeeded
        self._failed = self._tracked.failed

    @property
    def _indexed(self) -> bool:
        return self._job.spec.completionMode == "Indexed"

    def answers(self) -> Iterator[Answer]:
        job, status = self._job, self._job.status
        yield from map(put, self._tracked.released)
        yield from (put(job_tracking.kept(pod)) for pod in self._living if TRACKING not in pod.metadata.finalizers)
        if job.over:
            yield from self._ended()
        elif why := self._exceeded:
            status = self._with(status, "FailureTarget", why)
            yield from self._ended(counted=True)
            if self._settled:
                status = self._with(status, "Failed", why)
                yield record(job, Note(job, "Warning", *why, COMPONENT))
        elif self._complete:
            reached = "CompletionsReached", REACHED
            status = self._with(status, "SuccessCriteriaMet", reached)
            yield from self._ended()
            if self._settled:
                status = replace(self._with(status, "Complete", reached), completionTime=MOMENT)
                yield record(job, Note(job, "Normal", "Completed", "Job completed", COMPONENT))
        elif job.spec.suspend:
            condition = Condition(type="Suspended", status="True", reason="JobSuspended", message="Job suspended")
            status = replace(status, conditions=with_condition(status.conditions, condition), startTime=None)
            yield from self._ended()
        else:
            status = self._resumed(status)
            yield from self._adjusted()
            yield from due(job, self._deadline)
        status = replace(
            status,
            active=len(self._living),
            ready=sum(pod.ready for pod in self._living),
            terminating=len(self._leaving),
            succeeded=self._succeeded if self._indexed else self._tracked.counted_succeeded,
            failed=self._tracked.counted_failed,
            completedIndexes=ranges(self._indexes) if self._indexed else "",
            uncountedTerminatedPods=self._tracked.uncounted,
        )
        if status != job.status:
            yield put(replace(job, status=status))

    @property
    def _settled(self) -> bool:
        """Whether every pod that has ended is counted, and none is ending still."""
        held = any(TRACKING in pod.metadata.finalizers for pod in self._pods)
        return not (held or self._leaving or self._tracked.uncounted)

    @property
    def _exceeded(self) -> tuple[str, str] | None:
        """Why it has failed: reason and message."""
        if self._often:
            return "BackoffLimitExceeded", EXCEEDED
        late = self._deadline is not None and self._deadline <= self._time
        return ("DeadlineExceeded", TOO_LONG) if late and not self._job.spec.suspend else None

    @property
    def _deadline(self) -> float | None:
        """When it has been at work for too long, in seconds since 1970."""
        seconds, start = self._job.spec.activeDeadlineSeconds, moment(self._job.status.startTime)
        return None if seconds is None or start is None else start + seconds

    @property
    def _often(self) -> bool:
        restarts = 0
        if self._job.spec.template.spec.restartPolicy == "OnFailure":
            statuses = [one for pod in self._living for one in pod.status.containerStatuses]
            restarts = sum(one.restartCount for one in statuses)
            if restarts and restarts >= self._job.spec.backoffLimit:
                return True
        return self._failed > self._job.spec.backoffLimit

    @property
    def _complete(self) -> bool:
        wanted = self._job.spec.completions
        if wanted is not None:
            return self._succeeded >= wanted
        return bool(self._succeeded) and not self._living

    def _resumed(self, status: JobStatus) -> JobStatus:
        conditions = status.conditions
        if any(one.type == "Suspended" and one.status == "True" for one in conditions):
            resumed = Condition(type="Suspended", status="False", reason="JobResumed", message="Job resumed")
            conditions = with_condition(conditions, resumed)
        return replace(status, conditions=conditions, startTime=status.startTime or MOMENT)

    def _with(self, status: JobStatus, type_: str, why: tuple[str, str]) -> JobStatus:
        condition = Condition(type=type_, status="True", reason=why[0], message=why[1])
        conditions = with_condition(status.conditions, condition)
        return replace(status, conditions=conditions, startTime=status.startTime or MOMENT)

    def _ended(self, counted: bool = False) -> Iterator[Answer]:
        """Takes away what still runs; `counted`: as failed."""
        for pod in self._living:
            yield from self._removed(pod, counted)
        self._living = []

    def _removed(self, pod: Pod, counted: bool = False) -> Iterator[Answer]:
        yield from remove(pod if counted else released(pod, TRACKING), self._now)
        yield record(pod, Note(self._job, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.name}", COMPONENT))

    def _adjusted(self) -> Iterator[Answer]:
        """Makes or takes away pods until as many run as may."""
        spec = self._job.spec
        wanted = spec.parallelism if spec.parallelism is not None else 1
        if spec.completions is not None:
            wanted = min(wanted, max(0, spec.completions - self._succeeded))
        elif self._succeeded:
            wanted = min(wanted, len(self._living))
        dispensable = sorted(self._living, key=lambda one: (index_of(one) not in self._indexes, one.ready))
        for pod in dispensable[: max(0, len(self._living) - wanted)]:
            yield from self._removed(pod)
            self._living.remove(pod)
        missing = max(0, wanted - len(self._living) - len(self._awaited))
        if missing and (again := resumes(self._pods)) > self._time:
            yield from due(self._job, again)
        elif not self._failure:
            yield from self._made(missing)

    @property
    def _awaited(self) -> list[Pod]:
        """Pods on their way out that hold their place until they have ended."""
        return self._leaving if replaces_ended_only(self._job) else []

    def _made(self, count: int) -> Iterator[Answer]:
        job = self._job
        busy = {index_of(pod) for pod in (*self._living, *self._awaited)}
        free_indexes = (n for n in itertools.count() if n not in self._indexes and n not in busy)
        stored = self._now.all(Pod)
        taken: set[str] = set()
        for _ in range(count):
            index = next(free_indexes) if self._indexed else None
            base = job.name if index is None else f"{job.name}-{index}"
            name = next(one for one in names(base) if (job.namespace, one) not in stored and one not in taken)
            taken.add(name)
            pod = self._pod(name, index)
            self._living.append(pod)
            yield put(pod)
            yield record(pod, Note(job, "Normal", "SuccessfulCreate", f"Created pod: {name}", COMPONENT))

    def _pod(self, name: str, index: int | None) -> Pod:
        template = self._job.spec.template
        if index is None:
            return job_tracking.kept(pod_of(self._job, template, name, {}))
        mark = {COMPLETION_INDEX: str(index)}
        pod = pod_of(self._job, template, name, mark, spec=_indexed(template.spec, self._job.name, index))
        annotations = {**pod.metadata.annotations, **mark}
        return job_tracking.kept(replace(pod, metadata=replace(pod.metadata, annotations=annotations)))


def _indexed(spec: PodSpec, job: str, index: int) -> PodSpec:
    """The spec of the pod with that number: its host's name and its environment have it."""
    variable = EnvVar(name="JOB_COMPLETION_INDEX", value=str(index))
    containers = tuple(replace(one, env=(*one.env, variable)) for one in spec.containers)
    return replace(spec, containers=containers, hostname=f"{job}-{index}")
