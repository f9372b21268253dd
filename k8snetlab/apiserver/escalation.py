"""Nobody gives away what he does not have: roles and bindings are looked at before they are stored.

Source: Kubernetes pkg/registry/rbac (clusterrole/policybased/storage.go, helpers.go, escalation_check.go).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from k8snetlab.api.meta import Object
from k8snetlab.api.rbac import GROUP, RBAC, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding
from k8snetlab.api.scheme import resource_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.apiserver import rbac
from k8snetlab.apiserver.access import MASTERS, User
from k8snetlab.apiserver.authorization import Attributes, allowed
from k8snetlab.errors import ForbiddenError

NOT_ENFORCED = "RBAC is stored, and not enforced: the Lab says so with spec.api.rbac: true"


def guard(user: User, now: Callable[[], Snapshot], new: Object, old: Object | None) -> Sequence[str]:
    """What is to be warned of. Raises ForbiddenError, in an API server's words."""
    if not isinstance(new, RBAC):
        return ()
    snapshot = now()
    if not snapshot.lab.spec.api.rbac:
        return (NOT_ENFORCED,)
    if MASTERS in user.groups:
        return ()
    if isinstance(new, Role | ClusterRole):
        _role(user, snapshot, new, old)
    else:
        _binding(user, snapshot, new, old)
    return ()


def _role(user: User, snapshot: Snapshot, new: Role | ClusterRole, old: Object | None) -> None:
    if isinstance(old, Role | ClusterRole) and old.rules == new.rules:
        return
    aggregates = isinstance(new, ClusterRole) and new.aggregationRule is not None
    if aggregates and (old is None or getattr(old, "aggregationRule", None) != new.aggregationRule):  # type: ignore[union-attr]
        everything = PolicyRule(verbs=("*",), apiGroups=("*",), resources=("*",))
        paths = PolicyRule(verbs=("*",), nonResourceURLs=("*",))
        _check(user, snapshot, new, (everything, paths), "escalate")
    _check(user, snapshot, new, new.rules, "escalate")


def _binding(user: User, snapshot: Snapshot, new: RoleBinding | ClusterRoleBinding, old: Object | None) -> None:
    if isinstance(old, RoleBinding | ClusterRoleBinding) and (old.subjects, old.roleRef) == (new.subjects, new.roleRef):
        return
    plural = "roles" if new.roleRef.kind == "Role" else "clusterroles"
    if allowed(user, Attributes("bind", GROUP, plural, "", new.namespace, new.roleRef.name), snapshot):
        return
    rules = rbac.rules_of(new.roleRef, new.namespace, snapshot)
    if rules is None:
        error = ForbiddenError(f'{plural}.{GROUP} "{new.roleRef.name}" not found')
        error.status, error.reason, error.about = 404, "NotFound", (GROUP, plural, new.roleRef.name)
        raise error
    _check(user, snapshot, new, rules)


def _check(user: User, snapshot: Snapshot, obj: Object, rules: Sequence[PolicyRule], verb: str = "") -> None:
    plural = resource_of(obj).plural
    if verb and allowed(user, Attributes(verb, GROUP, plural, "", obj.namespace, obj.name), snapshot):
        return
    owned = [rule for rule, _ in rbac.granted(user, obj.namespace, snapshot)]
    if lacking := rbac.uncovered(owned, rules):
        groups = " ".join(rbac.quoted(group) for group in user.groups)
        error = ForbiddenError(
            f'{plural}.{GROUP} "{obj.name}" is forbidden: user {rbac.quoted(user.name)} (groups=[{groups}]) is '
            f"attempting to grant RBAC permissions not currently held:\n{rbac.told(lacking)}"
        )
        error.about = (GROUP, plural, obj.name)
        raise error
