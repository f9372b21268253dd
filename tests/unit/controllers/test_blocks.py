"""Calico's IPAM: blocks are claimed, borrowed and given up, and addresses are used again late."""

from __future__ import annotations

from k8snetlab.api import pools
from k8snetlab.api.core import Node, Pod
from k8snetlab.testing.fake_cluster import FakeCluster

POD = """---
{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {nodeName: node%d, containers: [{name: c, image: i}]}}
"""
SMALL = "{cidr: 10.1.0.0/28, blockSize: 30}"
"""Four blocks of four addresses."""


def lab(pool: str = "{cidr: 10.1.0.0/16}", nodes: str = "2", more: str = "", backend: str = "calico") -> str:
    network = f"{{backend: {backend}, ipPools: [{pool}]{more}}}"
    spec = f"{{nodes: {nodes}, podCIDR: 10.1.0.0/16, dns: {{enabled: false}}, network: {network}}}"
    return f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {{name: lab}}, spec: {spec}}}\n"


def pods(*counts: int) -> str:
    """So many on node1, node2 …"""
    return "".join(POD % (f"p{node}-{n}", node) for node, count in enumerate(counts, 1) for n in range(count))


def blocks(cluster: FakeCluster) -> dict[str, tuple[str, ...]]:
    return {node.name: pools.blocks_of(node) for node in cluster.snapshot.all(Node).values()}


def ips(cluster: FakeCluster, node: int) -> list[str]:
    return [pod.ips[0] for pod in cluster.snapshot.all(Pod).values() if pod.spec.nodeName == f"node{node}" and pod.ips]


def test_a_node_claims_a_block_with_its_first_pod_and_gives_all_of_its_addresses() -> None:
    cluster = FakeCluster(lab(SMALL) + pods(4)).run()
    assert blocks(cluster) == {"node1": ("10.1.0.0/30",), "node2": ()}
    assert sorted(ips(cluster, 1)) == ["10.1.0.0", "10.1.0.1", "10.1.0.2", "10.1.0.3"]
    cluster.apply(POD % ("p2-0", 2) + POD % ("p1-4", 1)).run()
    assert blocks(cluster) == {"node1": ("10.1.0.0/30", "10.1.0.4/30"), "node2": ("10.1.0.8/30",)}
    assert not any(node.podCIDRs for node in cluster.snapshot.all(Node).values())


def test_a_freed_address_waits_until_the_others_had_their_turn() -> None:
    cluster = FakeCluster(lab(SMALL) + pods(2)).run()
    cluster.delete(cluster.snapshot.get(Pod, "p1-0", "default"), force=True)  # type: ignore[arg-type]
    cluster.apply(POD % ("next", 1)).run()
    assert "10.1.0.2" in ips(cluster, 1) and "10.1.0.0" not in ips(cluster, 1)
    cluster.apply(POD % ("a", 1) + POD % ("b", 1)).run()
    assert sorted(ips(cluster, 1)) == ["10.1.0.0", "10.1.0.1", "10.1.0.2", "10.1.0.3"]
    assert len(blocks(cluster)["node1"]) == 1


def test_an_address_is_borrowed_when_all_blocks_are_claimed_and_given_back_with_its_pod() -> None:
    cluster = FakeCluster(lab(SMALL) + pods(13, 1)).run()
    assert [len(held) for held in blocks(cluster).values()] == [4, 0]
    (borrowed,) = ips(cluster, 2)
    lender, guest = cluster.snapshot.node("node1"), cluster.snapshot.node("node2")
    assert pools.borrowed_by(guest) == (borrowed,) and pools.borrowed_by(lender) == ()
    assert pools.led_to(guest) == (f"{borrowed}/32",) and len(pools.led_to(lender)) == 4
    cluster.delete(cluster.snapshot.all(Pod)["default", "p2-0"], force=True)
    cluster.run()
    assert pools.borrowed_by(cluster.snapshot.node("node2")) == ()


def test_with_strict_affinity_a_pod_waits_and_is_told_why_in_calicos_words() -> None:
    cluster = FakeCluster(lab(SMALL, more=", strictAffinity: true") + pods(16, 1)).run()
    (waiting,) = (pod for pod in cluster.snapshot.all(Pod).values() if not pod.ips)
    assert waiting.name == "p2-0"
    assert waiting.status.message == (
        "failed to request IPv4 addresses: Assigned 0 out of 1 requested IPv4 addresses; "
        "No more free affine blocks and strict affinity enabled"
    )
    assert not any(pools.borrowed_by(node) for node in cluster.snapshot.all(Node).values())
    cluster.delete(cluster.snapshot.all(Pod)["default", "p1-3"], force=True)
    cluster.run()
    assert not cluster.snapshot.all(Pod)["default", "p2-0"].ips
    cluster.apply(lab(SMALL)).run()
    assert cluster.snapshot.all(Pod)["default", "p2-0"].ips


def test_the_lab_file_fixes_blocks_and_a_selector_keeps_a_pool_to_some_nodes() -> None:
    nodes = "[{name: node1, blocks: [10.1.109.64/26]}, {name: node2, blocks: [10.1.140.64/26], labels: {rack: b}}]"
    held = FakeCluster(lab(nodes=nodes) + pods(1, 1)).run()
    assert blocks(held) == {"node1": ("10.1.109.64/26",), "node2": ("10.1.140.64/26",)}
    assert ips(held, 1) + ips(held, 2) == ["10.1.109.64", "10.1.140.64"]
    two = "{cidr: 10.1.0.0/24, nodeSelector: \"rack == 'b'\"}, {cidr: 10.1.1.0/24, nodeSelector: '!has(rack)'}"
    apart = FakeCluster(lab(two, "[{name: node1}, {name: node2, labels: {rack: b}}]") + pods(1, 1)).run()
    assert (ips(apart, 1), ips(apart, 2)) == (["10.1.1.0"], ["10.1.0.0"])
    none = FakeCluster(lab("{cidr: 10.1.0.0/24, nodeSelector: has(gpu)}") + pods(1)).run()
    (pod,) = none.snapshot.all(Pod).values()
    assert not pod.ips and pod.status.message == "no configured Calico pools for node node1"


def test_a_tunnel_has_the_first_address_of_its_nodes_block() -> None:
    nodes = "[{name: node1, blocks: [10.1.109.64/26]}, {name: node2, blocks: [10.1.140.64/26]}]"
    cluster = FakeCluster(lab("{cidr: 10.1.0.0/16, vxlanMode: Always}", nodes) + pods(1)).run()
    found = {node.name: pools.tunnel_address(node) for node in cluster.snapshot.all(Node).values()}
    assert found == {"node1": "10.1.109.64", "node2": "10.1.140.64"}
    assert ips(cluster, 1) == ["10.1.109.65"]
    cluster.apply(lab("{cidr: 10.1.0.0/16}", nodes)).run()
    assert not any(map(pools.tunnel_address, cluster.snapshot.all(Node).values()))
    assert ips(cluster, 1) == ["10.1.109.65"]


def test_of_another_backend_addresses_of_the_pool_stay_and_their_block_is_claimed() -> None:
    cluster = FakeCluster(lab(backend="vxlan") + pods(1, 1)).run()
    before = ips(cluster, 1)
    cluster.apply(lab()).run()
    assert ips(cluster, 1) == before == ["10.1.1.2"]
    assert blocks(cluster) == {"node1": ("10.1.1.0/26",), "node2": ("10.1.2.0/26",)}
    node = cluster.snapshot.node("node1")
    assert not node.podCIDRs and not any(key.startswith("flannel") for key in node.metadata.annotations)
    cluster.apply(lab(backend="vxlan")).run()
    node = cluster.snapshot.node("node1")
    assert node.podCIDRs == ("10.1.1.0/24",) and not pools.blocks_of(node)
    assert not any(key.startswith(("projectcalico", "k8snetlab/ipam")) for key in node.metadata.annotations)


def test_an_address_that_no_other_backend_gives_to_pods_is_changed_with_the_backend() -> None:
    """The block's first is flannel.1's there, its second cni0's, and the subnet's last one is the broadcast address."""
    nodes = "[{name: node1, podCIDR: 10.1.0.0/26, blocks: [10.1.0.0/26]}]"
    cluster = FakeCluster(lab(nodes=nodes) + pods(64)).run()
    before = ips(cluster, 1)
    assert {"10.1.0.0", "10.1.0.1", "10.1.0.63"} <= {*before} and len({*before}) == 64
    for number in (40, 41, 42):
        cluster.delete(cluster.snapshot.get(Pod, f"p1-{number}", "default"), force=True)  # type: ignore[arg-type]
    cluster.apply(lab(backend="vxlan", nodes="[{name: node1, podCIDR: 10.1.0.0/26}]")).run()
    after = ips(cluster, 1)
    assert {*after} == {*before} - {"10.1.0.0", "10.1.0.1", "10.1.0.63"} and len(after) == 61


def test_a_node_that_goes_gives_up_its_blocks() -> None:
    cluster = FakeCluster(lab(SMALL, "3") + pods(1, 1, 1)).run()
    gone = blocks(cluster)["node3"]
    cluster.apply(lab(SMALL, "2")).run()
    assert gone and blocks(cluster).keys() == {"node1", "node2"}
    cluster.apply(lab(SMALL, "[{name: node1}, {name: node2}, {name: node4}]") + POD % ("q", 4)).run()
    assert blocks(cluster)["node4"] == gone


def test_a_pod_of_no_pool_any_more_loses_its_address_and_gets_the_next_one_that_is_free() -> None:
    cluster = FakeCluster(lab("{cidr: 10.1.0.0/26, blockSize: 29}") + pods(1, 1)).run()
    assert ips(cluster, 2) == ["10.1.0.8"]
    cluster.apply(lab("{cidr: 10.1.0.0/29, blockSize: 31}") + "".join(POD % (f"new{n}", 1) for n in range(7))).run()
    (waiting,) = (pod for pod in cluster.snapshot.all(Pod).values() if not pod.ips)
    assert waiting.name == "p2-0" and waiting.status.message.endswith("No free addresses in any pool")
    cluster.delete(cluster.snapshot.all(Pod)["default", "p1-0"], force=True)
    cluster.run()
    assert ips(cluster, 2) == ["10.1.0.0"] and pools.borrowed_by(cluster.snapshot.node("node2")) == ("10.1.0.0",)
