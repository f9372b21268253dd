"""What no update of an object changes, kind by kind, in the API server's words.

Source: the functions Validate…Update of Kubernetes pkg/apis/*/validation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from k8snetlab.api.coordination import Lease, PriorityClass
from k8snetlab.api.core import Pod, PodSpec
from k8snetlab.api.gateway import GatewayClass
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import IngressClass, IPAddress, ServiceCIDR
from k8snetlab.api.rbac import ClusterRoleBinding, RoleBinding
from k8snetlab.api.renewal import EVERY
from k8snetlab.api.taken import is_made
from k8snetlab.api.words import shorten
from k8snetlab.api.workloads import ControllerRevision, DaemonSet, Job, StatefulSet

IMMUTABLE = "field is immutable"
_ALLOCATED = "Forbidden: the address is a Service's, and comes and goes with it; change the Service"


def problems(new: Object, old: Object) -> list[str]:
    """`field: what is wrong`, of a kind that is found below."""
    of_kind = _KINDS.get(type(new))
    return list(of_kind(new, old)) if of_kind else []


_POD = (
    "Forbidden: pod updates may not change fields other than the containers' image and `spec.activeDeadlineSeconds`; "
    "delete it first, or use a Deployment"
)


def _pod(new: Pod, old: Pod) -> Iterator[str]:
    if _fixed(new.spec, old.spec.nodeName) != _fixed(old.spec, new.spec.nodeName):
        yield f"spec: {_POD}"
    had, has = old.spec.activeDeadlineSeconds, new.spec.activeDeadlineSeconds
    if had is not None and has is None:
        yield 'spec.activeDeadlineSeconds: Invalid value: "": must not update from a positive integer to nil value'
    elif had is not None and has is not None and has > had:
        yield f"spec.activeDeadlineSeconds: Invalid value: {has}: must be less than or equal to previous value"


def _fixed(spec: PodSpec, other_node: str) -> PodSpec:
    """What may not change of a pod; binding one that has no node is no change."""
    return replace(
        spec,
        containers=tuple(replace(container, image="") for container in spec.containers),
        terminationGracePeriodSeconds=0,
        activeDeadlineSeconds=None,
        nodeName=spec.nodeName if other_node else "",
    )


def _ingress_class(new: IngressClass, old: IngressClass) -> Iterator[str]:
    if new.spec.controller != old.spec.controller:
        yield f'spec.controller: Invalid value: "{shorten(new.spec.controller)}": {IMMUTABLE}'


def _gateway_class(new: GatewayClass, old: GatewayClass) -> Iterator[str]:
    if new.spec.controllerName != old.spec.controllerName:
        yield f'spec.controllerName: Invalid value: "{shorten(new.spec.controllerName)}": {IMMUTABLE}'


def _priority_class(new: PriorityClass, old: PriorityClass) -> Iterator[str]:
    if new.value != old.value:
        yield "value: Forbidden: may not be changed in an update."
    if new.preemptionPolicy != old.preemptionPolicy:
        yield f'preemptionPolicy: Invalid value: "{new.preemptionPolicy}": {IMMUTABLE}'


def _service_cidr(new: ServiceCIDR, old: ServiceCIDR) -> Iterator[str]:
    had, has = old.spec.cidrs, new.spec.cidrs
    if len(had) == len(has) or (len(had) == 1 and len(has) == 2):
        for number, (before, after) in enumerate(zip(had, has, strict=False)):
            if before != after:
                yield f'spec.cidrs[{number}]: Invalid value: "{shorten(after)}": {IMMUTABLE}'
    else:
        yield f"spec.cidrs: Invalid value: [{shorten(','.join(has))}]: {IMMUTABLE}"


def _ip_address(new: IPAddress, old: IPAddress) -> Iterator[str]:
    if is_made(old):
        yield f"metadata: {_ALLOCATED}"
    elif new.spec.parentRef != old.spec.parentRef:
        yield f"spec.parentRef: Invalid value: {IMMUTABLE}"


def _lease(new: Lease, old: Lease) -> Iterator[str]:
    if EVERY in old.metadata.annotations:
        yield "metadata: Forbidden: the lab itself keeps this Lease, which tells that its holder lives"
    elif EVERY in new.metadata.annotations:
        yield f"metadata.annotations: Forbidden: {EVERY} is the lab's own"


def _binding(new: RoleBinding | ClusterRoleBinding, old: RoleBinding | ClusterRoleBinding) -> Iterator[str]:
    if new.roleRef != old.roleRef:
        yield "roleRef: Invalid value: cannot change roleRef"


def _daemon_set(new: DaemonSet, old: DaemonSet) -> Iterator[str]:
    if new.spec.selector != old.spec.selector:
        yield f"spec.selector: Invalid value: {IMMUTABLE}"


_STATEFUL = (
    "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
    "forbidden"
)


def _stateful_set(new: StatefulSet, old: StatefulSet) -> Iterator[str]:
    fixed = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")
    if any(getattr(new.spec, field) != getattr(old.spec, field) for field in fixed):
        yield f"spec: {_STATEFUL}"


def _job(new: Job, old: Job) -> Iterator[str]:
    indexed = old.spec.completionMode == "Indexed"
    if not indexed and new.spec.completions != old.spec.completions:
        yield f"spec.completions: Invalid value: {new.spec.completions}: {IMMUTABLE}"
    for field in ("selector", "completionMode"):
        if getattr(new.spec, field) != getattr(old.spec, field):
            yield f"spec.{field}: Invalid value: {IMMUTABLE}"
    if new.spec.template != old.spec.template and not old.spec.suspend:
        yield f"spec.template: Invalid value: {IMMUTABLE}"


def _controller_revision(new: ControllerRevision, old: ControllerRevision) -> Iterator[str]:
    if new.data != old.data:
        yield f"data: Invalid value: {IMMUTABLE}"


_KINDS: Mapping[type[Object], Callable[[Any, Any], Iterator[str]]] = {
    Pod: _pod,
    IngressClass: _ingress_class,
    GatewayClass: _gateway_class,
    PriorityClass: _priority_class,
    ServiceCIDR: _service_cidr,
    IPAddress: _ip_address,
    Lease: _lease,
    RoleBinding: _binding,
    ClusterRoleBinding: _binding,
    DaemonSet: _daemon_set,
    StatefulSet: _stateful_set,
    Job: _job,
    ControllerRevision: _controller_revision,
}
