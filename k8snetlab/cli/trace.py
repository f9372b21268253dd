"""trace: how a packet travels, and why."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from k8snetlab.cli.options import (
    LabOption,
    OutputOption,
    client_of,
    complete_node,
    complete_place,
    complete_target,
    example,
    print_json,
)
from k8snetlab.cli.probe import split_target
from k8snetlab.errors import InputError


class Traced(StrEnum):
    """The protocols that a packet can be traced of."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    SCTP = "sctp"


def register(app: typer.Typer) -> None:
    app.command(epilog=example("trace client business-manager:80"))(trace)


def trace(
    source: Annotated[
        str, typer.Argument(metavar="FROM", autocompletion=complete_place, help="A pod, a node or outside.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TO[:PORT]",
            autocompletion=complete_target,
            help="A pod, a Service, a node, an address or outside.",
        ),
    ],
    protocol: Annotated[Traced, typer.Option("--proto", case_sensitive=False, help="What is sent.")] = Traced.TCP,
    node: Annotated[
        str,
        typer.Option("--node", metavar="NODE", autocompletion=complete_node, help="Enter the Service by NODE's port."),
    ] = "",
    endpoint: Annotated[
        str, typer.Option("--endpoint", metavar="IP[:PORT]", help="Of a Service's ways show the one to this endpoint.")
    ] = "",
    predict_only: Annotated[bool, typer.Option("--predict-only", help="Send no packet.")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw it into FILE.")] = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print it as a Mermaid sequence diagram.")] = False,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Follow a packet and its answer hop by hop: predicted from what the kernel holds, then watched for real.

    The exit code is 1 when it is not answered, or went another way than predicted.
    """
    if endpoint and not predict_only:
        raise InputError("a real packet goes where chance sends it", "use --endpoint with --predict-only")
    if mermaid and output:
        raise InputError("--mermaid and -o are two forms of output", "choose one")
    name, port = split_target(target)
    answer = client_of(lab).trace(
        {
            "from": source,
            "to": name,
            "port": port,
            "protocol": protocol.value,
            "node": node,
            "endpoint": endpoint,
            "predictOnly": predict_only,
        }
    )
    if svg is not None:
        from k8snetlab.cli import sequence

        try:
            svg.write_text(sequence.svg(answer))
        except OSError as error:
            raise InputError(f"cannot write {svg}: {error.strerror}") from error
    if output:
        print_json(answer)
    elif mermaid:
        from k8snetlab.cli import sequence

        typer.echo(sequence.mermaid(answer))
    else:
        from k8snetlab.cli import story

        story.tell(answer)
    observed = answer["observed"]
    fate = observed["fate"] if observed else answer["ways"][answer["chosen"]]["fate"]
    if fate != "answered" or (observed and not observed["agrees"]):
        raise typer.Exit(1)
