"""Which usual paths a diagnosis found whole, and what they were walked by.

A walk is made of what the kernels hold and of the objects, and of nothing else. Where the next diagnosis reads the
same, it would walk the same way: it need not. The kernels are read anew each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import Family
from k8snetlab.dataplane.view import View, Views

T = TypeVar("T")
_USABLE = "usable"
"""In place of a neighbour entry's state: REACHABLE becomes STALE by itself, and leads there all the same."""
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


class Premises(NamedTuple):
    """What a walk has asked: namespaces, each with the digest of what it held, and whose the addresses are."""

    held: Mapping[str, bytes]
    homes: Mapping[str, str | None]


Known = dict[Hashable, Premises]
"""By what the path is called."""


class Walks:
    """Of one daemon. What is known is replaced as a whole: diagnoses may run at the same time."""

    def __init__(self) -> None:
        self._known: tuple[object, Known] = (None, {})

    def of(self, snapshot: Snapshot) -> Known:
        """What is known while the objects are these; of what only reports, such as Events, a walk asks nothing."""
        objects, known = self._known
        return known if objects is snapshot.objects else {}

    def learn(self, snapshot: Snapshot, known: Known) -> None:
        self._known = (snapshot.objects, known)


class Walker:
    """Walks the paths of one diagnosis, or knows that it need not."""

    def __init__(self, kernels: Mapping[Family, Views], known: Known) -> None:
        self._read = {family: _Read(views) for family, views in kernels.items()}
        self._known = known
        self.whole: Known = {}
        """What it knows in the end."""

    def wrong(self, family: Family, name: Hashable, walk: Callable[[Views], list[T]], *, keep: bool = True) -> list[T]:
        """What `walk` finds wrong. `keep`: it walks the same way whenever it is asked the same. Raises what reading a
        namespace raises."""
        read = self._read[family]
        if name in self._known and read.has(self._known[name]):
            self.whole[name] = self._known[name]
            return []
        asked = _Noting(read)
        found = walk(asked)
        if keep and not found:
            self.whole[name] = asked.premises
        return found


class _Read:
    """The namespaces of one family as one diagnosis reads them, each with its digest, which is made once."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self._digests: dict[str, bytes] = {}

    def digest(self, netns: str) -> bytes:
        if netns not in self._digests:
            self._digests[netns] = digest(self.views[netns])
        return self._digests[netns]

    def has(self, premises: Premises) -> bool:
        if any(self.views.home(address) != home for address, home in premises.homes.items()):
            return False
        return all(self.digest(netns) == held for netns, held in premises.held.items())


class _Noting:
    """The same namespaces, which note what one walk asks of them."""

    def __init__(self, read: _Read) -> None:
        self._read, self._namespaces = read, set[str]()
        self._homes: dict[str, str | None] = {}

    def __getitem__(self, netns: str) -> View:
        self._namespaces.add(netns)
        return self._read.views[netns]

    def home(self, address: str) -> str | None:
        home = self._homes[address] = self._read.views.home(address)
        return home

    @property
    def premises(self) -> Premises:
        return Premises({netns: self._read.digest(netns) for netns in self._namespaces}, self._homes)


def digest(view: View) -> bytes:
    """Of all that decides where a packet goes."""
    neighbours = sorted((n.dev, n.dst, n.lladdr, _USABLE if n.usable else n.state) for n in view.neighbours)
    rules = sorted(view.chains.items()), sorted(view.policies.items())
    rest = replace(view, chains={}, policies={}, counters={}, neighbours=())
    return hashlib.blake2b(_ENCODER.encode((rest, neighbours, rules)), digest_size=32).digest()
