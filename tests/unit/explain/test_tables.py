"""What is said of a line of the kernel's tables, and whose it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from k8snetlab.api.flannel import vtep_mac_of
from k8snetlab.api.load import load
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.netns import Role
from k8snetlab.diagnose.wanted import Wanted
from k8snetlab.explain.tables import Reader
from k8snetlab.kernel.connections import Entry, Tuple
from k8snetlab.lab.render import settle
from k8snetlab.testing.fake_cluster import FakeCluster
from k8snetlab.trace.directory import Directory

MANIFEST = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: demo}
spec:
  nodes:
    - {name: node1, address: 192.168.0.21, podCIDR: 172.30.76.0/24}
    - {name: node2, address: 192.168.0.22, podCIDR: 172.30.9.0/24}
    - {name: node3, address: 192.168.0.23, podCIDR: 172.30.10.0/24}
  podCIDR: 172.30.0.0/16
  serviceCIDR: 10.254.0.0/16
---
{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: a}}, spec: {nodeName: node1, containers: [{name: c}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {nodeName: node2, containers: [{name: c}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {app: a}, clusterIP: 10.254.0.7, ports: [{port: 80}]}}
"""  # noqa: E501


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return settle(load([("f.yaml", MANIFEST)]).objects)


def reader(snapshot: Snapshot, role: Role = "node") -> Reader:
    return Reader(snapshot.lab, Directory.of(snapshot), role)


def mac(snapshot: Snapshot, node: str) -> str:
    from k8snetlab.api.core import Node

    found = snapshot.get(Node, node)
    assert found
    return vtep_mac_of(found, "ipv4")


@pytest.mark.parametrize(
    ("role", "line", "owner", "said"),
    [
        (
            "node",
            "172.30.9.0/24 via 172.30.9.0 dev flannel.1 onlink",
            "flannel",
            "pods of node2: into the tunnel, to 172.30.9.0 (node2's VTEP)",
        ),
        ("node", "172.30.0.0/16 dev flannel.1", "flannel", "pods of all other nodes"),
        ("node", "172.30.9.0/24 via 192.168.0.22 dev eth0", "flannel", "pods of node2: straight to 192.168.0.22"),
        ("node", "default via 192.168.0.1 dev eth0", "k8snetlab", "everything else: to 192.168.0.1 (the router)"),
        ("node", "198.51.100.0/24 via 192.168.0.1 dev eth0", "nobody", "198.51.100.0/24: to 192.168.0.1"),
        (
            "node",
            "172.30.76.0/24 dev cni0 proto kernel scope link src 172.30.76.1",
            "kernel",
            "pods of node1: directly on cni0, because cni0 has the address 172.30.76.1",
        ),
        ("node", "172.30.9.0/24 via 192.168.0.22 dev eth0 proto bird", "nobody", "pods of node2: to 192.168.0.22"),
        ("node", "172.30.9.0/24 via 172.30.9.0 dev flannel.1 proto static onlink", "nobody", "pods of node2: to"),
        ("node", "172.30.0.0/16 dev flannel.1 proto 157", "nobody", "the pod network: directly on flannel.1, by 157"),
        ("node", "default via 192.168.0.1 dev eth0 proto dhcp", "nobody", "default: to 192.168.0.1 (the router), by"),
        ("node", "blackhole 172.30.9.0/24", "nobody", "pods of node2: dropped here"),
        ("pod", "default via 172.30.9.1 dev eth0 proto ra", "nobody", "default: to"),
        ("pod", "default via 172.30.9.1 dev eth0", "CNI bridge", "everything else: to the node, 172.30.9.1"),
        ("pod", "172.30.0.0/16 via 172.30.9.1 dev eth0", "CNI bridge", "the pod network: to the node"),
        ("pod", "10.0.0.0/8 via 172.30.9.1 dev eth0", "nobody", "10.0.0.0/8"),
        ("router", "10.254.0.7 via 192.168.0.21 dev underlay0", "k8snetlab", "Service default/a: to 192.168.0.21"),
    ],
)  # fmt: skip
def test_each_route_has_its_owner_and_meaning(snapshot: Snapshot, role: Role, line: str, owner: str, said: str) -> None:
    row = reader(snapshot, role).route(line)
    assert (row.line, row.owner) == (line, owner)
    assert row.meaning.startswith(said)


@pytest.mark.parametrize(
    ("network", "protocol", "owner"),
    [
        ("{backend: bgp}", "bird", "BIRD, by BGP"),
        ("{backend: ospf}", "ospf", "FRR, by OSPF"),
        ("{backend: ospf}", "bird", "nobody"),
        ("{backend: rip, routing: {daemon: frr}}", "rip", "FRR, by RIP"),
        ("{backend: host-gw}", "bird", "nobody"),
    ],
)
def test_a_route_of_the_labs_own_daemon_is_told_from_any_others(network: str, protocol: str, owner: str) -> None:
    lab = f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {{nodes: 2, network: {network}}}}}\n"
    line = f"10.244.2.0/24 via 192.168.0.22 dev eth0 proto {protocol} metric 20"
    row = reader(FakeCluster(lab).run().snapshot, "node").route(line)
    assert row.owner == owner and row.meaning.startswith("pods of node2: to 192.168.0.22")


@pytest.mark.parametrize(
    ("place", "role", "line", "owner"),
    [
        ("node1", "node", "172.30.9.0/24 via 172.30.9.0 dev flannel.1 onlink", "flannel"),
        ("node1", "node", "172.30.9.0/24 via 192.168.0.22 dev eth0", "nobody"),
        ("node1", "node", "172.30.9.0/24 via 172.30.10.0 dev flannel.1 onlink", "nobody"),
        ("node1", "node", "172.30.9.2 via 192.168.0.23 dev eth0", "nobody"),
        ("node1", "node", "172.30.0.0/16 dev flannel.1", "nobody"),
        ("node1", "node", "default via 192.168.0.1 dev eth0", "k8snetlab"),
        ("node1", "node", "default via 192.168.0.99 dev eth0", "nobody"),
        ("router", "router", "172.30.9.0/24 via 192.168.0.22 dev underlay0", "nobody"),
        ("default.a", "pod", "default via 172.30.76.1 dev eth0", "CNI bridge"),
        ("default.a", "pod", "default via 172.30.76.3 dev eth0", "nobody"),
    ],
)
def test_a_route_is_the_labs_when_all_of_it_is(
    snapshot: Snapshot, place: str, role: Role, line: str, owner: str
) -> None:
    wanted = Wanted(snapshot)(f"demo.{place}")
    assert Reader(snapshot.lab, Directory.of(snapshot), role, wanted=wanted).route(line).owner == owner


def test_a_neighbour_on_the_tunnel_is_flannels_only_with_the_right_mac(snapshot: Snapshot) -> None:
    said = reader(snapshot).neighbour
    right = said(f"172.30.9.0 dev flannel.1 lladdr {mac(snapshot, 'node2')} PERMANENT")
    assert (right.owner, right.meaning) == ("flannel", "node2's VTEP: its own MAC, put in for good, never asked for")
    pod = said(f"172.30.9.2 dev flannel.1 lladdr {mac(snapshot, 'node2')} REACHABLE")
    assert (pod.owner, pod.meaning[:34]) == ("flannel", "pod default/b on node2: the MAC of")
    wrong = said(f"172.30.9.0 dev flannel.1 lladdr {mac(snapshot, 'node3')} PERMANENT")
    assert wrong.owner == "nobody" and wrong.meaning.endswith("that is another node")
    assert said("172.30.9.0 dev flannel.1 lladdr 02:00:00:00:00:01 PERMANENT").owner == "nobody"
    assert said("172.30.9.0 dev flannel.1 FAILED").meaning == "node2's VTEP: nobody answered"
    arp = said("172.30.76.2 dev cni0 lladdr 0a:58:ac:1e:4c:02 STALE")
    assert (arp.owner, arp.meaning[:29]) == ("kernel", "pod default/a on node1, on cn")


def test_a_forwarding_entry_leads_to_the_node_of_its_vtep(snapshot: Snapshot) -> None:
    def said(line: str) -> tuple[str, str]:
        row = reader(snapshot).forwarding(line, "flannel.1")
        return row.owner, row.meaning

    right = said(f"{mac(snapshot, 'node2')} dst 192.168.0.22 self permanent")
    assert right == ("flannel", "frames for node2's VTEP leave inside UDP 8472 to 192.168.0.22 (node2)")
    owner, meaning = said(f"{mac(snapshot, 'node2')} dst 192.168.0.23 self permanent")
    assert owner == "nobody" and meaning.endswith("that is another node")
    assert said(f"{mac(snapshot, 'node2')} dst 192.168.0.99 self permanent")[1].endswith("no node has that address")
    assert said("02:00:00:00:00:01 dst 192.168.0.22 self permanent")[0] == "nobody"
    assert said("0a:58:ac:1e:4c:02 dev veth1 master cni0") == (
        "kernel",
        "learned: pod default/a on node1 is behind veth1",
    )


def test_each_device_has_its_owner_and_meaning(snapshot: Snapshot) -> None:
    def said(role: Role, name: str, kind: str = "", **found: Any) -> tuple[str, ...]:
        link = {"ifname": name, "flags": ["UP"], "mtu": 1450, "linkinfo": {"info_kind": kind}, **found}
        return msgspec.structs.astuple(reader(snapshot, role).link(link))

    line, owner, meaning = said("node", "cni0", "bridge", addr_info=[{"local": "172.30.76.1", "prefixlen": 24}])
    assert (line, owner) == ("cni0 UP mtu 1450 172.30.76.1/24", "CNI bridge") and "gateway" in meaning
    assert said("node", "flannel.1", "vxlan")[1] == "flannel"
    assert said("pod", "eth0", "veth")[1:] == ("CNI bridge", "the pod's end of the veth pair to its node")
    assert said("node", "dummy0", "dummy")[1] == "nobody"


def test_a_connection_says_what_was_translated(snapshot: Snapshot) -> None:
    pod, vip, outside = "172.30.9.2", "10.254.0.7", "203.0.113.10"
    end = "172.30.76.2"
    plain = Entry("tcp", "ESTABLISHED", 9, Tuple(pod, vip, 40000, 80), Tuple(end, pod, 80, 40000), True, True)
    row = reader(snapshot).connection(plain)
    assert row.line == (
        "tcp 9 ESTABLISHED src=172.30.9.2 dst=10.254.0.7 sport=40000 dport=80"
        " src=172.30.76.2 dst=172.30.9.2 sport=80 dport=40000 [ASSURED] mark=0"
    )
    assert row.meaning == (
        "172.30.9.2 (pod default/b on node2) calls 10.254.0.7:80 (Service default/a);"
        " translated to 172.30.76.2:80 (pod default/a on node1)"
    )
    node_port = Tuple(outside, "192.168.0.22", 1, 30080), Tuple(end, "172.30.9.0", 80, 2)
    masqueraded = reader(snapshot).connection(Entry("tcp", "SYN_SENT", 9, *node_port, False, False))
    assert "masqueraded, so that 172.30.9.0 (node2's VTEP) is seen as the client" in masqueraded.meaning
    assert masqueraded.meaning.endswith("no answer so far")
    tunnel = Tuple("192.168.0.21", "192.168.0.22", 5, 8472), Tuple("192.168.0.22", "192.168.0.21", 8472, 5)
    assert reader(snapshot).connection(Entry("udp", "", 9, *tunnel, False, False)).meaning.startswith("VXLAN packets")
