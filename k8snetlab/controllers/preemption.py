"""Room for a pod of higher priority: which pods of lower priority would have to go, and on which node.

Source: Kubernetes pkg/scheduler/framework/preemption and plugins/defaultpreemption. PodDisruptionBudgets are none of a
lab's kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from k8snetlab.api.core import Pod
from k8snetlab.controllers.company import Company
from k8snetlab.controllers.demands import demands
from k8snetlab.controllers.filters import Verdict, summed, verdict
from k8snetlab.controllers.fitting import Room

HELPLESS = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
NEVER = "not eligible due to preemptionPolicy=Never."
TERMINATING = "not eligible due to terminating pod on the nominated node."

ABOVE = 1 << 31
"""What is added to each priority, so that none is below 0 and every victim more costs more."""

Companies = Callable[[Pod, Sequence[Room]], Company | None]


class Preemption(msgspec.Struct, frozen=True):
    """`victims` have to go from `node` for the pod; without any, `why` says it in the scheduler's words."""

    node: str = ""
    victims: tuple[Pod, ...] = ()
    why: str = ""


def priority(pod: Pod) -> int:
    return pod.spec.priority or 0


def preemption(pod: Pod, rooms: Sequence[Room], verdicts: Sequence[Verdict], companies: Companies) -> Preemption:
    """For a pod that fits on none of the nodes, as `verdicts` say of each."""
    if pod.spec.preemptionPolicy == "Never":
        return Preemption(why=NEVER)
    nominated = next((room for room in rooms if room.node.name == pod.status.nominatedNodeName), None)
    if nominated and any(one.metadata.deletionTimestamp and _below(one, pod) for one in nominated.pods):
        return Preemption(why=TERMINATING)
    found: list[tuple[int, tuple[Pod, ...]]] = []
    reasons: list[tuple[str, ...]] = []
    for number, (room, said) in enumerate(zip(rooms, verdicts, strict=True)):
        if said.for_good:
            reasons.append((HELPLESS,))
            continue
        lower = [one for one in room.pods if _below(one, pod)]
        if not lower:
            reasons.append((NO_VICTIMS,))
            continue
        left = _without(pod, rooms, number, lower, companies)
        reasons.append(left.reasons)
        if left.fits:
            found.append((number, _fewest(pod, rooms, number, lower, companies)))
    if not found:
        return Preemption(why=summed(reasons))
    number, victims = min(found, key=lambda one: _cost(one[1]))
    return Preemption(rooms[number].node.name, victims)


def _below(one: Pod, pod: Pod) -> bool:
    return priority(one) < priority(pod)


def _without(pod: Pod, rooms: Sequence[Room], number: int, gone: Sequence[Pod], companies: Companies) -> Verdict:
    """What the filters would say if those pods were not there."""
    emptied = list(rooms)
    emptied[number] = rooms[number].without(gone)
    return verdict(pod, emptied[number], companies(pod, emptied), demands(pod.spec))


def _fewest(
    pod: Pod, rooms: Sequence[Room], number: int, lower: Sequence[Pod], companies: Companies
) -> tuple[Pod, ...]:
    """Those of `lower` that have to go: the most important ones are spared first, of equal ones the older."""
    victims = sorted(lower, key=lambda one: (-priority(one), one.status.startTime or "~", one.key))
    for one in list(victims):
        others = [other for other in victims if other is not one]
        if _without(pod, rooms, number, others, companies).fits:
            victims = others
    return tuple(victims)


def _cost(victims: tuple[Pod, ...]) -> tuple[int, int, int]:
    priorities = [priority(one) for one in victims]
    return max(priorities, default=0), sum(one + ABOVE for one in priorities), len(victims)
