"""The rtnetlink requests that an operation on a link, address, route, neighbour or FDB entry consists of.

Each function here is the counterpart of an iproute2 command: the same attributes, the same flags. They are packed by
hand: pyroute2 takes 60 to 110 µs for a message, this 4 to 8, and a node has thousands of them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec

from k8snetlab.dataplane.links import Address, Bridge, Device, Ipip, Link, Veth, Vxlan
from k8snetlab.dataplane.operations import Item, Verb
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.kernel import messages as m
from k8snetlab.kernel.messages import NetlinkRequest, attribute, number, octet, text

Index = Callable[[str], int]
"""From a device's name to its ifindex; raises when there is none."""
_FLAGS = {"add": m.NLM_F_CREATE | m.NLM_F_EXCL, "replace": m.NLM_F_CREATE | m.NLM_F_REPLACE}


def requests(verb: Verb, item: Item, index: Index, peer_netns: int = -1) -> list[NetlinkRequest]:
    """What to send, in order; `peer_netns` is an open descriptor of the namespace of a new veth's other end."""
    match item:
        case Address():
            return [_address(verb, item, index)]
        case Route():
            return [_route(verb, item, index)]
        case Neighbour():
            return [_neighbour(verb, item, index)]
        case FdbEntry():
            return [_fdb(verb, item, index)]
        case Ipip() if verb == "del":
            return _changed(msgspec.structs.replace(item, up=False), index)
        case _ if verb == "del":
            return [NetlinkRequest(m.RTM_DELLINK, 0, m.ifinfomsg() + text(m.IFLA_IFNAME, item.name))]
        case _ if verb == "set" or isinstance(item, Device):
            return _changed(item, index)
        case _:
            return _created(item, index, peer_netns)


def _created(link: Link, index: Index, peer_netns: int) -> list[NetlinkRequest]:
    body, after = _state(link) + text(m.IFLA_IFNAME, link.name), _port(link)
    if isinstance(link, Bridge) and link.mtu:
        # An MTU given at creation does not count as set: the bridge takes its ports' smallest as soon as one goes.
        named = m.ifinfomsg() + text(m.IFLA_IFNAME, link.name)
        after = [NetlinkRequest(m.RTM_NEWLINK, 0, named + number(m.IFLA_MTU, link.mtu))]
    elif link.mtu:
        body += number(m.IFLA_MTU, link.mtu)
    body += _mac(m.IFLA_ADDRESS, link.mac)
    body += attribute(m.IFLA_LINKINFO, _kind(link, index, peer_netns))
    if isinstance(link, Veth) and link.master:
        body += number(m.IFLA_MASTER, index(link.master))
    return [NetlinkRequest(m.RTM_NEWLINK, m.NLM_F_CREATE | m.NLM_F_EXCL, body), *after]


def _changed(link: Link, index: Index) -> list[NetlinkRequest]:
    body = _state(link) + text(m.IFLA_IFNAME, link.name)
    body += number(m.IFLA_MTU, link.mtu) if link.mtu else b""
    body += _mac(m.IFLA_ADDRESS, link.mac)
    if isinstance(link, Veth):
        body += number(m.IFLA_MASTER, index(link.master) if link.master else 0)
    if isinstance(link, Bridge):
        body += attribute(m.IFLA_LINKINFO, _kind(link, index, -1))
    return [NetlinkRequest(m.RTM_NEWLINK, 0, body), *_port(link)]


def _state(link: Link) -> bytes:
    return m.ifinfomsg(flags=m.IFF_UP if link.up else 0, change=m.IFF_UP)


def _port(link: Link) -> list[NetlinkRequest]:
    """The flags of a bridge's port; `ip link set NAME type bridge_slave hairpin on`."""
    if not isinstance(link, Veth) or not link.master:
        return []
    data = attribute(m.IFLA_INFO_SLAVE_DATA, octet(m.IFLA_BRPORT_MODE, link.hairpin))
    info = attribute(m.IFLA_LINKINFO, text(m.IFLA_INFO_SLAVE_KIND, "bridge") + data)
    return [NetlinkRequest(m.RTM_NEWLINK, 0, m.ifinfomsg() + text(m.IFLA_IFNAME, link.name) + info)]


def _kind(link: Link, index: Index, peer_netns: int) -> bytes:
    match link:
        case Bridge():
            kind, data = "bridge", octet(m.IFLA_BR_MCAST_SNOOPING, link.snooping)
        case Veth():
            end = m.ifinfomsg() + text(m.IFLA_IFNAME, link.peer)
            end += number(m.IFLA_MTU, link.mtu) if link.mtu else b""
            end += _mac(m.IFLA_ADDRESS, link.peer_mac)
            end += number(m.IFLA_NET_NS_FD, peer_netns) if peer_netns >= 0 else b""
            kind, data = "veth", attribute(m.VETH_INFO_PEER, end)
        case Vxlan():
            local = m.IFLA_VXLAN_LOCAL6 if ":" in link.local else m.IFLA_VXLAN_LOCAL
            kind, data = "vxlan", number(m.IFLA_VXLAN_ID, link.vni)
            data += attribute(local, _packed(link.local))
            data += number(m.IFLA_VXLAN_LINK, index(link.dev))
            data += attribute(m.IFLA_VXLAN_PORT, link.port.to_bytes(2, "big"))
            data += octet(m.IFLA_VXLAN_LEARNING, link.learning)
            data += octet(m.IFLA_VXLAN_L2MISS, link.l2miss) + octet(m.IFLA_VXLAN_L3MISS, link.l3miss)
        case Ipip():
            return text(m.IFLA_INFO_KIND, "ipip")
        case Device():
            raise AssertionError("a Device is never created")
    return text(m.IFLA_INFO_KIND, kind) + attribute(m.IFLA_INFO_DATA, data)


def _address(verb: Verb, item: Address, index: Index) -> NetlinkRequest:
    address, _, length = item.address.partition("/")
    family, packed = _family(address), _packed(address)
    body = m.ifaddrmsg(family, int(length), index(item.dev))
    body += attribute(m.IFA_LOCAL, packed) + attribute(m.IFA_ADDRESS, packed)
    if item.broadcast:
        hosts = (1 << 8 * len(packed) - int(length)) - 1
        last = int.from_bytes(packed, "big") | hosts
        body += attribute(m.IFA_BROADCAST, last.to_bytes(len(packed), "big"))
    if family == socket.AF_INET6:
        body += number(m.IFA_FLAGS, m.IFA_F_NODAD)
    if verb == "del":
        return NetlinkRequest(m.RTM_DELADDR, 0, body)
    return NetlinkRequest(m.RTM_NEWADDR, _FLAGS["add"], body)


def _route(verb: Verb, item: Route, index: Index) -> NetlinkRequest:
    address, length, where = "", 0, item.via or item.src
    if item.dst != "default":
        address, _, digits = item.dst.partition("/")
        length, where = int(digits), address
    far = item.via or item.blackhole
    scope = m.RT_SCOPE_NOWHERE if verb == "del" else m.RT_SCOPE_UNIVERSE if far else m.RT_SCOPE_LINK
    body = m.rtmsg(
        _family(where),
        length,
        table=m.RT_TABLE_MAIN,
        proto=0 if verb == "del" else item.protocol or m.RTPROT_BOOT,
        scope=scope,
        kind=0 if verb == "del" else m.RTN_BLACKHOLE if item.blackhole else m.RTN_UNICAST,
        flags=m.RTNH_F_ONLINK if item.onlink else 0,
    )
    body += attribute(m.RTA_DST, _packed(address)) if address else b""
    body += attribute(m.RTA_GATEWAY, _packed(item.via)) if item.via else b""
    body += number(m.RTA_OIF, index(item.dev)) if item.dev else b""
    body += attribute(m.RTA_PREFSRC, _packed(item.src)) if item.src else b""
    body += number(m.RTA_PRIORITY, item.metric) if item.metric else b""
    if verb == "del":
        return NetlinkRequest(m.RTM_DELROUTE, 0, body)
    return NetlinkRequest(m.RTM_NEWROUTE, _FLAGS[verb], body)


def _neighbour(verb: Verb, item: Neighbour, index: Index) -> NetlinkRequest:
    family, dst = _family(item.dst), attribute(m.NDA_DST, _packed(item.dst))
    if verb == "del":
        return NetlinkRequest(m.RTM_DELNEIGH, 0, m.ndmsg(family, index(item.dev)) + dst)
    body = m.ndmsg(family, index(item.dev), m.NUD[item.state]) + dst + _mac(m.NDA_LLADDR, item.lladdr)
    return NetlinkRequest(m.RTM_NEWNEIGH, _FLAGS[verb], body)


def _fdb(verb: Verb, item: FdbEntry, index: Index) -> NetlinkRequest:
    body = m.ndmsg(m.AF_BRIDGE, index(item.dev), m.NUD["PERMANENT"], m.NTF_SELF)
    body += _mac(m.NDA_LLADDR, item.lladdr) + attribute(m.NDA_DST, _packed(item.dst))
    if verb == "del":
        return NetlinkRequest(m.RTM_DELNEIGH, 0, body)
    return NetlinkRequest(m.RTM_NEWNEIGH, _FLAGS[verb], body)


def _mac(kind: int, mac: str) -> bytes:
    return attribute(kind, bytes.fromhex(mac.replace(":", ""))) if mac else b""


def _packed(address: str) -> bytes:
    return socket.inet_pton(_family(address), address)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
