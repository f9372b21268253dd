"""What the RBAC objects of a snapshot allow whom, and whether one set of rules covers another. Pure.

Source: Kubernetes plugin/pkg/auth/authorizer/rbac (rbac.go), pkg/registry/rbac/validation (rule.go,
policy_comparator.go), component-helpers auth/rbac/validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

from msgspec.structs import replace

from k8snetlab.api.rbac import (
    ALL,
    GROUP,
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.apiserver.access import ACCOUNT_PREFIX, User


class Granted(NamedTuple):
    """A rule that somebody has, and in words by which binding."""

    rule: PolicyRule
    by: str


class Asked(NamedTuple):
    """What is to be done: `resource` with its part ("pods/log"), or a `path`."""

    verb: str
    group: str = ""
    resource: str = ""
    name: str = ""
    path: str = ""


def bindings_by_namespace(binding: RoleBinding) -> Iterable[str]:
    return (binding.namespace,)


def granted(user: User, namespace: str, snapshot: Snapshot, missing: list[str] | None = None) -> Iterator[Granted]:
    """The rules that a user has in a namespace ("": in none). `missing` gets the roles that bindings name and that are
    not there, in an API server's words."""
    bindings: list[RoleBinding | ClusterRoleBinding] = list(snapshot.all(ClusterRoleBinding).values())
    if namespace:
        bindings += snapshot.select(RoleBinding, bindings_by_namespace, namespace).values()
    for binding in bindings:
        subject = next((one for one in binding.subjects if _is(user, one, binding.namespace)), None)
        if subject is None:
            continue
        rules = rules_of(binding.roleRef, binding.namespace, snapshot)
        if rules is None:
            if missing is not None:
                missing.append(f'{binding.roleRef.kind.lower()}.{GROUP} "{binding.roleRef.name}" not found')
            continue
        where = f"{binding.namespace}/{binding.name}" if isinstance(binding, RoleBinding) else binding.name
        words = (
            f'RBAC: allowed by {binding.KIND} "{where}" of {binding.roleRef.kind} "{binding.roleRef.name}" to '
            f'{subject.kind} "{_named(subject, binding.namespace)}"'
        )
        yield from (Granted(rule, words) for rule in rules)


def rules_of(reference: RoleRef, namespace: str, snapshot: Snapshot) -> tuple[PolicyRule, ...] | None:
    """Those of the role that a binding refers to; None where there is no such."""
    if reference.kind == "ClusterRole":
        found: Role | ClusterRole | None = snapshot.get(ClusterRole, reference.name)
    else:
        found = snapshot.get(Role, reference.name, namespace)
    return found.rules if found else None


def permits(rule: PolicyRule, asked: Asked) -> bool:
    if not _holds(rule.verbs, asked.verb):
        return False
    if asked.path:
        return any(_path_matches(url, asked.path) for url in rule.nonResourceURLs)
    return (
        _holds(rule.apiGroups, asked.group)
        and _resource_matches(rule.resources, asked.resource)
        and (not rule.resourceNames or asked.name in rule.resourceNames)
    )


def _is(user: User, subject: Subject, namespace: str) -> bool:
    match subject.kind:
        case "User":
            return subject.name == user.name
        case "Group":
            return subject.name in user.groups
        case "ServiceAccount":
            return user.name == f"{ACCOUNT_PREFIX}{subject.namespace or namespace}:{subject.name}"
    return False


def _named(subject: Subject, namespace: str) -> str:
    return f"{subject.name}/{subject.namespace or namespace}" if subject.kind == "ServiceAccount" else subject.name


def _holds(values: Iterable[str], wanted: str) -> bool:
    return any(value in (ALL, wanted) for value in values)


def _path_matches(url: str, path: str) -> bool:
    return url in (ALL, path) or (url.endswith(ALL) and path.startswith(url[:-1]))


def _resource_matches(resources: Iterable[str], wanted: str) -> bool:
    part = wanted.partition("/")[2]
    return any(one in (ALL, wanted) or (bool(part) and one == f"{ALL}/{part}") for one in resources)


# --- escalation ---


def uncovered(owned: Iterable[PolicyRule], wanted: Iterable[PolicyRule]) -> list[PolicyRule]:
    """What of the wanted rules no single owned one covers, each with one verb, group, resource and name."""
    owned = list(owned)
    return [one for rule in wanted for one in _broken_down(rule) if not any(_covers(other, one) for other in owned)]


def _broken_down(rule: PolicyRule) -> Iterator[PolicyRule]:
    for group, resource, verb in product(rule.apiGroups, rule.resources, rule.verbs):
        one = PolicyRule(verbs=(verb,), apiGroups=(group,), resources=(resource,))
        if rule.resourceNames:
            yield from (replace(one, resourceNames=(name,)) for name in rule.resourceNames)
        else:
            yield one
    for url, verb in product(rule.nonResourceURLs, rule.verbs):
        yield PolicyRule(verbs=(verb,), nonResourceURLs=(url,))


def _covers(owned: PolicyRule, one: PolicyRule) -> bool:
    if not _holds(owned.verbs, one.verbs[0]):
        return False
    if one.nonResourceURLs:
        return any(_path_matches(url, one.nonResourceURLs[0]) for url in owned.nonResourceURLs)
    return (
        _holds(owned.apiGroups, one.apiGroups[0])
        and _resource_matches(owned.resources, one.resources[0])
        and (not owned.resourceNames or (bool(one.resourceNames) and one.resourceNames[0] in owned.resourceNames))
    )


def told(rules: Iterable[PolicyRule]) -> str:
    """A line for each rule, as an API server writes them; rules that differ in nothing but their verbs are one."""
    verbs: dict[PolicyRule, list[str]] = {}
    for rule in rules:
        verbs.setdefault(replace(rule, verbs=()), []).extend(rule.verbs)
    whole = [replace(rule, verbs=tuple(dict.fromkeys(said))) for rule, said in verbs.items()]
    return "\n".join(sorted(_line(rule) for rule in whole))


def _line(rule: PolicyRule) -> str:
    fields = (
        ("APIGroups", rule.apiGroups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.nonResourceURLs),
        ("ResourceNames", rule.resourceNames),
        ("Verbs", rule.verbs),
    )
    said = (f"{name}:[{' '.join(quoted(value) for value in values)}]" for name, values in fields if values)
    return f"{{{', '.join(said)}}}"


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
