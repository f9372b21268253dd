"""The events of a long verb as a person sees them: live bars on a terminal, else one line for each phase."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import IO, Any, cast

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.outlet import Canvas, printable
from k8snetlab.errors import DaemonError
from k8snetlab.wording import counted

Event = dict[str, Any]
BEAT = 1.0
"""Seconds after which a person is told what is waited for."""
GROWTH = 2.0
"""A line that says the same again comes after so many times the time."""
SHOWN = 3
"""Reasons, or pods of one reason, that are shown before "and N more"."""


def follow(events: Iterable[Event], *, quiet: bool = False, changes: bool = False) -> Event:
    """Show events as they come, and sum them up: {"seconds", "created", "updated", "deleted", "warnings", "changes",
    "failed"}; the latter are pods that do not run, {"namespace", "name", "message"}.

    `quiet` shows warnings only (the sum is printed as JSON later); `changes` prints a line for each changed object.
    Progress and warnings go to stderr, changes to stdout.
    """
    lists = ("created", "updated", "deleted", "warnings", "changes", "failed")
    outcome: Event = {"seconds": 0.0} | {name: [] for name in lists}
    try:
        for event in shown(events, quiet=quiet):
            match event["type"]:
                case "warning":
                    outcome["warnings"].append(event["message"])
                    screen.say(f"warning: {event['message']}", err=True)
                case "failed":
                    outcome["failed"].append({key: event[key] for key in ("namespace", "name", "message")})
                case "changed":
                    change = {key: event[key] for key in ("action", "kind", "name")}
                    outcome["changes"].append(change)
                    if changes and not quiet:
                        screen.say("{kind}/{name} {action}".format(**{**change, "kind": event["kind"].lower()}))
                case "done":
                    outcome |= {key: value for key, value in event.items() if key != "type"}
    finally:
        _print_failed(outcome["failed"])
    return outcome


def refuse_failed(outcome: Event) -> None:
    """Raises DaemonError when pods do not run; all else stands, and they are tried again, as on a real node."""
    pods = outcome["failed"]
    if not pods:
        return
    first = pods[0]
    where = "" if first["namespace"] == "default" else f" -n {first['namespace']}"
    what = f"{counted(len(pods), 'pod')} {'does' if len(pods) == 1 else 'do'}"
    if "nodes are available" in first["message"]:
        hint = f"`k8snetlab get nodes -o wide` shows why no node fits pod {first['name']}: labels and states"
    else:
        hint = f"k8snetlab logs {first['name']}{where}"
    raise DaemonError(f"{what} not run", hint)


def _print_failed(pods: list[Event]) -> None:
    """A warning for each pod; many with the same reason are one."""
    by_reason: dict[str, list[Event]] = {}
    for pod in pods:
        by_reason.setdefault(pod["message"].partition(": ")[2], []).append(pod)
    for alike in by_reason.values():
        for pod in alike[:SHOWN]:
            screen.say(f"warning: {pod['message']}", err=True)
        if len(alike) > SHOWN:
            screen.say(f"warning: and {len(alike) - SHOWN} more pods like this", err=True)


def shown(events: Iterable[Event], *, quiet: bool = False) -> Iterable[Event]:
    """The same events, each shown as it passes."""
    if quiet:
        return events
    return _bars(events) if sys.stderr.isatty() else _lines(events)


def _lines(events: Iterable[Event]) -> Iterator[Event]:
    """A line for each phase, when it is finished for the first time; at the end, one for each that never was. What is
    waited for is told when it has changed, and ever more rarely when it has not."""
    latest: dict[str, Event] = {}
    printed: set[str] = set()
    last, again = "", 0.0
    try:
        for event in events:
            if event["type"] == "progress":
                phase = event["phase"]
                latest[phase] = event
                if event["done"] >= event["total"] and phase not in printed:
                    printed.add(phase)
                    _print_phase(event)
            elif event["type"] == "waiting":
                text = _reasons(event["for"])
                if text != last or event["seconds"] >= again:
                    last, again = text, event["seconds"] * GROWTH
                    screen.say(f"waiting {event['seconds']:.0f} s  {text}", err=True)
            yield event
    finally:
        for phase, event in latest.items():
            if phase not in printed:
                _print_phase(event)


def _reasons(reasons: list[str]) -> str:
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return "; ".join(reasons[:SHOWN]) + more


def _print_phase(event: Event) -> None:
    if not event.get("total") and not event.get("message"):
        return  # there was nothing of the kind
    count = f" {event['done']}/{event['total']}" if event.get("total") else ""
    message = f"  {event['message']}" if event.get("message") else ""
    screen.say(f"{event['phase']}{count}{message}", err=True)


def _bars(events: Iterable[Event]) -> Iterator[Event]:
    """A bar for each phase; the bars stay on the screen. Below them, while it lasts, what is waited for."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description:<14}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[message]}", style="dim", markup=False),
    )
    console = Console(file=cast(IO[str], Canvas(sys.stderr)))
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, Any] = {}
        waiting = progress.add_task("waiting", total=None, message="", visible=False)
        room = max(20, console.width - 55)
        for event in events:
            if event["type"] == "progress" and not event["total"] and event["phase"] not in tasks:
                if not event["message"]:
                    yield event  # there is nothing of the kind
                    continue
                progress.console.print(printable(f"{event['phase']:<14} {event['message']}"), style="dim", markup=False)
            elif event["type"] == "progress":
                phase = event["phase"]
                if phase not in tasks:
                    tasks[phase] = progress.add_task(phase, total=None, message="")
                progress.update(
                    tasks[phase],
                    completed=event["done"],
                    total=event["total"],
                    message=printable(event.get("message", "")),
                )
            elif event["type"] == "waiting":
                first, *others = event["for"] or [""]
                more = f" (+{len(others)})" if others else ""
                text = first if len(first) + len(more) <= room else first[: room - len(more) - 1] + "…"
                description = f"waiting {event['seconds']:.0f} s"
                progress.update(waiting, visible=True, description=description, message=printable(text + more))
            yield event
        progress.update(waiting, visible=False)


@contextlib.contextmanager
def patient(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Says what is waited for, and for how long by now, while the block lasts longer than a second."""
    if quiet:
        yield
        return
    over = threading.Event()
    teller = threading.Thread(target=_tell, args=(what, over), daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _tell(what: str, over: threading.Event) -> None:
    began, again = time.monotonic(), BEAT
    terminal = sys.stderr.isatty()
    width = shutil.get_terminal_size().columns - 1
    while not over.wait(BEAT):
        seconds = time.monotonic() - began
        if terminal:
            typer.echo("\r" + f"waiting {seconds:.0f} s  {what}"[:width], err=True, nl=False)
        elif seconds >= again:
            again = seconds * GROWTH
            screen.say(f"waiting {seconds:.0f} s  {what}", err=True)
    if terminal and time.monotonic() - began > BEAT:
        typer.echo("\r" + " " * width + "\r", err=True, nl=False)
