"""Why nobody takes a packet, whose a port of a bridge is, and which Events tell why something fails."""

from __future__ import annotations

import pytest

from k8snetlab.api.core import ObjectReference
from k8snetlab.api.events import Event
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.dataplane.view import Forwarding, Interface, NeighbourEntry, RouteEntry, View
from k8snetlab.diagnose.events import warnings
from k8snetlab.diagnose.finding import Where
from k8snetlab.diagnose.unmanaged import plugged
from k8snetlab.diagnose.wanted import Wanted
from k8snetlab.testing import fake_cluster
from k8snetlab.trace.listener import no_listener
from k8snetlab.trace.owners import NOBODY, Owners

V4, V6 = "10.244.1.2", "fd00::2"


@pytest.mark.parametrize(
    ("listening", "asked", "words"),
    [
        ({("tcp", "127.0.0.1", 80)}, ("tcp", V4), "tcp port 80 is bound to 127.0.0.1 only"),
        ({("tcp", "::1", 80)}, ("tcp", V4), "tcp port 80 is bound to ::1 only"),
        ({("tcp", "::", 80)}, ("tcp", V4), "tcp port 80 is bound to IPv6 ([::]) only"),
        ({("tcp", "0.0.0.0", 80)}, ("tcp", V6), "tcp port 80 is bound to IPv4 (0.0.0.0) only"),
        ({("tcp", "10.244.1.9", 80)}, ("tcp", V4), "tcp port 80 is bound to 10.244.1.9 only"),
        ({("udp", "", 80)}, ("tcp", V4), f"nobody listens on tcp {V4}:80: port 80 is open for udp only"),
        ({("tcp", "0.0.0.0", 80)}, ("udp", V4), f"nobody listens on udp {V4}:80: port 80 is open for tcp only"),
        ({("tcp", "", 81), ("udp", "", 53)}, ("tcp", V4), f"nobody listens on tcp {V4}:80 (but on tcp 81)"),
        (
            {("tcp", "", n) for n in range(1, 10)},
            ("tcp", V6),
            f"on tcp [{V6}]:80 (but on tcp 1, 2, 3, 4, 5, 6 and 3 more)",
        ),
        ({("tcp", "127.0.0.1", 81)}, ("tcp", V4), f"nobody listens on tcp {V4}:80"),
        (set(), ("tcp", V4), f"nobody listens on tcp {V4}:80"),
    ],
)
def test_why_nobody_takes_it(listening: set[tuple[str, str, int]], asked: tuple[str, str], words: str) -> None:
    view = View("n", "web", "pod", listening=frozenset(listening))
    protocol, address = asked
    assert not view.listens(protocol, address, 80)
    assert no_listener(view, protocol, address, 80).endswith(words)


def test_who_listens_for_which_family() -> None:
    def listens(held: str) -> tuple[bool, bool]:
        view = View("n", "web", "pod", listening=frozenset({("tcp", held, 80)}))
        return view.listens("tcp", V4, 80), view.listens("tcp", V6, 80)

    assert (listens(""), listens("0.0.0.0"), listens("::")) == ((True, True), (True, False), (False, True))


@pytest.mark.parametrize(
    ("route", "ours"),
    [
        (RouteEntry("10.244.2.0/24", dev="flannel.1", via="10.244.2.0"), True),
        (RouteEntry("10.244.2.0/24", dev="flannel.1", via="10.244.2.0", protocol="bird"), False),
        (RouteEntry("10.244.2.0/24", dev="flannel.1", via="10.244.2.0", protocol="static"), False),
        (RouteEntry("10.244.2.0/24", dev="eth0", via="192.168.0.22", protocol="bird"), False),
        (RouteEntry("10.244.2.0/24", dev="eth0", via="192.168.0.22"), False),
        (RouteEntry("10.244.2.0/24", kind="blackhole"), False),
        (RouteEntry("10.244.2.0/24", dev="flannel.1", via="10.244.2.0", table="100"), False),
    ],
)
def test_a_route_is_a_nodes_when_all_of_it_is(route: RouteEntry, ours: bool) -> None:
    snapshot = fake_cluster.FakeCluster(fake_cluster.LAB % 2).settle().snapshot
    owners = Owners(snapshot, Wanted(snapshot))
    assert owners.of_route(route, "lab.node1").startswith("Node node2") == ours
    assert ours or owners.of_route(route, "lab.node1") == NOBODY
    assert ("proto " in route.words()) == (route.protocol != "boot")


def test_what_is_plugged_into_a_bridge_by_hand() -> None:
    links = {n: Interface(n, "veth", master="cni0") for n in ("veth1", "hv0")} | {"cni0": Interface("cni0", "bridge")}
    mac = "02:00:00:00:00:09"
    view = View(
        *("lab.node1", "node1", "node", links),
        forwarding=(Forwarding("hv0", mac, "cni0"), Forwarding("hv0", "02:00:00:00:00:01", "cni0", permanent=True)),
        neighbours=(NeighbourEntry("cni0", "10.244.1.200", mac, "REACHABLE"),),
    )
    where = Where("lab.node1", "node1", "node", "node1")
    (found,) = plugged(view, where, "cni0", {"veth1", "cni0"}, reached=False)
    assert found.message == "node1: hv0 (behind it 10.244.1.200) is a port of cni0, and nobody of the lab made it"
    assert "reached on this node only" in found.consequence
    assert [*plugged(view, where, "cni0", {"veth1", "hv0", "cni0"}, reached=False)] == []


def test_events_that_tell_why_something_fails_now() -> None:
    spec = "{nodeSelector: {a: b}, containers: [{name: c}]}"
    picky = f"---\n{{apiVersion: v1, kind: Pod, metadata: {{name: one}}, spec: {spec}}}\n"
    good = fake_cluster.deployment("web", 1)
    snapshot = fake_cluster.FakeCluster(fake_cluster.LAB % 1 + picky + good).settle().kubelet().settle().snapshot

    def event(number: int, kind: str, name: str, message: str, type_: str = "Warning") -> Event:
        about = ObjectReference(kind=kind, namespace="default", name=name)
        when = f"2026-01-01T00:00:0{number}Z"
        metadata = ObjectMeta(name=f"e{number}", namespace="default")
        return Event(
            metadata=metadata, involvedObject=about, reason="Why", message=message, lastTimestamp=when, type=type_
        )

    told = [
        event(1, "Pod", "one", "old"),
        event(2, "Pod", "one", "new"),
        event(3, "Pod", "one", "newest, and normal", "Normal"),
        event(4, "Pod", "gone", "of nobody any more"),
        event(5, "Deployment", "web", "all its pods are ready now"),
        event(6, "Service", "web", "of a kind that never fails"),
    ]
    changes = [(Event, e.key, e) for e in told]
    assert [*warnings(snapshot.changed(changes, snapshot.revision + 1))] == ["pod default/one: Why: new"]
