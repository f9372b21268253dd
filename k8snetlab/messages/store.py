"""store status, store dump, get subnet: what the store holds."""

from __future__ import annotations

from typing import Any

import msgspec

from k8snetlab.messages.verb import Call, Nothing, Stream


class StoreStatus(msgspec.Struct, frozen=True):
    """The lab's store."""

    type: str
    """embedded or etcd."""
    insecure: bool
    """Whether everybody who reaches it may write to it."""
    where: tuple[str, ...]
    """URLs, of the embedded one its file."""
    revision: int
    """The newest one that came from it."""
    objects: dict[str, int]
    """How many there are of each kind, by plural; without kinds that have none."""
    healthy: bool
    """Whether it answers."""
    age: float | None
    """Seconds since it last answered, null for never."""
    problem: str
    """Why it does not answer, or ""."""


class DumpQuestion(msgspec.Struct, frozen=True):
    """Which keys are meant."""

    prefix: str = "/"
    """Those that begin so."""


class KeyValue(msgspec.Struct, frozen=True):
    """A key of the store."""

    key: str
    """As the store has it."""
    revision: int
    """When it was written last."""
    value: Any
    """JSON where it is that, else text."""


class LeasesQuestion(msgspec.Struct, frozen=True):
    """Whose lease is meant."""

    node: str = ""
    """A node's name, "" for all."""


class SubnetLease(msgspec.Struct, frozen=True, kw_only=True):
    """The lease of a node's pod subnets, as flannel keeps it."""

    node: str
    """Whose subnets they are."""
    subnets: tuple[str, ...]
    """In CIDR notation."""
    key: str
    """Under which the store has the lease."""
    holder: str
    """The addresses of who holds it, with commas; "" for nobody."""
    left: float | None
    """Seconds until it expires, null where the store does not say."""
    env: dict[str, str] = {}
    """The variables of /run/flannel/subnet.env."""


class LeaseList(msgspec.Struct, frozen=True):
    """Leases of pod subnets."""

    items: tuple[SubnetLease, ...]
    """One for each node that has subnets."""


STORE_STATUS: Call[Nothing, StoreStatus] = Call("store status", "GET", "store", Nothing, StoreStatus)
DUMP: Stream[DumpQuestion, KeyValue] = Stream("store dump", "GET", "store/dump", DumpQuestion, KeyValue, silence=None)
LEASES: Call[LeasesQuestion, LeaseList] = Call("leases", "GET", "leases", LeasesQuestion, LeaseList, group=True)
