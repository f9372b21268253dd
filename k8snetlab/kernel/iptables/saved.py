"""The text of iptables-save."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from k8snetlab.dataplane.rules import ChainKey, Rules

Counters = tuple[int, int]
"""Packets and bytes."""


class SavedRule(NamedTuple):
    chain: ChainKey
    rule: str
    counters: Counters


class Saved(NamedTuple):
    """All of it: the chains as `chains` has them, the policies of built-in chains, the counters as `counters` has them
    (zeros where none were saved)."""

    chains: Mapping[ChainKey, Rules]
    policies: Mapping[ChainKey, str]
    counters: Mapping[ChainKey, tuple[Counters, ...]]


def everything(text: str) -> Saved:
    """In one pass: a node of a thousand endpoints has four thousand lines."""
    rules: dict[ChainKey, list[str]] = {}
    counted: dict[ChainKey, list[Counters]] = {}
    policies: dict[ChainKey, str] = {}
    keys: dict[str, ChainKey] = {}
    table = ""
    for line in text.splitlines():
        head = line[:1]
        if head in ("[", "-"):
            count, _, rest = line[1:].partition("] ") if head == "[" else ("", "", line)
            packets, _, octets = count.partition(":")
            _, chain, *words = rest.split(" ", 2)
            key = keys.get(chain) or ChainKey(table, chain)
            rules[key].append(words[0] if words else "")
            counted[key].append((int(packets or 0), int(octets or 0)))
        elif head == ":":
            chain, policy, *_ = line[1:].split(" ")
            key = keys[chain] = ChainKey(table, chain)
            rules[key], counted[key] = [], []
            if policy != "-":
                policies[key] = policy
        elif head == "*":
            table, keys = line[1:], {}
    return Saved(
        {key: tuple(held) for key, held in rules.items()},
        policies,
        {key: tuple(held) for key, held in counted.items()},
    )


def chains(text: str | Iterable[str]) -> dict[ChainKey, Rules]:
    """Every chain with its rules, empty and built-in ones too, in the order of the text (whole, or its lines)."""
    found: dict[ChainKey, list[str]] = {}
    for key, saved in _lines(text):
        rules = found.setdefault(key, [])
        if saved:
            rules.append(saved.rule)
    return {key: tuple(rules) for key, rules in found.items()}


def counters(text: str) -> dict[ChainKey, tuple[Counters, ...]]:
    """The counters of each chain's rules; the text must be of `iptables-save -c`."""
    found: dict[ChainKey, list[Counters]] = {}
    for key, saved in _lines(text):
        counted = found.setdefault(key, [])
        if saved:
            counted.append(saved.counters)
    return {key: tuple(counted) for key, counted in found.items()}


def _lines(text: str | Iterable[str]) -> Iterator[tuple[ChainKey, SavedRule | None]]:
    """Chain headers (without a rule) and rules."""
    table = ""
    count: Counters = (0, 0)
    for line in text.splitlines() if isinstance(text, str) else text:
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            yield ChainKey(table, line[1:].split(" ", 1)[0]), None
        elif line.startswith(("-A ", "[")):
            if line.startswith("["):
                counted, _, line = line.partition(" ")
                packets, _, octets = counted[1:-1].partition(":")
                count = (int(packets), int(octets))
            _, chain, *rest = line.split(" ", 2)
            key = ChainKey(table, chain)
            yield key, SavedRule(key, rest[0] if rest else "", count)
