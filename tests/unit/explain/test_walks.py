"""A path that was found whole is walked again where anything that the walk asked has changed, and only there."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Node
from k8snetlab.api.events import Event
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.dataplane.view import Interface, NeighbourEntry, RouteEntry, View, Views
from k8snetlab.explain.walks import Walker, Walks

NAT = ChainKey("nat", "PREROUTING")
NODE = View(
    "lab.n1",
    "n1",
    "node",
    interfaces={"eth0": Interface("eth0", "veth", peer=("lab.router", "n1"))},
    routes=(RouteEntry("10.244.2.0/24", dev="eth0", via="172.30.0.3"),),
    neighbours=(NeighbourEntry("eth0", "172.30.0.3", "0a:00:00:00:00:03", "REACHABLE"),),
    chains={NAT: ("-j KUBE-SERVICES",)},
    counters={NAT: ((1, 60),)},
    listening=frozenset({("tcp", "", 10250), ("udp", "10.0.0.1", 53)}),
)
OTHER = View("lab.n2", "n2", "node")
SNAPSHOT = Snapshot.of([Node(metadata=ObjectMeta(name="n1"))])


class Kernel(dict[str, View]):
    """Two nodes; an address of the first."""

    at: str | None = "lab.n1"

    def home(self, address: str) -> str | None:
        return self.at


class Diagnoses:
    """One after another, each with a walk that asks the first node and whose an address is."""

    def __init__(self) -> None:
        self.walks, self.walked, self.found = Walks(), 0, list[str]()

    def again(self, node: View = NODE, other: View = OTHER, at: str | None = "lab.n1", *, keep: bool = True) -> int:
        """How often the path has been walked so far."""
        kernel = Kernel({"lab.n1": node, "lab.n2": other})
        kernel.at = at
        walker = Walker({"ipv4": kernel}, self.walks.of(self.snapshot))
        assert walker.wrong("ipv4", "a path", self._walk, keep=keep) == self.found
        self.walks.learn(self.snapshot, walker.whole)
        return self.walked

    snapshot = SNAPSHOT

    def _walk(self, views: Views) -> list[str]:
        self.walked += 1
        views["lab.n1"].route("10.244.2.2")
        views.home("10.244.2.2")
        return self.found


def neighbour(**fields: Any) -> View:
    return replace(NODE, neighbours=(replace(NODE.neighbours[0], **fields),))


@pytest.mark.parametrize(
    "changed",
    [
        NODE,
        neighbour(state="STALE"),
        replace(NODE, counters={NAT: ((7, 420),)}),
        replace(NODE, listening=frozenset(sorted(NODE.listening, reverse=True))),
    ],
    ids=["nothing", "a neighbour entry rests", "packets were counted", "another order"],
)
def test_a_whole_path_is_walked_once_while_all_that_it_asked_is_the_same(changed: View) -> None:
    diagnoses = Diagnoses()
    assert diagnoses.again() == 1
    assert diagnoses.again(changed, other=replace(OTHER, routes=NODE.routes)) == 1, "the other node was not asked"
    diagnoses.snapshot = SNAPSHOT.changed(
        [(Event, ("default", "e"), Event(metadata=ObjectMeta(name="e", namespace="default")))], 2
    )
    assert diagnoses.again() == 1, "an Event tells nothing"


@pytest.mark.parametrize(
    "changed",
    [
        neighbour(state="FAILED"),
        neighbour(lladdr="0a:00:00:00:00:04"),
        replace(NODE, routes=()),
        replace(NODE, chains={NAT: ("-j KUBE-SERVICES", "-d 10.244.2.2/32 -j DROP")}),
        replace(NODE, policies={NAT: "DROP"}),
        replace(NODE, interfaces={"eth0": replace(NODE.interfaces["eth0"], up=False)}),
        replace(NODE, sysctls={"net.ipv4.ip_forward": "0"}),
        replace(NODE, listening=frozenset()),
    ],
    ids=["a neighbour failed", "another MAC", "a route gone", "a rule", "a policy", "a link", "a sysctl", "a listener"],
)
def test_it_is_walked_again_once_anything_of_it_has_changed(changed: View) -> None:
    diagnoses = Diagnoses()
    assert (diagnoses.again(), diagnoses.again(changed), diagnoses.again(changed)) == (1, 2, 2)
    assert diagnoses.again() == 3, "what was before is not remembered for ever"


def test_it_is_walked_again_where_an_address_has_moved_or_objects_have_changed() -> None:
    diagnoses = Diagnoses()
    assert (diagnoses.again(), diagnoses.again(at="lab.n2")) == (1, 2)
    diagnoses.snapshot = SNAPSHOT.changed([(Node, ("", "n2"), Node(metadata=ObjectMeta(name="n2")))], 2)
    assert diagnoses.again(at="lab.n2") == 3


def test_a_path_that_is_broken_or_followed_to_a_part_of_its_ends_is_always_walked() -> None:
    part = Diagnoses()
    assert (part.again(keep=False), part.again(keep=False)) == (1, 2)
    broken = Diagnoses()
    broken.found.append("no route")
    assert (broken.again(), broken.again()) == (1, 2)
