"""What routing daemons say of their neighbours: the answers of `birdc` and `vtysh`, read.

Source: BIRD 2.0's nest/cli and proto/{bgp,ospf,rip}, FRR 8.4's ospf_vty.c and ripd.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec

_ROW = re.compile(r"^(?P<name>\S+)\s+BGP\s+\S+\s+(?P<state>\S+)\s+(?P<since>\S+)\s*(?P<info>.*)$")
ESTABLISHED = ("Established", "Full", "2-Way", "heard")
"""What the states begin with in which a neighbour tells of its routes, or (OSPF on a shared link) has a third tell."""


class Session(msgspec.Struct, frozen=True):
    """`address` is the neighbour's, or (BIRD's OSPF) its router id. `state` is the protocol's own word, "heard" for
    RIP, which has none, "" for a neighbour of which nothing is known; `info` is what else the daemon says of it. `name`
    is the node that it is, "" where that is not known."""

    address: str
    state: str
    info: str = ""
    name: str = ""
    since: str = ""
    """When that began, as the daemon writes it; "" where it does not say."""
    kind: str = ""
    """What Calico calls it."""
    family: Literal["", "ipv4", "ipv6"] = ""
    """Of the routes that it brings, where its address does not tell: OSPFv3's is a router id."""
    bfd: str = ""
    """The state of BFD's session with it, in lower case; "" where there is none."""
    expects: int = 0
    """The autonomous system that the node expects of it, where the lab file names one."""

    @property
    def stands(self) -> bool:
        return self.state.startswith(ESTABLISHED)


class Speaking(msgspec.Struct, frozen=True):
    """What is known of a node's (or the router's) daemon: its neighbours, the pods' subnets to which it has made no
    route, and why it could not be asked, or "". `others` are routes to those subnets that somebody else made, by
    subnet, as `ip route` prints their beginning; `detours` the next hops of those that it made by way of others."""

    name: str
    daemon: str
    neighbours: tuple[Session, ...]
    missing: tuple[str, ...]
    problem: str = ""
    others: Mapping[str, str] = {}
    detours: Mapping[str, tuple[str, ...]] = {}


Reader = Callable[[str], Iterator[Session]]
"""From what a daemon answers to its sessions."""


def bird_bgp(text: str, addresses: Mapping[str, str]) -> Iterator[Session]:
    """Of `show protocols`; `addresses` by the protocols' names."""
    for line in text.splitlines():
        if (row := _ROW.match(line)) and row["name"] in addresses:
            state, _, info = row["info"].strip().partition(" ")
            yield Session(addresses[row["name"]], state or row["state"], info.strip(), since=row["since"])


def bird_ospf(text: str) -> Iterator[Session]:
    """Of `show ospf neighbors`: router id, priority, state, dead time, interface, address."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 6 and "/" in words[2]:
            yield Session(words[0], words[2], f"dead in {words[3]} s")


def bird_rip(text: str) -> Iterator[Session]:
    """Of `show rip neighbors`: address, interface, metric, routes, seconds since it was heard."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 5 and words[3].isdigit():
            yield Session(words[0], "heard", f"{words[3]} routes, {words[4]} s ago")


def frr_ospf(text: str) -> Iterator[Session]:
    """Of `show ip ospf neighbor json`."""
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return
    neighbours = found.get("neighbors")
    for address, entries in neighbours.items() if isinstance(neighbours, dict) else ():
        for entry in (one for one in (entries if isinstance(entries, list) else ()) if isinstance(one, dict)):
            state = entry.get("nbrState") or entry.get("state") or ""
            yield Session(str(address), str(state), f"dead in {entry.get('deadTime', '?')}")


def frr_rip(text: str) -> Iterator[Session]:
    """Of `show ip rip status`: below "Gateway" the address, bad packets, bad routes, distance, last update."""
    _, _, table = text.partition("Gateway")
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) >= 5:
            yield Session(words[0], "heard", f"last update {words[4]} ago")


def bird_bfd(text: str) -> dict[str, str]:
    """States by address, of `show bfd sessions`: address, interface, state, since, interval, timeout."""
    rows = (line.split() for line in text.splitlines())
    return {words[0]: words[2].lower() for words in rows if len(words) == 6 and words[4].replace(".", "").isdigit()}


def frr_bfd(text: str) -> dict[str, str]:
    """States by address, of `show bfd peers json`."""
    try:
        found = msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.DecodeError:
        return {}
    return {str(one["peer"]): str(one.get("status", "")) for one in found if "peer" in one}
