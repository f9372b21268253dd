"""Routes, neighbours and forwarding database entries, as values."""

from __future__ import annotations

from ipaddress import ip_network

import msgspec

FELIX = 80
"""The protocol of routes that Felix makes."""


class Route(msgspec.Struct, frozen=True):
    """A route of the main table; at least one of `dev` and `via` is set, but for blackholes.

    Normal form, in which the kernel is read and which `destination` gives: `dst` is "default" or a CIDR with its
    length, a host's route too ("10.0.0.1/32"). A `metric` of 0 is the kernel's default (1024 for IPv6). A `blackhole`
    has neither `dev` nor `via`. `protocol` is FELIX, or 0 for all that is not kept apart by who made it.
    """

    dst: str
    dev: str = ""
    via: str = ""
    onlink: bool = False
    src: str = ""
    metric: int = 0
    blackhole: bool = False
    protocol: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """The route's identity to the kernel: of two routes with one key, each replaces the other."""
        return (self.dst if self.dst != "default" or ":" not in self.via + self.src else "default6", self.metric)

    def words(self) -> str:
        text = f"blackhole {self.dst}" if self.blackhole else self.dst
        text += f" via {self.via}" if self.via else ""
        text += f" dev {self.dev}" if self.dev else ""
        text += " onlink" if self.onlink else ""
        text += f" proto {self.protocol}" if self.protocol else ""
        text += f" src {self.src}" if self.src else ""
        text += f" metric {self.metric}" if self.metric else ""
        return text


def destination(text: str) -> str:
    """The normal form of an address or CIDR as a route's `dst`. Raises ValueError."""
    network = ip_network(text, strict=False)
    return "default" if network.prefixlen == 0 else str(network)


class Neighbour(msgspec.Struct, frozen=True):
    """A neighbour (ARP or NDP) entry; `state` as `ip neigh` prints it."""

    dev: str
    dst: str
    lladdr: str
    state: str = "PERMANENT"

    @property
    def key(self) -> tuple[str, str]:
        return (self.dev, self.dst)

    def words(self) -> str:
        return f"{self.dst} lladdr {self.lladdr} dev {self.dev} nud {self.state.lower()}"


class FdbEntry(msgspec.Struct, frozen=True):
    """A VXLAN device's forwarding entry: frames for `lladdr` leave to the VTEP at outer address `dst`."""

    dev: str
    lladdr: str
    dst: str

    @property
    def key(self) -> tuple[str, str]:
        return (self.dev, self.lladdr)

    def words(self) -> str:
        return f"{self.lladdr} dev {self.dev} dst {self.dst} self permanent"
