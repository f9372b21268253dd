"""Whether what a first look has found stands: an agent that works may be about to mend it. Blocking."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from k8snetlab.diagnose.finding import Finding
from k8snetlab.explain.desired import Desired

SETTLE = 1.3
"""Seconds in which an agent that works has mended what it can: what is still so then is a finding."""
PAUSE = 0.05
KEPT = frozenset(
    ("link", "address", "sysctl", "qdisc", "route", "neighbour", "fdb", "variant", "policy", "table", "hook", "rule")
) | {"chain", "set", "conntrack"}
"""Kinds that nobody changes but agents and strangers: they do not come right by themselves."""
OF_OBJECTS = frozenset(("pod", fault) for fault in ("pending", "waiting", "failed"))
"""Kinds and faults that are read from the objects alone."""


class Rest(NamedTuple):
    """Of one agent: when it last found that it has nothing to do (seconds, monotonic), and what it has done so far."""

    looked: float
    operations: int


Resting = Callable[[], Mapping[str, Rest]]
"""Those of this machine, by node; cheap, for any thread."""


def unsettled(finding: Finding, now: Desired) -> bool:
    """Whether somebody works who may be about to mend it: a node's agent, or who runs pods. What only objects tell is
    as a second look would find it where none of them has changed for as long as that would wait."""
    if (finding.kind, finding.fault) in OF_OBJECTS and now.quiet >= SETTLE:
        return False
    agent = now.agents.get(finding.node)
    if agent is not None:
        return agent.works and not agent.paused
    return now.daemon == "runs" and finding.kind not in ("service", "store")


def stand(findings: Collection[Finding], now: Desired, before: Mapping[str, Rest], resting: Resting) -> bool:
    """Waits, for SETTLE at most, until it is known whether all findings stand. They do when each agent that may mend
    them has looked since, found nothing to do, and done nothing since `before` the first look.

    False: nobody can tell, and they are to be looked for again.
    """
    began = time.monotonic()
    mending = [finding for finding in findings if unsettled(finding, now)]
    nodes = {finding.node for finding in mending}
    if nodes <= before.keys() and all(finding.kind in KEPT for finding in mending):
        while (left := began + SETTLE - time.monotonic()) > 0:
            after = resting()
            if any(node not in after or after[node].operations != before[node].operations for node in nodes):
                break
            if all(after[node].looked > began for node in nodes):
                return True
            time.sleep(min(PAUSE, left))
    time.sleep(max(0.0, began + SETTLE - time.monotonic()))
    return False
