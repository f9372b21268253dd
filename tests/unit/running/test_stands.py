"""How the pods of a request stand, and that only those are looked at that changed."""

from __future__ import annotations

import msgspec

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.running.agents import with_pause
from k8snetlab.running.stands import Stands

MANY = 1000


def pod(number: int, **status: object) -> Pod:
    spec = {"nodeName": f"node{number % 10}", "containers": [{"name": "c", "image": "x"}]}
    return msgspec.convert({"metadata": {"name": f"p{number}"}, "spec": spec, "status": status}, Pod)


READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
NODES = [msgspec.convert({"metadata": {"name": f"node{number}"}}, Node) for number in range(10)]
LAB = Snapshot.of([*NODES, *(pod(number) for number in range(MANY))])


def standing(stands: Stands, snapshot: Snapshot, silent: tuple[str, ...] = (), broken: tuple[str, ...] = ()) -> None:
    stands.follow(snapshot.all(Pod), snapshot, silent, broken)


def keys(*numbers: int) -> set[Key]:
    return {("default", f"p{number}") for number in numbers}


def test_of_a_thousand_pods_only_the_changed_one_is_judged_again() -> None:
    stands = Stands()
    standing(stands, LAB)
    assert stands.judged == len(stands) == len(stands["coming"]) == MANY
    later = LAB.changed([(Pod, ("default", "p7"), pod(7, **READY))], 2)
    standing(stands, later)
    assert stands.judged == MANY + 1
    assert stands["ready"].keys() == keys(7) and len(stands["coming"]) == MANY - 1
    standing(stands, later)
    assert stands.judged == MANY + 1


def test_a_pod_that_has_gone_stands_nowhere() -> None:
    stands = Stands()
    standing(stands, LAB)
    standing(stands, LAB.changed([(Pod, ("default", "p7"), None)], 2))
    assert len(stands) == MANY - 1 and not keys(7) & stands["coming"].keys()


def test_a_node_that_is_paused_concerns_its_pods() -> None:
    stands = Stands()
    standing(stands, LAB)
    standing(stands, LAB.changed([(Node, ("", "node3"), with_pause(NODES[3], True))], 2))
    assert stands["paused"].keys() == keys(*range(3, MANY, 10))


def test_what_is_known_of_nodes_concerns_their_pods() -> None:
    stands = Stands()
    ready = LAB.changed([(Pod, ("default", "p13"), pod(13, **READY))], 2)
    standing(stands, ready, silent=("node1",), broken=("node3",))
    assert stands["unreachable"].keys() == keys(*range(1, MANY, 10), *range(3, MANY, 10)) - keys(13)
    assert stands["ready"].keys() == keys(13)
    standing(stands, ready)
    assert not stands["unreachable"]


def test_a_pod_whose_node_has_gone_waits_for_it() -> None:
    stands = Stands()
    standing(stands, LAB)
    standing(stands, LAB.changed([(Node, ("", "node3"), None)], 2))
    assert stands["orphaned"].keys() == keys(*range(3, MANY, 10))
