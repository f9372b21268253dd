"""The rtnetlink requests that an operation on a link, address, route, neighbour or FDB entry consists of.

Each function here is the counterpart of an iproute2 command: the same attributes, the same flags.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from typing import Any

from k8snetlab.dataplane.links import Address, Bridge, Device, Link, Veth, Vxlan
from k8snetlab.dataplane.operations import Item, Verb
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.kernel.messages import (
    AF_BRIDGE,
    IFA_F_NODAD,
    IFF_UP,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NTF_SELF,
    NUD,
    RT_SCOPE_LINK,
    RT_SCOPE_NOWHERE,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_MAIN,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTN_UNICAST,
    RTNH_F_ONLINK,
    RTPROT_BOOT,
    NetlinkRequest,
    ifaddrmsg,
    ifinfmsg,
    ndmsg,
    rtmsg,
)

Index = Callable[[str], int]
"""From a device's name to its ifindex; raises when there is none."""
_FLAGS = {"add": NLM_F_CREATE | NLM_F_EXCL, "replace": NLM_F_CREATE | NLM_F_REPLACE}


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
        case _ if verb == "del":
            return [_link(RTM_DELLINK, 0, ("IFLA_IFNAME", item.name))]
        case _ if verb == "set" or isinstance(item, Device):
            return _changed(item, index)
        case _:
            return _created(item, index, peer_netns)


def _created(link: Link, index: Index, peer_netns: int) -> list[NetlinkRequest]:
    attributes = [*_common(link), ("IFLA_LINKINFO", {"attrs": _kind(link, index, peer_netns)})]
    after = _port(link)
    if isinstance(link, Bridge) and link.mtu:
        # An MTU given at creation does not count as set: the bridge takes its ports' smallest as soon as one goes.
        attributes.remove(("IFLA_MTU", link.mtu))
        after = [_link(RTM_NEWLINK, 0, ("IFLA_IFNAME", link.name), ("IFLA_MTU", link.mtu))]
    if isinstance(link, Veth) and link.master:
        attributes.append(("IFLA_MASTER", index(link.master)))
    created = _link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, *attributes, up=link.up)
    return [created, *after]


def _changed(link: Link, index: Index) -> list[NetlinkRequest]:
    attributes = _common(link)
    if isinstance(link, Veth):
        attributes.append(("IFLA_MASTER", index(link.master) if link.master else 0))
    if isinstance(link, Bridge):
        attributes.append(("IFLA_LINKINFO", {"attrs": _kind(link, index, -1)}))
    return [_link(RTM_NEWLINK, 0, *attributes, up=link.up), *_port(link)]


def _port(link: Link) -> list[NetlinkRequest]:
    """The flags of a bridge's port; `ip link set NAME type bridge_slave hairpin on`."""
    if not isinstance(link, Veth) or not link.master:
        return []
    data = {"attrs": [("IFLA_BRPORT_MODE", int(link.hairpin))]}
    info = {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", data)]}
    return [_link(RTM_NEWLINK, 0, ("IFLA_IFNAME", link.name), ("IFLA_LINKINFO", info))]


def _common(link: Link) -> list[tuple[str, Any]]:
    attributes: list[tuple[str, Any]] = [("IFLA_IFNAME", link.name)]
    if link.mtu:
        attributes.append(("IFLA_MTU", link.mtu))
    if link.mac:
        attributes.append(("IFLA_ADDRESS", link.mac))
    return attributes


def _kind(link: Link, index: Index, peer_netns: int) -> list[tuple[str, Any]]:
    data: list[tuple[str, Any]]
    match link:
        case Bridge():
            kind, data = "bridge", [("IFLA_BR_MCAST_SNOOPING", int(link.snooping))]
        case Veth():
            peer: list[tuple[str, Any]] = [("IFLA_IFNAME", link.peer)]
            peer += [("IFLA_MTU", link.mtu)] if link.mtu else []
            peer += [("IFLA_ADDRESS", link.peer_mac)] if link.peer_mac else []
            peer += [("IFLA_NET_NS_FD", peer_netns)] if peer_netns >= 0 else []
            kind, data = "veth", [("VETH_INFO_PEER", {"attrs": peer})]
        case Vxlan():
            local = "IFLA_VXLAN_LOCAL6" if ":" in link.local else "IFLA_VXLAN_LOCAL"
            kind = "vxlan"
            data = [
                ("IFLA_VXLAN_ID", link.vni),
                (local, link.local),
                ("IFLA_VXLAN_LINK", index(link.dev)),
                ("IFLA_VXLAN_PORT", link.port),
                ("IFLA_VXLAN_LEARNING", int(link.learning)),
                ("IFLA_VXLAN_L2MISS", int(link.l2miss)),
                ("IFLA_VXLAN_L3MISS", int(link.l3miss)),
            ]
        case Device():
            raise AssertionError("a Device is never created")
    return [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {"attrs": data})]


def _link(kind: int, flags: int, *attributes: tuple[str, Any], up: bool | None = None) -> NetlinkRequest:
    message = ifinfmsg()
    if up is not None:
        message["flags"] = IFF_UP if up else 0
        message["change"] = IFF_UP
    message["attrs"] = list(attributes)
    return NetlinkRequest(kind, flags, message)


def _address(verb: Verb, item: Address, index: Index) -> NetlinkRequest:
    interface = ip_interface(item.address)
    message = ifaddrmsg()
    message["family"] = _family(item.address)
    message["prefixlen"] = interface.network.prefixlen
    message["index"] = index(item.dev)
    attributes: list[tuple[str, Any]] = [("IFA_LOCAL", str(interface.ip)), ("IFA_ADDRESS", str(interface.ip))]
    if item.broadcast:
        attributes.append(("IFA_BROADCAST", str(interface.network.broadcast_address)))
    if message["family"] == socket.AF_INET6:
        attributes.append(("IFA_FLAGS", IFA_F_NODAD))
    message["attrs"] = attributes
    if verb == "del":
        return NetlinkRequest(RTM_DELADDR, 0, message)
    return NetlinkRequest(RTM_NEWADDR, _FLAGS["add"], message)


def _route(verb: Verb, item: Route, index: Index) -> NetlinkRequest:
    message = rtmsg()
    attributes: list[tuple[str, Any]] = []
    if item.dst != "default":
        network = ip_network(item.dst)
        message["dst_len"] = network.prefixlen
        attributes.append(("RTA_DST", str(network.network_address)))
    message["family"] = _family(item.dst if item.dst != "default" else item.via or item.src)
    message["table"] = RT_TABLE_MAIN
    message["flags"] = RTNH_F_ONLINK if item.onlink else 0
    attributes += [("RTA_GATEWAY", item.via)] if item.via else []
    attributes += [("RTA_OIF", index(item.dev))] if item.dev else []
    attributes += [("RTA_PREFSRC", item.src)] if item.src else []
    attributes += [("RTA_PRIORITY", item.metric)] if item.metric else []
    message["attrs"] = attributes
    if verb == "del":
        message["scope"] = RT_SCOPE_NOWHERE
        return NetlinkRequest(RTM_DELROUTE, 0, message)
    message["type"] = RTN_UNICAST
    message["proto"] = RTPROT_BOOT
    message["scope"] = RT_SCOPE_UNIVERSE if item.via else RT_SCOPE_LINK
    return NetlinkRequest(RTM_NEWROUTE, _FLAGS[verb], message)


def _neighbour(verb: Verb, item: Neighbour, index: Index) -> NetlinkRequest:
    message = ndmsg()
    message["family"] = _family(item.dst)
    message["ifindex"] = index(item.dev)
    message["attrs"] = [("NDA_DST", item.dst)]
    if verb == "del":
        return NetlinkRequest(RTM_DELNEIGH, 0, message)
    message["state"] = NUD[item.state]
    message["attrs"] = [("NDA_DST", item.dst), ("NDA_LLADDR", item.lladdr)]
    return NetlinkRequest(RTM_NEWNEIGH, _FLAGS[verb], message)


def _fdb(verb: Verb, item: FdbEntry, index: Index) -> NetlinkRequest:
    message = ndmsg()
    message["family"] = AF_BRIDGE
    message["ifindex"] = index(item.dev)
    message["flags"] = NTF_SELF
    message["state"] = NUD["PERMANENT"]
    message["attrs"] = [("NDA_LLADDR", item.lladdr), ("NDA_DST", item.dst)]
    if verb == "del":
        return NetlinkRequest(RTM_DELNEIGH, 0, message)
    return NetlinkRequest(RTM_NEWNEIGH, _FLAGS[verb], message)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
