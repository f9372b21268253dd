"""What a lab adds to, or changes in, the machine's own network namespace: noted before it is done (`journal`), so that
exactly that can be undone (`removal`). Namespaces of the lab's own need none of it: what is inside goes with them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol, TypeAlias

import msgspec

from k8snetlab.dataplane.rules import Family


class ChangedSysctl(msgspec.Struct, frozen=True, tag="sysctl"):
    """`key` was `before` and is set to `value`. `along` holds the earlier values of the sysctls that the kernel changes
    with it."""

    key: str
    before: str
    value: str
    along: Mapping[str, str] = {}


class AddedDevice(msgspec.Struct, frozen=True, tag="device"):
    name: str


class AddedRoute(msgspec.Struct, frozen=True, tag="route"):
    """A route through a device that is not the lab's; `dst` is a CIDR."""

    dst: str
    device: str


class AddedRules(msgspec.Struct, frozen=True, tag="rules"):
    """Chains of ours (`names.CHAINS`) in one variant of iptables. `tables` and `chains` (with their table) of nf_tables
    were there before."""

    variant: Literal["nft", "legacy"]
    tables: tuple[tuple[Family, str], ...] = ()
    chains: tuple[tuple[tuple[Family, str], str], ...] = ()


class AddedCounters(msgspec.Struct, frozen=True, tag="counters"):
    """Counters of nfacct."""

    names: tuple[str, ...]


class AddedSets(msgspec.Struct, frozen=True, tag="sets"):
    """ipsets of ours (`names.KUBE_ROUTER_SETS`)."""


class AddedAddresses(msgspec.Struct, frozen=True, tag="addresses"):
    """The networks (CIDRs) of pods and Services, whose connections conntrack remembers."""

    networks: tuple[str, ...]


class AddedFile(msgspec.Struct, frozen=True, tag="file"):
    """A file that was not there; nor were `directories`, the outermost first."""

    path: str
    directories: tuple[str, ...] = ()


Addition: TypeAlias = (
    ChangedSysctl | AddedDevice | AddedRoute | AddedRules | AddedCounters | AddedSets | AddedAddresses | AddedFile
)


class OwnedNetns(msgspec.Struct, frozen=True, tag="netns"):
    """A namespace of the lab's: `uid` of the Node or Pod it was made for, `node` whose agent made it; "" where a ledger
    of an earlier version does not say."""

    name: str
    uid: str = ""
    node: str = ""


class Owner(Protocol):
    """The ledger. It is told of each namespace before that is made and after it is deleted, and of every addition
    before it is made.

    `lock` is held where what it says of a namespace and what is done to that must not come apart: a pod may leave one
    node while another of its name comes to a second one.
    """

    lock: threading.Lock
    namespaces: dict[str, OwnedNetns]
    additions: list[Addition]

    def own_namespaces(self, owned: Iterable[OwnedNetns]) -> None: ...

    def release_namespaces(self, names: Iterable[str]) -> None: ...

    def own_additions(self, additions: Iterable[Addition]) -> None: ...

    def release_additions(self) -> None: ...


def devices(known: Iterable[Addition]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.name for one in known if isinstance(one, AddedDevice)))


def routes(known: Iterable[Addition]) -> tuple[str, ...]:
    """The destinations of routes by the machine's own devices."""
    return tuple(dict.fromkeys(one.dst for one in known if isinstance(one, AddedRoute)))
