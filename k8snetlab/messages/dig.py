"""dig: which queries a resolver makes of a name, who answered each, and what."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from k8snetlab.messages.timeouts import LONG
from k8snetlab.messages.verb import Call, OfPlace

Library = Literal["glibc", "musl"]


class DigQuestion(msgspec.Struct, frozen=True, rename={"source": "from"}):
    """Who is to ask for which name."""

    source: str
    """A pod, or a node."""
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    """As a program would say it; of an address the name is asked for."""
    type: Annotated[str, msgspec.Meta(max_length=32)] = ""
    """Of the records, as A or SRV; left out: A and AAAA."""
    library: Library = "glibc"
    """Whose way of asking it is: glibc's or musl's."""
    namespace: str = ""
    """That of a pod whose name does not say one; "": default's first, then any other's."""


class DnsRecord(msgspec.Struct, frozen=True):
    """A record of an answer."""

    name: str
    """Whose it is, with a dot at its end."""
    type: str
    """A, AAAA, CNAME, SRV …"""
    ttl: int
    """Seconds for which it may be remembered."""
    data: str
    """As zone files have it."""


class DnsQuery(msgspec.Struct, frozen=True):
    """One query that was sent."""

    name: str
    """What was asked for, with a dot at its end."""
    type: str
    """Of the records."""
    server: str
    """The name server's address, of resolv.conf."""
    transport: str
    """udp, or tcp."""
    status: str
    """The reply's code, NODATA where the name is there and has no such record; "" without a reply."""
    records: tuple[DnsRecord, ...]
    """The reply's answer."""
    authoritative: bool
    """Whether who answered is the zone's own server."""
    answeredBy: str
    """The pod that answered, as NAMESPACE/NAME; "" where that is not known."""
    answeredNode: str
    """The node that it is on."""
    answeredIP: str
    """Where the query ended: the address and port that DNAT made of the server's, or the server's own."""
    service: str
    """The Service whose address was translated, as NAMESPACE/NAME; "" where none was."""
    milliseconds: float
    """From the query to the reply, or until nobody waited any more."""
    error: str
    """What was heard instead of a reply."""
    truncated: bool = False
    """Whether the reply had no room for all records: it is asked for again by TCP."""


class Dig(msgspec.Struct, frozen=True, rename={"source": "from", "sourceNode": "fromNode"}):
    """How a name was looked up."""

    source: str
    """Who asked."""
    sourceNode: str
    """The node that it is on."""
    name: str
    """What was looked up."""
    library: Library
    """Whose way of asking it is."""
    nameservers: tuple[str, ...]
    """Of the place's resolv.conf."""
    searches: tuple[str, ...]
    """Of the place's resolv.conf."""
    ndots: int
    """Of the place's resolv.conf: with so many dots a name is asked for as it is, before anything else."""
    queries: tuple[DnsQuery, ...]
    """In the order in which they were sent."""
    found: bool
    """Whether there is a record of what was looked up."""
    addresses: tuple[str, ...]
    """Those that were found, IPv4 and IPv6."""
    milliseconds: float
    """From the first query to the last reply."""
    notes: tuple[str, ...]
    """What else is worth knowing, in sentences."""


DIG: Call[DigQuestion, Dig] = Call("dig", "POST", "dig", DigQuestion, Dig, OfPlace("source"), group=True, silence=LONG)
