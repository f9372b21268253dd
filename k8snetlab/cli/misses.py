"""misses: what the kernel asks of a tunnel, and what it is told."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import LabOption, OutputOption, client_of, complete_node, example


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
    with contextlib.suppress(KeyboardInterrupt):
        for event in client_of(lab).misses(node or ""):
            _show(event, output is not None)


def _show(event: Mapping[str, Any], as_json: bool) -> None:
    if event["type"] == "listening":
        screen.say(f"listening on {', '.join(event['nodes'])}; Ctrl-C ends it", err=True)
    elif event["type"] == "warning":
        screen.say(f"warning: {event['message']}", err=True)
    elif as_json:
        import json

        typer.echo(json.dumps({key: value for key, value in event.items() if key != "type"}, ensure_ascii=False))
    else:
        screen.say(line(event))


def line(event: Mapping[str, Any]) -> str:
    """One question and its answer in words."""
    from datetime import datetime

    clock = datetime.fromtimestamp(event["time"]).strftime("%H:%M:%S.%f")[:-3]
    again = " again" if event["state"] == "PROBE" else ""
    question = f"{clock} {event['node']} {event['device']}: {event['miss']} miss, {_asked(event)}{again}?"
    if not event["key"]:
        return f"{question} nobody knows, no answer"
    answer = f"{event['lladdr']}, which is at {event['dst']}" if event["miss"] == "L3" else f"at {event['dst']}"
    if event["error"]:
        return f"{question} {answer}, but the kernel refuses it: {event['error']}"
    return f"{question} {answer} ({event['key']}, {event['microseconds']:.0f} µs)"


def _asked(event: Mapping[str, Any]) -> str:
    return f"who has {event['address']}" if event["miss"] == "L3" else f"where is {event['address']}"
