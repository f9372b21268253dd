"""One step of a plan: an effect on one namespace, which prints itself as the command a person would type."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from k8snetlab.dataplane.links import Address, Bridge, Ipip, Link, Veth
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route

Verb = Literal["add", "replace", "set", "del"]
Item: TypeAlias = Link | Address | Route | Neighbour | FdbEntry


class NetnsOperation(msgspec.Struct, frozen=True, tag="netns"):
    """Make or delete a named namespace."""

    verb: Literal["add", "del"]
    netns: str

    def __str__(self) -> str:
        return f"ip netns {self.verb} {self.netns}"


class SysctlOperation(msgspec.Struct, frozen=True, tag="sysctl"):
    """Set a sysctl inside a namespace."""

    netns: str
    key: str
    value: str

    def __str__(self) -> str:
        prefix = "" if is_host(self.netns) else f"ip netns exec {self.netns} "
        return f"{prefix}sysctl -w {self.key}={self.value}"


class ItemOperation(msgspec.Struct, frozen=True, tag="item"):
    """Add, replace, set or delete a link, address, route, neighbour or FDB entry.

    `set` is for links only: the device exists and gets the item's mtu, mac, master, hairpin flag and comes up.
    """

    verb: Verb
    netns: str
    item: Item

    def __str__(self) -> str:
        where = "" if is_host(self.netns) else f"-n {self.netns} "
        match self.item:
            case FdbEntry():
                verb = {"replace": "replace", "del": "del"}.get(self.verb, "append")
                return f"bridge {where}fdb {verb} {self.item.words()}"
            case Neighbour():
                return f"ip {where}neigh {self.verb} {self._neighbour_words()}"
            case Route():
                return f"ip {where}route {self.verb} {self.item.words()}"
            case Address():
                verb = "add" if self.verb != "del" else "del"
                return f"ip {where}addr {verb} {self.item.words()}"
            case _:
                return self._link(self.item, f"ip {where}link")

    def _link(self, link: Link, command: str) -> str:
        if isinstance(link, Ipip):
            state = "down" if self.verb == "del" else f"mtu {link.mtu} up"
            return f"{command} set {link.name} {state}"
        if self.verb == "del":
            return f"{command} del {link.name}"
        text = f"{command} add {link.words()}" if self.verb != "set" else f"{command} set {_settings(link)}"
        if isinstance(link, Veth) and link.hairpin:
            text += f"\n{command} set {link.name} type bridge_slave hairpin on"
        return text

    def _neighbour_words(self) -> str:
        assert isinstance(self.item, Neighbour)
        return self.item.words() if self.verb != "del" else f"{self.item.dst} dev {self.item.dev}"


def _settings(link: Link) -> str:
    """What can change on an existing device."""
    text = link.name
    text += f" mtu {link.mtu}" if link.mtu else ""
    text += f" address {link.mac}" if link.mac else ""
    text += f" master {link.master}" if isinstance(link, Veth) and link.master else ""
    text += " up"
    return f"{text} type bridge mcast_snooping {int(link.snooping)}" if isinstance(link, Bridge) else text


Operation: TypeAlias = NetnsOperation | SysctlOperation | ItemOperation
