"""Which nodes are other machines, and which place a name means."""

from __future__ import annotations

from collections.abc import Container

from k8snetlab.api.core import Node
from k8snetlab.api.machines import other_machines
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import ConflictError
from k8snetlab.explain.places import Place, find_place, outside_host, within
from k8snetlab.running.agents import Agents


def remote_nodes(snapshot: Snapshot, agents: Agents) -> set[str]:
    """The names of the nodes that are other machines."""
    return {node.name for node in other_machines(snapshot.all(Node).values(), agents.here)}


def place_of(snapshot: Snapshot, name: str, namespace: str, off: Container[str] = ()) -> Place:
    """A node, the router or a host outside; else a pod, of `namespace` where the name does not say. Raises
    ConflictError where that is on a node that is `off`."""
    if outside_host(snapshot, name):
        return find_place(snapshot, name)
    place = find_place(snapshot, within(snapshot, name, namespace))
    if place.node in off:
        what = place.node if place.kind == "node" else f"{place.kind} {place.name} is on {place.node}, which"
        raise ConflictError(f"{what} has no power", f"`k8snetlab node start {place.node}`")
    return place
