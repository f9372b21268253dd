"""calicoctl's words: its tables, and what its check finds."""

from __future__ import annotations

from msgspec.structs import replace

from k8snetlab.api import pools
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.reserved import RESERVED
from k8snetlab.dataplane import names
from k8snetlab.explain import calicoctl
from k8snetlab.explain.calicoctl import Cluster
from k8snetlab.messages.routing import RoutingNeighbour, RoutingNode
from k8snetlab.testing.fake_cluster import FakeCluster

NODES = "[{name: k8s-node-1, blocks: [10.1.109.64/26]}, {name: k8s-node-2, blocks: [10.1.140.64/26]}]"
MANIFESTS = """{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: %s,
  podCIDR: 10.1.0.0/16,
  dns: {enabled: false}, network: {backend: calico, ipPools: [{cidr: 10.1.0.0/16%s}]%s}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: my-sql}, spec: {nodeName: k8s-node-1, containers: [{name: c, image: i}]}}
"""


def held(pool: str = "", more: str = "", **annotations: str) -> Cluster:
    snapshot = FakeCluster(MANIFESTS % (NODES, pool, more)).run().snapshot
    nodes = [
        replace(one, metadata=replace(one.metadata, annotations={**one.metadata.annotations, **annotations}))
        for one in snapshot.all(Node).values()
    ]
    return Cluster(snapshot.lab, nodes, snapshot.all(Pod).values())


def test_a_session_that_does_not_stand_says_why_and_a_node_that_is_off_runs_nothing() -> None:
    peer = RoutingNeighbour("k8s-node-2", "192.168.18.4", "Connect", False, "BGP Error: Hold timer expired")
    said = calicoctl.status(RoutingNode("k8s-node-1", "bird", (peer,), (), ()))
    assert "| start |       | Connect BGP Error: Hold timer expired |" in said
    off = RoutingNode("k8s-node-1", "bird", (peer,), (), (), "there is no network namespace named lab.k8s-node-1")
    assert calicoctl.status(off) == "there is no network namespace named lab.k8s-node-1\n"


def test_sessions_are_in_a_box() -> None:
    peer = RoutingNeighbour("k8s-node-2", "192.168.18.4", "Established", True, "", "18:00:11.075", "node-to-node mesh")
    said = calicoctl.status(RoutingNode("k8s-node-1", "bird", (peer,), (), ()))
    assert (
        said
        == """Calico process is running.

IPv4 BGP status
+--------------+-------------------+-------+----------+-------------+
| PEER ADDRESS |     PEER TYPE     | STATE |  SINCE   |    INFO     |
+--------------+-------------------+-------+----------+-------------+
| 192.168.18.4 | node-to-node mesh | up    | 18:00:11 | Established |
+--------------+-------------------+-------+----------+-------------+

IPv6 BGP status
No IPv6 peers found.
"""
    )


def test_pools_nodes_and_workloads_are_listed_in_its_columns() -> None:
    cluster = held(", natOutgoing: true")
    assert cluster.get("ippool", False).splitlines()[1].split() == ["default-ipv4-ippool", "10.1.0.0/16", "all()"]
    wide = cluster.get("ippool", True).splitlines()
    assert wide[0].split()[:5] == ["NAME", "CIDR", "NAT", "IPIPMODE", "VXLANMODE"]
    assert wide[1].split()[1:5] == ["10.1.0.0/16", "true", "Never", "Never"]
    assert cluster.get("node", True).splitlines()[1].split() == ["k8s-node-1", "(64512)", "192.168.0.21/24"]
    device = names.cali("default", "my-sql")
    assert cluster.get("wep", False).splitlines()[1].split() == ["my-sql", "k8s-node-1", "10.1.109.64/32", device]
    assert cluster.get("wep", True).splitlines()[1].split()[0] == "k8s--node--1-k8s-my--sql-eth0"
    assert [len(cluster.get(kind, False).splitlines()) for kind in ("bgppeer", "bgpconfig")] == [1, 1]
    told = held(", ipipMode: Always", **{pools.AS_NUMBER: "65001", pools.CLUSTER_ID: "244.0.0.1"})
    assert told.get("node", True).splitlines()[1].split()[1] == "65001"
    assert told.resources("node")["items"][0]["spec"]["bgp"] == {  # type: ignore[index]
        "ipv4Address": "192.168.0.21/24",
        "asNumber": 65001,
        "routeReflectorClusterID": "244.0.0.1",
        "ipv4IPIPTunnelAddr": "10.1.109.64",
    }
    spec = cluster.resources("ippool")["items"][0]["spec"]  # type: ignore[index]
    assert (spec["blockSize"], spec["natOutgoing"]) == (26, True)


def test_peers_and_the_configuration_of_bgp_are_those_of_the_lab_file() -> None:
    peers = "[{name: up, nodeSelector: has(far), peerSelector: has(rr)}, {peerIP: 192.168.0.22, asNumber: 65001}]"
    bgp = f"{{nodeToNodeMeshEnabled: false, communities: [{{name: a, value: '1:2'}}], peers: {peers}}}"
    cluster = held("", f", bgp: {bgp}")
    rows = [line.split() for line in cluster.get("bgppeer", False).splitlines()]
    assert rows[1:] == [["up", "has(far)", "0"], ["peer-2", "192.168.0.22", "(global)", "65001"]]
    assert cluster.get("bgpconfig", False).splitlines()[1].split() == ["default", "Info", "false", "64512"]
    (item,) = cluster.resources("bgpconfig")["items"]  # type: ignore[misc]
    assert [*item["spec"]["communities"]] == [{"name": "a", "value": "1:2"}] and "peers" not in item["spec"]
    assert cluster.resources("bgppeer")["items"][0]["spec"] == {  # type: ignore[index]
        "nodeSelector": "has(far)",
        "peerSelector": "has(rr)",
    }


def test_blocks_are_shown_with_what_is_in_use_of_them() -> None:
    shown = held(", vxlanMode: Always").show(True).splitlines()
    assert shown[0] == "+----------+----------------+-----------+------------+--------------+"
    assert shown[1] == "| GROUPING |      CIDR      | IPS TOTAL | IPS IN USE |   IPS FREE   |"
    assert shown[3] == "| IP Pool  | 10.1.0.0/16    |     65536 | 3 (0%)     | 65533 (100%) |"
    assert shown[4] == "| Block    | 10.1.109.64/26 |        64 | 2 (3%)     | 62 (97%)     |"
    assert len(held().show(False).splitlines()) == 5


def test_an_address_is_a_pods_a_tunnels_or_nobodys() -> None:
    cluster = held(", vxlanMode: Always")
    assert "  namespace: default\n  node: k8s-node-1\n  pod: my-sql\n" in cluster.show_ip("10.1.109.65")
    assert "  node: k8s-node-2\n  type: vxlanTunnelAddress\n" in cluster.show_ip("10.1.140.64")
    assert cluster.show_ip("10.1.1.1") == "IP 10.1.1.1 is not currently assigned\n"


def test_the_check_finds_leaked_addresses_and_blocks_that_two_nodes_have() -> None:
    said, problems = held().check()
    assert problems == 0 and said.endswith("Check complete; found 0 problems.\n")
    assert " IPAM block 10.1.109.64/26 affinity=host:k8s-node-1:\n" in said
    said, problems = held(**{pools.BLOCKS: "10.1.109.64/26"}).check()
    assert problems == 1 and "IPAM block 10.1.109.64/26 has an affinity to more than one node." in said
    said, problems = held(**{RESERVED: "10.1.109.70-10.1.109.72"}).check()
    assert problems == 6 and "Found 6 IPs that are allocated in IPAM but not actually in use." in said
