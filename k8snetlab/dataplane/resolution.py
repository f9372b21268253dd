"""The answers to a tunnel's misses: which addresses are behind which tunnel endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import NamedTuple

import msgspec

from k8snetlab.dataplane.routing import FdbEntry, Neighbour


class Resolution(msgspec.Struct, frozen=True):
    """The addresses of `prefix` (a CIDR) on tunnel `dev` are at `lladdr`, a tunnel endpoint (VTEP) on the node with
    underlay address `dst`. `key` is the store key that says so.
    """

    dev: str
    prefix: str
    lladdr: str
    dst: str
    key: str

    @property
    def fdb(self) -> FdbEntry:
        return FdbEntry(self.dev, self.lladdr, self.dst)


class Found(NamedTuple):
    """The answer to a miss, as the kernel takes it: a MAC of 6 bytes, an IP address of 4 or 16."""

    resolution: Resolution
    lladdr: bytes
    dst: bytes


class Resolutions:
    """A namespace's resolutions, looked up by what the kernel asks for."""

    def __init__(self, resolutions: Iterable[Resolution]) -> None:
        self._vteps: dict[tuple[str, bytes], Found] = {}
        self._prefixes: dict[tuple[str, int], dict[int, dict[int, Found]]] = {}
        """By device and length of an address, then by number of host bits (the fewest first), then by network."""
        for resolution in resolutions:
            found = Found(resolution, packed(resolution.lladdr), ip_address(resolution.dst).packed)
            self._vteps[resolution.dev, found.lladdr] = found
            network = ip_network(resolution.prefix)
            host = network.max_prefixlen - network.prefixlen
            lengths = self._prefixes.setdefault((resolution.dev, network.max_prefixlen // 8), {})
            lengths.setdefault(host, {})[int(network.network_address) >> host] = found
        self._prefixes = {key: dict(sorted(lengths.items())) for key, lengths in self._prefixes.items()}

    def address(self, dev: str, address: bytes) -> Found | None:
        """Who has this address (4 or 16 bytes)? The answer to an L3 miss."""
        for host, networks in self._prefixes.get((dev, len(address)), {}).items():
            if found := networks.get(int.from_bytes(address, "big") >> host):
                return found
        return None

    def vtep(self, dev: str, lladdr: bytes) -> Found | None:
        """Where is this MAC (6 bytes)? The answer to an L2 miss."""
        return self._vteps.get((dev, lladdr))

    def neighbour(self, have: Neighbour) -> Neighbour | None:
        """The entry as an answer would write it now; None for an unknown address."""
        found = self.address(have.dev, ip_address(have.dst).packed)
        if found is None or found.resolution.lladdr == have.lladdr:
            return have if found else None
        return Neighbour(have.dev, have.dst, found.resolution.lladdr, "REACHABLE")

    def fdb(self, have: FdbEntry) -> FdbEntry | None:
        """The entry as an answer would write it now; None for an unknown MAC."""
        found = self.vtep(have.dev, packed(have.lladdr))
        return found.resolution.fdb if found else None


def packed(text: str) -> bytes:
    """The 6 bytes of a MAC."""
    return bytes.fromhex(text.replace(":", ""))
