"""The text that carries a delta out: one block per table, or many small ones that never break what works."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from k8snetlab.dataplane.rules import ChainKey, Hook, RuleDelta, Rules

_JUMP = re.compile(r"-[jg] (\S+)")
T = TypeVar("T")


def payload(
    delta: RuleDelta, hooks: Iterable[Hook], chunk: int = 0, unhook: Mapping[ChainKey, Rules] | None = None
) -> str:
    """What to feed to `iptables-restore --noflush`; each `*table … COMMIT` block is one transaction.

    `hooks` are the jumps to put in, `unhook` rules to take out of other chains (they refer to chains to delete). With
    a `chunk`, tables with more chains than that are written in blocks of so many: chains that others jump to first, so
    that no rule ever leads to a chain that is not filled yet, and deletions when nothing refers to them any more.
    """
    hooks = tuple(hooks)
    unhook = unhook or {}
    touched = [*(key.table for key in delta.write), *(hook.table for hook in hooks)]
    touched += [*(key.table for key in unhook), *(key.table for key in delta.delete)]
    tables = dict.fromkeys(touched)
    return "".join(block for table in tables for block in _blocks(table, delta, hooks, chunk, unhook))


def _blocks(
    table: str, delta: RuleDelta, hooks: tuple[Hook, ...], chunk: int, unhook: Mapping[ChainKey, Rules]
) -> Iterator[str]:
    write = {key.chain: rules for key, rules in delta.write.items() if key.table == table}
    delete = [key.chain for key in delta.delete if key.table == table]
    jumps = [
        f"-I {hook.chain} {hook.rule}" if hook.prepend else f"-A {hook.chain} {hook.rule}"
        for hook in hooks
        if hook.table == table
    ]
    jumps += [f"-D {key.chain} {rule}" for key, rules in unhook.items() if key.table == table for rule in rules]
    if not chunk or len(write) + len(delete) <= chunk:
        body = [f"-A {chain} {rule}" for chain, rules in write.items() for rule in rules]
        yield _block(table, [*write, *delete], [*body, *jumps, *(f"-X {chain}" for chain in delete)])
        return
    # iptables-nft-restore keeps the names in a list from A to Z that it walks from the front: from Z to A costs least.
    for part in _chunks(_callees_first(write), chunk):
        heads = sorted(part, reverse=True)
        yield _block(table, heads, [f"-A {chain} {rule}" for chain in part for rule in write[chain]])
    if jumps:
        yield _block(table, [], jumps)
    for part in _chunks(delete, chunk):
        yield _block(table, sorted(part, reverse=True), [])
    for part in _chunks(delete, chunk):
        yield _block(table, [], [f"-X {chain}" for chain in part])


def _block(table: str, chains: Iterable[str], lines: Iterable[str]) -> str:
    return "\n".join([f"*{table}", *(f":{chain} - [0:0]" for chain in chains), *lines, "COMMIT", ""])


def _callees_first(write: Mapping[str, Rules]) -> list[str]:
    """The chains as given, but each after those it jumps to.

    The chains of one Service so stay together, for which iptables-nft-restore needs half the time that it takes when
    all endpoints come before all Services.
    """
    order: dict[str, None] = {}
    begun: set[str] = set()

    def visit(chain: str) -> None:
        begun.add(chain)
        for callee in _JUMP.findall("\n".join(write[chain])):
            if callee in write and callee not in begun:
                visit(callee)
        order[chain] = None  # after a cycle too: the kernel refuses it and says which

    for chain in write:
        if chain not in begun:
            visit(chain)
    return list(order)


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
