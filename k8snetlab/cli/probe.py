"""probe: who reaches whom."""

from __future__ import annotations

from typing import Annotated

import typer

from k8snetlab.cli import named, screen
from k8snetlab.cli.options import (
    AnyNamespaceOption,
    LabOption,
    OldProtocolOption,
    OutputOption,
    Protocol,
    client_of,
    complete_place,
    complete_target,
    example,
    print_json,
)
from k8snetlab.errors import InputError


def register(app: typer.Typer) -> None:
    app.command(epilog=example("probe client business-manager:80"))(probe)


def probe(
    source: Annotated[
        str | None, typer.Argument(metavar="FROM", autocompletion=complete_place, help="A pod, a node or outside.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TO[:PORT]",
            autocompletion=complete_target,
            help="A pod, a Service, a node, an address; DNS is asked of a URL or a.b.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everyone asks everything, as a matrix.")] = False,
    protocol: Annotated[
        Protocol | None,
        typer.Option("-p", "--protocol", case_sensitive=False, help="TCP where left out; with --all, TCP and UDP."),
    ] = None,
    proto: OldProtocolOption = None,
    namespace: AnyNamespaceOption = "",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Send real packets and say who answered. The exit code is 1 when someone did not.

    With --protocol ICMP it is a ping, which needs no port.
    """
    protocol = protocol or proto
    if everything == (source is not None) or (source is None) != (target is None):
        raise InputError("probe takes FROM and TO[:PORT], or --all alone", "k8snetlab probe client business-manager:80")
    from msgspec.structs import replace

    from k8snetlab.messages.probe import PROBE, ProbeQuestion, ProbeResults

    if source is None or target is None:
        protocols = (protocol.value,) if protocol else ("TCP", "UDP")
        from k8snetlab.cli import progress

        client = client_of(lab)
        with progress.patient("everyone asks everything", quiet=output is not None):
            answer = client.call(PROBE, ProbeQuestion(protocols=protocols))
    else:
        to = named.looked_up(lab, source, target, namespace, quiet=output is not None)
        wanted = (protocol or Protocol.TCP).value
        answer = ProbeResults((), dns=to.dns)
        if to.name:
            question = ProbeQuestion(source, to.name, to.port, (wanted,), namespace)
            answer = replace(client_of(lab).call(PROBE, question), dns=to.dns)
    results = answer.results
    if output:
        print_json(answer)
    elif everything:
        from k8snetlab.cli import matrix

        few = answer.pairs <= len(results)
        typer.echo(matrix.draw(results) if few else "\n".join(matrix.summed(results, answer.pairs)))
    else:
        from k8snetlab.cli import probed

        for result in results:
            screen.say(probed.line(result))
    if not results or not all(result.ok if everything else result.reached for result in results):
        raise typer.Exit(1)
