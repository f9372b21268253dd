"""A machine as a node: what is the lab's in its own namespace, and that all the rest is not mentioned."""

from __future__ import annotations

from typing import Any

import pytest

from k8snetlab.api.body import decode
from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.delta import diff
from k8snetlab.dataplane.links import Bridge, Device, Veth, Vxlan
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.routing import Route
from k8snetlab.errors import NotFoundError
from k8snetlab.explain.places import all_places, find_place
from k8snetlab.explain.tables import Reader
from k8snetlab.render.node import render
from k8snetlab.render.picture import picture
from k8snetlab.render.picture_svg import svg
from k8snetlab.render.picture_text import dot, mermaid
from k8snetlab.trace.directory import Directory

Json = dict[str, Any]
DUAL = {
    "podCIDR": "10.244.0.0/16,fd00:10:244::/56",
    "serviceCIDR": "10.96.0.0/12,fd00:10:96::/112",
    "underlay": {"cidr": "192.168.56.0/24,fd00:56::/64"},
}


def node(number: int, interface: str = "eth1", families: int = 1) -> Json:
    annotations = {"k8snetlab/machine": f"host{number}", "k8snetlab/interface": interface}
    subnets = [f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"][:families]
    addresses = [f"192.168.56.{10 + number}", f"fd00:56::{number}"][:families]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"node{number}", "annotations": annotations},
        "spec": {"podCIDR": subnets[0], "podCIDRs": subnets},
        "status": {"addresses": [{"type": "InternalIP", "address": address} for address in addresses]},
    }


def pod(number: int, **spec: Any) -> Json:
    status = {"podIPs": [{"ip": f"10.244.{number}.9"}], "phase": "Running", "conditions": [READY]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod{number}{len(spec)}", "namespace": "default", "uid": f"uid{number}{len(spec)}"},
        "spec": {"nodeName": f"node{number}", "containers": [{"name": "c", "image": "x"}], **spec},
        "status": status,
    }


READY = {"type": "Ready", "status": "True"}


def snapshot(*more: Json, **spec: Any) -> Snapshot:
    given = {"machines": True, "nodes": [], "underlay": {"cidr": "192.168.56.0/24", "mtu": 1400}} | spec
    lab = {"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab", "metadata": {"name": "lab"}, "spec": given}
    families = len(given.get("podCIDR", "").split(","))
    nodes = (node(1, "eth1", families), node(2, "ens4", families))
    objects = [decode(body) for body in (lab, *nodes, pod(1), pod(2), *more)]
    return Snapshot().changed([(type(obj), obj.key, obj) for obj in objects], 1)


def rendered(*more: Json, **spec: Any) -> NodeDataplane:
    return render(snapshot(*more, **spec), "node1")


def words(state: Netns) -> set[str]:
    return {route.words() for route in state.routes}


def test_the_machines_own_namespace_gets_what_is_the_labs_and_no_more() -> None:
    state = rendered().node
    assert state.name == ""
    assert not [link for link in state.links if isinstance(link, Device)]
    assert {type(link) for link in state.links} == {Bridge, Vxlan, Veth}
    assert {address.dev for address in state.addresses} == {"cni0", "flannel.1"}
    assert words(state) == {"10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink"}
    assert [one.dev for one in (*state.neighbours, *state.fdb)] == ["flannel.1", "flannel.1"]
    tunnel = next(link for link in state.links if isinstance(link, Vxlan))
    assert (tunnel.dev, tunnel.local, tunnel.mtu) == ("eth1", "192.168.56.11", 1350)
    assert [rules.prefixes for rules in rendered().rules] == [
        ("FLANNEL-",),
        ("CNI-HOSTPORT-", "CNI-DN-"),
        ("KUBE-ROUTER-", "KUBE-POD-FW-", "KUBE-NWPLCY-", "KUBE-CNPLCY-"),
    ]
    assert [bool(rules.chains) for rules in rendered().rules] == [True, False, False]
    assert [inner.name for inner in rendered().pods] == ["lab.default.pod10"]


@pytest.mark.parametrize("spec", [{}, DUAL], ids=["ipv4", "dual"])
def test_sysctls_are_those_that_a_machine_can_bear(spec: Json) -> None:
    sysctls = rendered(**spec).node.sysctls
    assert sysctls["net.ipv4.ip_forward"] == "1"
    assert sysctls["net.bridge.bridge-nf-call-iptables"] == "1"
    assert sysctls["net.ipv4.conf.all.route_localnet"] == "1"
    assert not [key for key in sysctls if "rp_filter" in key or "disable_ipv6" in key]
    assert ("net.ipv6.conf.all.forwarding" in sysctls) == bool(spec)
    config: Json = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "iptables": {"localhostNodePorts": False},
        "conntrack": {"tcpBeLiberal": True},
    }
    sysctls = rendered(config, **spec).node.sysctls
    assert "net.ipv4.conf.all.route_localnet" not in sysctls
    assert sysctls["net.netfilter.nf_conntrack_tcp_be_liberal"] == "1"


@pytest.mark.parametrize("network", [{"backend": "host-gw"}, {"directRouting": True}])
def test_direct_routes_lead_by_the_machines_interface(network: Json) -> None:
    assert words(rendered(network=network).node) == {"10.244.2.0/24 via 192.168.56.12 dev eth1"}
    beyond = rendered(network=network, underlay={"cidr": "10.0.0.0/8"}).node
    through = "192.168.56.12 dev eth1" if "backend" in network else "10.244.2.0 dev flannel.1 onlink"
    assert words(beyond) == {f"10.244.2.0/24 via {through}"}


def test_nothing_of_a_machines_own_is_stale_to_a_new_agent() -> None:
    """`owned` and `networks` are for the keeper to fill in, from the ledger."""
    desired = rendered().node
    strangers = Netns(
        "",
        links=(Device("lo", 65536), Device("eth1", 1500), Bridge("docker0"), Vxlan("vpn", 7, "192.0.2.1", "eth1")),
        routes=(Route("10.244.77.0/24", "docker0", "172.17.0.9"), Route("default", "eth0", "10.0.2.2")),
    )
    plan = [str(operation) for operation in diff(desired, strangers)]
    assert plan
    assert not [line for line in plan if " del " in line or "eth1 up" in line or "docker0" in line or "vpn" in line]


def test_a_pod_with_the_hosts_network_lives_in_the_machines_own_namespace() -> None:
    found = snapshot(pod(1, hostNetwork=True))
    assert find_place(found, "pod11").netns == ""
    assert [inner.name for inner in render(found, "node1").pods] == ["lab.default.pod10"]


def test_a_machine_says_by_which_interface_it_is_reached() -> None:
    with pytest.raises(NotFoundError, match="node3 does not say by which interface"):
        render(snapshot(node(3, "")), "node3")


def test_there_is_no_router_and_no_outside_host() -> None:
    found = snapshot()
    assert [(place.name, place.netns) for place in all_places(found)][-2:] == [("node1", ""), ("node2", "")]
    for name in ("router", "outside"):
        with pytest.raises(NotFoundError, match=f"no {name} in a lab of machines"):
            find_place(found, name)
    known = Directory.of(found)
    assert known.what("192.168.56.12") == "node2"
    assert known.what("192.168.56.1") == ""
    assert known.what("203.0.113.10") == ""
    assert not [what for what in known.macs.values() if "eth0" in what]


def test_a_picture_shows_each_machines_interface() -> None:
    drawn = picture(snapshot())
    assert [box.uplink for box in drawn.nodes] == ["eth1", "ens4"]
    assert (drawn.router, drawn.outside) == ((), ())
    for text in (svg(drawn), dot(drawn), mermaid(drawn)):
        assert "eth1 192.168.56.11" in text
        assert "ens4 192.168.56.12" in text
        assert "192.168.56.0/24" in text
        assert "outside" not in text
        assert "203.0.113" not in text


@pytest.mark.parametrize(
    ("line", "owner", "said"),
    [
        ("default via 10.0.2.2 dev eth0", "machine", "everything else: to 10.0.2.2"),
        ("10.9.0.0/16 via 192.168.56.99 dev eth1", "machine", "10.9.0.0/16: to 192.168.56.99"),
        ("10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink", "flannel", "pods of node2: into the tunnel"),
        ("10.244.2.0/24 via 192.168.56.12 dev eth1", "flannel", "pods of node2: straight to 192.168.56.12 (node2)"),
    ],
)
def test_a_machines_own_routes_are_told_from_the_labs(line: str, owner: str, said: str) -> None:
    found = snapshot()
    row = Reader(found.lab, Directory.of(found), "node", "eth1").route(line)
    assert (row.owner, row.meaning[: len(said)]) == (owner, said)


@pytest.mark.parametrize(
    ("name", "kind", "owner", "said"),
    [
        ("eth1", "", "machine", "towards the other nodes"),
        ("docker0", "bridge", "machine", "the machine's own"),
        ("cni0", "bridge", "CNI bridge", "joins this node's pods"),
        ("flannel.1", "vxlan", "flannel", "leaves in UDP packets by eth1"),
    ],
)
def test_a_machines_own_devices_are_told_from_the_labs(name: str, kind: str, owner: str, said: str) -> None:
    found = snapshot()
    link = {"ifname": name, "mtu": 1500, "flags": ["UP"], "linkinfo": {"info_kind": kind}}
    row = Reader(found.lab, Directory.of(found), "node", "eth1").link(link)
    assert row.owner == owner
    assert said in row.meaning


def test_what_machines_lend_each_other_needs_no_node_object_of_their_own() -> None:
    alone = snapshot().changed([(Node, ("", "node2"), None)], 2)
    assert words(render(alone, "node1").node) == set()
