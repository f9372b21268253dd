"""follow: the steps of an object, live."""

from __future__ import annotations

import contextlib
import sys
import textwrap
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import options, screen
from k8snetlab.cli.options import LabOption, NamespaceOption, OutputOption, client_of, example

if TYPE_CHECKING:
    from k8snetlab.messages.follow import Step

REV, WHO, LEAST = 6, 24, 20
"""Columns of a revision, of who did a step, and, at least, of what it was; with fewer it stays one line."""


class Until(StrEnum):
    READY = "ready"


def register(app: typer.Typer) -> None:
    app.command(epilog=example("follow deploy/web --until ready"))(follow)


def follow(
    obj: Annotated[str, typer.Argument(metavar="KIND/NAME", help="An object, or one that is still to come.")],
    namespace: NamespaceOption = "default",
    until: Annotated[
        Until | None, typer.Option("--until", help="End when it is ready and a packet was answered.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="DURATION", parser=options.duration, help="How long at most: 30s, 2m.")
    ] = 0.0,
    *,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Show live what is done for an object: writes, events, rules, the first packet. Ctrl-C ends it."""
    from k8snetlab.cli.kinds import brought, resource_of
    from k8snetlab.errors import InputError
    from k8snetlab.messages.follow import FOLLOW, FollowQuestion

    kind, _, name = obj.partition("/")
    if not name:
        raise InputError(f"{obj}: a kind, a slash and a name", f"deploy/{obj}, pod/{obj}, svc/{obj}")
    client = client_of(lab)
    resource = resource_of(kind, lambda: brought(client))
    question = FollowQuestion(resource.kind, name, namespace if resource.type.namespaced else "", int(timeout * 1000))
    began, ready, said = 0.0, False, False
    with contextlib.suppress(KeyboardInterrupt):
        for step in client.stream(FOLLOW, question):
            if not said and not output and sys.stdout.isatty():
                screen.say(f"following {obj}; Ctrl-C ends it", err=True)
            said = True
            began = began or (0.0 if step.before else step.at)
            typer.echo(options.as_json(step)) if output else screen.say(line(step, began))
            if ready := step.kind == "ready" and until is not None:
                break
    if until and not ready:
        screen.say(f"{obj} is not ready" + (f" after {timeout:g} s" if timeout else ""), err=True)
        raise typer.Exit(1)


def line(step: Step, began: float) -> str:
    """The time, the revision, who, and what; the first step has the clock."""
    since = "before" if step.before else f"{(step.at - began) * 1000:.0f} ms"
    revision = str(step.revision or "").rjust(REV)
    who = f"{step.who} {step.node}".strip()
    if step.kind == "event":
        what = f"event {step.object}: {step.what}"
    elif step.kind == "ready":
        return f"{since.rjust(9)} {step.what}, at {datetime.fromtimestamp(step.at):%H:%M:%S}"
    else:
        what = step.what
    head = f"{since.rjust(9)} {revision}  {who.ljust(WHO)} "
    width = screen.columns()
    if width is None or width - len(head) < LEAST:
        return f"{head}{what}"
    return textwrap.fill(what, width, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
