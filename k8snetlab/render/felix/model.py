"""A rule as Felix has it before it becomes rules of iptables: all that it says must hold.

Source: Calico felix/proto/felixbackend.proto (Rule).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from k8snetlab.api.words import Path
from k8snetlab.policies.shapes import End, Ends, Network

Action = Literal["allow", "deny", "pass", "log"]
Protocol = str
"""TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite, a number as text, or "" for any."""
Icmp = tuple[int, int | None]
"""Type and code; without a code all of the type."""
ALL = "all()"


class Selected(msgspec.Struct, frozen=True):
    """The pods that a selector matches, and networks (of NetworkSets). `selector` is its text in Calico's normal form,
    which names the ipset."""

    selector: str
    pods: Ends
    nets: tuple[Network, ...] = ()


class Named(msgspec.Struct, frozen=True):
    """A port by its name, of the pods that `selector` matches: an ipset of addresses with ports. `pods` are those, with
    their numbers; None where the selector is ALL, which nobody needs to say for each policy."""

    selector: str
    protocol: Protocol
    name: str
    pods: tuple[tuple[End, int], ...] | None = None


class Side(msgspec.Struct, frozen=True):
    """One end of a packet. Of `nets` one must hold it, of `ports` and `named` together one; of all that is `not_`
    nothing may. () says nothing."""

    nets: tuple[Network, ...] = ()
    selected: tuple[Selected, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    named: tuple[Named, ...] = ()
    not_nets: tuple[Network, ...] = ()
    not_selected: tuple[Selected, ...] = ()
    not_ports: tuple[tuple[int, int], ...] = ()
    not_named: tuple[Named, ...] = ()


ANY = Side()


class FelixRule(msgspec.Struct, frozen=True):
    """`path` is where it stands in its policy; `version` 0 is either family."""

    action: Action
    path: Path
    source: Side = ANY
    destination: Side = ANY
    protocol: Protocol = ""
    not_protocol: Protocol = ""
    icmp: Icmp | None = None
    not_icmp: Icmp | None = None
    version: int = 0
