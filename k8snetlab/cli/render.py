"""render: what a node would get, without root and without a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from k8snetlab.cli.options import FilesOption, example
from k8snetlab.errors import InputError

if TYPE_CHECKING:
    from k8snetlab.dataplane.rules import Family


def register(app: typer.Typer) -> None:
    app.command(epilog=example("render -f scenarios/business-manager --node node1 --rules"))(render)


def render(
    node: Annotated[str, typer.Option("--node", metavar="NODE", help="The node to render.")],
    filename: FilesOption = None,
    rules: Annotated[bool, typer.Option("--rules", help="The text for iptables-restore --noflush.")] = False,
    links: Annotated[bool, typer.Option("--links", help="The ip and bridge commands.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Both (what is shown when nothing is chosen).")] = False,
    family: Annotated[
        str, typer.Option("--family", metavar="ipv4|ipv6", help="Whose rules: iptables or ip6tables.")
    ] = "ipv4",
) -> None:
    """Print what a node would get. Needs neither root nor a running lab."""
    pass
