"""rules, tables: what the kernel holds, explained."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    LabOption,
    NamespaceOption,
    OutputOption,
    client_of,
    complete_node,
    complete_place,
    complete_service,
    example,
    print_json,
)
from k8snetlab.cli.render import Family
from k8snetlab.errors import InputError

if TYPE_CHECKING:
    from k8snetlab.client.client import Client
    from k8snetlab.messages.rules import RuleTree

PERIOD = 1.0
"""Seconds between two looks of `--watch`."""


class TableName(StrEnum):
    """The tables of a namespace."""

    ROUTES = "routes"
    NEIGH = "neigh"
    FDB = "fdb"
    LINKS = "links"
    CONNTRACK = "conntrack"


def register(app: typer.Typer) -> None:
    app.command(epilog=example("rules business-manager --node node1"))(rules)
    app.command(epilog=example("tables node1 neigh"))(tables)


def rules(
    service: Annotated[
        str,
        typer.Argument(metavar="[SERVICE]", autocompletion=complete_service, help="Left out: the frame of all chains."),
    ] = "",
    node: Annotated[
        str, typer.Option("--node", metavar="NODE", autocompletion=complete_node, help="Left out: the first one.")
    ] = "",
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option("--diff", metavar="NODE1 NODE2", help="What stands on one of two nodes only."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look every second until Ctrl-C.")] = False,
    family: Annotated[Family, typer.Option("--family", help="Rules of iptables or of ip6tables.")] = Family.IPV4,
    namespace: NamespaceOption = "default",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Show a Service's iptables rules on a node as a tree, each with its meaning and what it counted."""
    if watch and (diff or output):
        raise InputError("--watch goes with neither --diff nor -o", "k8snetlab rules SERVICE --watch")
    if diff and node:
        raise InputError("--diff names the nodes itself", f"k8snetlab rules {service} --diff NODE1 NODE2")
    client = client_of(lab)
    name = f"{namespace}/{service}" if service and namespace != "default" and "/" not in service else service
    if watch:
        _watch(client, node, name, family.value)
        return
    if diff:
        _difference(client, diff, name, family.value, output is not None)
        return
    from k8snetlab.messages.rules import RULES, RulesQuestion

    tree = client.call(RULES, RulesQuestion(node, name, family.value))
    if output:
        print_json(tree)
        return
    from k8snetlab.cli import trees

    typer.echo("\n".join(trees.rules(tree, {})))


def tables(
    place: Annotated[
        str, typer.Argument(metavar="NODE|POD", autocompletion=complete_place, help="Also router and outside.")
    ],
    table: Annotated[TableName | None, typer.Argument(help="Left out: all of them.")] = None,
    namespace: NamespaceOption = "default",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Show the kernel's tables in a node or pod: each line, who put it there, and what it does."""
    from k8snetlab.messages.tables import TABLES, TablesQuestion

    answer = client_of(lab).call(TABLES, TablesQuestion(place, namespace, table.value if table else ""))
    if output:
        print_json(answer)
        return
    from k8snetlab.cli import trees

    typer.echo("\n".join(trees.tables(answer)))


def _difference(client: Client, nodes: tuple[str, str], service: str, family: str, as_json: bool) -> None:
    from k8snetlab.cli import trees
    from k8snetlab.messages.rules import DIFFERENCE, DifferenceQuestion

    found = client.call(DIFFERENCE, DifferenceQuestion(*nodes, service, family))
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(trees.difference(found)))


def _watch(client: Client, node: str, service: str, family: str) -> None:
    """Every look in the place of the last one; what a rule has counted since the first look stands beside it."""
    from k8snetlab.cli import trees
    from k8snetlab.messages.rules import RULES, RulesQuestion

    first: dict[trees.Place, int] | None = None
    drawn = sys.stdout.isatty()
    try:
        while True:
            answer = client.call(RULES, RulesQuestion(node, service, family))
            counted = trees.packets(answer)
            first = counted if first is None else first
            if drawn:
                sys.stdout.write(_picture(answer, first, screen.lines_high()))
                sys.stdout.flush()
            else:
                typer.echo("\n".join(trees.rules(answer, first)) + "\n")
            time.sleep(PERIOD)
    except KeyboardInterrupt:
        if drawn:
            typer.echo("")


def _picture(answer: RuleTree, first: dict[tuple[str, str, int], int], height: int) -> str:
    """The tree from the top of the window, as much of it as there is room for, and without the rules' texts where it is
    too high with them. What the last look left behind is cleared."""
    from k8snetlab.cli import trees

    room = max(height - 1, 2)
    lines = list(trees.rules(answer, first))
    if len(lines) > room:
        lines = list(trees.rules(answer, first, texts=False))
    if len(lines) > room:
        rest = len(lines) - room + 1
        lines = [*lines[: room - 1], f"… {rest} more lines: a higher window, or one Service, shows them"]
    clear = "\x1b[K"
    return "\x1b[H" + "".join(f"{line}{clear}\n" for line in lines) + "\x1b[J"
