"""Backends whose routes daemons make: real BIRD and FRR in the nodes' namespaces, and real packets by their routes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.addons.routing import PACKAGES
from k8snetlab.kernel import processes
from k8snetlab.kernel.netns import inside
from k8snetlab.testing import Lab, eventually

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not all(shutil.which(one) for one, _ in PACKAGES.values()), reason="bird or frr is missing"),
]
NODES = {
    "node1": ("192.168.0.21", "10.244.1"),
    "node2": ("192.168.0.22", "10.244.2"),
    "node3": ("192.168.0.23", "10.244.3"),
}
NETWORKS = {
    "vxlan": "{}",
    "host-gw": "{backend: host-gw}",
    "bgp": "{backend: bgp}",
    "rip": "{backend: rip}",
    "ospf": "{backend: ospf}",
    "rip by frr": "{backend: rip, routing: {daemon: frr}}",
    "ospf by bird": "{backend: ospf, routing: {daemon: bird}}",
    **{
        f"signed {backend} by {daemon}": f"{{backend: {backend}, routing: {{daemon: {daemon}, password: s3cret}}}}"
        for backend, daemon in (("bgp", "bird"), ("ospf", "frr"), ("ospf", "bird"), ("rip", "frr"), ("rip", "bird"))
    },
}
DAEMONS = {
    "bgp": ({"bird"}, "proto bird metric 32"),
    "rip": ({"bird"}, "proto bird metric 32"),
    "ospf": ({"zebra", "ospfd"}, "proto ospf metric 20"),
    "rip by frr": ({"zebra", "ripd"}, "proto rip metric 20"),
    "ospf by bird": ({"bird"}, "proto bird metric 32"),
}
DUAL = (
    'podCIDR: "10.244.0.0/16,fd00:244::/56", serviceCIDR: "10.96.0.0/16,fd00:96::/112",'
    ' underlay: {cidr: "192.168.0.0/24,fd00:1::/64", outside: "203.0.113.10/24,fd00:2::10/64"},'
)


POD = """---
apiVersion: v1
kind: Pod
metadata: {name: web-%d}
spec: {nodeName: node%d, containers: [{name: c, ports: [{containerPort: 80}]}]}
"""


class World:
    """Three nodes; on the first two a pod that serves, on the third none."""

    def __init__(self, directory: Path, more: str = "") -> None:
        self.lab, self._manifest, self._more = Lab(directory), directory / "lab.yaml", more

    def up(self, network: str) -> None:
        spec = f"{{nodes: 3, {self._more} dns: {{enabled: false}}, network: {NETWORKS[network]}}}"
        pods = "".join(POD % (number, number) for number in (1, 2))
        self._manifest.write_text(f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {spec}}}\n{pods}")
        self.lab.run("up", str(self._manifest))

    def routes(self, node: str, family: str = "-4") -> set[str]:
        """Those that lead to pods of other nodes."""
        shown = self.lab.shell(node, "ip", family, "route").splitlines()
        return {line.strip() for line in shown if line.startswith(("10.244.", "fd00:244:")) and " dev cni0" not in line}

    def hears(self, node: str) -> set[str]:
        """The neighbours whose sessions with the node stand."""
        (shown,) = self.lab.json("routing", node)["nodes"]
        return {one["name"] for one in shown["neighbours"] if one["established"]}

    def pids(self, node: str) -> dict[str, int]:
        """The daemons of a node, by program."""
        found = {_comm(pid): pid for pid in processes.pids_in(self.lab.netns(node))}
        return {name: pid for name, pid in found.items() if name in ("bird", "zebra", "ospfd", "ripd")}


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # it has ended: who asks a daemon lives for a moment
        return ""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("routed"))
    yield made
    made.lab.run("down", code=None)


def by_daemons(node: str, told: str, device: str = "eth0") -> set[str]:
    return {f"{subnet}.0/24 via {ip} dev {device} {told}" for other, (ip, subnet) in NODES.items() if other != node}


@pytest.mark.parametrize("network", ["vxlan", "bgp", "ospf", "rip", "host-gw", "ospf by bird", "rip by frr", "bgp"])
def test_each_brings_packets_to_pods_and_leaves_nothing_to_the_next(world: World, network: str) -> None:
    """`up` ends when all routes are there: the node without pods is reached as well."""
    world.up(network)
    programs, told = DAEMONS.get(network, (set(), ""))
    for node in NODES:
        if told:
            assert world.routes(node) == by_daemons(node, told)
        else:
            assert "proto" not in " ".join(world.routes(node)) and len(world.routes(node)) == 2
        assert world.pids(node).keys() == programs
    assert world.pids("router").keys() == programs
    assert world.routes("router") == (by_daemons("router", told, "underlay0") if told else set())
    assert world.lab.whole()
    mtu = 1450 if network == "vxlan" else 1500
    assert f"mtu {mtu}" in world.lab.run("exec", "web-1", "--", "ip", "link", "show", "eth0")
    assert world.lab.json("diagnose")["findings"] == []


def test_a_killed_daemon_comes_back_and_no_route_goes(world: World) -> None:
    world.up("bgp")
    former = world.pids("node1")["bird"]
    os.kill(former, signal.SIGKILL)
    assert world.routes("node1") == by_daemons("node1", DAEMONS["bgp"][1])
    eventually(lambda: world.pids("node1").get("bird", former) != former)
    eventually(lambda: world.routes("node1") == by_daemons("node1", DAEMONS["bgp"][1]) and world.lab.whole())
    eventually(lambda: world.lab.json("status")["problems"] == [])


def digest(payload: bytes) -> bool:
    """Whether an IP packet of a routing protocol is signed by MD5: TCP's option 19, OSPF's AuType 2, RIP's type 3."""
    head = (payload[0] & 15) * 4
    inner = payload[head:]
    match payload[9]:
        case 6:
            return 19 in _options(inner[20 : (inner[12] >> 4) * 4])
        case 89:
            return int.from_bytes(inner[14:16]) == 2
        case _:
            return inner[12:16] == b"\xff\xff\x00\x03"


def _options(data: bytes) -> Iterator[int]:
    while data:
        yield data[0]
        data = data[1 if data[0] in (0, 1) else max(data[1], 2) :]


def is_routings(payload: bytes) -> bool:
    head, protocol = (payload[0] & 15) * 4, payload[9]
    ports = {int.from_bytes(payload[head : head + 2]), int.from_bytes(payload[head + 2 : head + 4])}
    return protocol == 89 or (protocol == 6 and 179 in ports) or (protocol == 17 and 520 in ports)


@pytest.mark.parametrize("network", [name for name in NETWORKS if name.startswith("signed")])
def test_with_a_password_what_daemons_say_is_signed_and_nothing_else_believed(world: World, network: str) -> None:
    world.up(network)
    assert world.lab.whole() and world.lab.json("diagnose")["findings"] == []
    with inside(world.lab.netns("node1")):
        line = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    with line:
        line.settimeout(30)
        found: list[bytes] = []
        while len(found) < 5:
            packet = line.recv(2048)
            found += [packet] if is_routings(packet) else []
    assert all(map(digest, found))


@pytest.mark.parametrize("network", ["bgp", "ospf"])
def test_a_node_that_is_cut_off_is_forgotten_by_the_others_and_found_again(world: World, network: str) -> None:
    world.up(network)
    told = DAEMONS[network][1]
    world.lab.run("pause", "node2")
    world.lab.shell("node2", "ip", "link", "set", "eth0", "down")
    left = {route for route in by_daemons("node1", told) if not route.startswith("10.244.2.")}
    eventually(lambda: world.routes("node1") == left)
    world.lab.run("resume", "node2")
    eventually(lambda: world.routes("node1") == by_daemons("node1", told) and world.lab.whole())


@pytest.mark.parametrize("network", ["bgp", "rip", "ospf by bird"])
def test_both_families_are_routed(tmp_path_factory: pytest.TempPathFactory, network: str) -> None:
    both = World(tmp_path_factory.mktemp("dual"), DUAL)
    try:
        both.up(network)
        assert both.routes("node1") == by_daemons("node1", DAEMONS[network][1])
        assert len(both.routes("node1", "-6")) == 2 and both.lab.whole()
    finally:
        both.lab.run("down", code=None)


@contextlib.contextmanager
def dropped(world: World, node: str, *match: str) -> Iterator[None]:
    """What matches is dropped on its way into a node, for the block."""
    world.lab.shell(node, "iptables", "-I", "INPUT", *match, "-j", "DROP")
    try:
        yield
    finally:
        world.lab.shell(node, "iptables", "-D", "INPUT", *match, "-j", "DROP")


def test_diagnose_names_the_rule_that_keeps_a_session_from_standing(world: World) -> None:
    world.up("bgp")
    told = DAEMONS["bgp"][1]
    with dropped(world, "node1", "-s", "192.168.0.0/24", "-p", "tcp"):
        eventually(lambda: world.routes("node1") == set() and len(world.routes("node2")) == 1)
        eventually(lambda: not world.hears("node1"))  # the router too, which need not fall silent first
        (finding,) = world.lab.json("diagnose", code=1)["findings"]
        assert (finding["kind"], finding["fault"], finding["node"]) == ("rule", "foreign", "node1")
        said = " ".join(finding["explains"])
        assert "node1: by bgp its daemon hears none of its 3 neighbours" in said
        assert "node2: bgp has made no route to 10.244.1.0/24, node1's pods" in said and "Hold timer expired" in said
        missing = {node["name"]: node["missing"] for node in world.lab.json("routing")["nodes"]}
        assert missing["node1"] == ["10.244.2.0/24", "10.244.3.0/24"] and missing["node2"] == ["10.244.1.0/24"]
    eventually(lambda: world.routes("node1") == by_daemons("node1", told))


def is_named(world: World) -> bool:
    (first, *_) = world.lab.json("diagnose", code=1)["findings"]
    assert (first["kind"], first["fault"], first["node"]) == ("rule", "foreign", "node2")
    assert "rule 1 of INPUT" in first["message"] and "-j DROP" in first["message"]  # the protocol: 89, or a name
    assert any("node2: by ospf its daemon hears none of its 3 neighbours" in text for text in first["explains"])
    return any("node1: ospf has made no route to 10.244.2.0/24" in text for text in first["explains"])


def test_diagnose_names_the_rule_for_which_a_node_hears_nobody(world: World) -> None:
    world.up("ospf")
    with dropped(world, "node2", "-p", "89"):
        eventually(lambda: len(world.routes("node2")) == 0)
        eventually(lambda: is_named(world))  # each node forgets its neighbour in its own time
    eventually(lambda: world.lab.json("diagnose", code=None)["findings"] == [])


def is_led_by_others(world: World) -> bool:
    """Not before there is another way: for a moment there may be none."""
    routes = world.routes("node1")
    return any(route.startswith("10.244.2.") for route in routes) and not any("via 192.168.0.22 " in r for r in routes)


def test_routes_by_way_of_others_are_told_and_traced_as_such(world: World) -> None:
    world.up("ospf")
    with dropped(world, "node1", "-s", "192.168.0.22", "-p", "89"):
        eventually(lambda: is_led_by_others(world))
        assert all(" via " in route for node in ("node1", "node2") for route in world.routes(node))
        found = world.lab.json("diagnose", code=1)["findings"]
        assert (found[0]["kind"], found[0]["fault"], found[0]["node"]) == ("rule", "foreign", "node1")
        assert any("node1: ospf has made a route by way of" in text for text in found[0]["explains"])
        assert "node1: no straight route to 10.244.2.0/24" in world.lab.run("routing", "node1")
        assert not any(path for one in found for path in one["paths"]), "packets arrive all the same"
    eventually(lambda: world.lab.json("diagnose", code=None)["findings"] == [])


def test_a_daemon_that_stands_still_is_named(world: World) -> None:
    world.up("bgp")
    pid = world.pids("node1")["bird"]
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: "10.244.1.0/24" not in " ".join(world.routes("node2")))
        found = world.lab.json("diagnose", code=1)["findings"]
        messages = [text for f in found for text in (f["message"], *f["explains"])]
        assert any("bird of node1 does not answer" in message for message in messages), messages
        assert any("its session with 192.168.0.21 is" in message for message in messages), messages
        assert "bird of node1 does not answer" in world.lab.run("routing", "node1")
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: world.lab.json("diagnose", code=None)["findings"] == [])


@pytest.mark.parametrize("network", ["bgp", "ospf", "rip", "rip by frr", "ospf by bird"])
def test_routing_shows_every_neighbour_and_route(world: World, network: str) -> None:
    world.up(network)
    silent = {"router"} if network == "rip by frr" else set()  # it has nothing to tell, so FRR says nothing for it

    def heard() -> bool:
        nodes = world.lab.json("routing")["nodes"]
        return {n["name"] for n in nodes} == {"router", *NODES} and all(
            {one["name"] for one in n["neighbours"] if one["established"]} >= {"router", *NODES} - {n["name"]} - silent
            and {route["pods"] for route in n["routes"]} - {""} == {*NODES} - {n["name"]}
            and not n["missing"]
            for n in nodes
        )

    eventually(heard)
    shown = world.lab.run("routing", "node1")
    assert "10.244.2.0/24" in shown and "node2" in shown and max(map(len, shown.splitlines())) <= 80


def test_routing_of_a_lab_without_daemons_is_refused(world: World) -> None:
    world.up("host-gw")
    assert "no daemon makes routes here: network.backend is host-gw" in world.lab.run("routing", code=2)
