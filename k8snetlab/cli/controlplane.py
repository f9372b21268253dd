"""controlplane status: who leads, which members there are and how each is, how far nodes are behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.ages import age
from k8snetlab.cli.options import LabOption, OutputOption, client_of, example, print_json

if TYPE_CHECKING:
    from k8snetlab.messages.controlplane import ControlPlane, LeaderState


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
    """Show who leads, how each member of the control plane is, and how far each node is behind the store."""
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
    width, members = screen.columns(), [*_members(found)]
    leaders = [(one.name, _leader(one), age(one.since), str(one.transitions)) for one in found.leaders]
    answers = "answers" if found.healthy else f"does not answer: {found.problem}"
    term = max((one.term for one in found.etcd), default=0)
    agents = [(one.node, _revision(one.revision), str(one.behind)) for one in found.agents]
    parts = [
        screen.table(("LEASE", "LEADER", "FOR", "TRANSITIONS"), leaders, width) if leaders else "nobody leads yet",
        screen.table(("MEMBER", "ADDRESS", "REVISION", "BEHIND", "STATE"), members, width)
        if members
        else "no API in pods' reach",
        f"store {found.store} at {', '.join(found.members)}: {answers}, revision {found.revision}"
        + (f", term {term}" if term else ""),
        screen.table(("NODE", "REVISION", "BEHIND"), agents, width) if agents else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _leader(one: LeaderState) -> str:
    host = one.holder.partition("_")[0]
    return f"nobody ({host} until {age(one.renewed)} ago)" if one.late and host else host or "nobody"


def _members(found: ControlPlane) -> Iterator[tuple[str, ...]]:
    """All of it, from what is asked to what keeps."""
    standing = {one.name: one for one in found.components}
    for one in standing.values():
        if not _has_lease(one.name):
            yield (one.name, found.balancer, "", "", one.problem or "ready")
    if found.machines:
        for machine in found.machines:
            state = machine.problem or ("leader" if machine.leads else "standby")
            yield (machine.node, machine.address, _revision(machine.revision), str(machine.behind), state)
    else:
        for server in found.servers:
            yield (server.name or f"API in {server.node}", server.address, "", "", server.problem or "ready")
    for member in found.etcd:
        lag = ("", "") if member.problem else (str(member.revision), str(member.behind))
        state = member.problem or ("leader" if member.leads else "follower")
        yield (member.name or "etcd", member.endpoint.partition("://")[2], *lag, state)
    for one in standing.values():
        if _has_lease(one.name):
            yield (one.name, one.node, "", "", one.problem or ("leader" if one.leads else "standby"))


def _has_lease(name: str) -> bool:
    return name.startswith("kube-")


def _revision(number: int) -> str:
    return str(number) if number >= 0 else ""
