"""Many rules are written at once twice, and then not before a while; few are never held back."""

from __future__ import annotations

from k8snetlab.agent.pace import LONGEST, MANY, Pace, coming
from k8snetlab.api.core import Condition, Pod, PodStatus
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_second_of_two_writes_of_many_rules_is_followed_by_a_rest() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.wrote(MANY, 1.0)
    assert pace.rest == 0, "what comes after a lab was built is written at once"
    clock.now += 2
    pace.wrote(MANY, 1.0)
    assert pace.rest == 4
    clock.now += 3
    assert pace.rest == 1
    clock.now += 5
    assert pace.rest == 0


def test_a_rest_has_an_end_and_few_rules_none() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(2):
        pace.wrote(MANY, 60.0)
        clock.now += 60
    assert pace.rest == 0
    pace.wrote(MANY, 60.0)
    assert pace.rest == LONGEST
    few = Pace(clock)
    for _ in range(9):
        few.wrote(MANY - 1, 60.0)
    assert few.rest == 0


def test_writes_far_apart_are_not_held_back() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(3):
        pace.wrote(MANY, 1.0)
        assert pace.rest == 0
        clock.now += 60


def test_pods_that_are_to_become_ready_are_counted() -> None:
    ready = PodStatus(phase="Running", conditions=(Condition(type="Ready", status="True"),))
    pods = [
        Pod(metadata=ObjectMeta(name="waits")),
        Pod(metadata=ObjectMeta(name="ready"), status=ready),
        Pod(metadata=ObjectMeta(name="over"), status=PodStatus(phase="Failed")),
    ]
    assert coming(Snapshot.of(pods)) == 1
    going = Pod(metadata=ObjectMeta(name="goes", deletionTimestamp="2026-11-29T00:00:00Z"))
    assert coming(Snapshot.of([*pods, going])) == 0, "rules of what ends are not held back"
