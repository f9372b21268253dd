"""The ipsets that rules of policies look into: which of a packet's addresses are in them, and which are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from k8snetlab.dataplane.names import is_one_policys
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.dataplane.view import View
from k8snetlab.iptables.syntax import RuleSyntaxError, parse
from k8snetlab.trace.tracer import Step
from k8snetlab.trace.way import Decision

MOST = 3
"""Rules of a chain of which it is said why they do not match."""


class Ends(NamedTuple):
    """A packet's source and destination, as policies see them, its protocol, and the ports of both."""

    src: str
    dst: str
    protocol: str
    sport: int
    dport: int


Owner = Callable[[str], str]
"""Whose a rule of a chain is."""


def asked(view: View, ends: Ends, step: Step, owner: str) -> Iterator[Decision]:
    """Of a rule that matches: the sets that hold the packet's addresses."""
    said = [f"{address} is in {name}" for name, address, held in _sets(view, ends, step.rule) if held]
    if said and is_one_policys(step.chain):
        yield Decision("set", " and ".join(said), owner=owner)


def missed(view: View, ends: Ends, steps: Sequence[Step], number: int, owner: Owner) -> Iterator[Decision]:
    """Of a policy's chain that step `number` leads into, where none of its rules matches: the sets that do not hold the
    packet's addresses."""
    step = steps[number]
    target = parse(step.rule).target
    chain = target.name if target else ""
    if not is_one_policys(chain) or any(later.chain == chain for later in steps[number + 1 :]):
        return
    told: set[str] = set()
    for place, rule in enumerate(view.chains.get(ChainKey(step.table, chain), ()), 1):
        said = " and ".join(
            f"{address} is not in {name}" for name, address, held in _sets(view, ends, rule) if not held
        )
        if said and said not in told and len(told) < MOST:
            told.add(said)
            yield Decision("set", f"{said}: {chain}, rule {place}, does not match", owner=owner(rule))


def _sets(view: View, ends: Ends, rule: str) -> Iterator[tuple[str, str, bool]]:
    """The sets of a rule, each with the address that is looked up, and whether it is there."""
    try:
        matches = parse(rule).matches
    except RuleSyntaxError:
        return
    for match in matches:
        name, _, end = match.value.partition(" ")
        if match.option == "match-set" and name in view.sets:
            address, port = (ends.src, ends.sport) if end.startswith("src") else (ends.dst, ends.dport)
            said = address if "," not in end else f"{address},{ends.protocol}:{port}"
            yield name, said, view.sets[name].has(address, ends.protocol, port)
