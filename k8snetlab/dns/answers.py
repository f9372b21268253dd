"""Questions, records and answers of DNS as values. Names are text with a dot at their end."""

from __future__ import annotations

from typing import Literal

import msgspec

Rcode = Literal["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS"]
TRANSFERS = ("AXFR", "IXFR")
"""Types that ask for a whole zone, which is given to nobody, and asked of nobody."""


class Question(msgspec.Struct, frozen=True):
    """`name` in the letters it was asked in; `type` as text ("A"), "TYPE65280" for one without a name."""

    name: str
    type: str

    @property
    def lower(self) -> str:
        return self.name.lower()


class Record(msgspec.Struct, frozen=True):
    """`data` as zone files have it: "10.0.0.1" (A), "0 100 80 web.default.svc.cluster.local." (SRV).

    `ttl` is in seconds.
    """

    name: str
    type: str
    ttl: int
    data: str


class Answer(msgspec.Struct, frozen=True):
    """`onward` is the name outside at which a CNAME ends, and which is to be asked of an upstream; without its records
    there is no answer."""

    rcode: Rcode = "NOERROR"
    records: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authoritative: bool = False
    onward: str = ""
    plugin: str = ""
    """Which of a Corefile's plugins says so; none where the server itself does."""

    @property
    def status(self) -> str:
        """As `dig` says it, and NODATA for a name that exists without such records."""
        nothing = self.rcode == "NOERROR" and not self.records and not self.onward
        return "NODATA" if nothing else self.rcode
