"""Whether a later snapshot would answer the same as one that was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Node, ObjectMeta, Pod, PodSpec, Service
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.reading import LAST_RESERVED, reading, same_answers
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Key, Snapshot


def pod(name: str, node: str, **labels: str) -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace="default", labels=labels), spec=PodSpec(nodeName=node))


def node(name: str, version: str = "1", **annotations: str) -> Node:
    keys = {key.replace("_", "/", 1): value for key, value in annotations.items()}
    return Node(metadata=ObjectMeta(name=name, annotations=keys, resourceVersion=version))


BEFORE = Snapshot.of([pod("a", "node1"), pod("b", "node2"), node("node1"), node("node2"), Service()], 7)


def changed(obj: Object, gone: bool = False) -> Snapshot:
    return BEFORE.changed([(type(obj), obj.key, None if gone else obj)], 8)


def number_of_labels(pods: Mapping[Key, Pod]) -> int:
    return sum(len(one.metadata.labels) for one in pods.values())


Ask = Callable[[Snapshot], object]
QUESTIONS: dict[str, Ask] = {
    "pods of node1": lambda snapshot: snapshot.select(Pod, pods_by_node, "node1"),
    "pods of node3": lambda snapshot: snapshot.select(Pod, pods_by_node, "node3"),
    "labels": lambda snapshot: snapshot.derived(Pod, number_of_labels),
    "all pods": lambda snapshot: snapshot.all(Pod),
    "one pod": lambda snapshot: snapshot.get(Pod, "a", "default"),
    "nodes": lambda snapshot: snapshot.node("node1"),
    "lab": lambda snapshot: snapshot.lab,
    "what changed": lambda snapshot: list(snapshot.changes(Service, None)),
}


@pytest.mark.parametrize(
    ("after", "other"),
    [
        (changed(pod("a", "node1", app="web")), {"pods of node1", "labels", "all pods", "one pod"}),
        (changed(pod("b", "node2", app="web")), {"labels", "all pods", "one pod"}),
        (changed(pod("b", "node1")), {"pods of node1", "all pods", "one pod"}),
        (changed(pod("c", "node3")), {"pods of node3", "all pods", "one pod"}),
        (changed(pod("a", "node1"), gone=True), {"pods of node1", "all pods", "one pod"}),
        (changed(node("node2", "8", **{LAST_RESERVED.replace("/", "_", 1): "10.244.2.7"})), set()),
        (changed(node("node2", "8", k8snetlab_interface="eth7")), {"nodes"}),
        (changed(node("node3")), {"nodes"}),
        (changed(node("node2"), gone=True), {"nodes"}),
        (changed(Lab()), {"lab"}),
        (changed(Service(metadata=ObjectMeta(name="web"))), {"what changed"}),
        (replace(BEFORE, revision=9), set()),
    ],
)
def test_only_what_was_asked_for_makes_a_difference(after: Snapshot, other: set[str]) -> None:
    found = set()
    for name, ask in QUESTIONS.items():
        asked = reading(BEFORE)
        assert ask(asked) == ask(BEFORE)
        assert same_answers(asked.answers, BEFORE)
        if not same_answers(asked.answers, after):
            found.add(name)
    assert found == other


def test_answers_are_those_of_all_questions() -> None:
    asked = reading(BEFORE)
    for ask in QUESTIONS.values():
        ask(asked)
    assert not same_answers(asked.answers, changed(Lab()))
    assert len(asked.answers) == 7, "a question that was asked twice counts once"
