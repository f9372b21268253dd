"""Guests: those that do not run, and rules that are left to one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api.core import Node
from k8snetlab.api.guest import Guest
from k8snetlab.api.selection import is_proxied_by_guest, node_of_guest
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import KUBE_PROXY_CHAINS, KUBE_ROUTER_CHAINS
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.diagnose.finding import Finding, Where

SHOWN = 3
"""So many nodes are named before "and more"."""
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


def no_rules(where: Where, held: Iterable[ChainKey]) -> Iterator[Finding]:
    """A node whose rules of Services are left to a guest that has written none. `held`: its chains."""
    if any(key.chain.startswith(KUBE_PROXY_CHAINS) and not key.chain.startswith(KUBE_ROUTER_CHAINS) for key in held):
        return
    yield Finding(
        kind="table",
        fault="missing",
        node=where.node,
        object="nat",
        message=f"{where.place}: its rules of Services are left to a guest (proxy.mode external), and in iptables "
        "there are none",
        consequence="no Service is translated here, unless a guest does it by other means than iptables",
        show="k8snetlab guest list",
        mend=f"k8snetlab guest start kube-proxy --node {where.node} -- kube-proxy …",
        netns=where.netns,
    )


def notes(snapshot: Snapshot) -> list[str]:
    """A sentence on nodes whose rules are a guest's."""
    left = [name for _, name in snapshot.all(Node) if is_proxied_by_guest(snapshot, name)]
    if not left:
        return []
    nodes = ", ".join(left[:SHOWN]) + (f" and {len(left) - SHOWN} more" if len(left) > SHOWN else "")
    return [f"{nodes}: the rules of Services are a guest's (proxy.mode external); paths are walked, rules not compared"]
