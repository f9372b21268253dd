"""Calico's network: the kernel's tables, real packets, and what is left when another network takes its place."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.dataplane import names
from k8snetlab.testing import Lab, eventually

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird is missing"),
]
POD = """---
{apiVersion: v1, kind: Pod, metadata: {name: %s, labels: {app: %s}}, spec: {nodeName: node%d, containers:
  [{name: c, image: i, ports: [{containerPort: 80}]}]}}
"""
SERVICE = (
    "---\n{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}\n"
)
POLICY = """---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}]}]
"""
OWN = """---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: guard}
spec:
  order: 10
  selector: app == 'web'
  ingress:
  - {action: Log, protocol: TCP, source: {selector: app == 'web'}}
  - {action: Deny, protocol: TCP, source: {selector: app == 'web'}, destination: {ports: ["80:81"]}}
  - {action: Pass, source: {selector: app == 'friend', serviceAccounts: {names: [default]}}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web}
spec: {order: 20, selector: has(app), types: [Ingress], ingress: [{action: Allow, protocol: TCP}]}
"""
WEB = names.cali("default", "web-1")


class World:
    """Two nodes with fixed blocks; a pod that serves on each, and a third on the first."""

    def __init__(self, directory: Path) -> None:
        self.lab, self._manifest = Lab(directory), directory / "lab.yaml"

    def up(self, network: str, more: str = "") -> str:
        """What it warned of."""
        nodes = "[{name: node1, blocks: [10.1.109.64/26]}, {name: node2, blocks: [10.1.140.64/26]}]"
        if "calico" not in network:
            nodes = "2"
        spec = f"{{nodes: {nodes}, podCIDR: 10.1.0.0/16, dns: {{enabled: false}}, network: {network}}}"
        pods = POD % ("web-1", "web", 1) + POD % ("web-2", "web", 2) + POD % ("friend", "friend", 1)
        self._manifest.write_text(f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {spec}}}\n{pods}{SERVICE}{more}")
        return " ".join(self.lab.json("up", str(self._manifest), "--yes")["warnings"])

    def elsewhere(self, backend: str) -> Path:
        """What was brought up last, on another network."""
        text = re.sub(
            r"network: \{backend: calico[^\n]*", f"network: {{backend: {backend}}}}}}}", self._manifest.read_text()
        )
        found = self._manifest.with_name("elsewhere.yaml")
        found.write_text(re.sub(r", blocks: \[[^]]*\]", "", text))
        return found

    def routes(self, node: str) -> set[str]:
        """Those of pods."""
        lines = self.lab.shell(node, "ip", "-4", "route").splitlines()
        return {line.strip() for line in lines if line.startswith(("10.1.", "blackhole 10.1."))}

    def trace(self, source: str, target: str) -> str:
        return self.lab.run("trace", source, target)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("calico"))
    yield made
    made.lab.run("down", code=None)


CALICO = "{backend: calico, ipPools: [{cidr: 10.1.0.0/16, natOutgoing: true}]}"
VXLAN = "{backend: calico, ipPools: [{cidr: 10.1.0.0/16, natOutgoing: true, vxlanMode: Always}]}"
TEXTBOOK = CALICO.removesuffix("}") + ", routing: {timers: textbook}}"


def test_blocks_are_told_of_by_bird_and_pods_have_a_route_each(world: World) -> None:
    world.up(CALICO)
    friend = names.cali("default", "friend")
    assert world.routes("node1") == {
        f"{world.lab.address_of('pod/web-1')} dev {WEB} scope link",
        f"{world.lab.address_of('pod/friend')} dev {friend} scope link",
        "blackhole 10.1.109.64/26 proto bird",
        "10.1.140.64/26 via 192.168.0.22 dev eth0 proto bird",
    }
    pod = world.lab.run("exec", "web-1", "--", "ip", "route").splitlines()
    assert [line.strip() for line in pod] == ["default via 169.254.1.1 dev eth0", "169.254.1.1 dev eth0 scope link"]
    asked = world.lab.run("exec", "web-1", "--", "ip", "neigh", "show", "169.254.1.1")
    assert not asked or "ee:ee:ee:ee:ee:ee" in asked
    assert "proxy_arp = 1" in world.lab.shell("node1", "sysctl", f"net.ipv4.conf.{WEB}.proxy_arp")
    assert not world.lab.run("tables", "node1", "links").count("cni0")
    assert world.lab.whole() and world.lab.json("diagnose")["findings"] == []


def test_a_trace_follows_packets_over_the_gateway_that_nobody_has(world: World) -> None:
    world.up(CALICO)
    for source, target in (("friend", "web-2:80"), ("friend", "web:80"), ("web-2", "web-1:80"), ("node2", "web-1:80")):
        said = world.trace(source, target)
        assert "prediction and observation agree" in said, said
    assert f"node1  {WEB}" in re.sub(" +", "  ", world.trace("web-2", "web-1:80"))


def test_tables_and_routing_say_who_made_a_route(world: World) -> None:
    world.up(CALICO)
    said = re.sub(" +", " ", world.lab.run("tables", "node1", "routes"))
    assert (
        "BIRD, as Calico configures it pods of node1: addresses of the block that no pod has are dropped here" in said
    )
    assert "BIRD, as Calico configures it pods of node2: to 192.168.0.22 (node2), which told of it" in said
    assert "Calico CNI pod default/web-1 on node1: directly on cali" in said and "nobody" not in said
    shown = world.lab.json("routing", "node1")["nodes"][0]
    assert [(one["name"], one["established"]) for one in shown["neighbours"]] == [("node2", True)]
    assert shown["missing"] == []


def test_a_policy_is_asked_of_routed_pods_too(world: World) -> None:
    world.up(CALICO, POLICY)
    assert world.lab.probe("friend", "web-1:80").answeredBy == "web-1"
    refused = world.lab.probe("web-2", "web-1:80")
    assert not refused.answeredBy and refused.verdict == "closed on purpose"
    assert world.lab.whole() and world.lab.json("diagnose")["findings"] == []
    said = world.lab.run("trace", "web-2", "web-1:80", code=1)
    assert f"cali-to-wl-dispatch > cali-tw-{WEB}" in said and "DROP: filter FORWARD > cali-FORWARD" in said
    assert "(NetworkPolicy default/" in said and "prediction and observation agree" in said


def test_what_differs_of_felixs_rules_and_sets_is_named(world: World) -> None:
    world.up(CALICO, POLICY)
    (name,) = (one for one in world.lab.shell("node1", "ipset", "list", "-n").split() if "40s:" in one)
    world.lab.run("pause", "node1")
    try:
        world.lab.shell("node1", "ipset", "flush", name)
        world.lab.shell("node1", "iptables", "-D", f"cali-tw-{WEB}", "7")
        found = {one["kind"]: one for one in world.lab.json("diagnose", code=1)["findings"]}
        assert "NetworkPolicy default/" in found["set"]["message"] and found["set"]["object"] == name
        assert "pod default/web-1" in found["rule"]["consequence"]
    finally:
        world.lab.run("resume", "node1")
    eventually(lambda: world.lab.json("diagnose", code=None)["findings"] == [])


def test_calicos_own_policies_decide_in_their_order(world: World) -> None:
    """Deny at order 10 comes before Allow at 20, and Pass before a NetworkPolicy that allows nobody."""
    world.up(CALICO, OWN + POLICY.replace("friend", "nobody"))
    lab = world.lab
    refused = lab.probe("web-1", "web-2:80")
    assert not refused.answeredBy and refused.verdict == "closed on purpose"
    assert lab.probe("friend", "web-2:80").answeredBy == "web-2"
    assert lab.json("probe", "friend", "web-2", "-p", "icmp")["results"][0]["reached"]
    (lost,) = lab.json("probe", "web-1", "web-2", "-p", "icmp", code=None)["results"]
    assert not lost["reached"] and lost["verdict"] == "closed on purpose"  # ICMP is at the end of the tier
    said = " ".join(lab.run("trace", "web-1", "web-2:80", code=1).split())
    assert "prediction and observation agree" in said and "GlobalNetworkPolicy guard, " in said
    assert "denied by Calico policy gnp/guard: " in lab.run("policy", "why", "web-1", "pod/web-2:80", code=1)
    assert lab.probe("web-2", "friend:80").answeredBy == "friend"
    found = lab.json("diagnose")
    assert found["findings"] == [] and any("gnp/guard" in one["object"] for one in found["closed"])
    rules = lab.shell("node2", "iptables-nft", "-t", "filter", "-S", "cali-pi-gnp/guard").splitlines()
    (logging,) = (rule for rule in rules if "-j LOG" in rule)
    assert '--log-prefix "calico-packet: "' in logging and "-p tcp" in logging
    assert lab.run("calicoctl", "get", "globalnetworkpolicy", "-o", "wide").splitlines()[1].split()[:3] == [
        *("guard", "default", "10"),
    ]
    kept = lab.run("up", str(world.elsewhere("vxlan")), "--yes", code=2)
    assert "enforced by Calico's network alone (spec.network.backend: calico), and this lab's is vxlan" in kept
    world.up(CALICO)
    assert lab.probe("web-1", "web-2:80").answeredBy == "web-2"


def test_without_nat_outgoing_nobody_outside_answers_and_all_say_so(world: World) -> None:
    world.up("{backend: calico, ipPools: [{cidr: 10.1.0.0/16}]}")
    world.lab.run("probe", "friend", "outside", "-p", "icmp", code=1)
    assert world.lab.whole() and world.lab.json("diagnose")["findings"] == []


def test_proxy_arp_that_is_off_is_the_first_finding(world: World) -> None:
    world.up(CALICO)
    world.lab.run("pause", "node1")
    try:
        world.lab.shell("node1", "sysctl", "-w", f"net.ipv4.conf.{WEB}.proxy_arp=0")
        world.lab.run("exec", "web-1", "--", "ip", "neigh", "flush", "dev", "eth0")
        (found, *_) = world.lab.json("diagnose", code=1)["findings"]
        assert (found["kind"], found["object"]) == ("sysctl", f"net.ipv4.conf.{WEB}.proxy_arp")
        assert "nobody on eth0 answers for 169.254.1.1" in world.lab.run("trace", "web-1", "web-2:80", code=1)
    finally:
        world.lab.run("resume", "node1")
    eventually(lambda: world.lab.json("diagnose", code=None)["findings"] == [])


def test_with_vxlan_felix_makes_the_routes_and_the_trace_sees_the_tunnel(world: World) -> None:
    world.up(TEXTBOOK)
    assert "blackhole 10.1.109.64/26 proto bird" in world.routes("node1")
    world.up(VXLAN)
    # With `persist` BIRD leaves its routes when it ends.
    eventually(lambda: not world.lab.shell("node1", "ip", "route", "show", "proto", "bird"))
    tunnel = world.lab.get("Node", "node2", "")["metadata"]["annotations"]["projectcalico.org/IPv4VXLANTunnelAddr"]
    assert {line for line in world.routes("node1") if "scope link" not in line} == {
        "blackhole 10.1.109.64/26 proto 80",
        f"10.1.140.64/26 via {tunnel} dev vxlan.calico proto 80 onlink",
    }
    said = world.trace("friend", "web-2:80")
    assert "vxlan.calico" in said and "prediction and observation agree" in said
    shown = world.lab.shell("node1", "ip", "-d", "link", "show", "vxlan.calico")
    assert "vxlan id 4096" in shown and "dstport 4789" in shown and "mtu 1450" in shown
    assert world.lab.whole() and world.lab.json("diagnose")["findings"] == []
    world.lab.run("pause", "node1")
    try:
        own = world.lab.get("Node", "node1", "")["metadata"]["annotations"]["projectcalico.org/IPv4VXLANTunnelAddr"]
        world.lab.shell("node1", "ip", "addr", "del", f"{own}/32", "dev", "vxlan.calico")
        (first, *_) = world.lab.json("diagnose", code=1)["findings"]
        assert (first["kind"], first["fault"], first["object"]) == ("address", "missing", f"{own}/32"), first
    finally:
        world.lab.run("resume", "node1")
    eventually(lambda: world.lab.json("diagnose", code=None)["findings"] == [])


def test_another_network_takes_its_place_and_finds_nothing_of_it(world: World) -> None:
    world.up(VXLAN, POLICY)
    held = world.lab.shell("node1", "iptables-save")
    assert "cali-pi-knp/default/" in held and f"cali-tw-{WEB}" in held and "KUBE-ROUTER" not in held
    said = world.up("{backend: bgp}", POLICY)
    assert "network.backend calico becomes bgp: 3 pods are plugged in anew" in said
    left = world.lab.shell("node1", "ip", "-o", "link") + world.lab.shell("node1", "iptables-save")
    assert "cali" not in left and "cni0" in left and "FLANNEL" in left and "KUBE-POD-FW-" in left
    assert not world.lab.shell("node1", "ip", "route", "show", "proto", "80")
    assert "cali" not in world.lab.shell("node1", "ipset", "list", "-n")
    assert world.lab.whole() and world.lab.json("diagnose")["findings"] == []
    assert not world.lab.probe("web-2", "web-1:80").answeredBy
    world.up(CALICO, POLICY)
    left = world.lab.shell("node1", "ip", "-o", "link") + world.lab.shell("node1", "iptables-save")
    assert "cni0" not in left and "FLANNEL" not in left and "cali-nat-outgoing" in left and "KUBE-ROUTER" not in left
    assert "KUBE-" not in world.lab.shell("node1", "ipset", "list", "-n")
    assert world.lab.whole() and world.lab.json("diagnose")["findings"] == []


def test_calicoctl_and_the_real_birdc_tell_of_the_same_session(world: World) -> None:
    world.up(CALICO)
    assert "| 192.168.0.22 | node-to-node mesh | up" in world.lab.run("calicoctl", "node", "status", "node1")
    session = next(
        line for line in world.lab.run("birdc", "node1", "show", "protocols").splitlines() if "Mesh_" in line
    )
    assert session.split()[0] == "Mesh_192_168_0_22" and session.split()[-1] == "Established"
    assert "| Block    | 10.1.140.64/26 |" in world.lab.run("calicoctl", "ipam", "show", "--show-blocks")
    assert "found 0 problems" in world.lab.run("calicoctl", "ipam", "check")
    assert "and not frr" in world.lab.run("vtysh", "node1", "-c", "show version", code=2)
