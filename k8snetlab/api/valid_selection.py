"""Whether what a Service selects is there, and what is there besides that it may have meant."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.meta import Labels
from k8snetlab.api.problems import (
    Report,
)
from k8snetlab.api.selection import (
    pods_by_label,
    selects,
    services_by_label,
    slices_by_service,
    templates_by_label,
)
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import shorten
from k8snetlab.api.workloads import DaemonSet, Job, ReplicationController, StatefulSet, Workload


def check(report: Report, service: Service, world: Snapshot) -> None:
    if service.spec.type == "ExternalName":
        return
    found = 0
    ports: set[str] = set()
    for group in services_by_label(service):
        for pod in world.select(Pod, pods_by_label, group).values():
            if selects(service, pod.metadata.labels):
                found += 1
                ports |= {port.name for container in pod.spec.serving_containers for port in container.ports}
        workloads: list[Workload] = [
            *world.select(Deployment, templates_by_label, group).values(),
            *world.select(ReplicaSet, templates_by_label, group).values(),
            *world.select(DaemonSet, templates_by_label, group).values(),
            *world.select(StatefulSet, templates_by_label, group).values(),
            *world.select(ReplicationController, templates_by_label, group).values(),
            *world.select(Job, templates_by_label, group).values(),
        ]
        for template in (workload.spec.template for workload in workloads):
            if selects(service, template.metadata.labels):
                found += 1
                ports |= {port.name for container in template.spec.serving_containers for port in container.ports}
    if not found and not world.select(EndpointSlice, slices_by_service, service.key):
        report.warn(service, ("spec", "selector"), _nothing(service, world))
    for number, port in enumerate(service.spec.ports):
        if found and isinstance(port.targetPort, str) and port.targetPort not in ports:
            names = ", ".join(sorted(ports - {""})) or "none"
            message = f'no selected pod has a container port named "{port.targetPort}" (names there: {shorten(names)})'
            report.warn(service, ("spec", "ports", number, "targetPort"), message)


def _nothing(service: Service, world: Snapshot) -> str:
    wanted = ",".join(f"{k}={v}" for k, v in (service.spec.selector or {}).items())
    have: dict[str, None] = {}
    for found in filter(None, _label_sets(service.namespace, world)):
        have[",".join(f"{k}={v}" for k, v in found.items())] = None
        if len(have) >= 3:
            break
    there = f" (there are {shorten('; '.join(have))})" if have else ""
    return f"selects nothing: no Pod or Deployment in namespace {service.namespace} has labels {shorten(wanted)}{there}"


def _label_sets(namespace: str, world: Snapshot) -> Iterator[Labels]:
    for pod in world.all(Pod).values():
        if pod.namespace == namespace:
            yield pod.metadata.labels
    for workload in world.all(Deployment).values():
        if workload.namespace == namespace:
            yield workload.spec.template.metadata.labels
