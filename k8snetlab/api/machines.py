"""Nodes that are real machines: what their Node objects say beyond what every node's says."""

from __future__ import annotations

from k8snetlab.api.core import Node

MACHINE = "k8snetlab/machine"
"""Annotation of a Node that is a machine: the machine's own hostname."""
INTERFACE = "k8snetlab/interface"
"""Annotation of a Node that is a machine: its device by which the other nodes reach it."""

LEAVING = "k8snetlab/leaving"
"""Annotation of a Node whose machine has cordoned it in order to leave: where it stays after all, it undoes both."""


def is_machine(node: Node) -> bool:
    return MACHINE in node.metadata.annotations


def interface_of(node: Node) -> str:
    """The device by which the other nodes reach a machine; "" of a node that is a namespace."""
    return node.metadata.annotations.get(INTERFACE, "")
