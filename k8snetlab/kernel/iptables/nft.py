"""The nft variant: iptables' programs over nf_tables."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from typing import ClassVar

from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.rules import ChainKey, Rules
from k8snetlab.kernel.iptables import command, copies, saved
from k8snetlab.kernel.iptables.payload import Payload
from k8snetlab.kernel.iptables.saved import Counters
from k8snetlab.kernel.iptables.tables import Iptables, Variant
from k8snetlab.kernel.netlink import attributes
from k8snetlab.kernel.nfnetlink import Nfnetlink

_NFNL_SUBSYS_NFTABLES = 10
_NFT_MSG_GETGEN, _GEN_ID = 16, 1
UNTOUCHED = 1
"""nf_tables' generation in a new namespace."""


class NftIptables(Iptables):
    """Its restore slows down with the square of the chains in one transaction, hence blocks; and the kernel walks all
    rules that packets can reach in every transaction that adds a rule, hence not too many.

    The 55,000 chains of 5,000 Services take 158 s at once; in blocks of 200 chains 2.4 s where they are new and 23 s
    where they are in use already, in blocks of 1000 3.4 and 7.4 s (iptables 1.8.9, Linux 6.18). New in two namespaces
    at once they take 4.05 s in blocks of 1000, 3.76 in blocks of 600, and no less in smaller ones.
    """

    variant: ClassVar[Variant] = "nft"
    CHUNK: ClassVar[int] = 1000
    FIRST: ClassVar[int] = 600
    """The same where next to nothing is held yet: the kernel has no rules to walk."""
    _asker: Nfnetlink | None = None

    def save(self) -> dict[ChainKey, Rules]:
        """A namespace that never had a table is asked without starting a program."""
        return {} if self.generation() == UNTOUCHED else super().save()

    def _restore(self, payload: Payload, held: Mapping[ChainKey, Rules] | None = None) -> int | None:
        """Rules that other namespaces want as well are written by iptables once (`copies`)."""
        restore = partial(super()._restore, payload, held)
        if payload.hooks or payload.unhook or is_host(self.namespace) or not copies.worth(payload.delta):
            return restore()
        return copies.written(self, payload.delta, restore)

    def _chunk(self, held: Mapping[ChainKey, Rules] | None) -> int:
        is_first = held is not None and sum(map(len, held.values())) < self.FIRST
        return min(self.chunk, self.FIRST) if is_first else self.chunk

    def counters(self) -> Mapping[ChainKey, tuple[Counters, ...]]:
        return saved.counters(command.output(self.namespace, [f"{self._tool}-save", "-c"], self.lockfile))

    def generation(self) -> int:
        """nf_tables' generation id: one number for the namespace, both families, raised by every transaction;
        0 where the kernel has no nf_tables."""
        with self._asking() as netfilter:
            told = attributes(netfilter.told(_NFNL_SUBSYS_NFTABLES << 8 | _NFT_MSG_GETGEN))
            return int.from_bytes(told.get(_GEN_ID, b""), "big")

    def take(self, messages: bytes) -> int:
        """Has packed messages done as one transaction; returns 0, or the errno with which the kernel refuses it.

        The socket stays open: whoever closes one after rules have gone waits until they are freed, up to 16 ms.
        """
        with self._asking() as netfilter:
            return netfilter.packed(_NFNL_SUBSYS_NFTABLES, messages)

    def cookie(self) -> int:
        """The namespace's number, which no other one is given before the next boot; 0 where the kernel (before Linux
        5.14) gives none."""
        with self._asking() as netfilter:
            return netfilter.cookie

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Nfnetlink]:
        if self._asker is None:
            self._asker = self._open.enter_context(Nfnetlink(self.namespace))
        try:
            yield self._asker
        except BaseException:  # what is answered yet would be taken for the next answer
            self.close()
            raise

    def close(self) -> None:
        self._asker = None
        super().close()

    def alone_since(self, before: Hashable, transactions: int | None) -> Hashable | None:
        now = self.generation()
        return now if isinstance(before, int) and transactions is not None and now == before + transactions else None
