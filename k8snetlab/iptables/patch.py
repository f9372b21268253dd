"""From the rules that are held to those that are wanted: what stands as it should, and the steps for what does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from k8snetlab.dataplane.names import KUBE_EXT, KUBE_SEP
from k8snetlab.dataplane.rules import ChainKey, Family, Hook, Rules
from k8snetlab.iptables.syntax import canonical

Chains = Mapping[ChainKey, Rules]
_SAVED = (
    ("/32 ", " "),
    ("/128 ", " "),
    *((f"-m {protocol} -p {protocol} ", f"-p {protocol} -m {protocol} ") for protocol in ("tcp", "udp", "sctp")),
)
_DIGITS = re.compile(r"(?<=--probability 0\.\d{8})\d+")


class Step(NamedTuple):
    """`number` is the place of `rule` in its chain, from 1, when the steps before this one are done. `fault`: it is
    missing there; wrong: `instead` stands there; or foreign: it is to go."""

    fault: Literal["missing", "wrong", "foreign"]
    number: int
    rule: str
    instead: str = ""


class CommandLine:
    """The command that a person would type for one namespace's rules of one family; `variant` is the node's own."""

    def __init__(self, netns: str, family: Family, variant: str) -> None:
        self._tool = "iptables" if family == "ipv4" else "ip6tables"
        self._netns, self._variant = netns, variant

    def __call__(self, table: str, words: str) -> str:
        """`table` may be one of the other variant, as `dataplane.rules.beside` names it."""
        plain, _, other = table.partition(" (")
        variant = other.rstrip(")") or self._variant
        return f"ip netns exec {self._netns} {self._tool}-{variant} -t {plain} {words}"


def same(one: str, other: str) -> bool:
    """Whether two rules mean the same; one that cannot be read does only if it is written the same.

    Most rules of a cluster differ from what iptables-save prints of them in little: they need not be parsed.
    """
    return one == other or _saved(one) == _saved(other) or canonical(one) == canonical(other)


def _saved(rule: str) -> str:
    """Some of what iptables-save makes of a rule."""
    for ours, theirs in _SAVED:
        rule = rule.replace(ours, theirs)
    return _DIGITS.sub("", rule) if "--probability" in rule else rule


def same_rules(wanted: Rules, held: Rules | None) -> bool:
    """Whether a chain holds what it should; `held` is None where there is no such chain."""
    return held is not None and len(wanted) == len(held) and all(map(same, wanted, held))


def jump_numbers(hook: Hook, held: Chains) -> list[int]:
    """The numbers of the rules that are this jump, from 1."""
    jump = "-j " + hook.rule.rpartition("-j ")[2]
    rules = enumerate(held.get(ChainKey(hook.table, hook.chain), ()), 1)
    return [number for number, rule in rules if rule.endswith(jump) and same(hook.rule, rule)]


def standing(hooks: Sequence[Hook], held: Chains) -> Iterator[tuple[ChainKey, int]]:
    """Those of the hooks that are there, the last of a chain first: each by its number, counted from 1."""
    for chain in dict.fromkeys(ChainKey(hook.table, hook.chain) for hook in hooks):
        there = (hook for hook in hooks if ChainKey(hook.table, hook.chain) == chain)
        numbers = {number for hook in there for number in jump_numbers(hook, held)}
        yield from ((chain, number) for number in sorted(numbers, reverse=True))


def steps(wanted: Rules, held: Rules) -> Iterator[Step]:
    """From `held` to `wanted`, to be done in this order."""
    place = 1
    matcher = SequenceMatcher(None, [*map(canonical, held)], [*map(canonical, wanted)], autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            place += i2 - i1
            continue
        replaced = min(i2 - i1, j2 - j1)
        for offset in range(replaced):
            yield Step("wrong", place, wanted[j1 + offset], held[i1 + offset])
            place += 1
        for rule in wanted[j1 + replaced : j2]:
            yield Step("missing", place, rule)
            place += 1
        for rule in held[i1 + replaced : i2]:
            yield Step("foreign", place, rule)


def commands(keys: Iterable[ChainKey], wanted: Chains, held: Chains, command: CommandLine) -> list[str]:
    """What a person would type to make chains what they should be, those jumped to first; what goes is emptied before
    any of it is deleted, as a chain that is jumped to stays."""
    lines: list[tuple[str, str]] = []
    emptied: list[tuple[str, str]] = []
    deleted: list[tuple[str, str]] = []
    for key in sorted(keys, key=lambda k: (not k.chain.startswith(KUBE_SEP), k.chain.startswith(KUBE_EXT))):
        table, chain = key
        if key not in wanted:
            emptied.append((table, f"-F {chain}"))
            deleted.append((table, f"-X {chain}"))
            continue
        lines += [(table, f"-N {chain}")] if key not in held else []
        for step in steps(wanted[key], held.get(key, ())):
            match step.fault:
                case "missing":
                    lines.append((table, f"-I {chain} {step.number} {step.rule}"))
                case "foreign":
                    lines.append((table, f"-D {chain} {step.number}"))
                case "wrong":
                    lines.append((table, f"-R {chain} {step.number} {step.rule}"))
    return [command(table, line) for table, line in (*lines, *emptied, *deleted)]
