"""The walk, over namespaces written down by hand: what decides, and where a packet ends when something is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.dataplane.view import Forwarding, Interface, NeighbourEntry, NextHop, RouteEntry, View
from k8snetlab.testing import fake_cluster
from k8snetlab.trace.compare import Sighting, compare
from k8snetlab.trace.owners import NOBODY, Owners
from k8snetlab.trace.path import predict
from k8snetlab.trace.tracer import AnyBranch, Followed
from k8snetlab.trace.way import Flow, Way

CLIENT, NODE, SERVER = "lab.client", "lab.node1", "lab.server"
VIP = "10.96.0.1"


class World:
    """One node with two pods on its bridge."""

    def __init__(self, **changed: dict[str, Any]) -> None:
        self.views = {
            CLIENT: pod(CLIENT, "client", "10.244.1.2", "veth1"),
            SERVER: pod(SERVER, "server", "10.244.1.3", "veth2"),
            NODE: node(),
        }
        for name, fields in changed.items():
            key = f"lab.{name}"
            self.views[key] = msgspec.structs.replace(self.views[key], **fields)

    def __getitem__(self, netns: str) -> View:
        return self.views[netns]

    def home(self, address: str) -> str | None:
        return {"10.244.1.2": CLIENT, "10.244.1.3": SERVER}.get(address)


def pod(netns: str, place: str, address: str, veth: str) -> View:
    mac = f"0a:58:0a:f4:01:0{address[-1]}"
    return View(
        netns,
        place,
        "pod",
        interfaces={
            "lo": Interface("lo", "loopback"),
            "eth0": Interface("eth0", "veth", mac, 1450, peer=(NODE, veth)),
        },
        addresses={"eth0": (address,)},
        routes=(
            RouteEntry("0.0.0.0/0", dev="eth0", via="10.244.1.1"),
            RouteEntry("10.244.1.0/24", dev="eth0", src=address, kernel=True),
        ),
        listening=frozenset({("tcp", "", 8080)}),
    )


def node() -> View:
    port = {"master": "cni0", "hairpin": True}
    return View(
        NODE,
        "node1",
        "node",
        interfaces={
            "lo": Interface("lo", "loopback"),
            "cni0": Interface("cni0", "bridge", "0a:58:0a:f4:01:01", 1450),
            "veth1": Interface("veth1", "veth", "02:00:00:00:00:01", 1450, peer=(CLIENT, "eth0"), **port),  # type: ignore[arg-type]
            "veth2": Interface("veth2", "veth", "02:00:00:00:00:02", 1450, peer=(SERVER, "eth0"), **port),  # type: ignore[arg-type]
        },
        addresses={"cni0": ("10.244.1.1",)},
        routes=(
            RouteEntry("10.244.1.0/24", dev="cni0", src="10.244.1.1", kernel=True),
            RouteEntry("10.244.1.1/32", "local", "cni0", src="10.244.1.1", table="local", kernel=True),
        ),
        forwarding=(
            Forwarding("veth1", "0a:58:0a:f4:01:02", "cni0"),
            Forwarding("veth2", "0a:58:0a:f4:01:03", "cni0"),
        ),
        sysctls={"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "1"},
        chains=CHAINS,
        counters={ChainKey("nat", "KUBE-SEP-A"): ((7, 420),)},
    )


CHAINS = {
    ChainKey("nat", "PREROUTING"): ("-j KUBE-SERVICES",),
    ChainKey("nat", "KUBE-SERVICES"): (f"-d {VIP}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-A",),
    ChainKey("nat", "KUBE-SVC-A"): ("-m comment --comment default/web -j KUBE-SEP-A",),
    ChainKey("nat", "KUBE-SEP-A"): ("-p tcp -m tcp -j DNAT --to-destination 10.244.1.3:8080",),
}


def only(world: World, dst: str = "10.244.1.3", port: int = 8080, protocol: str = "tcp", src: str = CLIENT) -> Way:
    (way,) = predict(world, Owners(Snapshot()), src, Flow("", dst, protocol, 40000, port))
    return way


def points(way: Way) -> list[str]:
    return [f"{hop.place} {hop.interface} {hop.direction}" for hop in way.there if hop.interface]


def test_on_one_bridge_the_node_only_passes_the_frame_on() -> None:
    way = only(World())
    assert way.fate == "answered"
    assert points(way) == ["client eth0 out", "node1 veth1 in", "node1 veth2 out", "server eth0 in"]
    assert way.there[0].packet == Flow("10.244.1.2", "10.244.1.3", "tcp", 40000, 8080)
    route = way.there[0].decisions[0]
    assert route.entry == "10.244.1.0/24 dev eth0 src 10.244.1.2"
    assert route.lost == ("0.0.0.0/0 via 10.244.1.1 dev eth0",)


def test_a_service_is_translated_and_the_answer_turned_back() -> None:
    way = only(World(), VIP, 80)
    assert (way.fate, way.endpoint, way.probability) == ("answered", "10.244.1.3:8080", 1)
    assert points(way) == ["client eth0 out", "node1 veth1 in", "node1 veth2 out", "server eth0 in"]
    dnat = next(d for hop in way.there for d in hop.decisions if d.what == "rule")
    assert dnat.text == "DNAT 10.244.1.3:8080: nat PREROUTING > KUBE-SERVICES > KUBE-SVC-A > KUBE-SEP-A, rule 1"
    assert (dnat.counters, dnat.owner) == ((7, 420), "kube-proxy")
    assert [hop.packet.src for hop in way.back if hop.interface] == ["10.244.1.3", "10.244.1.3", VIP, VIP]


@pytest.mark.parametrize(("liberal", "fate"), [(False, "lost"), (True, "answered")])
def test_the_answer_to_a_packet_that_conntrack_was_kept_from_is_invalid(liberal: bool, fate: str) -> None:
    """A SYN-ACK before any SYN begins no connection (nf_conntrack_proto_tcp)."""
    chains = {ChainKey("raw", "PREROUTING"): ("-d 10.244.1.3/32 -p tcp -m tcp --dport 8080 -j NOTRACK",)}
    if not liberal:
        chains |= {ChainKey("filter", "FORWARD"): ("-m conntrack --ctstate INVALID -j DROP",)}
    way = only(World(node1={"chains": chains}))
    assert way.fate == fate
    assert ("DROP: filter FORWARD, rule 1" in way.reason) is not liberal


def test_without_br_netfilter_the_answer_passes_conntrack_by() -> None:
    off = {"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "0"}
    way = only(World(node1={"sysctls": off}), VIP, 80)
    assert way.fate == "lost"
    assert way.reason == "on the way back: the answer comes from 10.244.1.3:8080, and 10.96.0.1:80 was asked"


@pytest.mark.parametrize("hairpin", [True, False])
def test_a_pod_that_asks_itself_needs_hairpin_and_masquerade(hairpin: bool) -> None:
    port = msgspec.structs.replace(node().interfaces["veth2"], hairpin=hairpin)
    way = only(World(node1={"interfaces": {**node().interfaces, "veth2": port}}), VIP, 80, src=SERVER)
    assert way.fate == "lost"
    assert ("hairpin is off on veth2" in way.reason) is not hairpin
    assert ("martian source" in way.reason) is hairpin


@pytest.mark.parametrize(
    ("changed", "fate", "reason"),
    [
        ({"client": {"routes": ()}}, "unreachable", "no route to 10.96.0.1 in client"),
        ({"node1": {"routes": ()}}, "lost", "no route to 10.244.1.3 in node1"),
        (
            {"client": {"routes": (RouteEntry("0.0.0.0/0", "blackhole"),)}},
            "unreachable",
            "the route is blackhole in client",
        ),
        ({"node1": {"sysctls": {}}}, "lost", "forwarding is off in node1"),
        ({"node1": {"interfaces": {**node().interfaces, "cni0": Interface("cni0", "bridge", up=False)}}}, "lost", ""),
        (
            {"node1": {"chains": {ChainKey("filter", "FORWARD"): (f"-d {VIP}/32 -p tcp -j REJECT",)}}},
            "unreachable",
            "no route to 10.96.0.1 in node1",
        ),
        (
            {"node1": {"chains": {**CHAINS, ChainKey("filter", "FORWARD"): ("-p tcp -j REJECT",)}}},
            "refused",
            f"node1: REJECT: filter FORWARD, rule 1 ({NOBODY})",
        ),
        (
            {"node1": {"chains": {**CHAINS, ChainKey("raw", "PREROUTING"): ("-j DROP",)}}},
            "lost",
            f"node1: DROP: raw PREROUTING, rule 1 ({NOBODY})",
        ),
        (
            {"node1": {"policies": {ChainKey("filter", "FORWARD"): "DROP"}}},
            "lost",
            "node1: DROP by the policy of FORWARD",
        ),
        ({"server": {"listening": frozenset()}}, "refused", "nobody listens on tcp 10.244.1.3:8080"),
    ],
)
def test_a_packet_ends_where_something_is_missing_and_it_is_said_why(
    changed: dict[str, Any], fate: str, reason: str
) -> None:
    way = only(World(**changed), VIP, 80)
    assert (way.fate, reason in way.reason) == (fate, True), way.reason


def test_a_neighbour_entry_with_the_wrong_mac_sends_to_nobody() -> None:
    entry = NeighbourEntry("eth0", "10.244.1.3", "02:99:00:00:00:00", "STALE")
    way = only(World(client={"neighbours": (entry,)}))
    assert way.fate == "lost"
    assert way.reason == "node1: cni0 does not know 02:99:00:00:00:00 and floods; nobody takes it"
    assert way.flooded == ((NODE, "cni0"),)


def test_a_cable_whose_other_end_went_meanwhile_leads_to_nobody() -> None:
    """Namespaces are read one after the other: what the first says of the second may be over by then."""
    interfaces = {name: device for name, device in node().interfaces.items() if name != "veth1"}
    way = only(World(node1={"interfaces": interfaces}))
    assert (way.fate, way.reason) == ("lost", "client: nobody on eth0 answers for 10.244.1.3")


def test_branches_of_a_service_add_up() -> None:
    chains = {
        **CHAINS,
        ChainKey("nat", "KUBE-SVC-A"): (
            "-m statistic --mode random --probability 0.25 -j KUBE-SEP-A",
            "-j KUBE-SEP-B",
        ),
        ChainKey("nat", "KUBE-SEP-B"): ("-p tcp -m tcp -j DNAT --to-destination 10.244.1.2:8080",),
    }
    ways = predict(World(node1={"chains": chains}), Owners(Snapshot()), CLIENT, Flow("", VIP, "tcp", 40000, 80))
    assert [(way.endpoint, way.probability) for way in ways] == [("10.244.1.2:8080", 0.75), ("10.244.1.3:8080", 0.25)]


def first_three(ways: Sequence[AnyBranch], /) -> Sequence[AnyBranch]:
    return ways[:3]


@pytest.mark.parametrize("bridged", ["0", "1"])
def test_of_many_endpoints_those_that_are_chosen_are_followed(bridged: str) -> None:
    """Whether the bridge shows its frames to iptables or routes them up: a thousand endpoints are a thousand ways."""
    chains = {
        **CHAINS,
        ChainKey("nat", "KUBE-SVC-A"): tuple(
            f"-m statistic --mode random --probability 0.01 -j KUBE-SEP-{number}" for number in range(100)
        ),
    }
    for number in range(100):
        chains[ChainKey("nat", f"KUBE-SEP-{number}")] = (
            f"-p tcp -m tcp -j DNAT --to-destination 10.244.1.3:{9000 + number}",
        )
    sysctls = {"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": bridged}
    world, asked = World(node1={"chains": chains, "sysctls": sysctls}), Flow("", VIP, "tcp", 40000, 80)
    for followed in (Followed(first=first_three), Followed(last=first_three)):
        ways = predict(world, Owners(Snapshot()), CLIENT, asked, followed)
        assert len(ways) == 3 and len({way.endpoint for way in ways}) == 3
    assert len(predict(world, Owners(Snapshot()), CLIENT, asked)) == 101  # and the one that no rule takes


def test_rules_that_cannot_be_read_are_said_to_be_passed_over() -> None:
    way = only(World(node1={"chains": {ChainKey("filter", "FORWARD"): ("-m strange -j DROP",)}}))
    notes = [d.text for hop in way.there for d in hop.decisions if d.what == "rule"]
    assert notes and notes[0].startswith("not followed: cannot read the iptables rule")


def test_a_device_has_a_switch_of_its_own_for_what_comes_by_it() -> None:
    switches = {"net.ipv4.ip_forward": "1", "net.ipv4.conf.cni0.forwarding": "0"}
    way = only(World(node1={"sysctls": switches}), VIP, 80)
    assert (way.fate, way.reason) == ("lost", "forwarding is off in node1 for what comes by cni0")


def test_a_rule_may_ask_for_the_flags_of_a_handshake() -> None:
    def told(rule: str) -> tuple[str, str]:
        way = only(World(node1={"chains": {ChainKey("filter", "FORWARD"): (rule,)}}))
        return way.fate, way.reason.partition(",")[0]

    assert told("-p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK -j DROP")[0] == "lost"
    assert told("-p tcp -m tcp --syn -j DROP")[0] == "lost"
    assert told("-p tcp -m tcp --tcp-flags ALL FIN -j DROP")[0] == "answered"


# --- comparing --------------------------------------------------------------------------------------------------------


def seen(way: Way) -> list[Sighting]:
    return [
        Sighting(h.netns, h.place, h.interface, h.direction, h.packet, float(n), h in way.back)
        for n, h in enumerate(way.hops)
        if h.interface
    ]


def test_what_was_seen_as_predicted_differs_in_nothing() -> None:
    way = only(World())
    verdict = compare([way], seen(way), "answered", set())
    assert verdict.differences == ()
    assert [h.microseconds for h in verdict.way.there if h.interface] == [0, 1, 2, 3]


def test_where_a_packet_stopped_is_marked_once() -> None:
    way = only(World())
    verdict = compare([way], seen(way)[:2], "lost", set())
    assert [h.seen for h in verdict.way.there if h.interface] == [True, True, False, False]
    told = [h.remark for h in verdict.way.hops if h.remark]
    assert told[0].startswith("not seen here: node1 took it in by veth1 and sent nothing")
    assert verdict.differences[-1] == "predicted was answered, the sender heard: lost"


def test_another_address_and_another_device_are_differences() -> None:
    way = only(World())
    other = [msgspec.structs.replace(s, packet=msgspec.structs.replace(s.packet, src="9.9.9.9")) for s in seen(way)[:1]]
    strange = Sighting(NODE, "node1", "eth9", "out", way.there[0].packet, 2.5)
    verdict = compare([way], [*other, *seen(way)[1:], strange], "answered", set())
    assert len(verdict.differences) == 2
    assert "seen with 9.9.9.9:40000" in verdict.differences[0]
    assert verdict.differences[1] == "node1 eth9 out: seen here, and not predicted"


def test_the_way_that_was_taken_is_chosen() -> None:
    near, far = only(World()), only(World(), VIP, 80)
    assert compare([near, far], seen(far), "answered", set()).chosen == 1


def test_every_step_names_its_object_and_its_line() -> None:
    cluster = fake_cluster.FakeCluster(
        """\
kind: Lab
apiVersion: k8snetlab/v1alpha1
metadata: {name: lab}
spec: {nodes: 1, underlay: {outside: 203.0.113.10/24}}
---
kind: Deployment
apiVersion: apps/v1
metadata: {name: web}
spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}}
"""
    ).run()
    owners = Owners(cluster.snapshot)
    (pod,), (node,) = cluster.snapshot.all(Pod).values(), cluster.snapshot.all(Node).values()
    assert owners.of_address(pod.ips[0]) == f"Pod default/{pod.name} of Deployment default/web, f.yaml:6"
    assert owners.of_address(node.addresses[0]) == "Node node1 of Lab lab, f.yaml:1"
    assert owners.of_address("192.168.0.1") == owners.of_address("203.0.113.1") == "the router of Lab lab, f.yaml:1"
    assert owners.of_address("203.0.113.10") == "the host outside of Lab lab, f.yaml:1"
    assert owners.of_tunnel() == "the network of Lab lab, f.yaml:1"
    assert owners.of_address("8.8.8.8") == NOBODY


def test_a_packet_in_circles_ends_with_its_hop_limit() -> None:
    """The server sends what is not its own back to the node, which sent it there."""
    routes = (*node().routes, RouteEntry("10.99.0.0/24", dev="cni0", via="10.244.1.3"))
    world = World(server={"sysctls": {"net.ipv4.ip_forward": "1"}}, node1={"routes": routes})
    (way,) = predict(world, Owners(Snapshot()), CLIENT, Flow("", "10.99.0.1", "tcp", 40000, 80))
    assert way.fate == "unreachable"
    assert way.reason == "the packet goes in circles, again through node1, until its hop limit is used up"
    once = list({s.point: s for s in reversed(seen(way))}.values())
    assert len(once) < len(seen(way)) and (SERVER, "eth0", "out") in [s.point for s in once]
    assert compare([way], reversed(once), "unreachable", set()).differences == ()


def test_a_route_of_several_next_hops_is_followed_by_each_with_its_share() -> None:
    """One of two routers is not there: two in three connections arrive, and the third is lost."""
    hops = (NextHop("eth0", "10.244.1.1", 2), NextHop("eth0", "10.244.1.9"))
    entry = RouteEntry("10.99.0.0/24", dev="eth0", protocol="static", hops=hops)
    assert entry.words() == (
        "10.99.0.0/24 proto static nexthop via 10.244.1.1 dev eth0 weight 2 nexthop via 10.244.1.9 dev eth0 weight 1"
    )
    world = World(
        client={"routes": (*pod(CLIENT, "client", "10.244.1.2", "veth1").routes, entry)},
        server={"addresses": {"eth0": ("10.244.1.3", "10.99.0.1")}},
        node1={"routes": (*node().routes, RouteEntry("10.99.0.1/32", dev="cni0", via="10.244.1.3"))},
    )
    likely, other = predict(world, Owners(Snapshot()), CLIENT, Flow("", "10.99.0.1", "tcp", 40000, 8080))
    assert (likely.fate, round(likely.probability, 3)) == ("answered", 0.667)
    assert (other.fate, round(other.probability, 3)) == ("lost", 0.333)
    assert other.reason == "client: nobody on eth0 answers for 10.244.1.9"
    chosen = [d.text for hop in other.there for d in hop.decisions if d.what == "route"]
    assert chosen[1] == "10.99.0.1 by one of 2 next hops: 10.99.0.0/24 via 10.244.1.9 dev eth0 proto static"


CALI = "0e:ee:ee:ee:ee:ee"


def behind_a_gateway_of_no_device(switch: str = "1", way_out: str = "eth0") -> World:
    """As Calico's: a pod whose gateway is nobody's, and the node's end answers for all that it routes elsewhere."""
    links = {
        name: Interface(name, "veth", CALI, 1500, peer=(netns, "eth0"))
        for name, netns in (("cali1", CLIENT), ("cali2", SERVER))
    }
    routes = (
        RouteEntry("0.0.0.0/0", dev=way_out, via="192.168.0.1"),
        RouteEntry("10.244.1.2/32", dev="cali1"),
        RouteEntry("10.244.1.3/32", dev="cali2"),
    )
    arp = {f"net.ipv4.conf.{name}.proxy_arp": switch for name in links}
    changed: dict[str, Any] = {"interfaces": links, "addresses": {}, "routes": routes, "chains": {}, "forwarding": ()}
    world = World(node1=changed | {"sysctls": {"net.ipv4.ip_forward": "1", **arp}})
    for netns, device in ((CLIENT, "cali1"), (SERVER, "cali2")):
        there = world.views[netns]
        eth0 = msgspec.structs.replace(there.interfaces["eth0"], peer=(NODE, device))
        gateway = (
            RouteEntry("0.0.0.0/0", dev="eth0", via="169.254.1.1"),
            RouteEntry("169.254.1.1/32", dev="eth0"),
        )
        world.views[netns] = msgspec.structs.replace(there, interfaces={"eth0": eth0}, routes=gateway)
    return world


def test_a_node_answers_for_a_gateway_that_no_device_has() -> None:
    way = only(behind_a_gateway_of_no_device())
    assert way.fate == "answered"
    assert points(way) == ["client eth0 out", "node1 cali1 in", "node1 cali2 out", "server eth0 in"]
    asked = [d for hop in way.there for d in hop.decisions if d.what == "neighbour"]
    assert CALI in asked[0].text


@pytest.mark.parametrize(("switch", "way_out"), [("0", "eth0"), ("1", "cali1")], ids=["switched off", "no other way"])
def test_it_does_not_where_proxy_arp_is_off_or_the_way_leads_back(switch: str, way_out: str) -> None:
    way = only(behind_a_gateway_of_no_device(switch, way_out))
    assert way.fate == "lost" and "nobody on eth0 answers for 169.254.1.1" in way.reason
