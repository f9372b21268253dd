"""The events of a long verb as a person sees them: live bars on a terminal, else one line for each phase."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, TypeVar, cast

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.outlet import Canvas, printable
from k8snetlab.errors import DaemonError
from k8snetlab.messages.changes import Changed, ChangeEvent, Done, Failed, ObjectChange, Outcome, PodFailure
from k8snetlab.messages.progress import Progress, Waiting, Warning
from k8snetlab.wording import counted

if TYPE_CHECKING:
    import rich.progress

E = TypeVar("E")
BEAT = 1.0
"""Seconds after which a person is told what is waited for."""
GROWTH = 2.0
"""A line that says the same again comes after so many times the time."""
SHOWN = 3
"""Reasons, or pods of one reason, that are shown before "and N more"."""


def follow(events: Iterable[ChangeEvent], *, quiet: bool = False, changes: bool = False) -> Outcome:
    """Show events as they come, and sum them up.

    `quiet` shows warnings only (the sum is printed as JSON later); `changes` prints a line for each changed object.
    Progress and warnings go to stderr, changes to stdout.
    """
    done = Done(0.0, (), (), ())
    warnings, changed, failed = list[str](), list[ObjectChange](), list[PodFailure]()
    try:
        for event in shown(events, quiet=quiet):
            match event:
                case Warning():
                    warnings.append(event.message)
                    screen.say(f"warning: {event.message}", err=True)
                case Failed():
                    failed.append(PodFailure(event.namespace, event.name, event.message))
                case Changed():
                    changed.append(ObjectChange(event.action, event.kind, event.name))
                    if changes and not quiet:
                        screen.say(f"{event.kind.lower()}/{event.name} {event.action}")
                case Done():
                    done = event
    finally:
        _print_failed(failed)
    objects = done.created, done.updated, done.deleted
    return Outcome(done.seconds, *objects, tuple(warnings), tuple(changed), tuple(failed))


def refuse_failed(outcome: Outcome) -> None:
    """Raises DaemonError when pods do not run; all else stands, and they are tried again, as on a real node."""
    pods = outcome.failed
    if not pods:
        return
    first = pods[0]
    where = "" if first.namespace == "default" else f" -n {first.namespace}"
    what = f"{counted(len(pods), 'pod')} {'does' if len(pods) == 1 else 'do'}"
    if "nodes are available" in first.message:
        hint = f"`k8snetlab schedule {first.name}{where}` shows what each node lacks"
    else:
        hint = f"k8snetlab logs {first.name}{where}"
    raise DaemonError(f"{what} not run", hint)


def _print_failed(pods: Iterable[PodFailure]) -> None:
    """A warning for each pod; many with the same reason are one."""
    by_reason: dict[str, list[PodFailure]] = {}
    for pod in pods:
        by_reason.setdefault(pod.message.partition(": ")[2], []).append(pod)
    for alike in by_reason.values():
        for pod in alike[:SHOWN]:
            screen.say(f"warning: {pod.message}", err=True)
        if len(alike) > SHOWN:
            screen.say(f"warning: and {len(alike) - SHOWN} more pods like this", err=True)


def shown(events: Iterable[E], *, quiet: bool = False) -> Iterable[E]:
    """The same events, each shown as it passes."""
    if quiet:
        return events
    return _bars(events) if sys.stderr.isatty() else _lines(events)


def _lines(events: Iterable[E]) -> Iterator[E]:
    """A line for each phase, when it is finished for the first time; at the end, one for each that never was. What is
    waited for is told when it has changed, and ever more rarely when it has not."""
    latest: dict[str, Progress] = {}
    printed: set[str] = set()
    last, again = "", 0.0
    try:
        for event in events:
            if isinstance(event, Progress):
                phase = event.phase
                latest[phase] = event
                if event.done >= event.total and phase not in printed:
                    printed.add(phase)
                    _print_phase(event)
            elif isinstance(event, Waiting):
                text = _reasons(event.reasons)
                if text != last or event.seconds >= again:
                    last, again = text, event.seconds * GROWTH
                    screen.say(f"waiting {event.seconds:.0f} s  {text}", err=True)
            yield event
    finally:
        for phase, unfinished in latest.items():
            if phase not in printed:
                _print_phase(unfinished)


def _reasons(reasons: Sequence[str]) -> str:
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return "; ".join(reasons[:SHOWN]) + more


def _print_phase(event: Progress) -> None:
    if not event.total and not event.message:
        return  # there was nothing of the kind
    count = f" {event.done}/{event.total}" if event.total else ""
    message = f"  {event.message}" if event.message else ""
    screen.say(f"{event.phase}{count}{message}", err=True)


def _bars(events: Iterable[E]) -> Iterator[E]:
    """A bar for each phase; the bars stay on the screen. Below them, while it lasts, what is waited for."""
    import rich.progress
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    columns = (
        TextColumn("{task.description:<14}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[message]}", style="dim", markup=False),
    )
    console = Console(file=cast(IO[str], Canvas(sys.stderr)))
    with rich.progress.Progress(*columns, console=console) as bars:
        drawn: dict[str, rich.progress.TaskID] = {}
        waiting = bars.add_task("waiting", total=None, message="", visible=False)
        room = max(20, console.width - 55)
        for event in events:
            if isinstance(event, Progress):
                _bar(bars, drawn, event)
            elif isinstance(event, Waiting):
                description, text = f"waiting {event.seconds:.0f} s", _first(event.reasons or ("",), room)
                bars.update(waiting, visible=True, description=description, message=printable(text))
            yield event
        bars.update(waiting, visible=False)


def _bar(bars: rich.progress.Progress, drawn: dict[str, rich.progress.TaskID], event: Progress) -> None:
    phase = event.phase
    if not event.total and phase not in drawn:
        if event.message:  # else there is nothing of the kind
            bars.console.print(printable(f"{phase:<14} {event.message}"), style="dim", markup=False)
        return
    if phase not in drawn:
        drawn[phase] = bars.add_task(phase, total=None, message="")
    bars.update(drawn[phase], completed=event.done, total=event.total, message=printable(event.message))


def _first(reasons: Sequence[str], room: int) -> str:
    """The first reason, cut to the columns there are, and how many more there are."""
    first, *others = reasons
    more = f" (+{len(others)})" if others else ""
    return (first if len(first) + len(more) <= room else first[: room - len(more) - 1] + "…") + more


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
