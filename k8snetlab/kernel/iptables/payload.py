"""The text that carries a delta out: one block per table, or many small ones that never break what works."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from k8snetlab.dataplane.rules import ChainKey, Hook, RuleDelta, Rules

_JUMP = re.compile(r"-[jg] (\S+)")


class Payload(msgspec.Struct, frozen=True):
    """What to feed to `iptables-restore --noflush`, piece by piece: a line each, or all chains or all rules of a block.
    Each `*table … COMMIT` block is one transaction.

    `hooks` are the jumps to put in, `unhook` rules to take out of other chains (they refer to chains to delete). With
    a `chunk`, tables with more chains than that are written in blocks of so many: chains that others jump to first, so
    that no rule ever leads to a chain that is not filled yet, and deletions when nothing refers to them any more.
    """

    delta: RuleDelta
    hooks: Sequence[Hook] = ()
    chunk: int = 0
    unhook: Mapping[ChainKey, Rules] = {}

    def __iter__(self) -> Iterator[str]:
        touched = [*(key.table for key in self.delta.write), *(hook.table for hook in self.hooks)]
        touched += [*(key.table for key in self.unhook), *(key.table for key in self.delta.delete)]
        for table in dict.fromkeys(touched):
            yield from self._lines(table)

    def __str__(self) -> str:
        return "".join(f"{piece}\n" for piece in self)

    def _lines(self, table: str) -> Iterator[str]:
        write = {key.chain: rules for key, rules in self.delta.write.items() if key.table == table}
        delete = [key.chain for key in self.delta.delete if key.table == table]
        jumps = [
            f"-I {hook.chain} {hook.rule}" if hook.prepend else f"-A {hook.chain} {hook.rule}"
            for hook in self.hooks
            if hook.table == table
        ]
        jumps += [
            f"-D {key.chain} {rule}" for key, rules in self.unhook.items() if key.table == table for rule in rules
        ]
        if not self.chunk or len(write) + len(delete) <= self.chunk:
            yield from _block(table, [*write, *delete], write, [*jumps, *(f"-X {chain}" for chain in delete)])
            return
        for part in _chunks(_callees_first(write), self.chunk):
            yield from _block(table, part, {chain: write[chain] for chain in part})
        if jumps:
            yield from _block(table, (), {}, jumps)
        for part in _chunks(delete, self.chunk):
            yield from _block(table, part, {})
        for part in _chunks(delete, self.chunk):
            yield from _block(table, (), {}, [f"-X {chain}" for chain in part])


class Transactions:
    """The pieces of a payload, and how many transactions they were: `count`, once the last one has been taken.

    It is None when a block may only empty chains that are empty already: there the kernel finds nothing to do.
    `held` are the chains that there were, if that is known.
    """

    def __init__(self, pieces: Iterable[str], held: Mapping[ChainKey, Rules] | None = None) -> None:
        self._pieces, self._held = pieces, held
        self.count: int | None = 0

    def __iter__(self) -> Iterator[str]:
        self.count, certain, changing, table = 0, True, False, ""
        for piece in self._pieces:
            if piece == "COMMIT":
                self.count += 1
                certain, changing = certain and changing, False
            elif piece.startswith("*"):
                table = piece[1:]
            elif not changing:
                changing = any(self._changes(table, line) for line in piece.split("\n"))
            yield piece
        if not certain:
            self.count = None

    def _changes(self, table: str, line: str) -> bool:
        if line.startswith("-"):
            return True
        return self._held is not None and self._held.get(ChainKey(table, line[1:].partition(" ")[0])) != ()


def _block(table: str, heads: Iterable[str], write: Mapping[str, Rules], others: Iterable[str] = ()) -> Iterator[str]:
    yield f"*{table}"
    # Both variants walk their list of names, from A to Z, to the place of each: from Z to A costs least.
    if names := sorted(heads, reverse=True):
        yield "\n".join([f":{chain} - [0:0]" for chain in names])
    if appended := [_appended(chain, rules) for chain, rules in write.items() if rules]:
        yield "\n".join(appended)
    yield from others
    yield "COMMIT"


def _appended(chain: str, rules: Rules) -> str:
    first = f"-A {chain} "
    return first + f"\n{first}".join(rules)


def _callees_first(write: Mapping[str, Rules]) -> Iterator[str]:
    """The chains as given, but each after those it jumps to; told as they are found, so that the first block is written
    meanwhile.

    The chains of one Service so stay together, for which iptables-nft-restore needs half the time that it takes when
    all endpoints come before all Services.
    """
    begun: set[str] = set()
    order: list[str] = []

    def visit(chain: str) -> None:
        begun.add(chain)
        for callee in _JUMP.findall("\n".join(write[chain])):
            if callee in write and callee not in begun:
                visit(callee)
        order.append(chain)  # after a cycle too: the kernel refuses it and says which

    for chain in write:
        if chain not in begun:
            visit(chain)
            yield from order
            order.clear()


def _chunks(chains: Iterable[str], size: int) -> Iterator[Sequence[str]]:
    rest = iter(chains)
    while part := tuple(islice(rest, size)):
        yield part
