"""misses: what the kernel asks of a tunnel, and what it is told."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import options, screen
from k8snetlab.cli.options import LabOption, OutputOption, client_of, complete_node, example

if TYPE_CHECKING:
    from k8snetlab.messages.nodes import AnsweredMiss, MissEvent


def register(app: typer.Typer) -> None:
    app.command(epilog=example("misses --node node1"))(misses)


def misses(
    node: Annotated[
        str | None,
        typer.Option("--node", metavar="NODE", autocompletion=complete_node, help="One node; all where left out."),
    ] = None,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Show live what the kernel asks for and is told, where `resolve: on-miss`. Ctrl-C ends it."""
    from k8snetlab.messages.nodes import MISSES, MissesQuestion

    with contextlib.suppress(KeyboardInterrupt):
        for event in client_of(lab).stream(MISSES, MissesQuestion(node or "")):
            _show(event, output is not None)


def _show(event: MissEvent, as_json: bool) -> None:
    from k8snetlab.messages.nodes import AnsweredMiss, Listening

    if isinstance(event, Listening):
        screen.say(f"listening on {', '.join(event.nodes)}; Ctrl-C ends it", err=True)
    elif not isinstance(event, AnsweredMiss):
        screen.say(f"warning: {event.message}", err=True)
    elif as_json:
        typer.echo(options.as_json(event))
    else:
        screen.say(line(event))


def line(event: AnsweredMiss) -> str:
    """One question and its answer in words."""
    from datetime import datetime

    clock = datetime.fromtimestamp(event.time).strftime("%H:%M:%S.%f")[:-3]
    again = " again" if event.state == "PROBE" else ""
    question = f"{clock} {event.node} {event.device}: {event.miss} miss, {_asked(event)}{again}?"
    if not event.key:
        return f"{question} nobody knows, no answer"
    answer = f"{event.lladdr}, which is at {event.dst}" if event.miss == "L3" else f"at {event.dst}"
    if event.error:
        return f"{question} {answer}, but the kernel refuses it: {event.error}"
    return f"{question} {answer} ({event.key}, {event.microseconds:.0f} µs)"


def _asked(event: AnsweredMiss) -> str:
    return f"who has {event.address}" if event.miss == "L3" else f"where is {event.address}"
