"""What a pod asks of its node's resources. Source: component-helpers resource (PodRequests)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from k8snetlab.api.core import Container, Node, PodSpec
from k8snetlab.api.quantity import counted

PODS = "pods"


def demands(spec: PodSpec) -> Mapping[str, int]:
    """By resource, processors in thousandths: what its containers request together with its sidecars, or, where that
    is more, what an init container does beside the sidecars before it. What is asked for as 0 is left out."""
    if not any(container.resources for container in (*spec.containers, *spec.initContainers)):
        return _NOTHING
    running: Counter[str] = Counter()
    for container in spec.containers:
        running.update(_of(container))
    sidecars: Counter[str] = Counter()
    most: dict[str, int] = {}
    for container in spec.initContainers:
        asked = Counter(_of(container))
        if container.restartPolicy == "Always":
            sidecars.update(asked)
            asked = sidecars
        else:
            asked.update(sidecars)
        most = {name: max(amount, most.get(name, 0)) for name, amount in asked.items()} | {
            name: amount for name, amount in most.items() if name not in asked
        }
    running.update(sidecars)
    names = (*running, *(name for name in most if name not in running))
    return {name: amount for name in names if (amount := max(running[name], most.get(name, 0))) > 0}


_NOTHING: Mapping[str, int] = {}


def _of(container: Container) -> Mapping[str, int]:
    requests = container.resources.get("requests")
    if not isinstance(requests, Mapping):
        return _NOTHING
    return {name: counted(name, str(amount)) for name, amount in requests.items()}


def allocatable(node: Node) -> Mapping[str, int]:
    """Of a node, by resource; pods are counted apart."""
    return {name: counted(name, text) for name, text in node.status.allocatable.items() if name != PODS}


def in_order(names: Mapping[str, int]) -> list[str]:
    """As the scheduler looks at them: cpu, memory, ephemeral-storage, then the others."""
    first = [name for name in ("cpu", "memory", "ephemeral-storage") if name in names]
    return first + sorted(name for name in names if name not in first)
