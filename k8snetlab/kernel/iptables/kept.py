"""The rules of namespaces as they were last read, for as long as the kernel's own numbers say that they are the same.

Of nf_tables only: every transaction of anybody raises a namespace's generation, and no two namespaces of a boot have
the same cookie. Of legacy tables there is no such number: they are read each time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from k8snetlab.dataplane.rules import ChainKey, Family
from k8snetlab.kernel.iptables import command, counting, saved
from k8snetlab.kernel.iptables.nft import UNTOUCHED, NftIptables
from k8snetlab.kernel.iptables.saved import Counters, Saved

MOST = 60_000
"""Rules that are kept in all, some 200 octets each."""
NOTHING = Saved({}, {}, {})


class _Read(NamedTuple):
    generation: int
    told: Saved
    rules: int


_lock = threading.Lock()
_held: dict[tuple[int, Family], _Read] = {}
"""By the namespace's cookie; those that were read last come last."""


def rules(table: NftIptables) -> Saved:
    """What `iptables-save` tells, without counters; the program is started where rules have changed since the last
    time. Raises NotFoundError, KernelError."""
    return _known(table) or _read(table)


def counted(table: NftIptables) -> Saved:
    """The same with counters, which the kernel is asked for where the rules are known. Raises as `rules`."""
    told = _known(table)
    if told is not None:
        generation, counters = table.generation(), counting.counted(table.namespace, table.family)
        if counters is not None and table.generation() == generation and _fit(told, counters):
            return Saved(told.chains, told.policies, {key: counters.get(key, ()) for key in told.chains})
    return _read(table, "-c")


def _fit(told: Saved, counters: Mapping[ChainKey, Sequence[Counters]]) -> bool:
    return counters.keys() <= told.chains.keys() and all(
        len(rules) == len(counters.get(key, ())) for key, rules in told.chains.items()
    )


def _known(table: NftIptables) -> Saved | None:
    """What is kept, where the kernel says that it is so still."""
    cookie, generation = table.cookie(), table.generation()
    if generation == UNTOUCHED:
        return NOTHING
    with _lock:
        known = _held.get((cookie, table.family)) if cookie else None
    return known.told if known is not None and known.generation == generation else None


def _read(table: NftIptables, *options: str) -> Saved:
    """What the program tells, which is kept without counters."""
    cookie, generation = table.cookie(), table.generation()
    tool = "iptables" if table.family == "ipv4" else "ip6tables"
    told = saved.everything(command.output(table.namespace, [f"{tool}-nft-save", *options], table.lockfile))
    plain = Saved(told.chains, told.policies, {})
    # What changed meanwhile may be in it or not, and the name may have come to stand for another namespace.
    if cookie and _now(table) == (cookie, generation):
        _keep((cookie, table.family), _Read(generation, plain, sum(map(len, told.chains.values()))))
    return told if options else plain


def _now(table: NftIptables) -> tuple[int, int]:
    """Cookie and generation of the namespace that the name stands for by now."""
    again = NftIptables(table.namespace, table.family, table.lockfile)
    try:
        return again.cookie(), again.generation()
    finally:
        again.close()


def _keep(key: tuple[int, Family], read: _Read) -> None:
    with _lock:
        _held.pop(key, None)
        _held[key] = read
        while sum(one.rules for one in _held.values()) > MOST:
            _held.pop(next(iter(_held)))
