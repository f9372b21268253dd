"""Which nodes are other machines, and which place a name means."""

from __future__ import annotations

from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.explain.probe import find_place, within
from k8snetlab.explain.probed import Place
from k8snetlab.running.agents import Agents


def remote_nodes(snapshot: Snapshot, agents: Agents) -> set[str]:
    """The nodes that are other machines."""
    return {name for _, name in snapshot.all(Node)} - agents.local(snapshot)


def place_of(snapshot: Snapshot, name: str, namespace: str) -> Place:
    """A node, the router or the outside host; else a pod, of `namespace` where the name does not say."""
    return find_place(snapshot, within(snapshot, name, namespace))
