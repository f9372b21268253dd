"""Which machine a request concerns: only the daemon of a node's own machine can look at its kernel and processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.explain.probe import find_place, within
from k8snetlab.explain.probed import Place
from k8snetlab.running.agents import Agents


def node_of(snapshot: Snapshot, method: str, path: Sequence[str], query: Mapping[str, str], body: Any) -> str:
    """The node whose daemon alone can do one of the lab's own operations, "" where any can or several must.

    `path` is what comes after /apis/k8snetlab/v1alpha1/. Raises NotFoundError.
    """
    match (method, *path):
        case ("POST", "nodes", node, "pause" | "resume"):
            return node if snapshot.get(Node, node) else ""
        case ("GET", "pods", namespace, name, "log"):
            pod = snapshot.get(Pod, name, namespace)
            return pod.spec.nodeName if pod else ""
        case ("GET", "rules"):
            return query.get("node", "")
        case ("GET", "misses"):
            return query.get("node", "")
        case ("GET", "tables", *name) | ("POST", "exec", *name):
            return place_of(snapshot, "/".join(name), query.get("namespace", "")).node
        case ("POST", "probe" | "trace") if isinstance(body, dict) and body.get("from"):
            return place_of(snapshot, body["from"], body.get("namespace") or "").node
    return ""


def afar(snapshot: Snapshot, agents: Agents) -> set[str]:
    """The nodes that are other machines."""
    return {name for _, name in snapshot.all(Node)} - agents.local(snapshot)


def place_of(snapshot: Snapshot, name: str, namespace: str) -> Place:
    """A node, the router or the outside host; else a pod, of `namespace` where the name does not say."""
    return find_place(snapshot, within(snapshot, name, namespace))
