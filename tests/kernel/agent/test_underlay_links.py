"""Several links with routers between: two racks and a spine under each backend, and links and routers that die."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from k8snetlab.addons.routing import PACKAGES
from k8snetlab.testing import Lab, eventually

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not all(shutil.which(one) for one, _ in PACKAGES.values()), reason="bird or frr is missing"),
]
RACKS = Path(__file__).parents[3] / "scenarios" / "racks"
BACKENDS = {
    "ospf": "{backend: ospf}",
    "bgp": "{backend: bgp}",
    "rip": "{backend: rip, routing: {outside: true}}",
    "vxlan": "{}",
    "ospf by bird": "{backend: ospf, routing: {daemon: bird, outside: true}}",
    "rip by frr": "{backend: rip, routing: {daemon: frr, outside: true}}",
}
OTHERS = {
    "ospf with bfd": "{backend: ospf, routing: {bfd: true, outside: true}}",
    "bgp by the book": "{backend: bgp, routing: {timers: textbook, bfd: true, outside: true}}",
}
POOL = "cidr: 10.244.0.0/16, natOutgoing: true"
PEER = "asNumber: %d, peerIP: %s, keepOriginalNextHop: true, nodeSelector: kubernetes.io/hostname %s 'node3'"
CALICO = {
    "calico": f"{{backend: calico, ipPools: [{{{POOL}, vxlanMode: CrossSubnet}}]}}",
    "calico by routers": f"{{backend: calico, ipPools: [{{{POOL}}}], bgp: {{peers: [{{{PEER}}}, {{{PEER}}}]}}}}"
    % (64601, "192.168.1.1", "!=", 64602, "192.168.2.1", "=="),
}
PODS = (RACKS / "pods.yaml").read_text().replace("type: NodePort,", "type: NodePort, externalIPs: [198.51.100.7],")
FAR = "10.244.3.0/24"
BY_SPINE, BY_ROUTER = "192.168.11.1", "192.168.13.1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("racks")


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    made = Lab(home)
    yield made
    made.run("down", code=None)


def up(lab: Lab, home: Path, backend: str) -> Path:
    network = (BACKENDS | OTHERS | CALICO)[backend]
    manifest = (RACKS / "lab.yaml").read_text().replace("{backend: ospf}", network)
    file = home / "lab.yaml"
    file.write_text(manifest.replace("metadata: {name: racks}\n", "") + "---\n" + PODS)
    lab.run("up", str(file))
    return file


def hops(lab: Lab, dst: str = FAR, router: str = "leaf1") -> set[str]:
    """The neighbours by which a router leads there."""
    words = lab.shell(router, "ip", "route", "show", dst).split()
    return {after for word, after in itertools.pairwise(words) if word == "via"}


def answered(lab: Lab, target: str = "far:8080") -> bool:
    return lab.probe("client", target).answeredBy == "far"


def met(lab: Lab) -> list[str]:
    """The routers that a packet from rack to rack passes as one, as it was seen."""
    found = lab.json("trace", "client", "far")
    assert found["observed"]["agrees"] and found["observed"]["fate"] == "answered", found["observed"]
    way = found["ways"][found["chosen"]]
    routed = [h["place"] for h in way["there"] if any(one["what"] == "route" for one in h["decisions"])]
    return [place for place in dict.fromkeys(routed) if place in ("leaf1", "leaf2", "spine", "router")]


@pytest.mark.parametrize("backend", BACKENDS)
def test_packets_cross_routers_under_each_backend_by_all_ways_as_good(lab: Lab, home: Path, backend: str) -> None:
    up(lab, home, backend)
    by_all = hops(lab)
    assert lab.whole() and answered(lab)
    assert lab.probe("outside", "192.168.2.21:30080").reached, "the way back leads by routers, too"
    assert lab.probe("outside", "198.51.100.7:80").reached, "routers lead an external address to a node"
    outside_knows(lab, "outside: true" in BACKENDS.get(backend, ""))
    crossed = met(lab)
    assert {"leaf1", "leaf2"} <= {*crossed} and {"spine", "router"} & {*crossed}
    if backend == "vxlan":
        assert not hops(lab) and len(hops(lab, "192.168.2.0/24")) == 1, "no router knows of pods"
    elif backend == "rip by frr":
        assert by_all <= {BY_SPINE, BY_ROUTER} and by_all, "FRR's RIP tells of the second way when it likes"
    else:
        assert by_all == {BY_SPINE, BY_ROUTER}, "up has waited for every way that is as good"
    assert re.search(WHY.get(backend, ""), why(lab, "node1", FAR))
    assert lab.json("diagnose")["findings"] == []


WHY = {
    "bgp": "; AS path 64514 6451[36] 64515 64512$",
    "rip": "; RIP's metric is 5$",
    "ospf by bird": "; OSPF's cost is 50, by an LSA of 192.168.2.21$",
    "rip by frr": "; RIP's metric is 5$",
}
"""What the daemon says of the far pods' route."""


def why(lab: Lab, node: str, dst: str) -> str:
    return next((row["meaning"] for row in why_rows(lab, node) if row["line"].startswith(dst)), "")


def why_rows(lab: Lab, node: str) -> list[dict[str, str]]:
    return [row for table in lab.json("tables", node, "routes")["tables"] for row in table["rows"]]


POLICY = """---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 192.168.1.21/32}}]}]}
"""


def test_calicos_tunnel_is_between_nodes_of_different_links_alone(lab: Lab, home: Path) -> None:
    file = up(lab, home, "calico")
    assert lab.whole() and answered(lab)
    assert lab.probe("outside", "198.51.100.7:80").reached, "routers lead an external address to a node"
    crossed = met(lab)
    assert {"leaf1", "leaf2"} <= {*crossed} and {"spine", "router"} & {*crossed}
    for source, target, tunnelled in (("client", "far:8080", True), ("client", "near:8080", False)):
        found = lab.json("trace", source, target)
        assert found["observed"]["agrees"] and found["observed"]["fate"] == "answered"
        way = found["ways"][found["chosen"]]
        outer = {(hop["outer"]["src"], hop["outer"]["dst"]) for hop in way["there"] if hop["outer"]}
        assert outer == ({("192.168.1.21", "192.168.2.21")} if tunnelled else set())
        assert any(hop["interface"] == "vxlan.calico" for hop in way["there"]) == tunnelled
    assert lab.probe("outside", "192.168.2.21:30080").reached and lab.json("diagnose")["findings"] == []
    why_default = next(row for row in why_rows(lab, "leaf1") if row["line"].startswith("default"))
    assert why_default["owner"] == "k8snetlab"
    file.write_text(file.read_text() + POLICY)
    lab.run("up", str(file))
    near, far = lab.probe("node1", "near:8080"), lab.probe("node1", "far:8080")
    assert near.answeredBy == "near" and near.verdict == "as intended", "its own address is let in"
    assert not far.answeredBy and far.verdict == "closed on purpose", "its tunnel's is not"
    file.write_text(file.read_text().replace("CrossSubnet", "Never"))
    assert "ipPools[0].vxlanMode: is Never, but nodes stand on several links" in lab.run("up", str(file), code=2)
    lab.run("delete", "networkpolicy", "web")


def test_bfd_finds_a_dead_link_long_before_textbook_timers_do(lab: Lab, home: Path) -> None:
    """leaf1 sees its own device go; the spine, whose device is as before, would wait for BGP's hold time, 240 s."""
    up(lab, home, "bgp by the book")
    eventually(lambda: hops(lab) == {BY_SPINE, BY_ROUTER} and watched(lab) == {"up"})
    lab.run("link", "down", "leaf1:up1")
    eventually(lambda: hops(lab, "10.244.1.0/24", "spine") == {"192.168.12.2"})
    assert "BFD up" in lab.run("routing", "leaf2") and answered(lab)
    outside_knows(lab, True)
    lab.run("link", "up", "leaf1:up1")


def outside_knows(lab: Lab, told: bool) -> None:
    """Whether the host outside, which is no node, reaches pods by their own addresses; and it learns nothing else."""
    if told:
        eventually(lambda: lab.json("routing", "outside")["nodes"][0]["missing"] == [])
    found = lab.json("trace", "outside", "far:8080", code=None)
    assert found["observed"]["agrees"]
    assert (found["observed"]["fate"] == "answered") is told and lab.probe("outside", "far:8080").ok
    assert lab.shell("outside", "ip", "route", "show", "default") == ""


def watched(lab: Lab) -> set[str]:
    """What BFD says of neighbours."""
    return {near["bfd"] for one in lab.json("routing")["nodes"] for near in one["neighbours"]}


def test_routers_that_calicos_nodes_have_as_peers_need_no_tunnel(lab: Lab, home: Path) -> None:
    up(lab, home, "calico by routers")
    block = str(ip_network((lab.address_of("pod/far"), 26), strict=False))
    assert lab.whole() and answered(lab)
    assert {"leaf1", "leaf2"} <= {*met(lab)}
    eventually(lambda: hops(lab, block) == {BY_SPINE, BY_ROUTER})
    assert re.search("; AS path 6451[34] 64602 64512$", why(lab, "leaf1", block))
    assert lab.probe("router", "far:8080").verdict == "as intended", "it is no node"
    assert f"{block} via 192.168.1.1 dev eth0 proto bird" in lab.shell("node1", "ip", "route")
    assert "Global" not in lab.run("calicoctl", "node", "status", "node3") and lab.json("diagnose")["findings"] == []
    lab.run("link", "down", "leaf1:up1")
    eventually(lambda: hops(lab, block) == {BY_ROUTER} and answered(lab))
    lab.run("link", "up", "leaf1:up1")
    eventually(lambda: hops(lab, block) == {BY_SPINE, BY_ROUTER})


@pytest.mark.parametrize("backend", ["ospf", "bgp"])
def test_traffic_goes_on_when_a_link_or_a_router_dies(lab: Lab, home: Path, backend: str) -> None:
    up(lab, home, "ospf with bfd" if backend == "ospf" else backend)
    eventually(lambda: watched(lab) == ({"up"} if backend == "ospf" else {""}))
    outside_knows(lab, backend == "ospf")
    lab.run("link", "down", "leaf1:up1")
    eventually(lambda: hops(lab) == {BY_ROUTER} and answered(lab))
    assert "up1 192.168.11.2 (down)" in lab.run("status")
    (first, *_) = lab.json("diagnose", code=1)["findings"]
    assert "leaf1: up1 is down, as `k8snetlab link down` has it" in first["message"]
    lab.run("link", "up", "leaf1:up1")
    eventually(lambda: hops(lab) == {BY_SPINE, BY_ROUTER})
    lab.run("link", "down", "spine")
    eventually(lambda: hops(lab) == {BY_ROUTER} and answered(lab) and "spine" not in met(lab))
    silent = {one["name"]: one["neighbours"] for one in lab.json("routing")["nodes"]}["spine"]
    eventually(lambda: lab.json("routing", "spine")["nodes"][0]["missing"] != [])
    assert {one["name"] for one in silent} >= {"leaf1", "leaf2"}
    lab.run("link", "up", "spine")
    eventually(lambda: hops(lab) == {BY_SPINE, BY_ROUTER} and lab.json("diagnose", code=None)["findings"] == [])


def test_the_links_of_a_lab_that_runs_are_kept_and_its_routers_are_places(lab: Lab, home: Path) -> None:
    file = up(lab, home, "ospf")
    file.write_text(file.read_text().replace("cidr: 192.168.11.0/30", "cidr: 192.168.99.0/30"))
    assert "spec.underlay cannot be changed while the lab runs" in lab.run("up", str(file), code=2)
    said = [row for table in lab.json("tables", "leaf1", "routes")["tables"] for row in table["rows"]]
    (far,) = (row for row in said if row["line"].startswith(FAR))
    assert far["owner"] == "FRR, by OSPF"
    assert "to 192.168.11.1 (spine) or 192.168.13.1 (the router), which told of it" in far["meaning"]
    assert far["meaning"].endswith(", in area 0.0.0.0, by an LSA of 192.168.2.21")
    assert "router-id 192.168.1.1" in lab.run("vtysh", "leaf1", "-c", "show running-config")
    lines = lab.run("graph").splitlines()
    assert any("link up1<br/>192.168.11.0/30<br/>cost 10, area 0" in line for line in lines)
    assert '  other2["spine"]' in lines
    lab.run("fault", "inject", "link-down", "--node", "node1")
    eventually(lambda: not answered(lab))
    (first, *_) = lab.json("diagnose", code=1)["findings"]
    assert (first["kind"], first["fault"], first["object"]) == ("link", "down", "rack1")
    lab.run("fault", "clear")
    eventually(lambda: answered(lab))
    known = {one["name"]: one for one in lab.json("status")["routers"]}
    assert [*known] == ["router", "leaf1", "leaf2", "spine"]
    assert known["spine"]["links"] == ["up1 192.168.11.1", "up2 192.168.12.1"]
    running = [{"name": "zebra", "problem": ""}, {"name": "ospfd", "problem": ""}]
    assert all(one["daemons"] == running and not one["down"] for one in known.values())
    assert re.search(
        r"^spine +up1 192.168.11.1, up2 192.168.12.1 +zebra running, ospfd running", lab.run("status"), re.M
    )
    assert "spine:up1" in lab.run("link", "set", "spine:up1", "--rate", "10mbit")
    assert "spine: up1 sends with rate 10mbit" in lab.run("diagnose", code=1)
    lab.run("link", "clear", "spine")
    assert "its devices: spine:up1, spine:up2" in lab.run("link", "down", "spine:eth9", code=1)
