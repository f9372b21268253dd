"""Every property that the desired state has is compared: changed by hand it is drift, and put back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from k8snetlab.client.client import Client
from k8snetlab.dataplane.links import Address, Bridge, Device, Veth, Vxlan
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.kernel.read import read
from k8snetlab.messages.nodes import PAUSE, RESUME, NodeName
from k8snetlab.messages.status import STATUS
from k8snetlab.messages.verb import Nothing
from k8snetlab.testing import Lab, eventually

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}}
---
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {nodeName: node1, containers: [{name: c}]}
"""
N, P = "ip -n {ns}.node1", "ip -n {ns}.default.a"
TUNNEL = f"{N} link del flannel.1; {N} link add flannel.1 up mtu 1450 address $mac type vxlan"
CHANGES = {
    "Bridge.mac": f"{N} link set cni0 address 02:00:00:00:00:01",
    "Bridge.mtu": f"{N} link set cni0 mtu 1400",
    "Bridge.up": f"{N} link set cni0 down",
    "Bridge.snooping": f"{N} link set cni0 type bridge mcast_snooping 1",
    "Veth.name": f"{N} link set $veth name mine",
    "Veth.peer": f"{P} link set eth0 name ethx",
    "Veth.peer_netns": f"{P} link set eth0 netns {{ns}}.node2 name lost",
    "Veth.mtu": f"{N} link set $veth mtu 1400",
    "Veth.master": f"{N} link set $veth nomaster",
    "Veth.hairpin": f"{N} link set $veth type bridge_slave hairpin off",
    "Veth.up": f"{N} link set $veth down",
    "Veth.peer_mac": f"{P} link set eth0 address 02:00:00:00:00:02",
    "Vxlan.name": f"{N} link set flannel.1 down; {N} link set flannel.1 name tunnel",
    "Vxlan.vni": f"{TUNNEL} id 2 local $ip dev eth0 dstport 8472 nolearning",
    "Vxlan.local": f"{TUNNEL} id 1 dev eth0 dstport 8472 nolearning",
    "Vxlan.dev": f"{TUNNEL} id 1 local $ip dstport 8472 nolearning",
    "Vxlan.port": f"{TUNNEL} id 1 local $ip dev eth0 dstport 4789 nolearning",
    "Vxlan.learning": f"{TUNNEL} id 1 local $ip dev eth0 dstport 8472",
    "Vxlan.l2miss": f"{TUNNEL} id 1 local $ip dev eth0 dstport 8472 nolearning l2miss",
    "Vxlan.l3miss": f"{TUNNEL} id 1 local $ip dev eth0 dstport 8472 nolearning l3miss",
    "Vxlan.mac": f"{N} link set flannel.1 address 02:00:00:00:00:03",
    "Vxlan.mtu": f"{N} link set flannel.1 mtu 1400",
    "Vxlan.up": f"{N} link set flannel.1 down",
    "Device.name": f"{N} link set eth0 name ethx",
    "Device.mtu": f"{P} link set eth0 mtu 1400",
    "Device.mac": f"{N} link set eth0 address 02:00:00:00:00:04",
    "Device.up": f"{P} link set lo down",
    "Address.dev": f"{P} addr del $podcidr dev eth0; {P} addr add $podcidr dev lo",
    "Address.address": f"{P} addr del $podcidr dev eth0; {P} addr add $pod/32 dev eth0",
    "Address.broadcast": f"{N} addr del $gateway dev cni0; {N} addr add $gateway dev cni0",
    "Address.connected": f"{N} route del $subnet dev cni0",
    "Route.dst": f"{N} route del $other",
    "Route.dev": f"{N} route replace $other dev cni0",
    "Route.via": f"{N} route replace $other via $base1 dev flannel.1 onlink",
    "Route.onlink": f"{N} route del $other; {N} route add $other dev flannel.1",
    "Route.src": f"{N} route replace $other via $base dev flannel.1 onlink src $ip",
    "Route.metric": f"{N} route del $other; {N} route add $other via $base dev flannel.1 onlink metric 5",
    "Route.blackhole": f"{N} route del $other; {N} route add blackhole $other",
    "Route.protocol": f"{N} route replace $other via $base dev flannel.1 onlink proto 80",
    "Neighbour.dev": f"{N} neigh del $base dev flannel.1",
    "Neighbour.dst": f"{N} neigh del $base dev flannel.1",
    "Neighbour.lladdr": f"{N} neigh replace $base lladdr 02:00:00:00:00:05 dev flannel.1 nud permanent",
    "Neighbour.state": f"{N} neigh replace $base lladdr $vtep dev flannel.1 nud reachable",
    "FdbEntry.dev": "bridge -n {ns}.node1 fdb del $vtep dev flannel.1 self",
    "FdbEntry.lladdr": "bridge -n {ns}.node1 fdb del $vtep dev flannel.1 self",
    "FdbEntry.dst": "bridge -n {ns}.node1 fdb replace $vtep dev flannel.1 dst $ip self permanent",
}
GIVEN = {
    "Bridge.name": "a bridge of another name is another bridge; as is one that is missing",
    "Veth.mac": "drawn by the kernel: nobody knows the node's end of a pod's cable by it",
}
SYSCTLS = (
    "net.ipv4.ip_forward=0",
    "net.ipv4.conf.flannel/1.forwarding=0",
    "net.ipv4.conf.cni0.forwarding=0",
    "net.ipv4.conf.eth0.forwarding=0",
    "net.ipv4.conf.all.rp_filter=1",
    "net.bridge.bridge-nf-call-iptables=0",
)


def test_every_property_has_its_case() -> None:
    types = (Bridge, Veth, Vxlan, Device, Address, Route, Neighbour, FdbEntry)
    assert {f"{t.__name__}.{field}" for t in types for field in t.__struct_fields__} == {*CHANGES, *GIVEN}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("properties")
    before = os.environ.get("K8SNETLAB_RUN")
    (directory / "lab.yaml").write_text(LAB)
    lab = Lab(directory)
    try:
        lab.run("up", str(directory / "lab.yaml"))
        os.environ["K8SNETLAB_RUN"] = str(lab.run_directory)
        yield lab
    finally:
        os.environ.pop("K8SNETLAB_RUN")
        os.environ |= {"K8SNETLAB_RUN": before} if before is not None else {}
        subprocess.run(lab.command("down"), env=lab.environment, capture_output=True, timeout=200)


def filled(lab: Lab, command: str) -> str:
    node = read(lab.netns("node1"))
    pod = next(a.address for a in read(lab.netns("default", "a")).addresses if a.dev == "eth0")
    tunnel = next(link for link in node.links if isinstance(link, Vxlan))
    other = next(route for route in node.routes if route.dev == "flannel.1")
    gateway = next(a.address for a in node.addresses if a.dev == "cni0")
    values = {
        "$veth": next((x.name for x in node.links if isinstance(x, Veth) and x.master == "cni0"), ""),
        "$mac": tunnel.mac,
        "$ip": tunnel.local,
        "$podcidr": pod,
        "$pod": pod.partition("/")[0],
        "$gateway": gateway,
        "$subnet": gateway.replace(".1/", ".0/"),
        "$other": other.dst,
        "$base1": other.via[:-1] + "1",
        "$base": other.via,
        "$vtep": next((entry.lladdr for entry in node.fdb), ""),
    }
    for word, value in values.items():
        command = command.replace(word, value)
    return command.format(ns=lab.name)


def drift(lab: Lab) -> object:
    """Of an agent that is at work none is told."""
    status = Client(lab.name).call(STATUS, Nothing())
    return next(node for node in status.nodes if node.name == "node1").agent.drift


def is_mended(lab: Lab) -> bool:
    told = Client(lab.name).call(PAUSE, NodeName("node1"))
    try:
        return not told.warning and not drift(lab)
    finally:
        Client(lab.name).call(RESUME, NodeName("node1"))


def seen_and_mended(lab: Lab, what: str, command: str) -> None:
    Client(lab.name).call(PAUSE, NodeName("node1"))
    try:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, f"{what}: {command}: {done.stderr}"
        try:
            eventually(lambda: drift(lab))
        except AssertionError:
            pytest.fail(f"{what}: {command}: no drift")
    finally:
        Client(lab.name).call(RESUME, NodeName("node1"))
    try:
        eventually(lambda: not drift(lab) and is_mended(lab))
    except AssertionError:
        pytest.fail(f"{what}: {command}: {drift(lab)}\n{lab.logs()}")


def test_what_is_changed_by_hand_is_drift_and_put_back(lab: Lab) -> None:
    for what, command in CHANGES.items():
        seen_and_mended(lab, what, filled(lab, command))
    for sysctl in SYSCTLS:
        seen_and_mended(lab, sysctl, f"ip netns exec {lab.netns('node1')} sysctl -qw {sysctl}")
    inside = "net.ipv6.conf.default.disable_ipv6=0"
    seen_and_mended(lab, inside, f"ip netns exec {lab.netns('default', 'a')} sysctl -qw {inside}")
    assert lab.json("status")["problems"] == []
