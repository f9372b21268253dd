"""Whether a node takes a pod: the filters of the scheduler, which kubelet asks again before it runs a pod.

Source: Kubernetes pkg/scheduler/framework/plugins (nodeunschedulable, tainttoleration, nodeaffinity, nodeports,
noderesources), component-helpers scheduling/corev1/nodeaffinity, pkg/scheduler/framework/types.go (HostPortInfo).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from k8snetlab.api.core import Node, Pod, Taint, Toleration
from k8snetlab.api.placement import NodeSelector, NodeSelectorTerm
from k8snetlab.api.requirements import holds
from k8snetlab.controllers.demands import allocatable, demands, in_order

UNSCHEDULABLE = "node(s) were unschedulable"
TAINTED = "node(s) had untolerated taint(s)"
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
PORTS = "node(s) didn't have free ports for the requested pod ports"
TOO_MANY = "Too many pods"
MAX_PODS = 110
"""kubelet's maxPods, where nothing else is said."""
ANY_IP = "0.0.0.0"

_CORDONED = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")

HostPort = tuple[str, str, int]
"""(host IP, protocol, port); the IP is ANY_IP where none is given."""


def host_ports(pod: Pod) -> tuple[HostPort, ...]:
    """The ports of its node that a pod needs; in the node's own network those are all that its containers name."""
    return tuple(
        (port.hostIP or ANY_IP, port.protocol, number)
        for container in pod.spec.serving_containers
        for port in container.ports
        if (number := port.hostPort or (port.containerPort if pod.spec.hostNetwork else 0))
    )


class Room:
    """What pods take of one node, those that are terminating included."""

    def __init__(self, node: Node, pods: Iterable[Pod] = ()) -> None:
        self.node = node
        self.limit = _limit(node)
        self.pods: list[Pod] = []
        self.allocatable = allocatable(node)
        self.taken: Counter[str] = Counter()
        """Of each resource, by requests."""
        self._told = "cpu" in self.allocatable
        """Whether its kubelet has said what it has; else nobody can tell what is too much."""
        self._ips: dict[tuple[str, int], set[str]] = {}
        for pod in pods:
            self.add(pod)

    @property
    def count(self) -> int:
        """How many pods there are."""
        return len(self.pods)

    def add(self, pod: Pod) -> None:
        if pod.ended:
            return
        self.pods.append(pod)
        if asked := demands(pod.spec):
            self.taken.update(asked)
        for ip, protocol, number in host_ports(pod):
            self._ips.setdefault((protocol, number), set()).add(ip)

    def without(self, pods: Collection[Pod]) -> Room:
        """The room if these pods were not there."""
        gone = {pod.key for pod in pods}
        return Room(self.node, (pod for pod in self.pods if pod.key not in gone))

    def beside(self, pods: Iterable[Pod]) -> Room:
        """The room if these pods were there, too."""
        return Room(self.node, (*self.pods, *pods))

    def has_ports(self, pod: Pod) -> bool:
        for ip, protocol, number in host_ports(pod):
            taken = self._ips.get((protocol, number), ())
            if taken and (ip == ANY_IP or ip in taken or ANY_IP in taken):
                return False
        return True

    def lacks(self, asked: Mapping[str, int]) -> list[str]:
        """The resources of which too little is left for such requests."""
        if not asked or not self._told:
            return []
        return [name for name in in_order(asked) if asked[name] > self.allocatable.get(name, 0) - self.taken[name]]

    def never_has(self, asked: Mapping[str, int]) -> bool:
        """Whether that is more than the node has, whoever goes."""
        return self._told and any(amount > self.allocatable.get(name, 0) for name, amount in asked.items())


def is_cordoned(pod: Pod, node: Node) -> bool:
    """Whether the node takes no new pods, and the pod is no exception."""
    return node.spec.unschedulable and not any(tolerates(one, _CORDONED) for one in pod.spec.tolerations)


def is_repelled(pod: Pod, node: Node) -> bool:
    """Whether a taint keeps the pod away, one of those of a node that is not ready included: not-ready, unreachable,
    network-unavailable."""
    if not tolerates_node(pod, node):
        return True
    return not node.network_available or any(c.type == "Ready" and c.status != "True" for c in node.status.conditions)


def tolerates_node(pod: Pod, node: Node, effects: Collection[str] = ("NoSchedule", "NoExecute")) -> bool:
    """Whether the pod tolerates all taints of the node that have one of these effects."""
    return all(
        any(tolerates(one, taint) for one in pod.spec.tolerations)
        for taint in node.spec.taints
        if taint.effect in effects
    )


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether it is one of that taint. Source: k8s.io/component-helpers scheduling/corev1 (ToleratesTaint)."""
    if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator in ("", "Equal") and bool(toleration.key) and toleration.value == taint.value


def wanted(pod: Pod, node: Node) -> bool:
    """Whether the node is one that the pod asks for, by nodeSelector and required node affinity."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in pod.spec.nodeSelector.items()):
        return False
    affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    return required is None or _selected(required, node)


def _selected(selector: NodeSelector, node: Node) -> bool:
    """One term is enough."""
    return any(holds_on(term, node) for term in selector.nodeSelectorTerms)


def holds_on(term: NodeSelectorTerm, node: Node) -> bool:
    """A term without any requirement selects nothing."""
    return bool(
        (term.matchExpressions or term.matchFields)
        and all(holds(one.key, one.operator, one.values, node.metadata.labels) for one in term.matchExpressions)
        and all(holds(one.key, one.operator, one.values, {"metadata.name": node.name}) for one in term.matchFields)
    )


def unwelcome(pod: Pod, node: Node) -> int:
    """How many taints of effect PreferNoSchedule the pod does not tolerate."""
    taints = [taint for taint in node.spec.taints if taint.effect == "PreferNoSchedule"]
    return sum(not any(tolerates(one, taint) for one in pod.spec.tolerations) for taint in taints)


def _limit(node: Node) -> int:
    text = node.status.allocatable.get("pods", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else MAX_PODS
