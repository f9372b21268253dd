"""StatefulSets: pods with names that stay, made, updated and given up one after the other.

Source: Kubernetes pkg/controller/statefulset (stateful_set_control.go, stateful_set_utils.go).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import Pod, PodTemplateSpec
from k8snetlab.api.selection import by_owner
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.volumes import PersistentVolumeClaimVolumeSource, Volume
from k8snetlab.api.workloads import REVISION_HASH, ControllerRevision, StatefulSet, StatefulSetStatus
from k8snetlab.controllers import revisions
from k8snetlab.controllers.availability import available
from k8snetlab.controllers.changes import (
    NOTHING,
    Answer,
    Context,
    active,
    due,
    each,
    owners_changed,
    put,
    record,
    remove,
)
from k8snetlab.controllers.correlation import Note
from k8snetlab.controllers.making import pod_of

COMPONENT = "statefulset-controller"
POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"


def reconcile(now: Snapshot, before: Snapshot | None, context: Context = NOTHING) -> Iterator[Answer]:
    keys = dict.fromkeys(
        (
            *owners_changed(StatefulSet, Pod, now, before),
            *owners_changed(StatefulSet, ControllerRevision, now, before),
        )
    )
    found = [one for key in keys if (one := now.all(StatefulSet).get(key)) and not one.metadata.deletionTimestamp]

    def work(obj: StatefulSet) -> Iterator[Answer]:
        return _Turn(obj, now, context).answers()

    yield from each(found, work, lambda one: one)


class _Turn:
    """One look at a StatefulSet: what is the next step to what it asks for."""

    def __init__(self, obj: StatefulSet, now: Snapshot, context: Context) -> None:
        self._obj, self._now = obj, now
        self._failure = context.failures.get((obj.KIND, *obj.key), "")
        self._history = revisions.history(obj, now)
        self._update = revisions.hash_of(self._history.now)
        current = obj.status.currentRevision
        held = self._history.named(current)
        self._current = revisions.hash_of(held) if held is not None else self._update
        self._pods: dict[int, Pod] = {}
        for pod in now.select(Pod, by_owner, (obj.KIND, *obj.key)).values():
            if (number := ordinal(pod, obj.name)) is not None:
                self._pods[number] = pod
        self._lasting = available(self._pods.values(), obj.spec.minReadySeconds, context.time)

    @property
    def _parallel(self) -> bool:
        return self._obj.spec.podManagementPolicy == "Parallel"

    def answers(self) -> Iterator[Answer]:
        yield from self._history.answers
        yield from due(self._obj, self._lasting.next)
        wanted = self._obj.ordinals
        if not (yield from self._made(wanted)) and not (yield from self._fewer(wanted)):
            yield from self._updated(wanted)
        status = self._status(wanted)
        if status != self._obj.status:
            yield put(replace(self._obj, status=status))
        used = {pod.metadata.labels.get(REVISION_HASH, "") for pod in self._pods.values()}
        limit = self._obj.spec.revisionHistoryLimit
        yield from revisions.forgotten(self._history, limit, {*used, self._current})

    def _made(self, wanted: range) -> Generator[Answer, None, bool]:
        """Makes what is missing, in order; returns whether there is something to wait for."""
        waits = False
        for number in wanted:
            pod = self._pods.get(number)
            if pod is not None and pod.ended and not pod.metadata.deletionTimestamp:
                yield from self._removed(pod)
                waits = True
            elif pod is None:
                if not self._failure:
                    yield from self._new(number)
                waits = True
            elif pod.name not in self._lasting.names or pod.metadata.deletionTimestamp:
                waits = True
            if waits and not self._parallel:
                return True
        return waits and not self._parallel

    def _new(self, number: int) -> Iterator[Answer]:
        obj, name = self._obj, f"{self._obj.name}-{number}"
        hash_ = self._revision_for(number)
        template = self._template(hash_)
        labels = {POD_NAME: name, POD_INDEX: str(number), REVISION_HASH: hash_}
        volumes = _with_claims(template.spec.volumes, obj, name)
        spec = replace(template.spec, hostname=name, subdomain=obj.spec.serviceName, volumes=volumes)
        pod = self._pods[number] = pod_of(obj, template, name, labels, spec=spec)
        yield put(pod)
        message = f"create Pod {name} in StatefulSet {obj.name} successful"
        yield record(pod, Note(obj, "Normal", "SuccessfulCreate", message, COMPONENT))

    def _fewer(self, wanted: range) -> Generator[Answer, None, bool]:
        """Gives up the pods that are too many, the highest first."""
        surplus = sorted((number for number in self._pods if number not in wanted), reverse=True)
        for number in surplus:
            pod = self._pods[number]
            if not pod.metadata.deletionTimestamp:
                yield from self._removed(pod)
            if not self._parallel:
                return True
        return bool(surplus)

    def _updated(self, wanted: range) -> Iterator[Answer]:
        """Lets go of one pod of an older revision, the highest first, when all above it are ready."""
        strategy = self._obj.spec.updateStrategy
        if strategy.type != "RollingUpdate":
            return
        first = wanted.start + self._partition
        for number in sorted((n for n in wanted if n >= first), reverse=True):
            pod = self._pods.get(number)
            if pod is None or pod.metadata.deletionTimestamp:
                return
            if pod.metadata.labels.get(REVISION_HASH) != self._update:
                yield from self._removed(pod)
                return
            if pod.name not in self._lasting.names:
                return

    def _removed(self, pod: Pod) -> Iterator[Answer]:
        yield from remove(pod, self._now)
        message = f"delete Pod {pod.name} in StatefulSet {self._obj.name} successful"
        yield record(pod, Note(self._obj, "Normal", "SuccessfulDelete", message, COMPONENT))

    @property
    def _partition(self) -> int:
        roll = self._obj.spec.updateStrategy.rollingUpdate
        return roll.partition if roll is not None else 0

    def _revision_for(self, number: int) -> str:
        """Pods below the partition are made as they were."""
        if self._obj.spec.updateStrategy.type == "OnDelete":
            return self._update
        start = self._obj.ordinals.start
        return self._current if number < start + self._partition else self._update

    def _template(self, hash_: str) -> PodTemplateSpec:
        revision = self._history.named(hash_)
        if hash_ == self._update or revision is None:
            return self._obj.spec.template
        try:
            return revisions.template_of(revision)
        except msgspec.ValidationError:  # somebody has written into it
            return self._obj.spec.template

    def _status(self, wanted: range) -> StatefulSetStatus:
        pods = [pod for number, pod in self._pods.items() if active(pod) or pod.metadata.deletionTimestamp]
        living = [pod for pod in pods if active(pod)]
        updated = sum(pod.metadata.labels.get(REVISION_HASH) == self._update for pod in living)
        ready = sum(pod.ready for pod in living)
        current = self._current
        whole = len(wanted)
        if updated == ready == len(pods) == whole:
            current = self._update
        names = {revisions.hash_of(one): one.name for one in self._history.all}
        return StatefulSetStatus(
            replicas=len(pods),
            availableReplicas=sum(pod.name in self._lasting.names for pod in living),
            observedGeneration=self._obj.metadata.generation,
            readyReplicas=ready,
            currentReplicas=sum(pod.metadata.labels.get(REVISION_HASH) == current for pod in living),
            updatedReplicas=updated,
            currentRevision=names.get(current, ""),
            updateRevision=self._history.now.name,
            collisionCount=0,
            conditions=self._obj.status.conditions,
        )


def _with_claims(volumes: tuple[Volume, ...], obj: StatefulSet, pod: str) -> tuple[Volume, ...]:
    """With one for each of its volumeClaimTemplates, whose claim is TEMPLATE-POD; it goes before another of the name.

    Source: Kubernetes pkg/controller/statefulset/stateful_set_utils.go (updateStorage).
    """
    names = [
        name
        for one in obj.spec.volumeClaimTemplates
        if isinstance(metadata := one.get("metadata"), dict) and isinstance(name := metadata.get("name"), str)
    ]
    claims = [PersistentVolumeClaimVolumeSource(claimName=f"{name}-{pod}") for name in names]
    made = tuple(Volume(name=n, persistentVolumeClaim=claim) for n, claim in zip(names, claims, strict=True))
    return made + tuple(volume for volume in volumes if volume.name not in names)


def ordinal(pod: Pod, name: str) -> int | None:
    """The number in a pod's name; None where it has none of the set's."""
    match = re.fullmatch(rf"{re.escape(name)}-([0-9]{{1,9}})", pod.name)
    return int(match[1]) if match else None
