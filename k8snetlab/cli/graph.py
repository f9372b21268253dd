"""graph: the lab as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli.options import FilesOption, LabOption, client_of, example
from k8snetlab.errors import InputError

if TYPE_CHECKING:
    from k8snetlab.api.snapshot import Snapshot
    from k8snetlab.lab.client import Client

SUFFIXES = (".svg", ".mmd", ".dot")


def register(app: typer.Typer) -> None:
    app.command(epilog=example("graph -o lab.svg"))(graph)


def graph(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="FILE.svg, .mmd (Mermaid) or .dot; left out: Mermaid."),
    ] = None,
    filename: FilesOption = None,
    lab: LabOption = None,
) -> None:
    """Draw the lab: nodes, bridges, pods, addresses, tunnels, Services. With -f no lab needs to run."""
    if output and output.suffix not in SUFFIXES:
        raise InputError(f"{output}: what kind of picture?", f"end the file's name in {', '.join(SUFFIXES)}")
    snapshot = _settled(filename) if filename else _running(client_of(lab))
    from k8snetlab.render.picture import picture
    from k8snetlab.render.picture_svg import svg
    from k8snetlab.render.picture_text import dot, mermaid

    drawers = {".svg": svg, ".dot": dot, ".mmd": mermaid}
    text = drawers[output.suffix if output else ".mmd"](picture(snapshot))
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from None
    typer.echo(f"{output} written", err=True)


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
