"""graph: the lab as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli.options import Form, LabOption, ScenarioFilesOption, client_of, example, form_of, print_json, write

if TYPE_CHECKING:
    from k8snetlab.api.snapshot import Snapshot
    from k8snetlab.lab.client import Client

FORMS = ("svg", "mermaid", "dot", "json")


def register(app: typer.Typer) -> None:
    app.command(epilog=example("graph -o lab.svg"))(graph)


def graph(
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FORM|FILE",
            help="svg, mermaid, dot or json; FILE.svg, .mmd or .dot writes FILE. Left out: mermaid.",
        ),
    ] = None,
    filename: ScenarioFilesOption = None,
    lab: LabOption = None,
) -> None:
    """Draw the lab: nodes, bridges, pods, addresses, tunnels, Services. With -f no lab needs to run."""
    form = form_of(output, FORMS) if output else Form("mermaid")
    snapshot = _settled(filename) if filename else _running(client_of(lab))
    import msgspec

    from k8snetlab.render.picture import picture
    from k8snetlab.render.picture_svg import svg
    from k8snetlab.render.picture_text import dot, mermaid

    drawn = picture(snapshot)
    if form.name == "json":
        print_json(msgspec.to_builtins(drawn))
        return
    text = {"svg": svg, "dot": dot, "mermaid": mermaid}[form.name](drawn)
    if form.file:
        write(form.file, text)
    else:
        typer.echo(text, nl=False)


def _settled(paths: list[str]) -> Snapshot:
    from k8snetlab.cli import manifests

    objects = manifests.load(paths, "graph")
    from k8snetlab.lab.render import settle

    return settle(objects)


def _running(client: Client) -> Snapshot:
    import msgspec

    from k8snetlab.api.scheme import BY_NAME
    from k8snetlab.api.snapshot import Snapshot

    kinds = [BY_NAME[kind].type for kind in ("lab", "node", "pod", "service", "endpointslice")]
    return Snapshot.of(msgspec.convert(obj, type_) for type_ in kinds for obj in client.list(type_.KIND))
