"""BGP as a lab file asks for it on Calico's network: reflectors, autonomous systems, communities, peers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.testing import Lab, eventually

pytestmark = [pytest.mark.root, pytest.mark.skipif(shutil.which("bird") is None, reason="bird is missing")]
POD = """---
{apiVersion: v1, kind: Pod, metadata: {name: pod%d}, spec: {nodeName: node%d, containers:
  [{name: c, image: i, ports: [{containerPort: 80}]}]}}
"""
REFLECTED = """{nodeToNodeMeshEnabled: false, communities: [{name: pods, value: "64512:120"}],
  prefixAdvertisements: [{cidr: 10.1.0.0/16, communities: [pods]}],
  peers: [{name: up, nodeSelector: all(), peerSelector: has(reflects), keepOriginalNextHop: true}]}"""


class World:
    """Four nodes with a pod each; the first reflects, and the last is of another autonomous system then."""

    def __init__(self, directory: Path) -> None:
        self.lab, self._manifest = Lab(directory), directory / "lab.yaml"

    def up(self, bgp: str, reflecting: bool = True, code: int = 0) -> str:
        first = ", routeReflectorClusterID: 244.0.0.1, labels: {reflects: 'yes'}" if reflecting else ""
        last = ", asNumber: 65001" if reflecting else ""
        nodes = f"[{{name: node1{first}}}, {{name: node2}}, {{name: node3}}, {{name: node4{last}}}]"
        network = f"{{backend: calico, ipPools: [{{cidr: 10.1.0.0/16}}], bgp: {bgp}}}"
        spec = f"{{nodes: {nodes}, podCIDR: 10.1.0.0/16, dns: {{enabled: false}}, network: {network}}}"
        pods = "".join(POD % (number, number) for number in range(1, 5))
        self._manifest.write_text(f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {spec}}}\n{pods}")
        return self.lab.run("up", str(self._manifest), "--yes", code=code)

    def learned(self, node: str) -> dict[str, str]:
        """Next hops, by destination."""
        lines = (line.split() for line in self.lab.shell(node, "ip", "route", "show", "proto", "bird").splitlines())
        return {words[0]: words[2] for words in lines if words[0] != "blackhole"}

    def configured(self, node: str, old: str, new: str) -> None:
        """Its BIRD is told of another file, as somebody with a console may; `configure` alone takes it back."""
        (file,) = self.lab.run_directory.glob(f"{self.lab.name}/addons/{node}/bird/conf/bird.conf")
        text = file.read_text()
        assert old in text
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as other:
            os.fchmod(other.fileno(), 0o644)
            other.write(text.replace(old, new))
            other.flush()
            assert "Reconfigured" in self.lab.run("birdc", node, f'configure "{other.name}"')

    def sessions(self, node: str) -> dict[str, tuple[str, bool]]:
        (shown,) = self.lab.json("routing", node)["nodes"]
        return {one["name"]: (one["kind"], one["established"]) for one in shown["neighbours"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("peerings"))
    made.up(REFLECTED)
    yield made
    made.lab.run("down", code=None)


def test_a_reflector_tells_its_clients_of_each_other(world: World) -> None:
    # Both ends connect: where they meet, one that stood is closed, and comes again a second later.
    eventually(lambda: world.sessions("node2") == {"node1": ("node specific", True)})
    eventually(lambda: world.sessions("node1") == {f"node{n}": ("node specific", True) for n in (2, 3, 4)})
    assert world.learned("node2")["10.1.0.128/26"] == "192.168.0.23"  # straight, though node1 told of it
    assert len(world.learned("node2")) == 3 == len(world.learned("node4"))
    for source, target in (("pod2", "pod3:80"), ("pod4", "pod2:80"), ("pod3", "pod4:80")):
        assert "prediction and observation agree" in world.lab.run("trace", source, target)
    assert world.lab.json("diagnose")["findings"] == []


def test_communities_and_the_path_of_autonomous_systems_travel_with_a_route(world: World) -> None:
    said = world.lab.run("birdc", "node4", "show", "route", "all", "for", "10.1.0.64")
    assert "BGP.as_path: 64512" in said and "BGP.community: (64512,120)" in said
    said = world.lab.run("birdc", "node3", "show", "route", "all", "for", "10.1.0.64")
    assert "BGP.cluster_list: 244.0.0.1" in said and "BGP.originator_id: 192.168.0.22" in said


def test_calicoctl_shows_them_in_its_words(world: World) -> None:
    assert world.lab.run("calicoctl", "get", "bgppeer").splitlines()[1].split() == ["up", "all()", "0"]
    configured = world.lab.run("calicoctl", "get", "bgpconfig").splitlines()[1].split()
    assert configured == ["default", "Info", "false", "64512"]
    assert "peerSelector: has(reflects)" in world.lab.run("calicoctl", "get", "bgppeer", "-o", "yaml")
    assert "| 192.168.0.21 | node specific | up" in world.lab.run("calicoctl", "node", "status", "node2")
    wide = world.lab.run("calicoctl", "get", "node", "-o", "wide").splitlines()
    assert [line.split()[1] for line in wide[1:]] == ["(64512)", "(64512)", "(64512)", "65001"]


def test_what_makes_no_sense_changes_nothing(world: World) -> None:
    said = world.up("{nodeToNodeMeshEnabled: false}", reflecting=False, code=2)
    assert "spec.network.bgp.nodeToNodeMeshEnabled: is false, and there are no peers" in said
    assert "spec.nodes[0].routeReflectorClusterID: is of a reflector without clients" in world.up("{}", code=2)
    assert world.sessions("node2") == {"node1": ("node specific", True)}


def test_the_mesh_takes_its_place(world: World) -> None:
    world.up("{}", reflecting=False)
    assert world.sessions("node4") == {f"node{n}": ("node-to-node mesh", True) for n in (1, 2, 3)}
    assert world.learned("node4") == {f"10.1.0.{64 * n}/26": f"192.168.0.{21 + n}" for n in range(3)}
    assert world.lab.json("diagnose")["findings"] == []


TOR = "peerIP: 192.168.0.1, asNumber: 64999"


def test_the_router_is_a_peer_and_reaches_pods_by_their_own_addresses(world: World) -> None:
    world.up(f"{{peers: [{{name: tor, {TOR}, keepOriginalNextHop: true}}]}}", reflecting=False)
    # Both ends connect: where they meet, one that stood is closed, and comes again a second later.
    eventually(lambda: all(up for _, up in world.sessions("router").values()) and len(world.learned("router")) == 4)
    said = world.lab.run("calicoctl", "node", "status", "node2")
    assert "| 192.168.0.1  | global            | up" in said and "| 192.168.0.21 | node-to-node mesh | up" in said
    names = {line.split()[0] for line in world.lab.run("birdc", "node2", "show", "protocols").splitlines() if line}
    assert {"Global_192_168_0_1", "Mesh_192_168_0_21"} <= names
    assert world.sessions("router") == {f"node{n}": ("", True) for n in range(1, 5)}
    assert world.learned("router") == {f"10.1.0.{64 * n}/26": f"192.168.0.{21 + n}" for n in range(4)}
    probe = world.lab.probe("router", "pod3:80")
    assert (probe.answeredBy, probe.verdict, probe.client) == ("pod3", "as intended", "192.168.0.1")
    assert "prediction and observation agree" in world.lab.run("trace", "router", "pod3:80")
    rows = [row for table in world.lab.json("tables", "router", "routes")["tables"] for row in table["rows"]]
    assert next(row for row in rows if row["line"].startswith("10.1.0.64"))["owner"] == "BIRD, by BGP"
    assert world.lab.whole() and world.lab.json("diagnose")["findings"] == []


def test_nodes_hear_of_each_other_by_the_router_alone_if_they_believe_their_own_number(world: World) -> None:
    world.up(
        f"{{nodeToNodeMeshEnabled: false, peers: [{{node: node1, {TOR}}}, {{nodeSelector: "
        f"kubernetes.io/hostname != 'node1', {TOR}, numAllowedLocalASNumbers: 1}}]}}",
        reflecting=False,
    )
    stands = "| 192.168.0.1  | node specific | up"  # it may be closed once, as above
    eventually(lambda: stands in world.lab.run("calicoctl", "node", "status", "node1"))
    assert world.learned("node1") == {}, "its own number is in every path"
    assert world.learned("node2") == {f"10.1.0.{64 * n}/26": f"192.168.0.{21 + n}" for n in (0, 2, 3)}
    for source, target in (("pod1", "pod3:80"), ("pod3", "pod1:80")):
        assert "prediction and observation agree" in world.lab.run("trace", source, target)
    assert world.lab.json("diagnose")["findings"] == []


def test_a_dropped_port_and_an_announcement_that_is_missing_are_the_first_findings(world: World) -> None:
    world.up("{}", reflecting=False)
    rule = ("INPUT", "-p", "tcp", "--dport", "179", "-j", "DROP")
    world.lab.shell("node1", "iptables", "-I", *rule)
    eventually(lambda: not any(stands for _, stands in world.sessions("node1").values()))
    (first, *_) = world.lab.json("diagnose", code=1)["findings"]
    assert (first["kind"], first["fault"]) == ("rule", "foreign") and "--dport 179 -j DROP" in first["message"]
    assert "node1: by bgp its daemon hears none of its 3 neighbours" in first["explains"]
    world.lab.shell("node1", "iptables", "-D", *rule)
    eventually(lambda: len(world.learned("node1")) == 3 == len(world.learned("node4")))
    world.lab.run("birdc", "node2", "disable", "static1")
    eventually(lambda: "10.1.0.64/26" not in world.learned("node1"))
    (first, *_) = world.lab.json("diagnose", code=1)["findings"]
    assert (first["kind"], first["fault"], first["object"]) == ("route", "missing", "10.1.0.64/26")
    assert "its neighbour 192.168.0.22 is Established, and does not tell of it" in first["message"]
    world.lab.run("birdc", "node2", "enable", "static1")
    eventually(lambda: world.lab.json("diagnose", code=None)["findings"] == [])


def test_a_peer_that_expects_another_autonomous_system_is_the_first_finding(world: World) -> None:
    world.up("{peers: [{node: node2, peerIP: 192.168.0.23, asNumber: 64999}]}", reflecting=False, code=1)
    (first, *_) = world.lab.json("diagnose", code=1)["findings"]
    assert (first["kind"], first["fault"]) == ("route", "as"), first
    assert first["node"] in ("node2", "node3") and "Bad peer AS" in first["message"]
    world.up("{}", reflecting=False)
    assert world.lab.json("diagnose")["findings"] == []


FILTERS = {
    "export": ("node2", "calico_export_to_bgp_peers(true); reject;", "reject;", "export filter of Mesh_192_168_0_21"),
    "import": ("node1", "import all;", "import none;", "import filter of Mesh_192_168_0_22"),
    "kernel": ("node1", "export filter calico_kernel_programming;", "export none;", "export filter of kernel1 keeps"),
}


def test_what_a_filter_rejects_and_a_session_that_is_disabled_are_the_first_findings(world: World) -> None:
    world.up("{}", reflecting=False)
    lost, whole = "10.1.0.64/26", {node: world.learned(node) for node in ("node1", "node2", "node4")}
    for node, old, new, words in FILTERS.values():
        world.configured(node, old, new)
        eventually(lambda: lost not in world.learned("node1"))
        (first, *more) = world.lab.json("diagnose", code=1)["findings"]
        assert (first["kind"], first["fault"], first["node"], more) == ("route", "filter", node, []), first
        assert words in first["message"] and lost in first["message"]
        world.lab.run("birdc", node, "configure")
        eventually(lambda: {node: world.learned(node) for node in whole} == whole)
    for name, message in (
        ("Mesh_192_168_0_22", "no session is established by"),
        ("kernel1", "nothing into the kernel"),
    ):
        world.lab.run("birdc", "node1", "disable", name)
        eventually(lambda: lost not in world.learned("node1"))
        (first, *more) = world.lab.json("diagnose", code=1)["findings"]
        assert (first["fault"], first["node"], more) == ("disabled", "node1", []), first
        assert message in first["message"] and first["mend"] == f"k8snetlab birdc node1 enable {name}"
        world.lab.run("birdc", "node1", "enable", name)
        eventually(lambda: {node: world.learned(node) for node in whole} == whole)
    assert world.lab.json("diagnose")["findings"] == []
