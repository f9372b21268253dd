"""How many pods each ReplicaSet of a Deployment is to have when the Deployment's number changes.

While it is rolled out, or held on its way, the difference goes to all of its ReplicaSets in proportion to their sizes.

Source: Kubernetes pkg/controller/deployment (scale and isScalingEvent of sync.go, and util: GetReplicaSetProportion,
SetReplicasAnnotations, ResolveFenceposts).
"""

from __future__ import annotations

from math import floor

from msgspec.structs import replace

from k8snetlab.api.apps import Deployment, DeploymentSpec, ReplicaSet, RollingUpdate

DESIRED, MOST = "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas"
"""Annotations of a ReplicaSet: how many pods its Deployment was to have when it was scaled last, without and with the
surge."""


def fenceposts(spec: DeploymentSpec) -> tuple[int, int]:
    """How many pods a rolling update may have too many, and how many too few."""
    roll = spec.strategy.rollingUpdate or RollingUpdate()
    surge, unavailable = (share(limit, spec.replicas) for limit in (roll.maxSurge, roll.maxUnavailable))
    # Percentages of few pods may both come to nothing, with which no update would ever move.
    return (-(-surge // 100), unavailable // 100) if surge >= 1 or unavailable >= 100 else (0, 1)


def share(limit: int | str, replicas: int) -> int:
    """A number of pods, or a percentage of all, in hundredths of a pod, to be rounded up or down."""
    return limit * 100 if isinstance(limit, int) else int(limit.removesuffix("%")) * replicas


def sized(rs: ReplicaSet, replicas: int, spec: DeploymentSpec) -> ReplicaSet:
    """The ReplicaSet with that many pods; with a new number it says what its Deployment of that `spec` asked for."""
    return rs if rs.spec.replicas == replicas else _told(replace(rs, spec=replace(rs.spec, replicas=replicas)), spec)


def is_scaling(deployment: Deployment, sets: list[ReplicaSet]) -> bool:
    """Whether the Deployment's number has changed since its ReplicaSets got theirs."""
    return any(rs.spec.replicas and _number(rs, DESIRED) not in (None, deployment.spec.replicas) for rs in sets)


def scaled(deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None) -> list[ReplicaSet]:
    """Its ReplicaSets, oldest first, with the numbers that the Deployment's asks for; `new` is the one of today's
    template, where it is there."""
    spec = deployment.spec
    alive = [rs for rs in sets if rs.spec.replicas]
    only = alive[0] if len(alive) == 1 else (new or (sets[-1] if sets else None)) if not alive else None
    sizes: dict[str, int] = {}
    if only is not None:
        sizes = {only.name: spec.replicas}
    elif new is not None and _is_full(new, spec):
        sizes = {rs.name: 0 for rs in alive if rs.name != new.name}
    elif alive and spec.strategy.type == "RollingUpdate":
        sizes = _proportional(deployment, alive)
    return [_told(sized(rs, sizes[rs.name], spec), spec) if rs.name in sizes else rs for rs in sets]


def _is_full(new: ReplicaSet, spec: DeploymentSpec) -> bool:
    """Whether a rollout is over but for the old pods."""
    return new.spec.replicas == spec.replicas == _number(new, DESIRED) and new.status.availableReplicas == spec.replicas


def _proportional(deployment: Deployment, alive: list[ReplicaSet]) -> dict[str, int]:
    spec = deployment.spec
    room = (spec.replicas + fenceposts(spec)[0]) if spec.replicas else 0
    missing = left = room - sum(rs.spec.replicas for rs in alive)
    # Of two of one size the newer grows first, and the older shrinks first.
    newest_first = alive[::-1] if missing > 0 else alive
    ordered = sorted(newest_first, key=lambda rs: -rs.spec.replicas)
    sizes = {}
    for rs in ordered:
        part = _part(rs, deployment) if left else 0
        part = min(part, left) if missing > 0 else max(part, left)
        sizes[rs.name] = rs.spec.replicas + part
        left -= part
    largest = ordered[0].name
    sizes[largest] = max(0, sizes[largest] + left)
    return sizes


def _part(rs: ReplicaSet, deployment: Deployment) -> int:
    """What a ReplicaSet gains, or loses, by its own size."""
    spec, size = deployment.spec, rs.spec.replicas
    if not spec.replicas:
        return -size
    most = spec.replicas + _surge(spec)
    before = _number(rs, MOST) or deployment.status.replicas
    return floor(size * most / before + 0.5) - size if before else 0


def _surge(spec: DeploymentSpec) -> int:
    return fenceposts(spec)[0] if spec.strategy.type == "RollingUpdate" else 0


def _told(rs: ReplicaSet, spec: DeploymentSpec) -> ReplicaSet:
    says = {DESIRED: str(spec.replicas), MOST: str(spec.replicas + _surge(spec))}
    both = {**rs.metadata.annotations, **says}
    return rs if both == rs.metadata.annotations else replace(rs, metadata=replace(rs.metadata, annotations=both))


def _number(rs: ReplicaSet, annotation: str) -> int | None:
    text = rs.metadata.annotations.get(annotation, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None
