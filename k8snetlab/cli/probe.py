"""probe: who reaches whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from k8snetlab.cli import screen
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
from k8snetlab.wording import whole


def register(app: typer.Typer) -> None:
    app.command(epilog=example("probe client business-manager:80"))(probe)


def probe(
    source: Annotated[
        str | None, typer.Argument(metavar="FROM", autocompletion=complete_place, help="A pod, a node or outside.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TO[:PORT]", autocompletion=complete_target, help="A pod, a Service, a node or an address."
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
    if source is None or target is None:
        protocols = [protocol.value] if protocol else ["TCP", "UDP"]
        from k8snetlab.cli import progress

        client = client_of(lab)
        with progress.patient("everyone asks everything", quiet=output is not None):
            answer = client.probe_all(protocols)
    else:
        to, port = split_target(target)
        wanted = protocol or Protocol.TCP
        within = (namespace,) if namespace else ()
        answer = client_of(lab).probe(source, to, port, wanted.value, *within)
    results = answer["results"]
    if output:
        print_json(answer)
    elif everything:
        from k8snetlab.cli import matrix

        typer.echo(matrix.draw(results))
    else:
        for result in results:
            screen.say(line(result))
    good = "ok" if everything else "reached"
    if not results or not all(result[good] for result in results):
        raise typer.Exit(1)


def split_target(text: str) -> tuple[str, int | None]:
    """("client", 80) of "client:80"; an IPv6 address with a port stands in brackets, as in a URL."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InputError(f"{text!r}: the bracket is not closed", "write [fd00::1]:80")
        port = rest[1:]
    elif text.count(":") > 1:
        return text, None
    else:
        host, _, port = text.partition(":")
    if not host or (not port and text.endswith(":")):
        raise InputError(f"{text!r} is not TO or TO:PORT", "k8snetlab probe client business-manager:80")
    if port and not whole(port, 65536):
        raise InputError(
            f"{text!r}: port {port!r} is not a number from 1 to 65535",
            "a port is a number here; `k8snetlab get services` shows them",
        )
    return host, int(port) if port else None


def line(result: Mapping[str, Any]) -> str:
    """One result in words."""
    head = f"{result['from']} → {result['to']} {end(result)} {str(result['protocol']).lower()}"
    if not result["reached"]:
        error = str(result["error"])
        return f"{head}: {error}" if error.startswith("no answer") else f"{head}: no answer: {error}"
    took = f"in {result['milliseconds']:.1f} ms"
    if not result["answeredBy"]:
        return f"{head}: answered {took}"
    place = " on ".join(filter(None, (result["answeredIP"], result["answeredNode"])))
    saw = f", saw client {result['client']}" if result["client"] else ""
    return f"{head}: answered by {result['answeredBy']} ({place}) {took}{saw}"


def end(result: Mapping[str, Any]) -> str:
    """Address and port of what was asked; a ping has no port."""
    address = str(result["address"])
    if str(result["protocol"]).upper() == "ICMP":
        return address
    return f"[{address}]:{result['port']}" if ":" in address else f"{address}:{result['port']}"
