"""What follows from a snapshot is made again where another one says something new to it, and only there."""

from __future__ import annotations

from k8snetlab.agent.concern import Concern, Remembered
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot

ONE, TWO = (Node(metadata=ObjectMeta(name=name)) for name in ("one", "two"))
POD = Pod(metadata=ObjectMeta(name="pod", namespace="default"))


def test_it_is_made_once_for_all_snapshots_that_say_the_same() -> None:
    made: list[list[str]] = []

    def names(snapshot: Snapshot) -> list[str]:
        made.append(sorted(node.name for node in snapshot.all(Node).values()))
        return made[-1]

    nodes = Remembered(names)
    first = Snapshot.of([ONE])
    assert nodes.of(first) == ["one"] and nodes.of(first) == ["one"]
    more = first.changed([(Pod, POD.key, POD)], 2)
    assert nodes.of(more) == ["one"] and len(made) == 1, "a pod is none of its concern"
    assert nodes.of(more.changed([(Node, TWO.key, TWO)], 3)) == ["one", "two"] and len(made) == 2


def test_who_asks_it_is_concerned_by_what_it_follows_from() -> None:
    """Also where it was known already: an agent would not see that anything has changed."""
    nodes = Remembered(lambda snapshot: len(snapshot.all(Node)))
    first = Snapshot.of([ONE])
    for _ in range(2):
        concern = Concern()
        read = concern.begin(first)
        nodes.of(read)
        concern.end(read)
        assert not concern.touches(first.changed([(Pod, POD.key, POD)], 2))
        assert concern.touches(first.changed([(Node, TWO.key, TWO)], 2))


def test_what_could_not_be_made_is_tried_again() -> None:
    tries: list[int] = []

    def make(snapshot: Snapshot) -> int:
        tries.append(1)
        return 1 // (len(tries) - 1)

    held = Remembered(make)
    for _ in range(2):
        try:
            assert held.of(Snapshot.of([ONE])) == 1
        except ZeroDivisionError:
            assert len(tries) == 1
