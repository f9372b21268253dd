"""controlplane status: who leads, which API servers and stores there are, how far nodes are behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import LabOption, OutputOption, client_of, example, print_json

if TYPE_CHECKING:
    from k8snetlab.messages.controlplane import ControlPlane


def register(app: typer.Typer) -> None:
    plane = typer.Typer(
        help="The lab's control plane: API, store, scheduler and controllers.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("controlplane status"),
    )
    plane.command(epilog=example("controlplane status"))(status)
    plane.callback()(lambda: None)
    app.add_typer(plane, name="controlplane")


def status(lab: LabOption = None, output: OutputOption = None) -> None:
    """Show who leads, where the API and the store are, and how far each node is behind the store."""
    from k8snetlab.messages.controlplane import CONTROL_PLANE
    from k8snetlab.messages.verb import Nothing

    found = client_of(lab).call(CONTROL_PLANE, Nothing())
    if output:
        print_json(found)
    else:
        screen.say(text(found))
    if not found.healthy:
        raise typer.Exit(1)


def text(found: ControlPlane) -> str:
    width = screen.columns()
    leaders = [(one.name, one.holder or "nobody", one.since, str(one.transitions)) for one in found.leaders]
    agents = [(one.node, str(one.revision), str(one.behind)) for one in found.agents]
    answers = "answers" if found.healthy else f"does not answer: {found.problem}"
    servers = [(one.node, f"https://{one.address}", one.problem or "ready") for one in found.servers]
    members = [
        (
            one.endpoint,
            one.problem or ("leader" if one.leads else "follower"),
            *(("", "", "", "") if one.problem else map(str, (one.term, one.index, one.revision, one.behind))),
        )
        for one in found.etcd
    ]
    parts = [
        screen.table(("LEASE", "LEADER", "SINCE", "TRANSITIONS"), leaders, width) if leaders else "nobody leads yet",
        screen.table(("API-SERVER", "ADDRESS", "STATE"), servers, width) if servers else "no API in pods' reach",
        f"balancer {found.balancer} (haproxy, at the router)" if found.balancer else "",
        screen.table(("MEMBER", "STATE", "TERM", "INDEX", "REVISION", "BEHIND"), members, width) if members else "",
        f"store {found.store} at {', '.join(found.members)}: {answers}, revision {found.revision}",
        screen.table(("NODE", "REVISION", "BEHIND"), agents, width) if agents else "",
    ]
    return "\n\n".join(part for part in parts if part)
