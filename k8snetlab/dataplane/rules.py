"""iptables rules as values.

A rule is the text that `iptables-restore` takes after `-A CHAIN`, without a line end: the form in which kube-proxy
writes them and in which books print them. Whoever needs its meaning parses it (`k8snetlab.trace`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import msgspec

from k8snetlab.errors import InputError

Family = Literal["ipv4", "ipv6"]
Rules = tuple[str, ...]
_SPECIAL = re.compile(r"""[ "\\'\t]""")
"""What iptables-restore does not read as a part of a plain word."""
BUILT_IN = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
"""The kernel's own chains, one for each hook."""


class ChainKey(NamedTuple):
    """Names a chain within one namespace and family."""

    table: str
    chain: str


def beside(table: str, variant: str) -> str:
    """What `table` of the variant of iptables is called that holds rules as well as the one in use: "nat (legacy)"."""
    return f"{table} ({variant})"


class Hook(msgspec.Struct, frozen=True):
    """A rule that must stand in a built-in chain: `rule` in `chain` of `table`, put first or appended."""

    table: str
    chain: str
    rule: str
    prepend: bool = True


class RuleSet(msgspec.Struct, frozen=True):
    """What one namespace's iptables (or ip6tables) must hold of ours: whole chains, and jumps from built-in chains.

    `prefixes` are the beginnings of the chain names that belong to us alone: a chain so named and not in `chains` is
    stale, also where `chains` is empty; every other chain is foreign and never touched. `obsolete` are jumps that other
    layouts of ours put in: they must not stand.
    """

    family: Family
    chains: Mapping[ChainKey, Rules]
    prefixes: tuple[str, ...]
    hooks: tuple[Hook, ...] = ()
    obsolete: tuple[Hook, ...] = ()

    def owns(self, chain: str) -> bool:
        return chain.startswith(self.prefixes)


class RuleDelta(msgspec.Struct, frozen=True):
    """The chains to write anew (flushed and filled), the chains to delete and the jumps to put in.

    `Rules` of a written chain replace all that it held.
    """

    family: Family
    write: Mapping[ChainKey, Rules]
    delete: tuple[ChainKey, ...] = ()
    hooks: tuple[Hook, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.write or self.delete or self.hooks)


def refusing_first(write: Mapping[ChainKey, Rules], before: Mapping[ChainKey, Rules]) -> dict[ChainKey, Rules]:
    """The chains of a delta; those of table filter come first where one has a rule that it has not `before`.

    Each table is a transaction of its own. What a Service without endpoints is sent is to be refused before it is no
    longer translated, and to be translated before it is no longer refused: a connection that meets neither goes out to
    the Service's address, and conntrack keeps it so for two minutes. kube-proxy writes filter first, always.
    """
    filtering = {key: rules for key, rules in write.items() if key.table == "filter"}
    gains = any(not set(rules) <= set(before.get(key, ())) for key, rules in filtering.items())
    return {**filtering, **write} if gains else dict(write)


def quote(text: str) -> str:
    """`text` as one word of an iptables-restore line.

    iptables-restore knows double quotes with backslash escapes and has no way to carry a line end: refused.
    """
    if "\n" in text or "\r" in text or "\0" in text:
        raise InputError(f"{text!r} cannot stand in an iptables rule", "remove the line break or NUL")
    if text and not _SPECIAL.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def restore_payload(chains: Mapping[ChainKey, Rules], delete: Iterable[ChainKey] = ()) -> str:
    """The text for `iptables-restore --noflush` that makes each chain hold exactly its rules, one block per table.

    Source: iptables-restore(8); a `:CHAIN - [0:0]` line creates a user chain or flushes it.
    """
    tables: dict[str, tuple[list[str], list[str]]] = {}
    for (table, chain), rules in chains.items():
        heads, lines = tables.setdefault(table, ([], []))
        heads.append(f":{chain} - [0:0]")
        lines.extend(f"-A {chain} {rule}" for rule in rules)
    for table, chain in delete:
        heads, lines = tables.setdefault(table, ([], []))
        heads.append(f":{chain} - [0:0]")
        lines.append(f"-X {chain}")
    out: list[str] = []
    for table, (heads, lines) in tables.items():
        out += [f"*{table}", *heads, *lines, "COMMIT"]
    return "\n".join(out) + "\n" if out else ""
