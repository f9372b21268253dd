"""The scheduler's filters: which of them keeps a pod from a node, and in which words.

Source: Kubernetes pkg/scheduler/framework/plugins; the order is that of apis/config/v1/default_plugins.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from k8snetlab.api.core import Pod
from k8snetlab.controllers.company import AFFINITY as COMPANY
from k8snetlab.controllers.company import UNLABELLED, Company
from k8snetlab.controllers.fitting import (
    AFFINITY,
    PORTS,
    TAINTED,
    TOO_MANY,
    UNSCHEDULABLE,
    Room,
    is_cordoned,
    is_repelled,
    wanted,
)

FILTERS = (
    "NodeUnschedulable",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "PodTopologySpread",
    "InterPodAffinity",
)
NO_NODES = "no nodes available to schedule pods"


class Verdict(msgspec.Struct, frozen=True):
    """What the filters say of a pod on a node. `by` is the first one that refuses, "" where none does; `for_good`: no
    pod's going would help."""

    by: str = ""
    reasons: tuple[str, ...] = ()
    for_good: bool = False

    @property
    def fits(self) -> bool:
        return not self.by


FITS = Verdict()


def verdict(pod: Pod, room: Room, company: Company | None, asked: Mapping[str, int]) -> Verdict:
    """`company` is None where neither the pod nor any other says anything of its company; `asked` are the pod's
    `demands`."""
    if is_cordoned(pod, room.node):
        return Verdict("NodeUnschedulable", (UNSCHEDULABLE,), True)
    if is_repelled(pod, room.node):
        return Verdict("TaintToleration", (TAINTED,), True)
    if not wanted(pod, room.node):
        return Verdict("NodeAffinity", (AFFINITY,), True)
    if not room.has_ports(pod):
        return Verdict("NodePorts", (PORTS,))
    lacks = room.lacks(asked)
    if room.count >= room.limit or lacks:
        reasons = [TOO_MANY] if room.count >= room.limit else []
        reasons += [f"Insufficient {name}" for name in lacks]
        return Verdict("NodeResourcesFit", tuple(reasons), room.never_has(asked))
    if company is None:
        return FITS
    if why := company.spread_problem(room.node):
        return Verdict("PodTopologySpread", (why,), why == UNLABELLED)
    if why := company.affinity_problem(room.node):
        return Verdict("InterPodAffinity", (why,), why == COMPANY)
    return FITS


def summed(verdicts: Sequence[Iterable[str]]) -> str:
    """The reasons of all nodes, counted: "0/3 nodes are available: 1 Too many pods, 2 Insufficient cpu."."""
    if not verdicts:
        return NO_NODES
    counts = Counter(reason for reasons in verdicts for reason in reasons)
    reasons = sorted(f"{count} {reason}" for reason, count in counts.items())
    return f"0/{len(verdicts)} nodes are available: {', '.join(reasons)}."
