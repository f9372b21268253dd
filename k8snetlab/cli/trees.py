"""Rules as a tree and tables with their meaning, as lines of text."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

Json = Mapping[str, Any]
Place = tuple[str, str, int]
"""Table, chain and number of a rule."""
TOOL = {"ipv4": "iptables", "ipv6": "ip6tables"}


def rules(answer: Json, before: Mapping[Place, int]) -> Iterator[str]:
    """The tree of `GET rules`. `before` are packets counted earlier: what came since is shown as +N."""
    tool = TOOL[answer["family"]]
    what = f"service {answer['service']}" if answer["service"] else "all chains"
    yield f"{what} on {answer['node']}, {tool} ({answer['variant']})"
    if not answer["chains"]:
        yield "no rule: the Service has neither cluster IP nor rows (a headless one, an ExternalName, another family?)"
    for chain in answer["chains"]:
        purpose = f"  {chain['purpose']}" if chain["purpose"] else ""
        yield ""
        yield f"{_bold(chain['table'] + ' ' + chain['chain'])}{purpose}"
        yield from _branches(chain["table"], chain["chain"], chain["rules"], "", before)


def packets(answer: Json) -> dict[Place, int]:
    """What each rule of the tree has counted."""
    found: dict[Place, int] = {}

    def gather(table: str, chain: str, held: Sequence[Json]) -> None:
        for rule in held:
            found[table, chain, rule["number"]] = rule["packets"]
            gather(table, rule["leads"], rule["rules"])

    for chain in answer["chains"]:
        gather(chain["table"], chain["chain"], chain["rules"])
    return found


def difference(answer: Json) -> Iterator[str]:
    """Chain by chain, what stands on one node only."""
    one, other = answer["nodes"]
    what = f"service {answer['service']}" if answer["service"] else "all chains"
    yield f"{what}, {TOOL[answer['family']]} ({answer['variant']}): - on {one} only, + on {other} only"
    if not answer["differences"]:
        yield "no difference"
    last = ("", "")
    for found in answer["differences"]:
        chain = (found["table"], found["chain"])
        if chain != last:
            yield ""
            yield _bold(" ".join(chain))
            last = chain
        sign, colour = ("-", "red") if found["first"] else ("+", "green")
        yield _coloured(f"{sign} {found['rule']}", colour)
        yield from _wrapped(found["meaning"], "    ")


def tables(answer: Json) -> Iterator[str]:
    """Each table under the command that shows it: its lines, and below each who put it there and what it does."""
    for index, table in enumerate(answer["tables"]):
        if index:
            yield ""
        yield _bold(f"# {table['command']}")
        if not table["rows"]:
            yield _dim("  nothing")
        owners = max((len(row["owner"]) for row in table["rows"]), default=0)
        for row in table["rows"]:
            yield row["line"]
            first, *rest = _wrapped(row["meaning"], " " * (owners + 4))
            owner = row["owner"].ljust(owners)
            marked = _coloured(owner, "red") if row["owner"] == "nobody" else _coloured(owner, "cyan")
            yield f"  {marked}  {first.lstrip()}"
            yield from rest
    if not answer["tables"]:
        yield f"{answer['place']} has no such table"


def _branches(table: str, chain: str, held: Sequence[Json], indent: str, before: Mapping[Place, int]) -> Iterator[str]:
    for rule in held:
        last = rule is held[-1]
        head, below = indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  ")
        chain = {"above": " (above)", "empty": " (it is empty)"}.get(rule["chain"], "")
        text = f"{rule['number']}. {rule['meaning']}{chain}"
        counted = _count(rule, rule["packets"] - before.get((table, chain, rule["number"]), rule["packets"]))
        lines = [*_wrapped(text, ""), counted + _dim(rule["rule"])]
        bar = "│" if rule["rules"] else " "
        yield head + lines[0]
        for line in lines[1:]:
            yield f"{below}{bar}  {line}"
        yield from _branches(table, rule["leads"], rule["rules"], below, before)


def _count(rule: Json, since: int) -> str:
    number = f"{rule['packets']} packet{'' if rule['packets'] == 1 else 's'}"
    more = _coloured(f" +{since}", "green") if since else ""
    shown = f"{number}, {rule['bytes']} bytes" if rule["packets"] else number
    return f"[{shown}{more}] "


def _wrapped(text: str, indent: str) -> list[str]:
    width = max(60, min(shutil.get_terminal_size((120, 24)).columns, 140) - 24)
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _bold(text: str) -> str:
    return _styled(text, bold=True)


def _dim(text: str) -> str:
    return _styled(text, dim=True)


def _coloured(text: str, colour: str) -> str:
    return _styled(text, fg=colour)


def _styled(text: str, **style: Any) -> str:
    """typer takes the codes out again where the output is no terminal."""
    return text if "NO_COLOR" in os.environ else typer.style(text, **style)
