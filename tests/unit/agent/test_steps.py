"""While pods come all nodes write the rules of the same objects, and no others before long; the last pod ends that."""

from __future__ import annotations

import pytest

from k8snetlab.agent.steps import FEW, LONGEST, QUIET, SOME, SPARE, STANDSTILL, TIMES, Steps, note, seen
from k8snetlab.api.core import Node, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.api.reading import reading, same_answers
from k8snetlab.api.snapshot import Snapshot


class Lab:
    """Objects that change, and a clock."""

    def __init__(self) -> None:
        self.now, self.snapshot = 100.0, Snapshot()
        self.change(Service(metadata=ObjectMeta(name="web", namespace="default")))
        self.change(Node(metadata=ObjectMeta(name="node1")))
        self.steps = Steps(lambda: self.snapshot, lambda: self.now)

    def change(self, obj: Object) -> Snapshot:
        self.snapshot = self.snapshot.changed([(type(obj), obj.key, obj)], self.snapshot.revision + 1)
        return self.snapshot

    def one_more(self) -> Snapshot:
        """An endpoint."""
        return self.change(
            EndpointSlice(metadata=ObjectMeta(name=f"web-{self.snapshot.revision}", namespace="default"))
        )


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_what_one_node_has_written_the_others_write_too_until_the_step_ends(lab: Lab) -> None:
    steps, begun = lab.steps, lab.one_more()
    first = steps.take(begun, 900)
    steps.wrote(SOME, 0.1)
    lab.now += 0.1
    later = lab.one_more()
    second = steps.take(later, 800)
    assert first.objects is second.objects is begun and first.newest and not second.newest
    steps.wrote(SOME, 0.1)
    assert steps.rest(second.objects, 800) == pytest.approx(TIMES * 0.2), "as long as both nodes' writes ask for"
    assert steps.rest(None, 800) == 0, "a node that has not had its turn takes it"
    lab.now += TIMES * 0.2
    assert steps.rest(second.objects, 700) == 0
    assert steps.take(later, 700).objects is later
    assert steps.rest(later, 700) == pytest.approx(TIMES * 0.2), "the next one is as long before it is known"


def test_it_ends_with_the_last_pod_and_where_none_becomes_ready(lab: Lab) -> None:
    steps, objects = lab.steps, lab.one_more()
    steps.take(objects, 3)
    steps.wrote(SOME, 60.0)
    assert steps.rest(objects, 3) == STANDSTILL, "pods that never become ready hold nothing back"
    assert steps.rest(objects, 0) == 0
    for left in range(99, 0, -1):
        if lab.now + STANDSTILL <= 100 + LONGEST:
            assert steps.rest(objects, left) == pytest.approx(STANDSTILL)
        lab.now += STANDSTILL - 0.5
    assert steps.rest(objects, 98) == 0, "however long a write took"


def test_few_rules_are_held_back_for_a_moment(lab: Lab) -> None:
    for coming in range(9, 0, -1):
        objects = lab.one_more()
        assert lab.steps.take(objects, coming).objects is objects
        lab.steps.wrote(SOME - 1, 0.02)
        assert lab.steps.rest(objects, coming) == pytest.approx(FEW * 0.02)
        assert lab.steps.rest(objects, 0) == 0
        lab.now += FEW * 0.02


def test_none_is_older_than_what_a_node_had(lab: Lab) -> None:
    own = lab.one_more()
    newer = lab.one_more()
    step = lab.steps.take(own, 5)
    assert step.objects is newer and step.newest
    assert Steps().take(own, 5) == (own, True), "one by itself takes its own"


def test_a_node_sees_what_is_its_own_and_is_concerned_by_what_it_was_asked(lab: Lab) -> None:
    held = lab.one_more()
    lab.steps.take(held, 9)
    lab.steps.wrote(SOME, 1.0)
    lab.one_more()
    own = reading(lab.change(Node(metadata=ObjectMeta(name="node2"))))
    step = lab.steps.take(own, 8)
    objects = seen(own, step)
    assert len(objects.all(EndpointSlice)) == 1 and len(objects.all(Node)) == 2
    objects.all(Service), objects.all(Pod)
    note(own, step, objects)
    assert {question[0] for question in own.answers} == {Node, Pod}, "newer endpoints are left for later"
    lab.now += TIMES
    step = lab.steps.take(own, 7)
    objects = seen(own, step)
    assert objects.all(EndpointSlice) is lab.snapshot.all(EndpointSlice)
    note(own, step, objects)
    assert same_answers(own.answers, lab.snapshot)
    assert not same_answers(own.answers, lab.one_more()), "others concern it"


def test_what_can_wait_does_so_until_pods_have_come_and_is_shared_by_all_nodes(lab: Lab) -> None:
    steps = lab.steps
    assert steps.spare(7, 20) == 0
    lab.now += 1
    assert steps.spare(0, 20) == 0, "the last one has just become ready"
    lab.now += QUIET
    assert [steps.spare(0, SPARE - 5), steps.spare(0, 20), steps.spare(0, 20)] == [SPARE - 5, 5, 0]
    lab.now += 1
    assert steps.spare(0, 20) == 20
    assert steps.spare(1, 20) == 0, "another one comes"
    lab.now += QUIET
    assert steps.spare(1, 20) == 20, "that never becomes ready"
