"""Kinds of rbac.authorization.k8s.io/v1: who may do what, in a namespace or everywhere.

Source: Kubernetes API reference, rbac/v1.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from k8snetlab.api.meta import LabelSelector, Object, Value, always

GROUP = "rbac.authorization.k8s.io"
VERSION = f"{GROUP}/v1"
ALL = "*"


class PolicyRule(Value):
    """What is allowed: `verbs` on `resources` of `apiGroups` (of those names alone, where there are `resourceNames`),
    or on paths that are none of a resource. "*" is all of them, and at the end of a path whatever follows."""

    verbs: tuple[str, ...] = always(())
    apiGroups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resourceNames: tuple[str, ...] = ()
    nonResourceURLs: tuple[str, ...] = ()


class AggregationRule(Value):
    """`rules` are those of the ClusterRoles that one of these selects."""

    clusterRoleSelectors: tuple[LabelSelector, ...] = ()


class RoleRef(Value):
    kind: str = always("")
    name: str = always("")
    apiGroup: str = always("")


class Subject(Value):
    """A User or Group by name, or a ServiceAccount of a namespace."""

    kind: str = always("")
    name: str = always("")
    apiGroup: str = ""
    namespace: str = ""


class Role(Object):
    KIND: ClassVar[str] = "Role"
    API_VERSION: ClassVar[str] = VERSION

    rules: tuple[PolicyRule, ...] = always(())


class ClusterRole(Object):
    KIND: ClassVar[str] = "ClusterRole"
    API_VERSION: ClassVar[str] = VERSION
    namespaced: ClassVar[bool] = False

    rules: tuple[PolicyRule, ...] = always(())
    aggregationRule: AggregationRule | None = None


class RoleBinding(Object):
    """Gives its subjects a Role, or a ClusterRole as far as its own namespace."""

    KIND: ClassVar[str] = "RoleBinding"
    API_VERSION: ClassVar[str] = VERSION

    subjects: tuple[Subject, ...] = ()
    roleRef: RoleRef = always(RoleRef())


class ClusterRoleBinding(Object):
    KIND: ClassVar[str] = "ClusterRoleBinding"
    API_VERSION: ClassVar[str] = VERSION
    namespaced: ClassVar[bool] = False

    subjects: tuple[Subject, ...] = ()
    roleRef: RoleRef = always(RoleRef())


RBAC = (Role, RoleBinding, ClusterRole, ClusterRoleBinding)


def with_rbac_defaults(obj: RoleBinding | ClusterRoleBinding) -> Object:
    """A binding with the group of what it refers to, where that is left out."""
    subjects = tuple(
        replace(one, apiGroup=GROUP) if one.kind in ("User", "Group") and not one.apiGroup else one
        for one in obj.subjects
    )
    reference = obj.roleRef if obj.roleRef.apiGroup else replace(obj.roleRef, apiGroup=GROUP)
    return replace(obj, subjects=subjects, roleRef=reference)
