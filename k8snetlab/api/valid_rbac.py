"""What can be wrong with roles and their bindings.

Source: Kubernetes pkg/apis/rbac/validation/validation.go.
"""

from __future__ import annotations

from k8snetlab.api.problems import Report, dns_subdomain, path_segment
from k8snetlab.api.rbac import GROUP, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject
from k8snetlab.api.words import Path, shorten


def role(report: Report, obj: Role | ClusterRole) -> None:
    for number, rule in enumerate(obj.rules):
        _rule(report, obj, rule, ("rules", number))
    if isinstance(obj, ClusterRole) and obj.aggregationRule is not None:
        path: Path = ("aggregationRule", "clusterRoleSelectors")
        if not obj.aggregationRule.clusterRoleSelectors:
            report.error(
                obj, path, "Required value: at least one clusterRoleSelector required if aggregationRule is non-nil"
            )


def _rule(report: Report, obj: Role | ClusterRole, rule: PolicyRule, path: Path) -> None:
    if not rule.verbs:
        report.error(obj, (*path, "verbs"), "Required value: verbs must contain at least one value")
    if rule.nonResourceURLs:
        where = (*path, "nonResourceURLs")
        if isinstance(obj, Role):
            report.error(obj, where, "Invalid value: namespaced rules cannot apply to non-resource URLs")
        if rule.apiGroups or rule.resources or rule.resourceNames:
            message = "Invalid value: rules cannot apply to both regular resources and non-resource URLs"
            report.error(obj, where, message)
        return
    if not rule.apiGroups:
        report.error(obj, (*path, "apiGroups"), "Required value: resource rules must supply at least one api group")
    if not rule.resources:
        report.error(obj, (*path, "resources"), "Required value: resource rules must supply at least one resource")


def binding(report: Report, obj: RoleBinding | ClusterRoleBinding) -> None:
    reference = obj.roleRef
    if reference.apiGroup != GROUP:
        said = f'Unsupported value: "{shorten(reference.apiGroup)}": supported values: "{GROUP}"'
        report.error(obj, ("roleRef", "apiGroup"), said)
    kinds = ("ClusterRole", "Role") if isinstance(obj, RoleBinding) else ("ClusterRole",)
    if reference.kind not in kinds:
        supported = ", ".join(f'"{kind}"' for kind in kinds)
        message = f'Unsupported value: "{shorten(reference.kind)}": supported values: {supported}'
        report.error(obj, ("roleRef", "kind"), message)
    if not reference.name:
        report.error(obj, ("roleRef", "name"), "Required value")
    elif problem := path_segment(reference.name):
        report.error(obj, ("roleRef", "name"), problem)
    for number, subject in enumerate(obj.subjects):
        _subject(report, obj, subject, ("subjects", number))


def _subject(report: Report, obj: RoleBinding | ClusterRoleBinding, subject: Subject, path: Path) -> None:
    if not subject.name:
        report.error(obj, (*path, "name"), "Required value")
    group = {"ServiceAccount": "", "User": GROUP, "Group": GROUP}.get(subject.kind)
    if group is None:
        message = f'Unsupported value: "{shorten(subject.kind)}": supported values: "Group", "ServiceAccount", "User"'
        report.error(obj, (*path, "kind"), message)
        return
    if subject.apiGroup != group:
        message = f'Unsupported value: "{shorten(subject.apiGroup)}": supported values: "{group}"'
        report.error(obj, (*path, "apiGroup"), message)
    if subject.kind == "ServiceAccount":
        if subject.name and (problem := dns_subdomain(subject.name)):
            report.error(obj, (*path, "name"), problem)
        if not subject.namespace and isinstance(obj, ClusterRoleBinding):
            report.error(obj, (*path, "namespace"), "Required value")
