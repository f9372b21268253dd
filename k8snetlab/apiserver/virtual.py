"""Which kinds are asked and answered and never stored. Pure."""

from __future__ import annotations

import msgspec


class Virtual(msgspec.Struct, frozen=True):
    """`version` is group and version. Most can be created alone, most of them in no namespace; one that is `mine` every
    user may ask for."""

    version: str
    plural: str
    kind: str
    namespaced: bool = False
    mine: bool = False
    verbs: tuple[str, ...] = ("create",)

    @property
    def path(self) -> str:
        return f"/apis/{self.version}/{self.plural}"


VIRTUAL = (
    Virtual("authentication.k8s.io/v1", "selfsubjectreviews", "SelfSubjectReview", mine=True),
    Virtual("authentication.k8s.io/v1", "tokenreviews", "TokenReview"),
    Virtual("authorization.k8s.io/v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", namespaced=True),
    Virtual("authorization.k8s.io/v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", mine=True),
    Virtual("authorization.k8s.io/v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", mine=True),
    Virtual("authorization.k8s.io/v1", "subjectaccessreviews", "SubjectAccessReview"),
)
UNSERVED = (
    Virtual("metrics.k8s.io/v1beta1", "nodes", "NodeMetrics", verbs=()),
    Virtual("metrics.k8s.io/v1beta1", "pods", "PodMetrics", namespaced=True, verbs=()),
    Virtual("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", namespaced=True, verbs=()),
)
"""Told of although nothing can be done with them: who is to evict pods looks for policy/v1, and `kubectl top` asks, and
is told why there is nothing (`paths.ABSENT`), where it finds metrics.k8s.io. Without a resource a version is kept by no
client: each kubectl would ask what there is anew, which takes longer than its question."""


def reviewed(path: str) -> tuple[Virtual, str] | None:
    """Which of them a path is for, and in which namespace."""
    head, _, rest = path.rstrip("/").partition("/namespaces/")
    if not rest:
        found = next((one for one in VIRTUAL if not one.namespaced and one.path == head), None)
        return (found, "") if found else None
    namespace, _, plural = rest.partition("/")
    found = next((one for one in VIRTUAL if one.namespaced and one.path == f"{head}/{plural}"), None)
    return (found, namespace) if found and namespace else None
