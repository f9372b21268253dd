"""render: what a node would get, without root and without a lab."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import ScenarioFilesOption, example
from k8snetlab.errors import InputError


class Family(StrEnum):
    """An IP family: iptables or ip6tables."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


def register(app: typer.Typer) -> None:
    app.command(epilog=example("render -f business-manager --node node1 --rules"))(render)


def render(
    node: Annotated[str, typer.Option("--node", metavar="NODE", help="The node to render.")],
    filename: ScenarioFilesOption = None,
    rules: Annotated[bool, typer.Option("--rules", help="The text for iptables-restore --noflush.")] = False,
    links: Annotated[bool, typer.Option("--links", help="The ip and bridge commands, in order.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Both; so it is when nothing is chosen.")] = False,
    family: Annotated[Family, typer.Option("--family", help="Rules for iptables or for ip6tables.")] = Family.IPV4,
) -> None:
    """Print what a node would get. Needs neither root nor a running lab."""
    from k8snetlab.cli import manifests

    objects = manifests.load(filename, "render")
    from k8snetlab.api.selection import is_proxied_by_guest
    from k8snetlab.lab import render as rendering

    snapshot = rendering.settle(objects)
    plane = rendering.dataplane(snapshot, node, family.value)
    if is_proxied_by_guest(snapshot, node):
        screen.say(
            f"note: {node}'s rules of Services are left to a guest (proxy.mode external): the lab writes none of "
            "kube-proxy's, and these are what kube-proxy writes",
            err=True,
        )
    if links and not rendering.has_links(plane):
        raise InputError(
            "without a lab file there are no links to print, only rules",
            "add a file with kind: Lab, or ask for --rules",
        )
    both = everything or rules == links
    if both or links:
        for operation in rendering.operations(plane):
            typer.echo(str(operation))
    if both:
        typer.echo("\n# iptables-restore --noflush" if family is Family.IPV4 else "\n# ip6tables-restore --noflush")
    if both or rules:
        typer.echo(rendering.rules_text(plane), nl=False)
    if both:
        typer.echo("")
        for command in rendering.hooks(plane, family.value):
            typer.echo(command)
