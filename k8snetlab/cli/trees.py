"""Rules as a tree and tables with their meaning, as lines of text."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

from k8snetlab.cli import screen
from k8snetlab.messages.rules import RulesDifference, RuleTree
from k8snetlab.messages.tables import TableList
from k8snetlab.trace.branches import Rule
from k8snetlab.wording import counted

Place = tuple[str, str, int]
"""Table, chain and number of a rule."""
LONGEST = 140
"""Columns beyond which a sentence is not easier to read."""
_COLOURS = {"nobody": "red"}
"""Of owners that are not like the others."""
TOOL = {"ipv4": "iptables", "ipv6": "ip6tables"}


def rules(answer: RuleTree, before: Mapping[Place, int], texts: bool = True) -> Iterator[str]:
    """The tree of `GET rules`, with the rules' own texts or without. `before` are packets counted earlier: what came
    since is shown as +N."""
    tool = TOOL[answer.family]
    what = f"service {answer.service}" if answer.service else "all chains"
    yield from screen.fold(f"{what} on {answer.node}, {tool} ({answer.variant})", _width())
    left = answer.proxy == "external"
    if left:
        yield from screen.fold("written by a guest: the lab leaves them to one (proxy.mode external)", _width())
    if not answer.chains and left:
        yield "no rule"
    elif not answer.chains:
        none = (
            "no rule: the Service has neither cluster IP nor endpoints here (headless, ExternalName, another family?)"
        )
        yield from screen.fold(none, _width())
    for chain in answer.chains:
        purpose = f"  {chain.purpose}" if chain.purpose else ""
        yield ""
        yield from screen.fold(f"{_bold(chain.table + ' ' + chain.chain)}{purpose}", _width())
        yield from _branches((chain.table, chain.chain), chain.rules, "", before, texts)


def packets(answer: RuleTree) -> dict[Place, int]:
    """What each rule of the tree has counted."""
    found: dict[Place, int] = {}

    def gather(table: str, chain: str, held: Sequence[Rule]) -> None:
        for rule in held:
            found[table, chain, rule.number] = rule.packets
            gather(table, rule.leads, rule.rules)

    for chain in answer.chains:
        gather(chain.table, chain.chain, chain.rules)
    return found


def difference(answer: RulesDifference) -> Iterator[str]:
    """Chain by chain, what stands on one node only."""
    one, other = answer.nodes
    what = f"service {answer.service}" if answer.service else "all chains"
    text = f"{what}, {TOOL[answer.family]} ({answer.variant}): - on {one} only, + on {other} only"
    yield from screen.fold(text, _width())
    if not answer.differences:
        yield "no difference"
    last = ("", "")
    for found in answer.differences:
        chain = (found.table, found.chain)
        if chain != last:
            yield ""
            yield _bold(" ".join(chain))
            last = chain
        sign, colour = ("-", "red") if found.first else ("+", "green")
        yield from (_coloured(part, colour) for part in screen.fold(f"{sign} {found.rule}", _width()))
        yield from screen.fold("    " + found.meaning, _width(), 4)


def tables(answer: TableList) -> Iterator[str]:
    """Each table under the command that shows it: its lines, and below each who put it there and what it does."""
    width = _width()
    for index, table in enumerate(answer.tables):
        if index:
            yield ""
        yield from map(_bold, screen.command(table.command, width, "# ", "# "))
        if not table.rows:
            yield _dim("  nothing")
        owners = max((len(row.owner) for row in table.rows), default=0)
        marks = {one: _coloured(one.ljust(owners), _COLOURS.get(one, "cyan")) for one in {r.owner for r in table.rows}}
        for row in table.rows:
            yield from screen.fold(row.line, width, 4)
            yield from screen.fold(f"  {marks[row.owner]}  {row.meaning}", width, owners + 4)
    if not answer.tables:
        yield f"{answer.place} has no such table"


def _branches(
    where: tuple[str, str], held: Sequence[Rule], indent: str, before: Mapping[Place, int], texts: bool
) -> Iterator[str]:
    width = _width()
    for rule in held:
        last = rule is held[-1]
        head, below = indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  ")
        stands = {"above": " (above)", "empty": " (it is empty)"}.get(rule.chain, "")
        counts = _count(rule, rule.packets - before.get((*where, rule.number), rule.packets))
        number = f"{rule.number}. "
        bar = below + ("│  " if rule.rules else "   ")
        room = width and width - len(bar)
        text = f"{rule.meaning}{stands}"
        lines = screen.fold(text if texts else f"{text} {counts}", room, 0)
        yield head + number + lines[0]
        yield from (bar + line for line in lines[1:])
        if texts:
            first, *rest = screen.fold(f"{counts} {rule.rule}", room, 2)
            yield bar + first[: len(counts) + 1] + _dim(first[len(counts) + 1 :])
            yield from (bar + _dim(line) for line in rest)
        yield from _branches((where[0], rule.leads), rule.rules, below, before, texts)


def _count(rule: Rule, since: int) -> str:
    more = _coloured(f" +{since}", "green") if since else ""
    number = counted(rule.packets, "packet")
    shown = f"{number}, {rule.bytes} bytes" if rule.packets else number
    return f"[{shown}{more}]"


def _width() -> int | None:
    width = screen.columns()
    return min(width, LONGEST) if width else None


def _bold(text: str) -> str:
    return _styled(text, bold=True)


def _dim(text: str) -> str:
    return _styled(text, dim=True)


def _coloured(text: str, colour: str) -> str:
    return _styled(text, fg=colour)


def _styled(text: str, **style: Any) -> str:
    """typer takes the codes out again where the output is no terminal."""
    return text if "NO_COLOR" in os.environ else typer.style(text, **style)
