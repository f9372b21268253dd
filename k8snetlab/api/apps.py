"""Kinds of the apps group, v1: Deployment and ReplicaSet."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from k8snetlab.api.core import Condition, PodTemplateSpec
from k8snetlab.api.meta import LabelSelector, Object, OrBlank, Value, always

Replicas = Annotated[int, Meta(ge=0, le=100_000)]


class WorkloadSpec(Value):
    replicas: Replicas = always(1)
    minReadySeconds: int = 0
    selector: LabelSelector = always(LabelSelector())
    template: PodTemplateSpec = always(PodTemplateSpec())


class WorkloadStatus(Value):
    replicas: int = 0
    readyReplicas: int = 0
    availableReplicas: int = 0
    updatedReplicas: int = 0
    unavailableReplicas: int = 0
    observedGeneration: int = 0
    conditions: tuple[Condition, ...] = ()


class ReplicaSetStatus(WorkloadStatus):
    replicas: int = always(0)
    fullyLabeledReplicas: int = 0


class RollingUpdate(Value):
    """How many pods there may be beyond `replicas`, or short of them, during an update: a number or a percentage
    ("25%")."""

    maxSurge: int | str = always("25%")
    maxUnavailable: int | str = always("25%")


class Strategy(Value):
    type: Annotated[Literal["RollingUpdate", "Recreate"], OrBlank] = always("RollingUpdate")
    rollingUpdate: RollingUpdate | None = None


class DeploymentSpec(WorkloadSpec):
    strategy: Strategy = always(Strategy())
    revisionHistoryLimit: int = always(10)
    progressDeadlineSeconds: int = always(600)
    paused: bool = False


class Deployment(Object):
    KIND: ClassVar[str] = "Deployment"
    API_VERSION: ClassVar[str] = "apps/v1"
    counted: ClassVar[bool] = True

    spec: DeploymentSpec = always(DeploymentSpec())
    status: WorkloadStatus = always(WorkloadStatus())


class ReplicaSet(Object):
    KIND: ClassVar[str] = "ReplicaSet"
    API_VERSION: ClassVar[str] = "apps/v1"
    counted: ClassVar[bool] = True

    spec: WorkloadSpec = always(WorkloadSpec())
    status: ReplicaSetStatus = always(ReplicaSetStatus())
