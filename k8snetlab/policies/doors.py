"""Ports of Services that people take for ports of pods."""

from __future__ import annotations

from k8snetlab.api.core import Pod, Service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.policies.shapes import Ends


def other_port(snapshot: Snapshot, pods: Ends, protocol: str, number: int) -> tuple[str, str] | None:
    """The Service (namespace/name) whose own port a number is, and the port of its pods that it leads to: where no pod
    has that number itself, and the Service leads some of them elsewhere. None else."""
    held = [snapshot.all(Pod)[key] for key in pods]
    declared = {(p.protocol, p.containerPort) for pod in held for p in pod.spec.serving_ports}
    if (protocol, number) in declared:
        return None
    for service in snapshot.all(Service).values():
        chosen = [pod for pod in held if _leads(service, pod)]
        for port in service.spec.ports:
            leads = port.targetPort or port.port
            if chosen and (port.protocol, port.port) == (protocol, number) and leads != number:
                return f"{service.namespace}/{service.name}", str(leads)
    return None


def _leads(service: Service, pod: Pod) -> bool:
    wanted = (service.spec.selector or {}).items()
    return bool(wanted) and service.namespace == pod.namespace and wanted <= pod.metadata.labels.items()
