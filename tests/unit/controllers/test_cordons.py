"""A cordoned node has a taint that says so, and an Event; an uncordoned one has lost both."""

from __future__ import annotations

from msgspec.structs import replace

from k8snetlab.api.core import Node, NodeSpec, Taint
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Context, Record
from k8snetlab.controllers.cordons import KEY, reconcile

OTHER = Taint(key="gpu", effect="NoSchedule")
NODE = Node(metadata=ObjectMeta(name="node1"), spec=NodeSpec(taints=(OTHER,)))
CONTEXT = Context(time=1_795_973_615.0)


def answered(node: Node) -> tuple[list[Node], list[tuple[str, str]]]:
    nodes, notes = [], []
    for answer in reconcile(Snapshot.of((node,), 1), None, CONTEXT):
        if isinstance(answer, Record):
            notes.append((answer.note.reason, answer.note.message))
        elif isinstance(answer, tuple) and isinstance(answer[2], Node):
            nodes.append(answer[2])
    return nodes, notes


def test_a_cordon_brings_its_taint_and_takes_it_away() -> None:
    cordoned = replace(NODE, spec=replace(NODE.spec, unschedulable=True))
    [tainted], notes = answered(cordoned)
    assert tainted.spec.taints == (OTHER, Taint(key=KEY, effect="NoSchedule", timeAdded="2026-11-29T17:33:35Z"))
    assert notes == [("NodeNotSchedulable", "Node node1 status is now: NodeNotSchedulable")]
    assert answered(tainted) == ([], [])
    [free], notes = answered(replace(tainted, spec=replace(tainted.spec, unschedulable=False)))
    assert free.spec.taints == (OTHER,)
    assert notes == [("NodeSchedulable", "Node node1 status is now: NodeSchedulable")]


def test_a_node_that_was_never_cordoned_is_left_alone() -> None:
    assert answered(NODE) == ([], [])
