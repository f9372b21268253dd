"""Network devices and the addresses on them, as values."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Bridge(msgspec.Struct, frozen=True, tag="bridge"):
    """A Linux bridge, e.g. cni0. `mac` "" lets the kernel choose. `snooping`: it learns who wants which multicast."""

    name: str
    mac: str = ""
    mtu: int = 1500
    up: bool = True
    snooping: bool = False

    def words(self) -> str:
        mac = f" address {self.mac}" if self.mac else ""
        return f"{self.name} mtu {self.mtu}{mac} up type bridge mcast_snooping {int(self.snooping)}"


class Veth(msgspec.Struct, frozen=True, tag="veth"):
    """A veth pair seen from the end that stays here; `peer` is the name of the other end inside `peer_netns`.

    `master` is the bridge this end is a port of; `hairpin` lets a frame leave by the port it came in.
    """

    name: str
    peer: str
    peer_netns: str
    mac: str = ""
    peer_mac: str = ""
    mtu: int = 1500
    master: str = ""
    hairpin: bool = False
    up: bool = True

    def words(self) -> str:
        mac = f" address {self.mac}" if self.mac else ""
        peer_mac = f" address {self.peer_mac}" if self.peer_mac else ""
        master = f" master {self.master}" if self.master else ""
        return (
            f"{self.name} mtu {self.mtu}{mac}{master} up type veth"
            f" peer name {self.peer} mtu {self.mtu}{peer_mac} netns {self.peer_netns}"
        )


class Vxlan(msgspec.Struct, frozen=True, tag="vxlan"):
    """A VXLAN tunnel endpoint such as flannel.1: `local` is the outer source address, `dev` the underlay device."""

    name: str
    vni: int
    local: str
    dev: str
    port: int = 8472
    mac: str = ""
    mtu: int = 1450
    learning: bool = False
    l2miss: bool = False
    l3miss: bool = False
    up: bool = True

    def words(self) -> str:
        mac = f" address {self.mac}" if self.mac else ""
        flags = "learning" if self.learning else "nolearning"
        flags += " l2miss" if self.l2miss else ""
        flags += " l3miss" if self.l3miss else ""
        return (
            f"{self.name} mtu {self.mtu}{mac} up type vxlan id {self.vni} local {self.local} dev {self.dev}"
            f" dstport {self.port} {flags}"
        )


class Ipip(msgspec.Struct, frozen=True, tag="ipip"):
    """A tunnel of IP in IP to any address, as tunl0. The kernel makes tunl0 in every namespace and never deletes it:
    it is brought up, and down again."""

    name: str
    mtu: int = 1480
    mac: str = ""
    up: bool = True

    def words(self) -> str:
        return f"{self.name} mtu {self.mtu} up type ipip"


class Device(msgspec.Struct, frozen=True, tag="device"):
    """A device that others bring: lo, the far end of another namespace's veth, a machine's own card.

    It is never created or deleted from here, only brought up and given addresses.
    """

    name: str
    mtu: int = 0
    mac: str = ""
    up: bool = True

    def words(self) -> str:
        return f"{self.name} up"


Link: TypeAlias = Bridge | Veth | Vxlan | Ipip | Device


class Address(msgspec.Struct, frozen=True):
    """An address on a device: `address` is "a.b.c.d/len"; `broadcast` adds the subnet's broadcast address.

    `connected`: the kernel's own route to the address's network stands, as it does until somebody deletes it.
    """

    dev: str
    address: str
    broadcast: bool = False
    connected: bool = True

    def words(self) -> str:
        return f"{self.address}{' brd +' if self.broadcast else ''} dev {self.dev}"
