"""What can be wrong with ServiceCIDRs and IPAddresses, with Leases and PriorityClasses.

Source: Kubernetes pkg/apis/{networking,coordination,scheduling}/validation, whose words these are.
"""

from __future__ import annotations

from k8snetlab.api import addressing
from k8snetlab.api.coordination import HIGHEST, SYSTEM_CLASSES, Lease, PriorityClass
from k8snetlab.api.events import Event
from k8snetlab.api.networking import IPAddress, ServiceCIDR
from k8snetlab.api.problems import Report, dns_subdomain, qualified_name
from k8snetlab.api.rules import forbidden, invalid, name_problem, not_negative, path_segment, required
from k8snetlab.api.words import Path, unsupported

STRATEGIES = ("OldestEmulationVersion",)
_PREFIX = "system-"


def service_cidr(report: Report, obj: ServiceCIDR) -> None:
    path: Path = ("spec", "cidrs")
    cidrs = obj.spec.cidrs
    if not cidrs:
        report.error(obj, path, required("at least one CIDR required"))
    elif len(cidrs) > 2:
        report.error(obj, path, f"Invalid value: [{','.join(cidrs)}]: may only hold up to 2 values")
    else:
        versions = []
        for number, text in enumerate(cidrs):
            try:
                versions.append(addressing.api_network(text).version)
            except ValueError as error:
                report.error(obj, (*path, number), str(error))
        if len(versions) == 2 and versions[0] == versions[1]:
            why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            report.error(obj, path, f"Invalid value: [{','.join(cidrs)}]: {why}")


def ip_address(report: Report, obj: IPAddress) -> None:
    try:
        parsed = addressing.api_address(obj.name)
    except ValueError as error:
        report.error(obj, ("metadata", "name"), str(error))
    else:
        if str(parsed) != obj.name:
            why = f'must be in canonical form ("{parsed}")'
            report.error(obj, ("metadata", "name"), invalid(obj.name, why))
    parent, path = obj.spec.parentRef, ("spec", "parentRef")
    if parent is None:
        report.error(obj, path, required())
        return
    if parent.group:
        name_problem(report, obj, (*path, "group"), parent.group, dns_subdomain)
    path_segment(report, obj, (*path, "resource"), parent.resource)
    path_segment(report, obj, (*path, "name"), parent.name)
    if parent.namespace:
        path_segment(report, obj, (*path, "namespace"), parent.namespace)


def lease(report: Report, obj: Lease) -> None:
    spec = obj.spec
    if spec.leaseDurationSeconds is not None and spec.leaseDurationSeconds <= 0:
        why = invalid(spec.leaseDurationSeconds, "must be greater than 0")
        report.error(obj, ("spec", "leaseDurationSeconds"), why)
    not_negative(report, obj, ("spec", "leaseTransitions"), spec.leaseTransitions)
    if spec.strategy is not None:
        path: Path = ("spec", "strategy", "strategy")
        if "/" not in spec.strategy and spec.strategy not in STRATEGIES:
            report.error(obj, path, unsupported(spec.strategy, STRATEGIES))
        elif "/" in spec.strategy:
            name_problem(report, obj, path, spec.strategy, qualified_name)
    if spec.preferredHolder and not spec.strategy:
        why = forbidden("may only be specified if `strategy` is defined")
        report.error(obj, ("spec", "preferredHolder"), why)


def event(report: Report, obj: Event) -> None:
    """Source: pkg/apis/core/validation (legacyValidateEvent)."""
    about = obj.involvedObject
    if not about.namespace:
        if obj.namespace not in ("default", "kube-system") and (about.kind or about.name):
            why = invalid(about.namespace, "does not match event.namespace")
            report.error(obj, ("involvedObject", "namespace"), why)
    elif about.namespace != obj.namespace:
        why = invalid(about.namespace, "does not match event.namespace")
        report.error(obj, ("involvedObject", "namespace"), why)


def priority_class(report: Report, obj: PriorityClass) -> None:
    known = SYSTEM_CLASSES.get(obj.name)
    if not obj.name.startswith(_PREFIX):
        if obj.value > HIGHEST:
            why = f"maximum allowed value of a user defined priority is {HIGHEST}"
            report.error(obj, ("value",), forbidden(why))
        return
    if known is None:
        error = f"{obj.name} is not a known system priority class"
    elif known != obj.value:
        error = f"value of {obj.name} PriorityClass must be {known}"
    elif obj.globalDefault:
        error = f"globalDefault of {obj.name} PriorityClass must be false"
    else:
        return
    why = f"priority class names with '{_PREFIX}' prefix are reserved for system use only. error: {error}"
    report.error(obj, ("metadata", "name"), forbidden(why))
