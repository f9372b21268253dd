"""audit: what of this machine is a lab's, and what was left behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli.options import OutputOption, example, need_root, print_json

if TYPE_CHECKING:
    from k8snetlab.checkup.audit import AuditReport


def register(app: typer.Typer) -> None:
    app.command(epilog=example("audit --baseline before.json"))(audit)


def audit(
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline", metavar="FILE", help="Compare with what FILE says the machine had; where it is new, write it."
        ),
    ] = None,
    output: OutputOption = None,
) -> None:
    """List everything on this machine that belongs to a lab, and what looks like a lab's but belongs to none.

    Nothing is changed. The exit code is 1 when there is something that belongs to no lab, or, with --baseline, when the
    machine is not what it was.
    """
    need_root("audit")
    from k8snetlab.checkup import audit as auditing

    before = auditing.read_baseline(baseline) if baseline else None
    if baseline and before is None:
        kept = auditing.write_baseline(baseline)
        if output:
            print_json(auditing.BaselineWritten(str(baseline), len(kept.things)))
        else:
            typer.echo(f"{baseline} says now what this machine has: {len(kept.things)} things")
        return
    report = auditing.audit(before)
    if output:
        print_json(report)
    else:
        _show(report)
    if not report.clean:
        raise typer.Exit(1)


def _show(report: AuditReport) -> None:
    from k8snetlab.checkup.audit import shown
    from k8snetlab.cli.views import table

    if report.added is None or report.gone is None:
        rows = list(shown(report))
        if rows:
            typer.echo(table(("LAB", "KIND", "NAME"), rows))
        strays = len(report.strays)
        if strays:
            typer.echo(
                f"{strays} {'belongs' if strays == 1 else 'belong'} to no lab (-): left by a crash, another program's, "
                "or of a lab in another run directory (K8SNETLAB_RUN)"
            )
        elif not rows:
            typer.echo("nothing here belongs to a lab")
        return
    for sign, things in (("+", report.added), ("-", report.gone)):
        for thing in things:
            typer.echo(f"{sign} {thing.kind} {thing.name}{f' ({thing.of})' if thing.of else ''}")
    if report.clean:
        typer.echo("this machine is what it was")
