"""Which addresses a speaker announces, by what it hears of the others.

Every node knows the order of the candidates of an address (MetalLB's, see render/lb/candidates.py). The first announces
it, and says so a few times a second. Where nobody before a node in that order has said so for `PATIENCE`, it takes
over: the second after one PATIENCE, the third after two, so that they do not all begin at once.
MetalLB asks memberlist who is alive; this finds a dead node sooner, at the price of a few frames a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

BEAT = 0.25
"""Seconds between two times that a speaker says what it announces."""
PATIENCE = 1.0
"""Seconds of silence after which an announcer is gone."""
SPAM, SPAM_FOR = 1.1, 5.0
"""After a takeover an address is announced unasked again and again: every so many seconds, for so long. Neighbours pass
over what comes within a second of what they learned last. Source: MetalLB internal/layer2/announcer.go (spamLoop)."""


class Election:
    """Of one node. Times are seconds, monotonic, as the caller has them."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._orders: Mapping[str, Sequence[str]] = {}
        self._heard: dict[str, dict[str, float]] = {}
        """By address: when each other node last said that it announces it."""
        self._since: dict[str, float] = {}
        """By address: from when on silence counts."""
        self.announced: frozenset[str] = frozenset()
        self._spam: dict[str, tuple[float, float]] = {}
        """By address: when it is announced unasked next, and until when that goes on."""

    def configure(self, orders: Mapping[str, Sequence[str]], now: float) -> None:
        """`orders` has, by address, the candidates in order, this node among them."""
        for address, order in orders.items():
            if self._orders.get(address) != order:
                self._since[address] = now
        for gone in self._since.keys() - orders.keys():
            del self._since[gone]
            self._heard.pop(gone, None)
        self._orders = orders

    def hear(self, node: str, claims: Iterable[str], releases: Iterable[str], now: float) -> None:
        """What another speaker says: what it announces, and what it does not any more."""
        for address in claims:
            if address in self._orders:
                self._heard.setdefault(address, {})[node] = now
                if address in self.announced and self._later(address, node):
                    self._spam_from(address, now)  # neighbours may believe the other one
        for address in releases:
            if self._heard.get(address, {}).pop(node, None) is not None:
                self._since[address] = now - PATIENCE * (self._rank(address, node) + 1)  # the next one's turn is now

    def turn(self, now: float, up: bool = True) -> frozenset[str]:
        """Brings `announced` up to date; returns the addresses that it gave up. A node whose device is not `up`
        announces none: nobody would hear it."""
        announced = frozenset(address for address in self._orders if up and self._is_mine(address, now))
        for address in announced - self.announced:
            self._spam_from(address, now)
        released, self.announced = self.announced - announced, announced
        return released

    def due(self, now: float) -> list[str]:
        """The addresses to announce unasked now."""
        found: list[str] = []
        for address, (moment, until) in list(self._spam.items()):
            if address not in self.announced or moment > until:
                del self._spam[address]
            elif moment <= now:
                found.append(address)
                self._spam[address] = now + SPAM, until
        return found

    def _spam_from(self, address: str, now: float) -> None:
        known = self._spam.get(address)
        self._spam[address] = (min(known[0], now + SPAM) if known else now), now + SPAM_FOR

    def _rank(self, address: str, node: str = "") -> int:
        """This node's place in the order, or another one's."""
        order, one = self._orders.get(address, ()), node or self.node
        return order.index(one) if one in order else 0

    def _later(self, address: str, node: str) -> bool:
        order = self._orders[address]
        return node not in order or order.index(node) > self._rank(address)

    def _is_mine(self, address: str, now: float) -> bool:
        rank = self._rank(address)
        if rank == 0:
            return True
        heard = self._heard.get(address, {})
        last = max((heard[node] for node in self._orders[address][:rank] if node in heard), default=None)
        if address in self.announced:
            return last is None or now - last > PATIENCE
        since = self._since[address] if last is None else max(self._since[address], last)
        return now - since > PATIENCE * rank - BEAT / 2
