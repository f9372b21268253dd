"""compare: the same lab and packet under several networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import OutputOption, complete_scenario, example, print_json

if TYPE_CHECKING:
    from k8snetlab.workshop.comparing import Compared, Comparison


def register(app: typer.Typer) -> None:
    app.command(epilog=example("compare two-nodes --backends vxlan,host-gw,ospf,bgp"))(compare)


def compare(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO|DIR", autocompletion=complete_scenario, help="A name, or a path.")
    ],
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="A pod; left out: one that is on another node than TO.")
    ] = "",
    target: Annotated[str, typer.Argument(metavar="TO:PORT", help="As `trace` takes it.")] = "",
    backends: Annotated[
        str, typer.Option("--backends", metavar="NAME,NAME…", help="Left out: all.")
    ] = "vxlan,host-gw,bgp,ospf,rip,calico-bgp,calico-ipip,calico-vxlan",
    output: OutputOption = None,
) -> None:
    """Build a scenario under one network after the other, and show the same packet's way side by side."""
    from k8snetlab.errors import InputError
    from k8snetlab.workshop.comparing import compare

    if bool(source) != bool(target):
        raise InputError("compare takes FROM and TO, or neither", "k8snetlab compare two-nodes client web:80")
    names = [name for name in backends.split(",") if name]
    found = compare(scenario, names, source, target, lambda words: None if output else screen.say(words, err=True))
    if output:
        print_json(found)
    else:
        screen.say(text(found))
    if any(one.problem or one.fate != "answered" for one in found.results):
        raise typer.Exit(1)


def text(found: Comparison) -> str:
    """A table of all, then each one's way."""
    rows = [
        (
            one.backend,
            one.fate or "-",
            str(len(one.way) or "-"),
            one.outer or "none",
            str(one.mtu or "-"),
            str(one.rules),
            f"{one.microseconds:.0f} µs" if one.microseconds is not None else "-",
            f"{one.seconds:.1f} s",
        )
        for one in found.results
        if not one.problem
    ]
    titles = ("NETWORK", "PACKET", "HOPS", "OUTER", "MTU", "RULES", "THERE", "UP")
    parts = [f"{found.source} → {found.target}" if found.source else ""]
    parts += [screen.table(titles, rows, screen.columns())] if rows else []
    return "\n\n".join(part for part in (*parts, *(_way(one) for one in found.results)) if part)


def _way(one: Compared) -> str:
    if one.problem:
        return f"{one.backend}: {one.problem}"
    route = f"  route {one.route}" + (f"  ({one.owner})" if one.owner else "")
    return "\n".join((f"{one.backend}: {' '.join(one.way)}", *([route] if one.route else [])))
