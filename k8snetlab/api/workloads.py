"""Kinds that make pods, beside Deployments and ReplicaSets: DaemonSet, StatefulSet, ReplicationController, Job; and
ControllerRevision, which keeps what the first two were before.

Source: Kubernetes API reference, apps/v1, batch/v1, core/v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from k8snetlab.api.apps import Deployment, Replicas, ReplicaSet
from k8snetlab.api.core import Condition, PodTemplateSpec
from k8snetlab.api.meta import LabelSelector, Object, OrBlank, Value, always

StrategyType = Annotated[Literal["RollingUpdate", "OnDelete"], OrBlank]
Retention = Annotated[Literal["Retain", "Delete"], OrBlank]
CONTROLLER_UID, JOB_NAME, COMPLETION_INDEX = (
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
)
"""Labels of a Job's pods."""
REVISION_HASH = "controller-revision-hash"
"""Label of a pod: the ControllerRevision that it was made of."""


class ControllerRevision(Object):
    """`data` is the patch that makes an object what it was; `revision` grows with each change."""

    KIND: ClassVar[str] = "ControllerRevision"
    API_VERSION: ClassVar[str] = "apps/v1"

    data: Mapping[str, Any] = {}
    revision: int = always(0)


# --- DaemonSet --------------------------------------------------------------------------------------------------------


class RollingUpdateDaemonSet(Value):
    maxUnavailable: int | str = always(1)
    maxSurge: int | str = always(0)


class DaemonSetUpdateStrategy(Value):
    type: StrategyType = always("RollingUpdate")
    rollingUpdate: RollingUpdateDaemonSet | None = None


class DaemonSetSpec(Value):
    selector: LabelSelector = always(LabelSelector())
    template: PodTemplateSpec = always(PodTemplateSpec())
    updateStrategy: DaemonSetUpdateStrategy = always(DaemonSetUpdateStrategy())
    minReadySeconds: int = 0
    revisionHistoryLimit: int = always(10)


class DaemonSetStatus(Value):
    currentNumberScheduled: int = always(0)
    numberMisscheduled: int = always(0)
    desiredNumberScheduled: int = always(0)
    numberReady: int = always(0)
    observedGeneration: int = 0
    updatedNumberScheduled: int = 0
    numberAvailable: int = 0
    numberUnavailable: int = 0
    collisionCount: int | None = None
    conditions: tuple[Condition, ...] = ()


class DaemonSet(Object):
    KIND: ClassVar[str] = "DaemonSet"
    API_VERSION: ClassVar[str] = "apps/v1"
    counted: ClassVar[bool] = True

    spec: DaemonSetSpec = always(DaemonSetSpec())
    status: DaemonSetStatus = always(DaemonSetStatus())


# --- StatefulSet ------------------------------------------------------------------------------------------------------


class RollingUpdateStatefulSetStrategy(Value):
    """Pods whose number is less than `partition` stay as they were."""

    partition: int = always(0)
    maxUnavailable: int | str | None = None


class StatefulSetUpdateStrategy(Value):
    type: StrategyType = always("RollingUpdate")
    rollingUpdate: RollingUpdateStatefulSetStrategy | None = None


class StatefulSetOrdinals(Value):
    start: int = always(0)


class RetentionPolicy(Value):
    """Of volume claims, of which a lab has none. The API's StatefulSetPersistentVolumeClaimRetentionPolicy."""

    whenDeleted: Retention = always("Retain")
    whenScaled: Retention = always("Retain")


class StatefulSetSpec(Value):
    replicas: Replicas = always(1)
    selector: LabelSelector = always(LabelSelector())
    template: PodTemplateSpec = always(PodTemplateSpec())
    volumeClaimTemplates: tuple[Mapping[str, Any], ...] = ()
    serviceName: str = always("")
    podManagementPolicy: Annotated[Literal["OrderedReady", "Parallel"], OrBlank] = always("OrderedReady")
    updateStrategy: StatefulSetUpdateStrategy = always(StatefulSetUpdateStrategy())
    revisionHistoryLimit: int = always(10)
    minReadySeconds: int = 0
    persistentVolumeClaimRetentionPolicy: RetentionPolicy = always(RetentionPolicy())
    ordinals: StatefulSetOrdinals | None = None


class StatefulSetStatus(Value):
    replicas: int = always(0)
    availableReplicas: int = always(0)
    observedGeneration: int = 0
    readyReplicas: int = 0
    currentReplicas: int = 0
    updatedReplicas: int = 0
    currentRevision: str = ""
    updateRevision: str = ""
    collisionCount: int | None = None
    conditions: tuple[Condition, ...] = ()


class StatefulSet(Object):
    KIND: ClassVar[str] = "StatefulSet"
    API_VERSION: ClassVar[str] = "apps/v1"
    counted: ClassVar[bool] = True

    spec: StatefulSetSpec = always(StatefulSetSpec())
    status: StatefulSetStatus = always(StatefulSetStatus())

    @property
    def ordinals(self) -> range:
        """The numbers of the pods that it is to have."""
        start = self.spec.ordinals.start if self.spec.ordinals else 0
        return range(start, start + self.spec.replicas)


# --- ReplicationController --------------------------------------------------------------------------------------------


class ReplicationControllerSpec(Value):
    replicas: Replicas = always(1)
    minReadySeconds: int = 0
    selector: Mapping[str, str] = {}
    template: PodTemplateSpec = always(PodTemplateSpec())


class ReplicationControllerStatus(Value):
    replicas: int = always(0)
    fullyLabeledReplicas: int = 0
    readyReplicas: int = 0
    availableReplicas: int = 0
    observedGeneration: int = 0
    conditions: tuple[Condition, ...] = ()


class ReplicationController(Object):
    KIND: ClassVar[str] = "ReplicationController"
    API_VERSION: ClassVar[str] = "v1"
    counted: ClassVar[bool] = True

    spec: ReplicationControllerSpec = always(ReplicationControllerSpec())
    status: ReplicationControllerStatus = always(ReplicationControllerStatus())


# --- Job --------------------------------------------------------------------------------------------------------------


class JobSpec(Value):
    """Without `completions` any pod that succeeds ends it."""

    parallelism: Annotated[int, Meta(ge=0)] | None = None
    completions: Annotated[int, Meta(ge=0)] | None = None
    activeDeadlineSeconds: int | None = None
    backoffLimit: int = always(6)
    selector: LabelSelector | None = None
    manualSelector: bool | None = None
    template: PodTemplateSpec = always(PodTemplateSpec())
    ttlSecondsAfterFinished: int | None = None
    completionMode: Annotated[Literal["NonIndexed", "Indexed"], OrBlank] = always("NonIndexed")
    suspend: bool = always(False)
    podReplacementPolicy: Annotated[Literal["TerminatingOrFailed", "Failed"], OrBlank] = always("TerminatingOrFailed")


class JobStatus(Value):
    """`completedIndexes` of an indexed Job: 0-2,4."""

    conditions: tuple[Condition, ...] = ()
    startTime: str | None = None
    completionTime: str | None = None
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    terminating: int | None = None
    ready: int | None = None
    completedIndexes: str = ""
    uncountedTerminatedPods: Mapping[str, Any] | None = None


class Job(Object):
    KIND: ClassVar[str] = "Job"
    API_VERSION: ClassVar[str] = "batch/v1"
    counted: ClassVar[bool] = True

    spec: JobSpec = always(JobSpec())
    status: JobStatus = always(JobStatus())

    @property
    def over(self) -> bool:
        return any(one.type in ("Complete", "Failed") and one.status == "True" for one in self.status.conditions)


Workload = Deployment | ReplicaSet | DaemonSet | StatefulSet | ReplicationController | Job
"""Every kind that makes pods of a template."""
MAKERS: tuple[type[Object], ...] = (Deployment, ReplicaSet, DaemonSet, StatefulSet, ReplicationController, Job)
Replicated = Deployment | ReplicaSet | StatefulSet | ReplicationController
"""Those that say how many."""
