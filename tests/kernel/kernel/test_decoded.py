"""Dumps decoded by struct say what pyroute2 reads in the same octets, and what /proc has, of every kind of object."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from k8snetlab.kernel import decoded, sysctl
from k8snetlab.kernel import messages as m
from k8snetlab.kernel.netlink import Netlink, attributes

Make = Callable[..., str]
BUILT = """
link add cni0 address 0a:58:0a:f4:01:01 type bridge
link add outer type veth peer name eth0 netns {pod}
link set outer master cni0 up
link set outer type bridge_slave hairpin on
link add under type veth peer name beyond
link add flannel.1 address 02:00:00:00:00:01 type vxlan id 1 local 192.0.2.1 dev under dstport 8472 nolearning l3miss
link add six type vxlan id 7 local 2001:db8::1 dev under dstport 4789
link set lo up
link set cni0 up
link set under up mtu 1400
link set beyond up
link set flannel.1 up
link set six up
addr add 192.0.2.1/24 broadcast + dev under
addr add 10.244.1.1/24 dev cni0
addr add 10.9.9.1 peer 10.9.9.2 dev under
addr add 2001:db8::1/64 dev under nodad
addr add fd00:10:244:1::1/64 dev cni0 nodad
route add default via 192.0.2.254 metric 50
route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink
route add 10.7.0.0/16 dev under src 192.0.2.1 proto bird table 100
route add blackhole 10.8.0.0/16
route add prohibit 10.6.0.0/16 metric 9
route add 10.5.0.0/16 nexthop via 192.0.2.7 dev under weight 1 nexthop via 192.0.2.8 dev under weight 2
-6 route add default via 2001:db8::ffff
-6 route add fd00:10:244:2::/64 dev under metric 7
-6 route add unreachable fd00:bad::/32
neigh add 10.244.2.0 lladdr 02:00:00:00:00:02 dev flannel.1 nud permanent
neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe dev under nud stale
neigh add 192.0.2.13 lladdr 02:00:00:00:00:0d dev under nud reachable
neigh add 2001:db8::ffff lladdr 02:00:00:00:00:ff dev under nud permanent
"""
ENTRIES = """
fdb add 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2 self permanent
fdb add 02:00:00:00:00:03 dev six dst 2001:db8::3 self permanent
fdb add 02:00:00:00:00:22 dev outer master static
"""


@pytest.fixture
def netlink(namespace: Make) -> Iterator[Netlink]:
    """A node with everything that a lab or a stranger puts into one, and some more."""
    node, pod = namespace("node"), namespace("pod")
    for tool, lines in (("ip", BUILT.format(pod=pod)), ("bridge", ENTRIES)):
        for line in lines.strip().splitlines():
            subprocess.run([tool, "-n", node, *line.split()], check=True)
    subprocess.run(["ip", "-n", pod, "link", "set", "eth0", "up"], check=True)
    sysctl.write(node, {"net.ipv4.ip_forward": "1", "net.ipv4.conf.under.rp_filter": "2"})
    with Netlink(node) as opened, pytest.MonkeyPatch.context() as patch:
        patch.setattr(opened, "dump", cache(opened.dump))  # the same octets for both: the kernel goes on meanwhile
        yield opened


def known(kind: type[Any], netlink: Netlink, request: int, body: bytes) -> list[Any]:
    """What pyroute2 makes of the messages."""
    found = [kind(message) for message in netlink.dump(m.NetlinkRequest(request, 0, body))]
    for message in found:
        message.decode()
    return found


def test_devices(netlink: Netlink) -> None:
    ours = decoded.devices(netlink)
    theirs = known(ifinfmsg, netlink, m.RTM_GETLINK, m.ifinfomsg() + m.number(m.IFLA_EXT_MASK, 8))
    assert [*ours] == [link["index"] for link in theirs] and len(ours) >= 7
    for link in theirs:
        found, info = ours[link["index"]], link.get_attr("IFLA_LINKINFO")
        assert (found.name, found.flags) == (link.get_attr("IFLA_IFNAME"), link["flags"])
        assert decoded.whole(found.given, m.IFLA_MTU) == link.get_attr("IFLA_MTU")
        assert decoded.whole(found.given, m.IFLA_MASTER) == (link.get_attr("IFLA_MASTER") or 0)
        assert decoded.whole(found.given, m.IFLA_LINK) == (link.get_attr("IFLA_LINK") or 0)
        assert (m.IFLA_LINK_NETNSID in found.given) == (link.get_attr("IFLA_LINK_NETNSID") is not None)
        assert decoded.kind_of(found.info) == ((info.get_attr("IFLA_INFO_KIND") if info else "") or "")
        assert decoded.mac(found.given, m.IFLA_ADDRESS) == link.get_attr("IFLA_ADDRESS")
        if decoded.kind_of(found.info) == "vxlan":
            data, their = attributes(found.info[m.IFLA_INFO_DATA]), info.get_attr("IFLA_INFO_DATA")
            local = their.get_attr("IFLA_VXLAN_LOCAL") or their.get_attr("IFLA_VXLAN_LOCAL6")
            assert (decoded.address(data, m.IFLA_VXLAN_LOCAL) or decoded.address(data, m.IFLA_VXLAN_LOCAL6)) == local
            assert decoded.whole(data, m.IFLA_VXLAN_ID) == their.get_attr("IFLA_VXLAN_ID")
            assert decoded.whole(data, m.IFLA_VXLAN_L3MISS) == their.get_attr("IFLA_VXLAN_L3MISS")
            assert int.from_bytes(data[m.IFLA_VXLAN_PORT], "big") == their.get_attr("IFLA_VXLAN_PORT")
        if found.name == "outer":
            port = attributes(found.info[m.IFLA_INFO_SLAVE_DATA])
            assert decoded.whole(port, m.IFLA_BRPORT_MODE) == 1
            assert info.get_attr("IFLA_INFO_SLAVE_DATA").get_attr("IFLA_BRPORT_MODE") == 1


def test_addresses(netlink: Netlink) -> None:
    ours = [*decoded.addresses(netlink)]
    theirs = known(ifaddrmsg, netlink, m.RTM_GETADDR, m.ifaddrmsg())
    assert len(ours) == len(theirs) >= 7 and {one.family for one in ours} == {socket.AF_INET, socket.AF_INET6}
    for found, message in zip(ours, theirs, strict=True):
        assert found[:3] == (message["family"], message["prefixlen"], message["index"])
        assert decoded.address(found.given, m.IFA_LOCAL) == (message.get_attr("IFA_LOCAL") or "")
        assert decoded.address(found.given, m.IFA_ADDRESS) == message.get_attr("IFA_ADDRESS")
        assert decoded.address(found.given, m.IFA_BROADCAST) == (message.get_attr("IFA_BROADCAST") or "")


@pytest.mark.parametrize("family", [0, socket.AF_INET, socket.AF_INET6])
def test_routes_of_every_table_and_kind(netlink: Netlink, family: int) -> None:
    ours = [*decoded.routes(netlink, family)]
    theirs = known(rtmsg, netlink, m.RTM_GETROUTE, m.rtmsg(family))
    assert len(ours) == len(theirs) >= 10
    for found, message in zip(ours, theirs, strict=True):
        fixed = (message["family"], message["dst_len"], message.get_attr("RTA_TABLE"), message["proto"])
        assert found[:6] == (*fixed, message["type"], message["flags"])
        for kind, name in ((m.RTA_DST, "RTA_DST"), (m.RTA_GATEWAY, "RTA_GATEWAY"), (m.RTA_PREFSRC, "RTA_PREFSRC")):
            assert decoded.address(found.given, kind) == (message.get_attr(name) or "")
        for kind, name in ((m.RTA_OIF, "RTA_OIF"), (m.RTA_PRIORITY, "RTA_PRIORITY")):
            assert decoded.whole(found.given, kind) == (message.get_attr(name) or 0)
    if family == socket.AF_INET:
        assert {100, 254, 255} <= {found.table for found in ours} and {1, 2, 3, 6, 8} <= {f.kind for f in ours}
        assert {found.table for found in decoded.routes(netlink, family, 100)} == {100}


@pytest.mark.parametrize("family", [0, m.AF_BRIDGE])
def test_neighbours_and_forwarding_entries(netlink: Netlink, family: int) -> None:
    ours = [*decoded.neighbours(netlink, family)]
    theirs = known(ndmsg, netlink, m.RTM_GETNEIGH, m.ndmsg(family))
    assert len(ours) == len(theirs) >= 4
    for found, message in zip(ours, theirs, strict=True):
        assert found[:4] == (message["family"], message["ifindex"], message["state"], message["flags"])
        assert decoded.address(found.given, m.NDA_DST) == (message.get_attr("NDA_DST") or "")
        assert decoded.whole(found.given, m.NDA_MASTER) == (message.get_attr("NDA_MASTER") or 0)
        assert decoded.mac(found.given, m.NDA_LLADDR) == (message.get_attr("NDA_LLADDR") or "")
    if family:
        behind = {decoded.address(found.given, m.NDA_DST) for found in ours}
        assert {"192.0.2.2", "2001:db8::3"} <= behind


@pytest.mark.parametrize(("family", "version"), [(socket.AF_INET, 4), (socket.AF_INET6, 6)])
def test_confs_are_the_sysctls(netlink: Netlink, family: int, version: int) -> None:
    names = {index: link.name.replace(".", "/") for index, link in decoded.devices(netlink).items()}
    names |= {decoded.ALL_DEVICES: "all", decoded.NEW_DEVICES: "default"}
    found = {names[conf.ifindex]: conf for conf in decoded.confs(netlink, family)}
    assert {"all", "default", "under", "flannel/1"} <= {*found}
    for name, conf in found.items():
        key = f"net.ipv{version}.conf.{name}"
        held = sysctl.read(netlink.namespace, [f"{key}.forwarding", f"{key}.rp_filter"])
        assert str(conf.forwarding) == held[f"{key}.forwarding"]
        assert str(conf.rp_filter) == held.get(f"{key}.rp_filter", "0")
    if version == 4:
        assert found["all"].forwarding == 1 and found["under"].rp_filter == 2
