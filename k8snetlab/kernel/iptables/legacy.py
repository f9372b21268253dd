"""The legacy variant: iptables over the kernel's ip_tables.

Whole rule sets are read and written by iptables' own programs (155,000 rules: 0.4 s to save, where python-iptables
needs 0.1 ms a rule); counters and single chains are read by python-iptables. Its Table objects are one per process and
stay in the namespace they were refreshed in, so that every use of it is inside one lock: setns, refresh, read.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import ipaddress
import os
import socket
import struct
import threading
import time
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from k8snetlab.dataplane.rules import ChainKey, Family, RuleDelta, Rules
from k8snetlab.kernel import netns, syscalls
from k8snetlab.kernel.iptables.saved import Counters
from k8snetlab.kernel.iptables.tables import Iptables, Variant

_IPTC = threading.Lock()
_SO_GET_INFO, _SO_GET_ENTRIES = 64, 65
_LEVEL = {"ipv4": 0, "ipv6": 41}
_FAMILY = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_INFO = struct.Struct("=32sI5I5III")
_ENTRIES_HEADER = 40
_NEXT_OFFSET = {"ipv4": 90, "ipv6": 142}
_COUNTERS = {"ipv4": 96, "ipv6": 152}
"""Where struct ipt_entry and ip6t_entry (linux/netfilter_ipv4/ip_tables.h and its like) have them."""

SMALL, PACE = 1 << 20, 15.0
"""Tables of more than SMALL bytes (3,000 rules) are looked at as a whole only every PACE seconds."""


class LegacyIptables(Iptables):
    """Each transaction replaces a whole table, so splitting one gains nothing."""

    variant: ClassVar[Variant] = "legacy"
    CHUNK: ClassVar[int] = 0
    _watched: _Watched | None = None

    def __init__(self, namespace: str, family: Family, lockfile: Path, chunk: int | None = None) -> None:
        super().__init__(namespace, family, lockfile, chunk)
        self._sizes: Mapping[str, tuple[Any, ...]] = {}
        self._digest = b""
        self._others = 0
        self._due = 0.0

    def counters(self) -> Mapping[ChainKey, tuple[Counters, ...]]:
        found: dict[ChainKey, tuple[Counters, ...]] = {}
        for name in tables(self.namespace, self.family):
            with _opened(self.namespace, self.family, name) as table:
                for chain in table.chains:
                    found[ChainKey(name, chain.name)] = tuple(_counted(table, chain.name))
        return found

    def chain(self, key: ChainKey) -> Rules:
        """The rules of one chain as iptables-save prints them. Raises KeyError when there is no such chain.

        python-iptables has the extensions print to descriptor 1, which it turns into a pipe meanwhile: nothing else of
        the process may write there.
        """
        if key.table not in tables(self.namespace, self.family):
            raise KeyError(key)
        with _opened(self.namespace, self.family, key.table) as table:
            if not table.is_chain(key.chain):
                raise KeyError(key)
            iptc = _python_iptables()
            kind = iptc.Chain
            return tuple(_text(rule) for rule in kind(table, key.chain).rules)

    def apply(self, delta: RuleDelta, held: Mapping[ChainKey, Rules] | None = None) -> int | None:
        self._digest = b""
        return super().apply(delta, held)

    def generation(self) -> Hashable:
        """The number and size of the rules of each table, and how often they became others of the same number and size.

        The latter needs all of them, 0.3 s for 160,000: where there are many, they are looked at now and then only.
        """
        watched = self._watched
        if watched is None:
            watched = self._watched = self._open.enter_context(
                contextlib.closing(_Watched(self.namespace, self.family))
            )
        asker = watched.asker
        sizes = {name: _info(asker, name, self.family) for name in watched.tables()}
        now = time.monotonic()
        if sizes != self._sizes:
            self._sizes, self._digest, self._due = sizes, b"", now + PACE
        if now >= self._due or sum(info[-1] for info in sizes.values()) <= SMALL:
            # Whoever changes a table between the two questions about it is noticed the next time, by its size.
            with contextlib.suppress(BlockingIOError):
                self._look(asker, sizes)
                self._due = now + PACE
        return tuple(sizes.items()), self._others

    def close(self) -> None:
        self._watched = None
        super().close()

    def alone_since(self, before: Hashable, transactions: int | None) -> Hashable | None:
        """Nothing counts transactions here: where the next look at all rules is yet to come, that one will tell."""
        now = self.generation()
        return None if self._digest else now

    def _look(self, asker: socket.socket, names: Iterable[str]) -> None:
        digest = hashlib.blake2b(digest_size=16)
        for name in names:
            digest.update(_entries(asker, name, self.family))
        self._others += self._digest != digest.digest()
        self._digest = digest.digest()


class _Watched:
    """A socket to ask after a namespace's tables with, and the list of their names, which are asked again and again."""

    def __init__(self, namespace: str, family: Family) -> None:
        self._namespace, self._family = namespace, family
        self._names = -1
        with netns.inside(namespace):
            self.asker = socket.socket(_FAMILY[family], socket.SOCK_RAW, socket.IPPROTO_RAW)

    def close(self) -> None:
        self.asker.close()
        self._forget()

    def tables(self) -> list[str]:
        """As `tables`."""
        if self._names < 0:
            if not _names_file(self._family, "self").exists():  # the kernel's module is not there yet
                return []
            try:
                with netns.inside(self._namespace):
                    self._names = os.open(_names_file(self._family), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return []
        try:
            return sorted(os.pread(self._names, 4096, 0).decode().split())
        except OSError:  # the module has gone
            self._forget()
            return []

    def _forget(self) -> None:
        if self._names >= 0:
            os.close(self._names)
            self._names = -1


def tables(namespace: str, family: Family) -> list[str]:
    """The tables that exist in the namespace. Asking for another one would make it."""
    with netns.inside(namespace):
        try:
            return sorted(_names_file(family).read_text().split())
        except FileNotFoundError:
            return []


def _names_file(family: Family, whose: str = "thread-self") -> Path:
    return Path(f"/proc/{whose}/net/{'ip' if family == 'ipv4' else 'ip6'}_tables_names")


def holds_legacy_rules(namespace: str, family: Family) -> bool:
    """Whether there is more than the policies of built-in chains."""
    names = tables(namespace, family)
    if not names:
        return False
    with netns.inside(namespace):
        asker = socket.socket(_FAMILY[family], socket.SOCK_RAW, socket.IPPROTO_RAW)
    with asker:
        for name in names:
            info = _info(asker, name, family)
            built_in = bin(info[1]).count("1")
            if info[-2] > built_in + 1:
                return True
    return False


@contextmanager
def _opened(namespace: str, family: Family, name: str) -> Iterator[Any]:
    """A table as it is in that namespace now."""
    with _IPTC:
        iptc = _python_iptables()
        kind = iptc.Table if family == "ipv4" else iptc.Table6
        with netns.inside(namespace):
            table = kind(name, autocommit=False)
            table.refresh()
        try:
            yield table
        finally:
            table.close()
            kind._cache.pop(name, None)


def _python_iptables() -> Any:
    """Where pip compiled nothing, its first import warns of `\\s` in a string that is not raw; inside _IPTC."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("iptc")


def _counted(table: Any, chain: str) -> Iterator[Counters]:
    entry = table.first_rule(chain)
    while entry:
        yield entry.counters.pcnt, entry.counters.bcnt
        entry = table.next_rule(entry)


def _text(rule: Any) -> str:
    """One rule in iptables-save's own order: addresses, interfaces, protocol, matches, target."""
    words = [
        *_option("-s", _prefix(rule.src)),
        *_option("-d", _prefix(rule.dst)),
        *_option("-i", rule.in_interface or ""),
        *_option("-o", rule.out_interface or ""),
        *_option("-p", "" if rule.protocol in ("ip", "all", "ipv6") else rule.protocol),
    ]
    for match in rule.matches:
        words.append(f"-m {match.name}{_saved(match, rule)}")
    target = rule.target
    if target.name:
        words.append(f"{'-g' if target.goto else '-j'} {target.name}{_saved(target, rule)}")
    return " ".join(words)


def _saved(extension: Any, rule: Any) -> str:
    text = extension._get_saved_buf(rule.get_ip())
    return "" if text is None else text.decode().rstrip()


def _option(option: str, value: str) -> list[str]:
    if not value:
        return []
    return ["!", option, value[1:]] if value.startswith("!") else [option, value]


def _prefix(address: str) -> str:
    """ "!10.0.0.0/255.0.0.0" as "!10.0.0.0/8"; "" for every address."""
    negated = address.startswith("!")
    network = ipaddress.ip_network(address.lstrip("!"), strict=False)
    if not network.prefixlen and not negated:
        return ""
    return f"{'!' if negated else ''}{network}"


def _info(asker: socket.socket, name: str, family: Family) -> tuple[Any, ...]:
    raw = syscalls.getsockopt(asker.fileno(), _LEVEL[family], _SO_GET_INFO, name.encode(), _INFO.size)
    return _INFO.unpack(raw)


def _entries(asker: socket.socket, name: str, family: Family) -> bytearray:
    """The kernel's own form of the table, its counters set to zero."""
    size = _info(asker, name, family)[-1]
    given = struct.pack("=32sI4x", name.encode(), size)
    blob = syscalls.getsockopt(asker.fileno(), _LEVEL[family], _SO_GET_ENTRIES, given, _ENTRIES_HEADER + size)
    next_offset, counters = _NEXT_OFFSET[family], _COUNTERS[family]
    length = struct.Struct("=H").unpack_from
    nothing = bytes(16)
    entry = _ENTRIES_HEADER
    while entry < len(blob):
        blob[entry + counters : entry + counters + 16] = nothing
        entry += length(blob, entry + next_offset)[0]
    return blob
