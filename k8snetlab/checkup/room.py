"""Has this machine room for a lab of that size? Asked by `doctor`, and by `up` before anything is built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Pod, PodSpec
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.workloads import DaemonSet, Job, ReplicationController, StatefulSet
from k8snetlab.checkup import programs
from k8snetlab.dataplane.families import FAMILIES, pick
from k8snetlab.errors import UnsupportedError
from k8snetlab.kernel.features import Feature
from k8snetlab.kernel.limits import Limit, Size, limits


def size_of(objects: Iterable[Object], there: Iterable[Pod] = ()) -> Size:
    """Of what the objects make on this machine, besides the pods that it has already."""
    specs: list[tuple[int, PodSpec]] = []
    each_node: list[PodSpec] = []
    nodes, crowd, families = 0, 0, Size(0, 0).families
    for obj in objects:
        match obj:
            case Pod():
                specs.append((1, obj.spec))
            case Deployment() | ReplicaSet() | StatefulSet() | ReplicationController():
                specs.append((obj.spec.replicas, obj.spec.template.spec))
            case DaemonSet():
                each_node.append(obj.spec.template.spec)
            case Job(spec=spec):
                specs.append((min(spec.parallelism or 1, spec.completions or 10**9), spec.template.spec))
            case Lab():
                nodes = obj.spec.nodes if isinstance(obj.spec.nodes, int) else len(obj.spec.nodes)
                crowd = obj.spec.maxPods
                families = tuple(family for family in FAMILIES if pick(obj.spec.podCIDR, family))
    pods, commands = _counted([*specs, *((nodes, spec) for spec in each_node)])
    held, running = _counted((1, pod.spec) for pod in there)
    listeners = sum(count * sum(len(c.ports) for c in spec.serving_containers if not c.argv) for count, spec in specs)
    return Size(
        pods=max(0, pods - held),
        nodes=nodes,
        commands=max(0, commands - running),
        listeners=listeners,
        crowd=min(crowd, pods),
        held=held,
        running=running,
        families=families,
    )


def _counted(specs: Iterable[tuple[int, PodSpec]]) -> tuple[int, int]:
    """The pods with a namespace of their own, and the containers that run a command."""
    pods = commands = 0
    for count, spec in specs:
        pods += 0 if spec.hostNetwork else count
        commands += count * sum(bool(c.argv) for c in spec.serving_containers)
    return pods, commands


def warnings(objects: Sequence[Object], there: Iterable[Pod]) -> list[str]:
    """Of what packets and logs will be lost for; `there` are the pods that the machine has already. What machines carry
    between them is not counted. Raises UnsupportedError where the lab cannot be built."""
    for lab in (obj for obj in objects if isinstance(obj, Lab)):
        programs.needed(lab)
        if lab.spec.machines:
            return []
    size = size_of(objects, there)
    short = [limit for limit in limits(size) if not limit.enough]
    for limit in short:
        if limit.refuses:
            raise UnsupportedError(f"this machine has no room for {size.pods:,} more pods: {_said(limit)}", limit.lift)
    return [f"{_said(limit)}: beyond that, packets and logs are late or lost ({limit.lift})" for limit in short]


def features(size: Size) -> Iterator[Feature]:
    """One for each limit."""
    for limit in limits(size):
        effect = "pods beyond it" if limit.refuses else "packets and logs in time, once it is reached"
        yield Feature(f"{size.pods:,} pods: {_said(limit)}", limit.enough, effect, limit.lift, needed=limit.refuses)


def _said(limit: Limit) -> str:
    more = f" beside {limit.taken:,}" if limit.taken else ""
    return f"{limit.name} {limit.wanted:,}{more}, of {limit.most:,}"
