"""routing: the neighbours, routes and gaps of a lab's routing daemons."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import LabOption, OutputOption, client_of, complete_node, example, print_json

if TYPE_CHECKING:
    from k8snetlab.messages.routing import LearnedRoute, RoutingNeighbour, RoutingNode, RoutingView

PACE = 0.5
"""Seconds between two looks of --watch."""


def register(app: typer.Typer) -> None:
    app.command(epilog=example("routing node1"))(routing)


def routing(
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", autocompletion=complete_node, help="Also router; all if left out.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show every change, until Ctrl-C.")] = False,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Show what routing daemons know: neighbours, learned routes, and routes that are missing."""
    from k8snetlab.messages.routing import ROUTING, RoutingQuestion

    client, asked = client_of(lab), RoutingQuestion(node or "")
    if not watch:
        found = client.call(ROUTING, asked)
        if output:
            print_json(found)
        else:
            screen.say(text(found))
        return
    shown, began = "", time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            found = client.call(ROUTING, asked)
            if (now := summary(found)) != shown:
                shown = now
                if output:
                    print_json(found)
                else:
                    screen.say(f"{time.strftime('%H:%M:%S')}, {time.monotonic() - began:.1f} s\n{now}")
            time.sleep(PACE)


def text(found: RoutingView) -> str:
    """A table of neighbours, one of routes, and what is missing."""
    width = screen.columns()
    neighbours = [
        (node.name, one.name or "-", one.address, one.state or "nothing heard", _info(one))
        for node in found.nodes
        for one in node.neighbours
    ]
    routes = [
        (
            node.name,
            one.dst,
            _way(one),
            one.pods or "-",
        )
        for node in found.nodes
        for one in node.routes
    ]
    daemon = next((node.daemon for node in found.nodes), "")
    parts = [
        f"{found.protocol} by {daemon}",
        screen.table(("NODE", "NEIGHBOUR", "ADDRESS", "STATE", "INFO"), neighbours, width) if neighbours else "",
        screen.table(("NODE", "ROUTE", "WAY", "PODS-OF"), routes, width) if routes else "",
        "\n".join(line for node in found.nodes for line in gaps(node)),
    ]
    return "\n\n".join(part for part in parts if part)


def _info(neighbour: RoutingNeighbour) -> str:
    return ", ".join(filter(None, (neighbour.info, f"BFD {neighbour.bfd}" if neighbour.bfd else "")))


def _way(route: LearnedRoute) -> str:
    if not route.dev:
        return "blackhole"
    metric = f" metric {route.metric}" if route.metric else ""
    return f"{f'via {route.via} ' if route.via else ''}dev {route.dev}{metric}"


def summary(found: RoutingView) -> str:
    """A line for each node, equal as long as nothing has changed."""
    rows = [
        (
            node.name,
            f"{sum(one.established for one in node.neighbours)}/{len(node.neighbours)} neighbours",
            f"{len(node.routes)} routes",
            f"missing {', '.join(node.missing)}" if node.missing else "complete",
        )
        for node in found.nodes
    ]
    return screen.table(("NODE", "NEIGHBOURS", "ROUTES", "STATE"), rows, screen.columns())


def gaps(node: RoutingNode) -> list[str]:
    """What is missing on a node, a sentence each."""
    lines = [f"{node.name}: {node.problem}"] if node.problem else []
    longer = {route.dst for route in node.routes}
    return [*lines, *(f"{node.name}: no {'straight ' * (cidr in longer)}route to {cidr}" for cidr in node.missing)]
