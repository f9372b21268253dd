"""Nodes that are real machines: what their Node objects say beyond what every node's says."""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.core import Node

MACHINE = "k8snetlab/machine"
"""Annotation of a Node that is a machine: the machine's own hostname."""
INTERFACE = "k8snetlab/interface"
"""Annotation of a Node that is a machine: its device by which the other nodes reach it."""

LEAVING = "k8snetlab/leaving"
"""Annotation of a Node whose machine has cordoned it in order to leave: where it stays after all, it undoes both."""


def is_machine(node: Node) -> bool:
    return MACHINE in node.metadata.annotations


def other_machines(nodes: Iterable[Node], here: str) -> list[Node]:
    """The nodes that are other machines than node `here`; none where that is "", as all are namespaces."""
    return [node for node in nodes if here and node.name != here]


def interface_of(node: Node) -> str:
    """The device by which the other nodes reach a machine; "" of a node that is a namespace."""
    return node.metadata.annotations.get(INTERFACE, "")
