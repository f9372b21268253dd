"""policy: what NetworkPolicies allow, from manifests alone or of a running lab."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import Form, LabOption, ScenarioFilesOption, client_of, example, form_of
from k8snetlab.errors import InputError

if TYPE_CHECKING:
    from k8snetlab.policies.world import World

FORMS = ("table", "json")
PROTOCOLS = ("TCP", "UDP", "SCTP")
_PORT = re.compile(r"([0-9]{1,5})(?:/([A-Za-z]{1,4}))?")


def register(app: typer.Typer) -> None:
    policy = typer.Typer(
        help="What NetworkPolicies allow: from manifests alone (-f) or of a running lab.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("policy matrix -f network-policy"),
    )
    policy.command(epilog=example("policy matrix -f network-policy --port 80/TCP"))(matrix)
    app.add_typer(policy, name="policy")


PortOption = Annotated[
    list[str] | None,
    typer.Option("--port", metavar="PORT[/PROTOCOL]", help="80/TCP, 53/UDP; again for more. Left out: all pods' own."),
]


def matrix(
    filename: ScenarioFilesOption = None,
    port: PortOption = None,
    places: Annotated[
        bool, typer.Option("--places", help="In JSON too: nodes and the host outside; a table has them anyway.")
    ] = False,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FORM|FILE", help="table or json. Left out: table.")
    ] = None,
    lab: LabOption = None,
) -> None:
    """Say who may reach whom, by both ends' policies. With -f neither root nor a lab is needed."""
    form = form_of(output, FORMS) if output else Form("table")
    asked = [port_of(text) for text in port or ()]
    world = _world(filename, lab)
    from k8snetlab.policies.matrix import matrix as judged

    ends = (*world.pods, *world.others) if places or form.name == "table" else world.pods
    found = judged(world.resolved, ends, dict.fromkeys(asked or world.ports))
    if form.name == "json":
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    for check in found.checks:
        said = "allowed" if check.allowed else "denied"
        screen.say(f"{check.from_} -> {check.to} {check.port}/{check.protocol}: {said}")


def port_of(text: str) -> tuple[str, int]:
    """(protocol, port) of 80, 80/TCP or 53/udp. Raises InputError."""
    found = _PORT.fullmatch(text)
    protocol = (found[2] or "TCP").upper() if found else ""
    if not found or not 1 <= int(found[1]) <= 65535 or protocol not in PROTOCOLS:
        raise InputError(
            f"--port {text}: no port", "write it like 80, 80/TCP, 53/UDP or 9999/SCTP; ports are 1 to 65535"
        )
    return protocol, int(found[1])


def _world(paths: list[str] | None, lab: str | None) -> World:
    from k8snetlab.cli import manifests, policy_world
    from k8snetlab.policies.world import world

    if paths:
        return world(policy_world.of_files(manifests.loaded(paths, "policy")))
    return world(policy_world.of_lab(client_of(lab)))
