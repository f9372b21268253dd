"""The events of a long verb as a person sees them: live bars on a terminal, else one line for each phase."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import typer

Event = dict[str, Any]


def follow(events: Iterable[Event], *, quiet: bool = False, changes: bool = False) -> Event:
    """Show events as they come, and sum them up: {"seconds", "created", "updated", "deleted", "warnings", "changes",
    "failed"}; the latter are pods that do not run, {"namespace", "name", "message"}.

    `quiet` shows warnings only (the sum is printed as JSON later); `changes` prints a line for each changed object.
    Progress and warnings go to stderr, changes to stdout.
    """
    lists = ("created", "updated", "deleted", "warnings", "changes", "failed")
    outcome: Event = {"seconds": 0.0} | {name: [] for name in lists}
    for event in shown(events, quiet=quiet):
        match event["type"]:
            case "warning":
                outcome["warnings"].append(event["message"])
                typer.echo(f"warning: {event['message']}", err=True)
            case "failed":
                outcome["failed"].append({key: event[key] for key in ("namespace", "name", "message")})
                typer.echo(f"warning: {event['message']}", err=True)
            case "changed":
                change = {key: event[key] for key in ("action", "kind", "name")}
                outcome["changes"].append(change)
                if changes and not quiet:
                    typer.echo("{kind}/{name} {action}".format(**{**change, "kind": event["kind"].lower()}))
            case "done":
                outcome |= {key: value for key, value in event.items() if key != "type"}
    return outcome


def shown(events: Iterable[Event], *, quiet: bool = False) -> Iterable[Event]:
    """The same events, each shown as it passes."""
    if quiet:
        return events
    return _bars(events) if sys.stderr.isatty() else _lines(events)


def _lines(events: Iterable[Event]) -> Iterator[Event]:
    """A line for each phase, when it is finished for the first time; at the end, one for each that never was."""
    latest: dict[str, Event] = {}
    printed: set[str] = set()
    try:
        for event in events:
            if event["type"] == "progress":
                phase = event["phase"]
                latest[phase] = event
                if event["done"] >= event["total"] and phase not in printed:
                    printed.add(phase)
                    _print_phase(event)
            yield event
    finally:
        for phase, event in latest.items():
            if phase not in printed:
                _print_phase(event)


def _print_phase(event: Event) -> None:
    count = f" {event['done']}/{event['total']}" if event.get("total") else ""
    message = f"  {event['message']}" if event.get("message") else ""
    typer.echo(f"{event['phase']}{count}{message}", err=True)


def _bars(events: Iterable[Event]) -> Iterator[Event]:
    """A bar for each phase; the bars stay on the screen."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description:<14}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[message]}", style="dim", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, Any] = {}
        for event in events:
            if event["type"] == "progress" and not event["total"]:
                progress.console.print(f"{event['phase']:<14} {event['message']}", style="dim", markup=False)
            elif event["type"] == "progress":
                phase = event["phase"]
                if phase not in tasks:
                    tasks[phase] = progress.add_task(phase, total=None, message="")
                progress.update(
                    tasks[phase],
                    completed=event["done"],
                    total=event["total"],
                    message=event.get("message", ""),
                )
            yield event
