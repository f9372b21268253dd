"""Guests that do not run: programs of the user's own in nodes and pods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api.core import Node
from k8snetlab.api.guest import Guest
from k8snetlab.api.selection import node_of_guest
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose.finding import Finding

PREFIX = "guest "
"""What a manager's warning begins with that is about a guest, whose name follows, and a colon."""


def failing(node: str, warnings: Iterable[str]) -> Iterator[Finding]:
    """`warnings` are those of a node's managers."""
    for warning in warnings:
        name, colon, _ = warning.removeprefix(PREFIX).partition(":")
        if warning.startswith(PREFIX) and colon:
            yield _finding(name, "failing", node, f"{node}: {warning}", f"k8snetlab guest logs {name}")


def nowhere(snapshot: Snapshot) -> Iterator[Finding]:
    """Those that no node runs."""
    for guest in snapshot.all(Guest).values():
        node, name = node_of_guest(guest, snapshot), guest.name
        if guest.pod and not node:
            message = f"guest {name} runs nowhere: pod {guest.pod} is not there, or on no node"
            yield _finding(name, "missing", "", message, f"k8snetlab get pod {guest.spec.podName}")
        elif snapshot.get(Node, node) is None:
            message = f"guest {name} runs nowhere: the lab has no node {node}"
            yield _finding(name, "missing", "", message, "k8snetlab get nodes")


def _finding(name: str, fault: str, node: str, message: str, show: str) -> Finding:
    return Finding(
        kind="guest",
        fault=fault,
        node=node,
        object=name,
        message=message,
        consequence="what this program would do in the lab is not done; all else goes on",
        show=show,
        mend=f"k8snetlab guest stop {name}",
    )
