"""Kinds of the apps group, v1: Deployment and ReplicaSet."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from k8snetlab.api.core import PodTemplateSpec
from k8snetlab.api.meta import LabelSelector, Object, Value

Replicas = Annotated[int, Meta(ge=0, le=100_000)]


class WorkloadSpec(Value):
    replicas: Replicas = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()


class WorkloadStatus(Value):
    replicas: int = 0
    readyReplicas: int = 0
    availableReplicas: int = 0
    updatedReplicas: int = 0
    observedGeneration: int = 0


class RollingUpdate(Value):
    """How many pods, or how many of a hundred ("25%"), there may be too many or too few meanwhile."""

    maxSurge: int | str = "25%"
    maxUnavailable: int | str = "25%"


class Strategy(Value):
    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rollingUpdate: RollingUpdate | None = None


class DeploymentSpec(WorkloadSpec):
    strategy: Strategy = Strategy()


class Deployment(Object):
    KIND: ClassVar[str] = "Deployment"
    API_VERSION: ClassVar[str] = "apps/v1"

    spec: DeploymentSpec = DeploymentSpec()
    status: WorkloadStatus = WorkloadStatus()


class ReplicaSet(Object):
    KIND: ClassVar[str] = "ReplicaSet"
    API_VERSION: ClassVar[str] = "apps/v1"

    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()
