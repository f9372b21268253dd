"""trace: how a packet travels, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import named
from k8snetlab.cli.options import (
    AnyNamespaceOption,
    Form,
    LabOption,
    OldProtocolOption,
    Protocol,
    ProtocolOption,
    as_json,
    client_of,
    complete_node,
    complete_place,
    complete_target,
    example,
    form_of,
    print_json,
    write,
)
from k8snetlab.cli.targets import split_target
from k8snetlab.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from k8snetlab.messages.dig import Dig
    from k8snetlab.messages.ingress import HttpQuestion
    from k8snetlab.messages.trace import Trace

FORMS = ("json", "svg", "mermaid")


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
            help="A pod, a Service, a node, an address or outside; DNS is asked of a URL or a.b.",
        ),
    ],
    protocol: ProtocolOption = None,
    proto: OldProtocolOption = None,
    node: Annotated[
        str,
        typer.Option("--node", metavar="NODE", autocompletion=complete_node, help="Enter the Service by NODE's port."),
    ] = "",
    endpoint: Annotated[
        str, typer.Option("--endpoint", metavar="IP[:PORT]", help="Of a Service's ways show the one to this endpoint.")
    ] = "",
    predict_only: Annotated[bool, typer.Option("--predict-only", help="Send no packet.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Also all that decided between the hops, and who put it there.")
    ] = False,
    namespace: AnyNamespaceOption = "",
    lab: LabOption = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FORM|FILE", help="json, svg or mermaid; FILE.svg or .mmd draws it into FILE."
        ),
    ] = None,
    svg: Annotated[Path | None, typer.Option("--svg", hidden=True)] = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", hidden=True)] = False,
) -> None:
    """Follow a packet and its answer hop by hop: predicted from what the kernel holds, then watched for real.

    The exit code is 1 when it is not answered, or went another way than predicted.
    """
    if endpoint and not predict_only:
        raise InputError("a real packet goes where chance sends it", "use --endpoint with --predict-only")
    from k8snetlab.messages.ingress import HttpQuestion

    plain = not (node or endpoint or predict_only or protocol or proto or svg or mermaid)
    if plain and output in (None, "json") and _followed(lab, HttpQuestion(source, target, namespace), verbose, output):
        return
    if mermaid and output:
        raise InputError("--mermaid and -o are two forms of output", "choose one")
    form = form_of(output, FORMS) if output else Form("mermaid" if mermaid else "text")
    told = form.file or form.name == "text"
    to = (
        named.Target(*split_target(target)) if node else named.looked_up(lab, source, target, namespace, quiet=not told)
    )
    sent = (protocol or proto or Protocol.TCP).value.lower()
    from msgspec.structs import replace

    from k8snetlab.messages.trace import TRACE, TraceQuestion

    if to.dns and not to.name:
        _tell_unnamed(to.dns, to.port or 0, sent, form.name)
        raise typer.Exit(1)
    question = TraceQuestion(source, to.name, to.port, sent, node, endpoint, predict_only, namespace)
    answer = replace(client_of(lab).call(TRACE, question), dns=to.dns)
    for file in filter(None, (svg, form.file)):
        write(file, _drawn(answer, "svg" if file is svg else form.name))
    if told:
        _tell(answer, verbose)
    elif form.name == "json":
        print_json(answer)
    else:
        typer.echo(_drawn(answer, form.name))
    if answer.fate != "answered" or (answer.observed and not answer.observed.agrees):
        raise typer.Exit(1)


def _followed(lab: str | None, asked: HttpQuestion, verbose: bool, output: str | None) -> bool:
    """Follows a request for a URL where it is one to the lab's Ingress controller; whether it is."""
    if not asked.url.startswith(("http://", "https://")):
        return False
    from k8snetlab.cli import requested
    from k8snetlab.messages.ingress import HTTP_TRACE

    try:
        found = client_of(lab).call(HTTP_TRACE, asked)
    except NotFoundError:
        return False
    if output:
        print_json(found)
    else:
        requested.tell(found, verbose)
    if not found.good:
        raise typer.Exit(1)
    return True


def _tell_unnamed(dns: Dig, port: int, protocol: str, form: str) -> None:
    """A name without an address: no packet has a way. What text says of it is said by then."""
    from k8snetlab.cli import screen
    from k8snetlab.messages.trace import Trace

    why = f"{dns.source} finds no address of {dns.name}"
    if form == "json":
        print_json(
            Trace(dns.source, dns.sourceNode, dns.name, "address", "", port, protocol, (), 0, None, note=why, dns=dns)
        )
    elif form != "text":
        screen.say(f"error: {why}", err=True)


def _tell(answer: Trace, verbose: bool) -> None:
    """Prints the story, in short or whole."""
    from k8snetlab.cli import screen, story, summed
    from k8snetlab.dataplane.names import ROUTER

    width = screen.columns()
    for line, hang in story.lines_hung(answer) if verbose else summed.lines(answer):
        for part in screen.fold(line.shown, width, hang):
            typer.echo(part)
    if answer.behind is not None:
        to = f"{answer.behind.address}:{answer.behind.port}"
        of = answer.behind.source
        who = "haproxy in the router" if of == ROUTER else f"nginx of pod {of}"
        typer.echo(f"\n{who} has answered, and opens a connection of its own to {to}:\n")
        _tell(answer.behind, verbose)


def _drawn(answer: Trace, form: str) -> str:
    from k8snetlab.cli import sequence

    if form == "json":
        return as_json(answer, indent=2) + "\n"
    return sequence.svg(answer) if form == "svg" else sequence.mermaid(answer)
