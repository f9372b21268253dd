"""Calico's part of a node: names, routes, rules and BIRD's file are Calico's."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from k8snetlab.addons.programs import programs
from k8snetlab.addons.routing import PACKAGES
from k8snetlab.api.core import Node
from k8snetlab.api.load import load
from k8snetlab.dataplane import names
from k8snetlab.dataplane.links import Address, Ipip, Veth, Vxlan
from k8snetlab.dataplane.netns import NodeDataplane
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.errors import ManifestError
from k8snetlab.policies.world import world as world_of
from k8snetlab.render import node as rendering
from k8snetlab.render import underlay
from k8snetlab.render.routing.speakers import wanted
from k8snetlab.testing.fake_cluster import FakeCluster

NODES = "[{name: node1, blocks: [10.1.109.64/26]}, {name: node2, blocks: [10.1.140.64/26]}]"
POD = """---
{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {nodeName: %s, containers: [{name: c, image: i}]}}
"""
PODS = POD % ("mysql", "node1") + POD % ("myweb", "node2")


def world(pool: str = "", more: str = "", nodes: str = NODES, pods: str = PODS) -> FakeCluster:
    pools = f", ipPools: [{{cidr: 10.1.0.0/16{pool}}}]"
    network = f"{{backend: calico{pools}{more}}}"
    spec = f"{{nodes: {nodes}, podCIDR: 10.1.0.0/16, dns: {{enabled: false}}, network: {network}}}"
    lab = f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {{name: lab}}, spec: {spec}}}\n"
    return FakeCluster(lab + pods).run()


def rendered(pool: str = "", more: str = "") -> NodeDataplane:
    return rendering.render(world(pool, more).snapshot, "node1")


def routes(pool: str = "", more: str = "") -> list[str]:
    return [route.words() for route in rendered(pool, more).node.routes]


def file(pool: str = "", more: str = "", name: str = "node1", nodes: str = NODES) -> str:
    (program,) = programs(world(pool, more, nodes).snapshot, name)
    return program.files["bird.conf"]


def test_a_pods_device_is_named_as_calico_names_it() -> None:
    """`printf default.mysql | sha1sum`, the first 11 digits."""
    assert names.cali("default", "mysql") == "cali1c1c361bfa6"
    (veth,) = (link for link in rendered().node.links if isinstance(link, Veth))
    assert (veth.name, veth.mac, veth.master) == (names.cali("default", "mysql"), "ee:ee:ee:ee:ee:ee", "")
    sysctls = rendered().node.sysctls
    found = {key.rpartition(".")[2]: value for key, value in sysctls.items() if veth.name in key}
    assert found == {"route_localnet": "1", "proxy_arp": "1", "forwarding": "1", "proxy_delay": "0"}


def test_a_pod_is_alone_in_its_network_behind_a_gateway_that_no_device_has() -> None:
    (pod,) = rendered().pods
    assert [one.words() for one in pod.addresses] == ["10.1.109.64/32 dev eth0"]
    assert [one.words() for one in pod.routes] == ["169.254.1.1/32 dev eth0", "default via 169.254.1.1 dev eth0"]


def test_a_pool_without_a_tunnel_has_a_route_a_pod_and_leaves_all_others_to_bird() -> None:
    device = names.cali("default", "mysql")
    assert routes() == ["default via 192.168.0.1 dev eth0", f"10.1.109.64/32 dev {device}"]
    assert not [link for link in rendered().node.links if link.name == names.BRIDGE]
    assert [route.words() for route in wanted(world().snapshot, "node1")] == ["10.1.140.64/26 via 192.168.0.22"]
    assert wanted(world().snapshot, "router") == () == programs(world().snapshot, "router")


def test_with_vxlan_felix_makes_the_routes_and_no_daemon_runs() -> None:
    made = rendered(", vxlanMode: Always")
    (tunnel,) = (link for link in made.node.links if isinstance(link, Vxlan))
    assert (tunnel.name, tunnel.vni, tunnel.port, tunnel.mtu, tunnel.mac) == (
        "vxlan.calico", 4096, 4789, 1450, names.felix_mac("node1"),
    )  # fmt: skip
    assert tunnel.mac.startswith("66:")
    assert routes(", vxlanMode: Always")[2:] == [
        "blackhole 10.1.109.64/26 proto 80",
        "10.1.140.64/26 via 10.1.140.64 dev vxlan.calico onlink proto 80",
    ]
    mac = names.felix_mac("node2")
    assert [one.words() for one in made.node.fdb] == [f"{mac} dev vxlan.calico dst 192.168.0.22 self permanent"]
    assert [(one.dst, one.lladdr) for one in made.node.neighbours] == [("10.1.140.64", mac)]
    assert programs(world(", vxlanMode: Always").snapshot, "node1") == ()
    near = routes(", vxlanMode: CrossSubnet")[-1]
    assert near == "10.1.140.64/26 via 192.168.0.22 dev eth0 onlink proto 80"


def test_with_ipip_bird_makes_the_routes_and_felix_the_tunnel() -> None:
    made = rendered(", ipipMode: Always")
    assert [link for link in made.node.links if isinstance(link, Ipip)] == [Ipip("tunl0", 1480)]
    assert Address("tunl0", "10.1.109.64/32") in made.node.addresses
    assert [route for route in routes(", ipipMode: Always") if "tunl0" in route or "proto" in route] == []
    text = file(", ipipMode: Always")
    into = 'onlink = true; ifname = "tunl0"; gw = bgp_next_hop; accept;'
    assert f"  if (net ~ 10.1.0.0/16 && source = RTS_BGP) then {{ {into} }}\n" in text
    near = "net ~ 10.1.0.0/16 && source = RTS_BGP && !(bgp_next_hop ~ 192.168.0.0/24)"
    assert near in file(", ipipMode: CrossSubnet")
    assert [route.words() for route in wanted(world(", ipipMode: Always").snapshot, "node1")] == [
        "10.1.140.64/26 via 192.168.0.22"
    ]
    (own,) = (rules for rules in made.rules if rules.prefixes == ("cali-",))
    assert "cali:SXWvdsbh4Mw7wOln" in own.chains[ChainKey("nat", "cali-POSTROUTING")][2]


def test_with_routes_current_felix_makes_those_of_ipip_too_and_bird_only_tells_of_them() -> None:
    current = ", routing: {routes: current}"
    assert routes(", ipipMode: Always", current)[2:] == [
        "blackhole 10.1.109.64/26 proto 80",
        "10.1.140.64/26 via 192.168.0.22 dev tunl0 onlink proto 80",
    ]
    assert routes(", ipipMode: CrossSubnet", current)[-1] == "10.1.140.64/26 via 192.168.0.22 dev eth0 onlink proto 80"
    text = file(", ipipMode: Always", current)
    assert "protocol static" not in text and "if (net = 10.1.109.64/26) then { accept; }" in text
    assert "import filter { if (krt_source = 80) then reject; accept; };" in text
    assert wanted(world(", ipipMode: Always", current).snapshot, "node1") == ()


RACKS = (Path(__file__).parents[3] / "scenarios" / "racks" / "lab.yaml").read_text()
RACKED = "".join(POD % (f"p{n}", f"node{n}") for n in (1, 2, 3))


def racks(pool: str, more: str = "") -> FakeCluster:
    """Nodes 1 and 2 on one link, node3 on another."""
    network = f"network: {{backend: calico, ipPools: [{{cidr: 10.244.0.0/16{pool}}}]{more}}}"
    return FakeCluster(RACKS.replace("network: {backend: ospf}", network) + "---\n" + RACKED).run()


def test_cross_subnet_has_a_tunnel_to_nodes_of_other_links_alone() -> None:
    snapshot = racks(", vxlanMode: CrossSubnet").snapshot
    made = rendering.render(snapshot, "node1").node
    assert [route.words() for route in made.routes if route.protocol] == [
        "blackhole 10.244.0.0/26 proto 80",
        "10.244.0.64/26 via 192.168.1.22 dev eth0 onlink proto 80",
        "10.244.0.128/26 via 10.244.0.128 dev vxlan.calico onlink proto 80",
    ]
    assert next(link.mtu for link in made.links if isinstance(link, Vxlan)) == 1450
    leaf = next(pod for pod in underlay.render(snapshot).pods if pod.hostname == "leaf1")
    assert "192.168.2.0/24 via 192.168.11.1 dev up1" in [route.words() for route in leaf.routes] and not leaf.learns
    current = racks(", ipipMode: CrossSubnet", ", routing: {routes: current}").snapshot
    assert [route.words() for route in rendering.render(current, "node1").node.routes if route.protocol][1:] == [
        "10.244.0.64/26 via 192.168.1.22 dev eth0 onlink proto 80",
        "10.244.0.128/26 via 192.168.2.21 dev tunl0 onlink proto 80",
    ]
    classic = racks(", ipipMode: CrossSubnet").snapshot
    (program,) = programs(classic, "node3")
    assert "source = RTS_BGP && !(bgp_next_hop ~ 192.168.2.0/24)" in program.files["bird.conf"]
    assert [route.words() for route in wanted(classic, "node3")] == [
        "10.244.0.0/26 via 192.168.1.21",
        "10.244.0.64/26 via 192.168.1.22",
    ]
    assert wanted(classic, "leaf1") == () == programs(classic, "leaf1")
    assert classic.all(Node)["", "node3"].metadata.annotations["projectcalico.org/IPv4Address"] == "192.168.2.21/24"


def test_a_node_is_seen_with_its_tunnels_address_by_pods_of_other_links_alone() -> None:
    whole = world_of(racks(", vxlanMode: CrossSubnet").snapshot)
    node = whole.end("node1")
    assert (node.sender(4, "node2"), node.sender(4, "node3")) == ("192.168.1.21", "10.244.0.0")
    near = world_of(world(", vxlanMode: CrossSubnet").snapshot).end("node1")
    assert near.sender(4, "node2") == "192.168.0.21"


REFLECTOR = (
    "[{name: node1, routeReflectorClusterID: 244.0.0.1, labels: {rr: 'yes'}}, {name: node2},"
    " {name: node3, asNumber: 65001}]"
)
REFLECTED = (
    ", bgp: {nodeToNodeMeshEnabled: false, communities: [{name: x, value: '64512:1'}],"
    " prefixAdvertisements: [{cidr: 10.1.0.0/16, communities: [x, '1:2:3']}],"
    " peers: [{name: up, nodeSelector: all(), peerSelector: has(rr)}]}"
)


def test_a_reflector_has_clients_of_its_own_as_and_a_node_of_another_as_is_told_what_bgp_tells_others() -> None:
    text = file("", REFLECTED, "node1", REFLECTOR)
    client = "protocol bgp Node_192_168_0_22 from bgp_template {\n  neighbor 192.168.0.22 as 64512;\n"
    assert client + "  rr client; rr cluster id 244.0.0.1;\n}\n" in text
    other = (
        "  neighbor 192.168.0.23 as 65001;\n  ipv4 { export filter { calico_export_to_bgp_peers(false); reject; }; };"
    )
    assert other in text and text.count("rr client") == 1 and "Mesh_" not in text
    assert "{ bgp_community.add((64512, 1)); bgp_large_community.add((1, 2, 3)); }" in text
    for name, number in (("node2", 64512), ("node3", 65001)):
        text = file("", REFLECTED, name, REFLECTOR)
        assert text.count("protocol bgp") == 1 and f"as {number};\n  multihop;" in text
        assert "protocol bgp Node_192_168_0_21 from bgp_template {\n  neighbor 192.168.0.21 as 64512;" in text
    pods = "".join(POD % (f"p{n}", f"node{n}") for n in (1, 2, 3))
    ways = [route.words() for route in wanted(world("", REFLECTED, REFLECTOR, pods).snapshot, "node2")]
    assert ways == ["10.1.0.0/26 via 192.168.0.21", "10.1.0.128/26"]  # by whom to node3's is BGP's to say


def test_a_borrowed_address_has_a_route_of_its_own_on_all_other_nodes() -> None:
    pods = "".join(POD % (f"p{n}", "node1") for n in range(5)) + POD % ("guest", "node2")
    text = (
        "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: 3, podCIDR: 10.1.0.0/16, "
        "dns: {enabled: false}, network: {backend: calico, ipPools: [{cidr: 10.1.0.0/29, blockSize: 30%s}]}}}\n"
    )
    by_bird = FakeCluster(text % "" + pods).run().snapshot
    assert [route.words() for route in wanted(by_bird, "node3")][-1] == "10.1.0.5/32 via 192.168.0.22"
    assert "10.1.0.5/32" not in [route.dst for route in wanted(by_bird, "node2")]
    two = (text % ", vxlanMode: Always").replace("/29", "/31").replace("blockSize: 30", "blockSize: 31")
    made = rendering.render(FakeCluster(two.replace("nodes: 3", "nodes: 2")).run().snapshot, "node1").node
    assert [route.words() for route in made.routes][1:] == [
        "blackhole 10.1.0.0/31 proto 80",
        "10.1.0.1/32 via 10.1.0.1 dev vxlan.calico onlink proto 80",
    ]


@pytest.mark.parametrize(
    ("chain", "number", "said"),
    [
        ("cali-PREROUTING", 0, "cali:r6XmIziWUJsdOK6Z"),
        ("cali-OUTPUT", 0, "cali:GBTAv2p5CwevEyJm"),
        ("cali-POSTROUTING", 0, "cali:Z-c7XtVd2Bq7s_hA"),
        ("cali-POSTROUTING", 1, "cali:nYKhEzDlr11Jccal"),
        ("cali-nat-outgoing", 0, "cali:flqWnvo8yq4ULQLa"),
    ],
)
def test_a_rules_comment_is_the_hash_that_felix_gives_it(chain: str, number: int, said: str) -> None:
    """As `iptables-save` of real nodes prints them."""
    (own,) = (rules for rules in rendered(", natOutgoing: true").rules if rules.prefixes == ("cali-",))
    assert said in own.chains[ChainKey("nat", chain)][number]
    assert {hook.rule.split('"')[1] for hook in own.hooks if hook.table == "nat"} == {
        "cali:6gwbT8clXdHdC1b1", "cali:tVnHkvAo15HuiPy0", "cali:O3lYWMrLQYEMJtB5",
    }  # fmt: skip


def test_the_pools_are_sets_of_which_one_holds_those_that_are_masqueraded() -> None:
    def held(pool: str) -> dict[str, frozenset[str]]:
        return {one.name: one.entries for one in rendered(pool).sets}

    every = frozenset({"10.1.0.0/16"})
    assert held(", natOutgoing: true") == {"cali40masq-ipam-pools": every, "cali40all-ipam-pools": every}
    assert held("") == {"cali40masq-ipam-pools": frozenset(), "cali40all-ipam-pools": every}


def test_bird_has_the_names_and_the_order_of_confds_templates() -> None:
    text = file()
    assert "protocol static {\n  ipv4;\n  route 10.1.109.64/26 blackhole;\n}\n" in text
    assert "  if (net = 10.1.109.64/26) then { accept; }\n  if (net ~ 10.1.109.64/26) then { reject; }\n" in text
    other = "protocol bgp Mesh_192_168_0_22 from bgp_template {\n  neighbor 192.168.0.22 as 64512;\n  passive on;"
    own = "protocol bgp Mesh_192_168_0_21 from bgp_template {\n  neighbor 192.168.0.21 as 64512;\n}\n"
    assert other in text and own in file(name="node2")
    assert "persist" not in text and "hold time 3;" in text
    calm = file(more=", routing: {timers: textbook}")
    assert "persist; graceful restart;" in calm and "connect delay time 2; connect retry time 5;" in calm
    assert "hold time 9;" in file(nodes="12") and "hold time 30;" in file(nodes="40")


TOR = ", bgp: {peers: [{peerIP: 192.168.0.1, asNumber: 64999, keepOriginalNextHop: true%s}]%s}"
LEAVES = (
    ", bgp: {peers: [{nodeSelector: kubernetes.io/hostname != 'node3', peerIP: 192.168.1.1, asNumber: 64601,"
    " keepOriginalNextHop: true}, {node: node3, peerIP: 192.168.2.1, asNumber: 64602, keepOriginalNextHop: true}]}"
)


def test_a_router_that_is_a_peer_speaks_in_an_autonomous_system_of_its_own() -> None:
    text = file(more=TOR % ("", ""))
    peer = "protocol bgp Global_192_168_0_1 from bgp_template {\n  neighbor 192.168.0.1 as 64999;\n  ipv4 { next hop"
    assert f"{peer} keep;" in text and "Mesh_192_168_0_22" in text
    assert "Node_192_168_0_1 from" in file(more=TOR % (", node: node1", ""))
    held = world("", TOR % ("", "")).snapshot
    (program,) = programs(held, "router")
    own = program.files["bird.conf"]
    assert "  local 192.168.0.1 as 64999;\n  neighbor 192.168.0.21 as 64512;\n  direct;\n" in own
    assert 'interface "underlay0"' in own and "template bgp routers" not in own
    assert [route.words() for route in wanted(held, "router")] == ["10.1.109.64/26", "10.1.140.64/26"]
    assert underlay.render(held).node.learns
    alone = world("", TOR % ("", ", nodeToNodeMeshEnabled: false")).snapshot
    assert wanted(alone, "router")[0].words() == "10.1.109.64/26 via 192.168.0.21"
    assert wanted(alone, "node1") == ()  # both are of 64512, and believe no path with it
    told = world("", TOR % (", numAllowedLocalASNumbers: 1", ", nodeToNodeMeshEnabled: false")).snapshot
    assert [route.words() for route in wanted(told, "node1")] == ["10.1.140.64/26"]
    (program,) = programs(told, "node1")
    assert "  allow local as 1;\n" in program.files["bird.conf"]
    only = world(", vxlanMode: Always", TOR % ("", "")).snapshot
    assert programs(only, "router") == () and not underlay.render(only).node.learns


def test_a_router_that_would_hear_of_pods_by_others_is_warned_of() -> None:
    peer = "{peerIP: 192.168.0.1, asNumber: 64999}"
    for bgp, number in ((f"peers: [{peer}]", 1), (f"nodeToNodeMeshEnabled: false, peers: [{peer}]", 0)):
        spec = f"{{network: {{backend: calico, bgp: {{{bgp}}}}}}}"
        found = load([("lab.yaml", f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {spec}}}\n")]).warnings
        assert (
            len([one for one in found if "peers[0].keepOriginalNextHop: is not said: nodes that hear" in one]) == number
        )


def test_routers_between_links_tell_each_other_of_blocks_and_of_links() -> None:
    held = racks("", LEAVES).snapshot
    (program,) = programs(held, "leaf1")
    text = program.files["bird.conf"]
    assert "  local 192.168.11.2 as 64601;\n  neighbor 192.168.11.1 as 64514;\n}" in text
    assert "  local 192.168.1.1 as 64601;\n  neighbor 192.168.1.22 as 64512;\n  direct;\n}" in text
    assert "import where net ~ [ 10.244.0.0/16+ ] && bgp_next_hop = from;" in text
    (program,) = programs(held, "router")
    assert "protocol static outside" in program.files["bird.conf"]
    leaf = next(pod for pod in underlay.render(held).pods if pod.hostname == "leaf1")
    assert leaf.routes == () and leaf.learns
    assert [route.words() for route in wanted(held, "leaf1")] == [
        "10.244.0.0/26 via 192.168.1.21",
        "10.244.0.64/26 via 192.168.1.22",
        "10.244.0.128/26",
    ]
    assert [route.words() for route in wanted(held, "spine")] == ["10.244.0.0/26", "10.244.0.64/26", "10.244.0.128/26"]
    assert [route.words() for route in wanted(held, "node1")] == [
        "10.244.0.64/26 via 192.168.1.22",
        "10.244.0.128/26 via 192.168.1.1",
    ]


@pytest.mark.skipif(not shutil.which(PACKAGES["bird"][0], path="/usr/sbin:/usr/bin"), reason="bird is missing")
@pytest.mark.parametrize("name", ["leaf1", "router", "node3"])
@pytest.mark.parametrize("timers", ["", ", routing: {timers: textbook}"])
def test_bird_reads_what_is_written_for_a_router(tmp_path: Path, name: str, timers: str) -> None:
    conf = tmp_path / "bird.conf"
    (program,) = programs(racks("", LEAVES + timers).snapshot, name)
    conf.write_text(program.files["bird.conf"])
    done = subprocess.run(["/usr/sbin/bird", "-p", "-c", conf], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which(PACKAGES["bird"][0], path="/usr/sbin:/usr/bin"), reason="bird is missing")
@pytest.mark.parametrize(
    ("pool", "timers"),
    [*itertools.product(("", ", ipipMode: CrossSubnet"), ("fast", "textbook", "fast, routes: current"))],
)
def test_bird_reads_what_is_written_for_it(tmp_path: Path, pool: str, timers: str) -> None:
    conf = tmp_path / "bird.conf"
    conf.write_text(file(pool, f", routing: {{timers: {timers}}}{REFLECTED}", nodes=REFLECTOR))
    done = subprocess.run(["/usr/sbin/bird", "-p", "-c", conf], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("{machines: true, network: {backend: calico}}", "spec.network.backend: calico is for labs of namespaces"),
        (
            '{podCIDR: "10.1.0.0/16,fd00:1::/56", serviceCIDR: "10.96.0.0/16", network: {backend: calico}}',
            "spec.podCIDR: pools of IPv6 addresses are not supported",
        ),
        ("{network: {backend: calico, ipPools: [{cidr: 10.244.0.0/16, blockSize: 19}]}}", "ipPools[0].blockSize"),
        ("{network: {backend: calico, ipPools: [{blockSize: 26}]}}", "ipPools[0]"),
        ("{network: {backend: calico, ipPools: [{cidr: 10.244.0.0/16, ipipMode: Sometimes}]}}", "ipipMode"),
        (
            "{network: {backend: calico, ipPools: [{cidr: 10.244.0.0/16, ipipMode: Always, vxlanMode: Always}]}}",
            "spec.network.ipPools[0].ipipMode: is Always, and vxlanMode is Always: a pool has one tunnel",
        ),
        ("{network: {backend: calico, routing: {asNumber: 0}}}", "asNumber"),
        ("{nodes: [{name: a, asNumber: 4294967295}], network: {backend: calico}}", "spec.nodes[0].asNumber"),
        (
            "{nodes: [{name: a, routeReflectorClusterID: 244.0.0.1}, {name: b}], network: {backend: calico}}",
            "spec.nodes[0].routeReflectorClusterID: is of a reflector without clients",
        ),
        (
            "{nodes: [{name: a, routeReflectorClusterID: one}], network: {backend: calico}}",
            'spec.nodes[0].routeReflectorClusterID: "one" is no cluster id',
        ),
        (
            "{network: {backend: calico, bgp: {nodeToNodeMeshEnabled: false}}}",
            "spec.network.bgp.nodeToNodeMeshEnabled: is false, and there are no peers",
        ),
        (
            "{network: {backend: calico, bgp: {peers: [{node: nobody, peerIP: 192.168.0.1}]}}}",
            'spec.network.bgp.peers[0].node: there is no node "nobody"',
        ),
        (
            "{network: {backend: calico, bgp: {peers: [{peerIP: 192.168.0.9, asNumber: 1}]}}}",
            'peers[0].peerIP: "192.168.0.9" is the address of no node and no router',
        ),
        (
            "{network: {backend: calico, bgp: {peers: [{peerIP: 192.168.0.1, numAllowedLocalASNumbers: -1}]}}}",
            "numAllowedLocalASNumbers",
        ),
        (
            "{network: {backend: calico, bgp: {communities: [{name: a, value: '70000:1'}]}}}",
            'spec.network.bgp.communities[0].value: "70000:1" is no community',
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(spec: str, words: str) -> None:
    with pytest.raises(ManifestError) as refused:
        load([("lab.yaml", f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {spec}}}\n")])
    assert "lab.yaml:1" in str(refused.value) and words in str(refused.value)


def test_what_is_calicos_means_nothing_to_other_backends() -> None:
    spec = (
        "{nodes: [{name: node1, blocks: [10.244.1.0/26]}],"
        " network: {ipPools: [{cidr: 10.244.0.0/16}], strictAffinity: true}}"
    )
    found = load([("f.yaml", f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {spec}}}\n")]).warnings
    assert len([one for one in found if "means nothing with backend vxlan; calico has it" in one]) == 3
