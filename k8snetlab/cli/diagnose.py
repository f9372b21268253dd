"""diagnose: what is wrong, the likeliest cause first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    LabOption,
    OutputOption,
    client_of,
    complete_node,
    example,
    need_root,
    print_json,
)
from k8snetlab.errors import DaemonError
from k8snetlab.wording import counted

if TYPE_CHECKING:
    from k8snetlab.messages.diagnose import Diagnosis, DiagnosisQuestion, ReportedFinding

PROGRESS_DELAY = 1.0
"""Seconds after which progress is shown."""

COMMAND = 9
"""Columns before a command."""
ENDING = 5.0
"""Seconds that a daemon which does not answer any more may take to end."""


def register(app: typer.Typer) -> None:
    app.command(epilog=example("diagnose --node node1"))(diagnose)


def diagnose(
    node: Annotated[
        str,
        typer.Option("--node", metavar="NODE", autocompletion=complete_node, help="Only what concerns NODE."),
    ] = "",
    predict_only: Annotated[bool, typer.Option("--predict-only", help="Send no packet.")] = False,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Compare kernel, desired state and store, walk the usual paths, and name what is broken, likeliest cause first.

    Nothing is mended. The exit code is 1 when something is wrong. It works without the lab's daemon too.
    """
    from k8snetlab.messages.diagnose import DiagnosisQuestion

    answer = _answer(client_of(lab).lab, DiagnosisQuestion(node, predict_only))
    if output:
        print_json(answer)
    else:
        typer.echo("\n".join(folded(lines(answer))))
    if answer.findings:
        raise typer.Exit(1)


def _answer(lab: str, question: DiagnosisQuestion) -> Diagnosis:
    from k8snetlab.state.ledger import living
    from k8snetlab.state.paths import LabPaths

    began = time.monotonic()
    try:
        process = living(LabPaths(lab).ledger, "daemon")
    except PermissionError:  # of the group that may look: the daemon alone can tell
        return _told(lab, question, began)
    if process is None or process.halted:
        return _without_daemon(lab, question, began)
    try:
        return _told(lab, question, began)
    except DaemonError:
        deadline = time.monotonic() + ENDING
        while process.alive and not process.halted:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        return _without_daemon(lab, question, began)


def _told(lab: str, question: DiagnosisQuestion, began: float) -> Diagnosis:
    """What the daemon answers."""
    from k8snetlab.client.client import Client
    from k8snetlab.messages.diagnose import DIAGNOSE, DiagnosisDone

    for event in Client(lab).stream(DIAGNOSE, question):
        if not isinstance(event, DiagnosisDone):
            _progress(event.phase, event.done, event.total, began)
    assert isinstance(event, DiagnosisDone)  # a stream that is whole ends with it
    return event


def _without_daemon(lab: str, question: DiagnosisQuestion, began: float) -> Diagnosis:
    need_root("diagnose")
    from k8snetlab.explain import desired, diagnosing
    from k8snetlab.state import drills
    from k8snetlab.state.paths import LabPaths

    paths = LabPaths(lab)
    drill = drills.running(paths)
    if drill is not None and not drill.diagnose:
        raise drills.off()
    return diagnosing.diagnose(
        lambda: desired.without_daemon(paths),
        paths,
        question,
        lambda phase, done, total: _progress(phase, done, total, began),
    )


def _progress(phase: str, done: int, total: int, began: float) -> None:
    """A line that the next one takes the place of; nothing for who is not there to see it, or is soon answered."""
    import sys

    if sys.stderr.isatty() and time.monotonic() - began > PROGRESS_DELAY:
        typer.echo(f"\r\x1b[K{phase} {done}/{total}\r" if total else f"\r\x1b[K{phase}\r", err=True, nl=False)


def _details(finding: ReportedFinding) -> Iterator[str]:
    yield f"   so: {finding.consequence}"
    for effect in finding.explains[:5]:
        yield f"   with it: {effect}"
    if len(finding.explains) > 5:
        yield f"   with it: {counted(len(finding.explains) - 5, 'thing')} more"
    for path in finding.paths[:3]:
        yield f"   broken: {path}"
    if len(finding.paths) > 3:
        yield f"   broken: {counted(len(finding.paths) - 3, 'path')} more"
    if finding.owner:
        yield f"   from: {finding.owner}"
    yield f"   see:  {finding.show}"
    for command in finding.mend.splitlines():
        yield f"   mend: {command}"


def folded(lines: Iterable[str]) -> Iterator[str]:
    """The lines as they fit on the terminal; commands can be copied as they stand there."""
    width = screen.columns()
    for line in lines:
        head, shell = line[:COMMAND], line[COMMAND:]
        if head in ("   see:  ", "   mend: "):
            yield from screen.command(shell, width, " " * COMMAND, head)
        else:
            yield from screen.fold(line, width, 6 if line.startswith("   ") else 3)


def lines(answer: Diagnosis) -> Iterator[str]:
    """The answer in words."""
    for number, finding in enumerate(answer.findings, 1):
        if number > 1:
            yield ""
        yield f"{number}. {finding.message}"
        yield from _details(finding)
    for finding in answer.closed:
        yield f"closed on purpose: {finding.message}"
    for note in answer.notes:
        yield f"note: {note}"
    paths = answer.paths
    walked = f"{counted(paths.walked, 'usual path')} walked" + (f", {paths.tried} tried" if paths.tried else "")
    if not answer.findings:
        where = " in what was looked at" if answer.sampled else ""
        yield f"nothing is wrong{where}: {walked} in {answer.seconds:.1f} s"
    else:
        yield f"{walked}, {counted(paths.broken, 'way')} broken"
