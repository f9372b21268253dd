"""What rules of Calico's own policies match, for sets of ends at once: an integer with a bit for each."""

from __future__ import annotations

from collections.abc import Sequence

from k8snetlab.policies.calico_shapes import CalicoRule
from k8snetlab.policies.calico_verdict import has_ports, is_at, is_of
from k8snetlab.policies.ends import Direction, End


class CalicoReach:
    """Of some ends. What a rule says of the other side is worked out once for each port, and not for each pod."""

    def __init__(self, ends: Sequence[End]) -> None:
        self._ends = ends
        self._found: dict[tuple[int, str, int, int, str | None], int] = {}

    def hit(self, rule: CalicoRule, pod: End, direction: Direction, at: tuple[str, int]) -> int:
        """The ends whose packets to a pod (or to which packets of a pod) a rule matches."""
        if not is_of(rule, at[0]):
            return 0
        if direction == "ingress":
            mine = rule.version in (0, pod.family) and is_at(rule.destination, pod, pod.address(pod.family))
            if not mine or not has_ports(rule.destination, *at, pod):
                return 0
            return self._others(rule, at, pod.family, pod.node)
        return self._leaving(rule, pod, at, 4) | self._leaving(rule, pod, at, 6)

    def _leaving(self, rule: CalicoRule, pod: End, at: tuple[str, int], family: int) -> int:
        """What a pod's packets of one IP version reach: the ends whose first address is of that."""
        if rule.version not in (0, family) or not is_at(rule.source, pod, pod.sender(family, pod.node)):
            return 0
        return self._others(rule, at, family, None)

    def _others(self, rule: CalicoRule, at: tuple[str, int], family: int, node: str | None) -> int:
        """Those at the other side, as what comes in to pods of a node; of what goes out, where there is None."""
        key = (id(rule), *at, family, node)
        if key not in self._found:
            side = rule.destination if node is None else rule.source
            found = 0
            for number, end in enumerate(self._ends):
                if node is None and (end.family != family or not has_ports(side, *at, end)):
                    continue
                if is_at(side, end, end.address(family) if node is None else end.sender(family, node)):
                    found |= 1 << number
            self._found[key] = found
        return self._found[key]
