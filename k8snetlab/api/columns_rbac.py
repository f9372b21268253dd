"""The columns of rbac.authorization.k8s.io/v1.

Source: Kubernetes pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from collections.abc import Callable

from k8snetlab.api.cells import AGE, NAME, Column
from k8snetlab.api.meta import Object
from k8snetlab.api.rbac import ClusterRole, ClusterRoleBinding, Role, RoleBinding


def _subjects(kind: str) -> Callable[[RoleBinding | ClusterRoleBinding], str]:
    def cell(binding: RoleBinding | ClusterRoleBinding) -> str:
        return ", ".join(
            f"{one.namespace}/{one.name}" if kind == "ServiceAccount" else one.name
            for one in binding.subjects
            if one.kind == kind
        )

    return cell


_CREATED = Column("Created At", lambda role: role.metadata.creationTimestamp or "")
_BINDING = (
    NAME,
    Column("Role", lambda b: f"{b.roleRef.kind}/{b.roleRef.name}"),
    AGE,
    Column("Users", _subjects("User"), wide=True),
    Column("Groups", _subjects("Group"), wide=True),
    Column("ServiceAccounts", _subjects("ServiceAccount"), wide=True),
)
COLUMNS: dict[type[Object], tuple[Column, ...]] = {
    Role: (NAME, _CREATED),
    ClusterRole: (NAME, _CREATED),
    RoleBinding: _BINDING,
    ClusterRoleBinding: _BINDING,
}
