"""Which pods of many a diagnosis does not look into: never one in which something changed, and others in each turn."""

from __future__ import annotations

from typing import Any, cast

from k8snetlab.dataplane.netns import Netns
from k8snetlab.diagnose import sampling
from k8snetlab.diagnose.finding import Where
from k8snetlab.explain.drift import vouched

MANY = sampling.PODS + 16
PODS = [f"lab.default.web-{number}" for number in range(MANY)]
STATES = {name: Netns(name, role="pod") for name in PODS} | {"lab.node1": Netns("lab.node1")}


class Places:
    """Of `Kernels` what namespaces are called."""

    def __init__(self) -> None:
        self.wheres = {name: Where(name, name, "pod" if name in PODS else "node", "node1") for name in STATES}

    def own_name(self, name: str) -> str:
        return name


def unread(untouched: dict[str, Netns], turn: int = 0) -> frozenset[str]:
    return vouched(STATES, cast(Any, Places()), untouched, turn)


def test_a_pod_that_was_touched_is_read_in_every_turn() -> None:
    for broken in PODS:
        untouched = {name: state for name, state in STATES.items() if name != broken}
        assert len(unread(untouched, PODS.index(broken))) == MANY - 1 - sampling.PODS
        assert broken not in unread(untouched, PODS.index(broken))


def test_a_pod_that_was_made_otherwise_than_is_desired_now_is_read() -> None:
    untouched = STATES | {PODS[1]: Netns(PODS[1], role="other")}
    assert not any(PODS[1] in unread(untouched, turn) for turn in range(MANY))


def test_a_node_is_always_read_and_so_are_a_few_pods() -> None:
    assert "lab.node1" not in unread(STATES)
    assert not unread({name: STATES[name] for name in PODS[: sampling.PODS]})


def test_whoever_asks_again_has_each_pod_read_some_time() -> None:
    assert unread(STATES, 1) == unread(STATES, 1) != unread(STATES, 2)
    assert not frozenset.intersection(*(unread(STATES, turn) for turn in range(MANY)))
