"""What a kubelet tells of its node in Events: that it starts, that the node has been rebooted, and that it is ready.

Source: Kubernetes pkg/kubelet (kubelet.go BirthCry, kubelet_node_status.go), pkg/kubelet/nodestatus/setters.go and
pkg/kubelet/cm/node_container_manager_linux.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import Node
from k8snetlab.controllers.correlation import Note

COMPONENT = "kubelet"
_HEALTHY = ("NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID")


def told(old: Node, new: Node) -> Iterator[Note]:
    """Of a node's status as it was, and as its kubelet has posted it now."""
    boot, before = new.status.nodeInfo.bootID, old.status.nodeInfo.bootID
    if boot != before:
        yield _note(new, "Starting", "Starting kubelet.")
        for reason in _HEALTHY:
            yield _is_now(new, reason)
        if before:
            text = f"Node {new.name} has been rebooted, boot id: {boot}"
            yield Note(new, "Warning", "Rebooted", text, COMPONENT, new.name)
        yield _note(new, "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
    if _is_ready(new) and not _is_ready(old):
        yield _is_now(new, "NodeReady")


def _is_now(node: Node, reason: str) -> Note:
    return _note(node, reason, f"Node {node.name} status is now: {reason}")


def _note(node: Node, reason: str, text: str) -> Note:
    return Note(node, "Normal", reason, text, COMPONENT, node.name)


def _is_ready(node: Node) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
