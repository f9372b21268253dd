"""Lease of coordination.k8s.io/v1, and PriorityClass of scheduling.k8s.io/v1.

Source: Kubernetes API reference, coordination/v1 and scheduling/v1.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from k8snetlab.api.meta import Object, OrBlank, Value, always

NODE_LEASES = "kube-node-lease"
"""Namespace of the Leases by which nodes tell that they live."""
SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""Values of the PriorityClasses that each cluster has."""
HIGHEST = 1_000_000_000
"""The largest value of any other."""


class LeaseSpec(Value):
    """Times are RFC 3339 with microseconds."""

    holderIdentity: str | None = None
    leaseDurationSeconds: int | None = None
    acquireTime: str | None = None
    renewTime: str | None = None
    leaseTransitions: int | None = None
    strategy: str | None = None
    preferredHolder: str | None = None


class Lease(Object):
    """Who holds something, and since when. It is renewed again and again, and nothing follows from that."""

    KIND: ClassVar[str] = "Lease"
    API_VERSION: ClassVar[str] = "coordination.k8s.io/v1"
    REPORTS: ClassVar[bool] = True

    spec: LeaseSpec = always(LeaseSpec())


class PriorityClass(Object):
    """The priority of pods that name it."""

    KIND: ClassVar[str] = "PriorityClass"
    API_VERSION: ClassVar[str] = "scheduling.k8s.io/v1"
    namespaced: ClassVar[bool] = False
    counted: ClassVar[bool] = True

    value: int = always(0)
    globalDefault: bool = False
    description: str = ""
    preemptionPolicy: Annotated[Literal["PreemptLowerPriority", "Never"], OrBlank] = always("PreemptLowerPriority")
