"""dig: which queries a name costs, and who answers them."""

from __future__ import annotations

from typing import Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    AnyNamespaceOption,
    LabOption,
    OutputOption,
    client_of,
    complete_place,
    example,
    print_json,
)


def register(app: typer.Typer) -> None:
    app.command(epilog=example("dig client my-service"))(dig)


def dig(
    source: Annotated[str, typer.Argument(metavar="POD", autocompletion=complete_place, help="Who asks.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name, or an address whose name is asked for.")],
    type_: Annotated[
        str, typer.Argument(metavar="[TYPE]", help="Of the records: SRV, PTR, TXT …; A and AAAA where left out.")
    ] = "",
    musl: Annotated[bool, typer.Option("--musl", help="Ask as musl does (Alpine), not as glibc.")] = False,
    namespace: AnyNamespaceOption = "",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Show the queries that a resolver makes of a name, one by one, and who answers each.

    They are sent from the pod, by its own resolv.conf. The exit code is 1 when nothing is found or nobody answers.
    """
    from k8snetlab.messages.dig import DIG, DigQuestion

    asked = DigQuestion(source, name, type_, "musl" if musl else "glibc", namespace)
    answer = client_of(lab).call(DIG, asked)
    if output:
        print_json(answer)
    else:
        from k8snetlab.cli import dug

        for line in dug.lines(answer):
            screen.say(line)
    if not answer.found:
        raise typer.Exit(1)
