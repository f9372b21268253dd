"""Which kinds are asked and answered and never stored. Pure."""

from __future__ import annotations

import msgspec


class Virtual(msgspec.Struct, frozen=True):
    """`version` is group and version. All of them are in no namespace, and can be created alone."""

    version: str
    plural: str
    kind: str

    @property
    def path(self) -> str:
        return f"/apis/{self.version}/{self.plural}"


VIRTUAL = (
    Virtual("authentication.k8s.io/v1", "selfsubjectreviews", "SelfSubjectReview"),
    Virtual("authorization.k8s.io/v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    Virtual("authorization.k8s.io/v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
)
EMPTY = ("policy/v1",)
"""Groups and versions that are told of although nothing of them is stored: who is to evict pods looks for this one."""
AT = {virtual.path: virtual for virtual in VIRTUAL}
"""Them by path."""
