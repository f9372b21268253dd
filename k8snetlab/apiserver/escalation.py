"""Nobody gives away what he does not have: roles and bindings are looked at before they are stored.

Source: Kubernetes pkg/registry/rbac (clusterrole/policybased/storage.go, helpers.go, escalation_check.go).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from k8snetlab.api.meta import Object
from k8snetlab.api.rbac import GROUP, RBAC, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding
from k8snetlab.api.scheme import resource_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.apiserver import rbac
from k8snetlab.apiserver.access import MASTERS, User
from k8snetlab.apiserver.authorization import Attributes, allowed
from k8snetlab.errors import ForbiddenError

EVERYTHING = (
    PolicyRule(verbs=("*",), apiGroups=("*",), resources=("*",)),
    PolicyRule(verbs=("*",), nonResourceURLs=("*",)),
)
"""What a role may come to that is the sum of others."""
NOT_ENFORCED = "RBAC is stored, and not enforced: the Lab says so with spec.api.rbac: true"


def guard(user: User, now: Callable[[], Snapshot], new: Object, old: Object | None) -> Sequence[str]:
    """What is to be warned of. Raises ForbiddenError, in an API server's words."""
    if not isinstance(new, RBAC):
        return ()
    snapshot = now()
    if not snapshot.lab.spec.api.rbac:
        return (NOT_ENFORCED,)
    if MASTERS in user.groups or _only_for_deletion(new, old):
        return ()
    if isinstance(new, Role | ClusterRole):
        _role(user, snapshot, new, old)
    else:
        _binding(user, snapshot, new)
    return ()


def _only_for_deletion(new: Object, old: Object | None) -> bool:
    """Whether nothing changes but what a garbage collector changes (helpers.go, IsOnlyMutatingGCFields)."""
    if old is None:
        return False
    kept = {field: getattr(old.metadata, field) for field in ("ownerReferences", "finalizers", "managedFields")}
    return replace(new, metadata=replace(new.metadata, **kept)) == old


def _role(user: User, snapshot: Snapshot, new: Role | ClusterRole, old: Object | None) -> None:
    plural = resource_of(new).plural
    if allowed(user, Attributes("escalate", GROUP, plural, "", new.namespace, new.name), snapshot):
        return
    _check(user, snapshot, new, new.rules)
    sums = (one.aggregationRule for one in (new, old) if isinstance(one, ClusterRole))
    if any(one is not None for one in sums) and rbac.uncovered(_owned(user, snapshot, new), EVERYTHING):
        raise _forbidden(new, "must have cluster-admin privileges to use the aggregationRule")


def _binding(user: User, snapshot: Snapshot, new: RoleBinding | ClusterRoleBinding) -> None:
    plural = "roles" if new.roleRef.kind == "Role" else "clusterroles"
    if allowed(user, Attributes("bind", GROUP, plural, "", new.namespace, new.roleRef.name), snapshot):
        return
    rules = rbac.rules_of(new.roleRef, new.namespace, snapshot)
    if rules is None:
        error = ForbiddenError(f'{plural}.{GROUP} "{new.roleRef.name}" not found')
        error.status, error.reason, error.about = 404, "NotFound", (GROUP, plural, new.roleRef.name)
        raise error
    _check(user, snapshot, new, rules)


def _check(user: User, snapshot: Snapshot, obj: Object, rules: Sequence[PolicyRule]) -> None:
    if lacking := rbac.uncovered(_owned(user, snapshot, obj), rules):
        groups = " ".join(rbac.quoted(group) for group in user.groups)
        raise _forbidden(
            obj,
            f"user {rbac.quoted(user.name)} (groups=[{groups}]) is "
            f"attempting to grant RBAC permissions not currently held:\n{rbac.told(lacking)}",
        )


def _owned(user: User, snapshot: Snapshot, obj: Object) -> list[PolicyRule]:
    return [rule for rule, _ in rbac.granted(user, obj.namespace, snapshot)]


def _forbidden(obj: Object, why: str) -> ForbiddenError:
    plural = resource_of(obj).plural
    error = ForbiddenError(f'{plural}.{GROUP} "{obj.name}" is forbidden: {why}')
    error.about = (GROUP, plural, obj.name)
    return error
