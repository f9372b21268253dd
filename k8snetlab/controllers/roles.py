"""The roles that every cluster has, and ClusterRoles that are the sum of others.

Source: Kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go (in what concerns the kinds of a lab),
pkg/controller/clusterroleaggregation.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api.inside import authority_of
from k8snetlab.api.meta import LabelSelector, ObjectMeta
from k8snetlab.api.rbac import GROUP, AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.controllers.changes import put

LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTOUPDATE = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
READ, WRITE = ("get", "list", "watch"), ("create", "delete", "deletecollection", "patch", "update")
ALL = ("*",)
_IN_PODS = ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy")
_CORE = (
    "configmaps",
    "endpoints",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "serviceaccounts",
    "services",
)
_APPS = (
    "daemonsets",
    "deployments",
    "deployments/scale",
    "replicasets",
    "replicasets/scale",
    "statefulsets",
    "statefulsets/scale",
)
_STATUSES = ("pods/log", "pods/status", "services/status", "persistentvolumeclaims/status")
_READ_ONLY = ("events", "limitranges", "namespaces", "namespaces/status", "resourcequotas", "resourcequotas/status")


def _on(group: str, resources: tuple[str, ...], verbs: tuple[str, ...]) -> PolicyRule:
    return PolicyRule(verbs=verbs, apiGroups=(group,), resources=resources)


def _at(*urls: str) -> PolicyRule:
    return PolicyRule(verbs=("get",), nonResourceURLs=urls)


_VIEW = (
    _on("", _CORE, READ),
    _on("", (*_READ_ONLY, *_STATUSES), READ),
    _on("discovery.k8s.io", ("endpointslices",), READ),
    _on("apps", ("controllerrevisions", *_APPS, *(f"{one}/status" for one in _APPS if "/" not in one)), READ),
    _on("batch", ("cronjobs", "cronjobs/status", "jobs", "jobs/status"), READ),
    _on("policy", ("poddisruptionbudgets", "poddisruptionbudgets/status"), READ),
    _on("networking.k8s.io", ("ingresses", "ingresses/status", "networkpolicies"), READ),
)
_EDIT = (
    _on("", (*_IN_PODS, "secrets", "services/proxy"), READ),
    _on("", ("serviceaccounts",), ("impersonate",)),
    _on("", ("pods", *_IN_PODS), WRITE),
    _on("", ("pods/eviction",), ("create",)),
    _on("", tuple(one for one in (*_CORE, "events", "secrets", "services/proxy") if one != "pods"), WRITE),
    _on("", ("serviceaccounts/token",), ("create",)),
    _on("apps", (*_APPS[:3], "deployments/rollback", *_APPS[3:]), WRITE),
    _on("batch", ("cronjobs", "jobs"), WRITE),
    _on("policy", ("poddisruptionbudgets",), WRITE),
    _on("networking.k8s.io", ("ingresses", "networkpolicies"), WRITE),
    _on("coordination.k8s.io", ("leases",), (*WRITE[:3], "get", "list", *WRITE[3:], "watch")),
)
_ADMIN = (
    _on("authorization.k8s.io", ("localsubjectaccessreviews",), ("create",)),
    _on(GROUP, ("rolebindings", "roles"), (*WRITE[:3], "get", "list", *WRITE[3:], "watch")),
)
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz")
_PUBLIC = ("/healthz", "/livez", "/readyz", "/version", "/version/")


def _role(name: str, rules: tuple[PolicyRule, ...], labels: dict[str, str] | None = None) -> ClusterRole:
    metadata = ObjectMeta(name=name, labels={**LABELS, **(labels or {})}, annotations=AUTOUPDATE)
    return ClusterRole(metadata=metadata, rules=rules)


def _sum(name: str, labels: dict[str, str] | None = None) -> ClusterRole:
    chosen = AggregationRule(clusterRoleSelectors=(LabelSelector(matchLabels={f"{AGGREGATE}{name}": "true"}),))
    return replace(_role(name, (), labels), aggregationRule=chosen)


def _bound(name: str, *groups: str) -> ClusterRoleBinding:
    return ClusterRoleBinding(
        metadata=ObjectMeta(name=name, labels=LABELS, annotations=AUTOUPDATE),
        subjects=tuple(Subject(kind="Group", name=group, apiGroup=GROUP) for group in groups),
        roleRef=RoleRef(apiGroup=GROUP, kind="ClusterRole", name=name),
    )


ROLES: tuple[ClusterRole, ...] = (
    _role("cluster-admin", (_on("*", ALL, ALL), PolicyRule(verbs=ALL, nonResourceURLs=ALL))),
    _sum("admin"),
    _sum("edit", {f"{AGGREGATE}admin": "true"}),
    _sum("view", {f"{AGGREGATE}edit": "true"}),
    _role("system:aggregate-to-admin", _ADMIN, {f"{AGGREGATE}admin": "true"}),
    _role("system:aggregate-to-edit", _EDIT, {f"{AGGREGATE}edit": "true"}),
    _role("system:aggregate-to-view", _VIEW, {f"{AGGREGATE}view": "true"}),
    _role("system:discovery", (_at(*_DISCOVERY, "/version", "/version/"),)),
    _role("system:public-info-viewer", (_at(*_PUBLIC),)),
    _role(
        "system:basic-user",
        (
            _on("authorization.k8s.io", ("selfsubjectaccessreviews", "selfsubjectrulesreviews"), ("create",)),
            _on("authentication.k8s.io", ("selfsubjectreviews",), ("create",)),
        ),
    ),
    _role(
        "system:node-proxier",
        (
            _on("", ("endpoints", "services"), ("list", "watch")),
            _on("", ("nodes",), READ),
            _on("", ("events",), ("create", "patch", "update")),
            _on("discovery.k8s.io", ("endpointslices",), ("list", "watch")),
            _on("networking.k8s.io", ("servicecidrs",), ("list", "watch")),
        ),
    ),
)
BINDINGS: tuple[ClusterRoleBinding, ...] = (
    _bound("cluster-admin", "system:masters"),
    _bound("system:discovery", "system:authenticated"),
    _bound("system:basic-user", "system:authenticated"),
    _bound("system:public-info-viewer", "system:authenticated", "system:unauthenticated"),
)


def bootstrap(now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    """What is missing of them, once: what somebody changes or deletes afterwards is as they want it until the daemon
    begins anew."""
    if not authority_of(now) or (before is not None and authority_of(before)):
        return
    for wanted in (*ROLES, *BINDINGS):
        if now.get(type(wanted), wanted.name) is None:
            yield put(wanted)


def aggregate(now: Snapshot, before: Snapshot | None) -> Iterator[Change]:
    """The rules of ClusterRoles with an aggregationRule."""
    if not any(True for _ in now.changes(ClusterRole, before)):
        return
    roles = sorted(now.all(ClusterRole).values(), key=lambda role: role.name)
    for role in roles:
        if role.aggregationRule is None:
            continue
        chosen = [
            other
            for other in roles
            if other.name != role.name
            and any(selector.matches(other.metadata.labels) for selector in role.aggregationRule.clusterRoleSelectors)
        ]
        rules = tuple(dict.fromkeys(rule for other in chosen for rule in other.rules))
        if rules != role.rules:
            yield put(replace(role, rules=rules))
