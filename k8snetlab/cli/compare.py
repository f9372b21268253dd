"""compare: the same lab and packet under several networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    Form,
    as_json,
    complete_scenario,
    example,
    form_of,
    need_root,
    print_json,
    write,
)

if TYPE_CHECKING:
    from k8snetlab.workshop.comparing import Comparison

FORMS = ("json", "svg")


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
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FORM|FILE", help="json or svg; FILE.svg draws it into FILE."),
    ] = None,
) -> None:
    """Build a scenario under one network after the other, and show the same packet's way side by side.

    The exit code is 1 when a network could not be had, or the packet was not answered there.
    """
    from k8snetlab.cli import beside
    from k8snetlab.errors import InputError
    from k8snetlab.workshop.comparing import compare

    form = form_of(output, FORMS) if output else Form("text")
    if bool(source) != bool(target):
        raise InputError("compare takes FROM and TO, or neither", "k8snetlab compare two-nodes client web:80")
    names = [name for name in backends.split(",") if name]
    need_root("compare")
    if form.file and not form.file.parent.is_dir():
        raise InputError(f"{form.file} cannot be written: there is no directory {form.file.parent}")
    told = form.file or form.name == "text"
    found = compare(scenario, names, source, target, lambda words: screen.say(words, err=True) if told else None)
    if form.file:
        write(form.file, beside.svg(found) if form.name == "svg" else as_json(found))
    if told:
        screen.say(text(found))
    elif form.name == "json":
        print_json(found)
    else:
        typer.echo(beside.svg(found), nl=False)
    if any(one.problem or one.fate != "answered" for one in found.results):
        raise typer.Exit(1)


def text(found: Comparison) -> str:
    """A table of all, then each one's way."""
    from k8snetlab.cli import beside

    width = screen.columns()
    parts = [f"{found.source} → {found.target}" if found.source else ""]
    if rows := [beside.row(one) for one in found.results if not one.problem]:
        parts += [screen.table(beside.TITLES, rows, width), beside.LEGEND]
    parts += ["\n".join(beside.way(one, width)) for one in found.results]
    return "\n\n".join(filter(None, parts))
