"""What both variants of iptables do alike: one namespace's rules of one IP family."""

from __future__ import annotations

import contextlib
import re
import shlex
import weakref
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from k8snetlab.dataplane.rules import ChainKey, Family, Hook, RuleDelta, Rules
from k8snetlab.kernel.iptables import command, saved
from k8snetlab.kernel.iptables.payload import Payload, Transactions
from k8snetlab.kernel.iptables.saved import Counters

_JUMP = re.compile(r"(?:^| )-[jg] (\S+)")
Variant = Literal["nft", "legacy"]


class Iptables(ABC):
    """The rules of `namespace`; usable from any thread, but by one at a time.

    What `generation` asks with is opened in the namespace once, and keeps that alive until `close`.
    """

    variant: ClassVar[Variant]
    CHUNK: ClassVar[int]
    """The chains of one transaction at most; 0 for no limit."""

    def __init__(self, namespace: str, family: Family, lockfile: Path, chunk: int | None = None) -> None:
        self.namespace = namespace
        self.family: Family = family
        self.lockfile = lockfile
        self.chunk = self.CHUNK if chunk is None else chunk
        self._open = contextlib.ExitStack()
        weakref.finalize(self, self._open.close)
        self._tool = f"{'iptables' if family == 'ipv4' else 'ip6tables'}-{self.variant}"

    def close(self) -> None:
        """Lets go of the namespace; the next question opens what it takes anew."""
        self._open.close()

    def save(self) -> dict[ChainKey, Rules]:
        """Every chain of every table in use, with its rules as iptables-save prints them after "-A CHAIN"."""
        with command.lines(self.namespace, [f"{self._tool}-save"], self.lockfile) as lines:
            return saved.chains(lines)

    def apply(self, delta: RuleDelta, held: Mapping[ChainKey, Rules] | None = None) -> int | None:
        """Carry the delta out with one iptables-restore. Foreign chains and rules stay as they are.

        Returns the number of transactions it took, None where that is not certain.

        `held` is what `save` has just told, where the caller has asked already.
        A jump that is there already is not put in again; of several that are prepended to one chain the last comes
        first, as with kube-proxy. A chain that others still jump to loses those jumps before it is deleted.
        Raises KernelError with the offending line; the rules of that table (nft, of more chains than a block
        has: of that block and those after it) are then the old ones.
        """
        hooks, chunk = self._missing(delta.hooks, held), self._chunk(held)
        try:
            return self._restore(Payload(delta, hooks, chunk), held)
        except command.RestoreRefused:
            unhook = self._references(delta) if delta.delete else {}
            if not unhook:
                raise
            self._restore(Payload(delta, hooks, chunk, unhook))
            return None

    def knows(self, delta: RuleDelta) -> bool:
        """Whether iptables and the kernel have all that its rules match by. Changes nothing, and does not look for
        what they name."""
        argv = [f"{self._tool}-restore", "-w", "5", "--noflush", "--test"]
        return command.takes(self.namespace, argv, self.lockfile, str(Payload(delta)))

    def remove(self, prefixes: Iterable[str], spare: tuple[str, ...] = ()) -> None:
        """Delete the chains whose names begin so, but not those that begin as `spare` has it, and all jumps there."""
        beginnings = tuple(prefixes)
        found = (key for key in self.save() if key.chain.startswith(beginnings))
        doomed = tuple(key for key in found if not key.chain.startswith(spare))
        if doomed:
            delta = RuleDelta(self.family, {}, doomed)
            self._restore(Payload(delta, (), self.chunk, self._references(delta)))

    def delete_rule(self, key: ChainKey, number: int) -> None:
        """Delete one rule by its number in the chain, from 1, as `iptables -D CHAIN NUMBER`. Raises KernelError."""
        command.output(self.namespace, [self._tool, "-w", "-t", key.table, "-D", key.chain, str(number)], self.lockfile)

    @abstractmethod
    def counters(self) -> Mapping[ChainKey, tuple[Counters, ...]]:
        """Packets and bytes of each rule of each chain, in the order of `save`."""

    @abstractmethod
    def generation(self) -> Hashable:
        """A token that is another one whenever someone changed rules of this family, and cheap to get.

        It is that of the namespace that the name stood for when this was first asked.
        """

    @abstractmethod
    def alone_since(self, before: Hashable, transactions: int | None) -> Hashable | None:
        """The generation now; None where others may have written since it was `before`.

        `transactions` are those that the caller himself has made meanwhile.
        """

    def _chunk(self, held: Mapping[ChainKey, Rules] | None) -> int:
        """The chains of one transaction at most, where these are held."""
        return self.chunk

    def _restore(self, payload: Payload, held: Mapping[ChainKey, Rules] | None = None) -> int | None:
        transactions = Transactions(payload, held)
        if any(payload):
            argv = [f"{self._tool}-restore", "-w", "5", "--noflush"]
            command.restore(self.namespace, argv, self.lockfile, transactions)
        return transactions.count

    def _missing(self, hooks: Iterable[Hook], held: Mapping[ChainKey, Rules] | None) -> list[Hook]:
        """The hooks that stand in no chain. Where words do not decide it, `iptables -C` does."""
        hooks = list(hooks)
        held = (held if held is not None else self.save()) if hooks else {}
        return [hook for hook in hooks if not self._stands(hook, held.get(ChainKey(hook.table, hook.chain), ()))]

    def _stands(self, hook: Hook, rules: Rules) -> bool:
        words = _words(hook.rule)
        target = _target(hook.rule)
        alike = [rule for rule in rules if _target(rule) == target]
        if any(_words(rule) == words for rule in alike):
            return True
        argv = [self._tool, "-w", "-t", hook.table, "-C", hook.chain, *shlex.split(hook.rule)]
        return bool(alike) and command.run(self.namespace, argv, self.lockfile).returncode == 0

    def _references(self, delta: RuleDelta) -> dict[ChainKey, Rules]:
        """The rules outside the delta that jump to a chain it deletes."""
        doomed = set(delta.delete)
        found = {}
        for key, rules in self.save().items():
            if key not in doomed and key not in delta.write:
                jumps = tuple(rule for rule in rules if ChainKey(key.table, _target(rule)) in doomed)
                if jumps:
                    found[key] = jumps
        return found


def _words(rule: str) -> list[str]:
    return sorted(shlex.split(rule))


def _target(rule: str) -> str:
    found = _JUMP.findall(rule)
    return found[-1] if found else ""
