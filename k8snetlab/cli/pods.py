"""exec, shell, logs: inside a pod or a node."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    LabOption,
    NamespaceOption,
    client_of,
    complete_logged,
    complete_place,
    example,
    need_root,
)

PlaceArgument = Annotated[
    str,
    typer.Argument(metavar="POD|NODE", autocompletion=complete_place, help="A pod, a node, router or outside."),
]


def register(app: typer.Typer) -> None:
    app.command("exec", epilog=example("exec client -- ip route"))(execute)
    app.command(epilog=example("shell node1"))(shell)
    app.command(epilog=example("logs client -f"))(logs)


def execute(
    place: PlaceArgument,
    command: Annotated[list[str], typer.Argument(metavar="-- CMD", help="What to run there.")],
    namespace: NamespaceOption = "default",
    lab: LabOption = None,
) -> None:
    """Run a command inside a pod or node. The exit code is the command's."""
    need_root("exec")
    from k8snetlab.exec.asking import enter

    enter(client_of(lab), place, namespace, command)


def shell(place: PlaceArgument, namespace: NamespaceOption = "default", lab: LabOption = None) -> None:
    """Open a shell inside a pod or node: your own, on another machine that of its root."""
    need_root("shell")
    from k8snetlab.exec.asking import enter

    enter(client_of(lab), place, namespace)


def logs(
    pod: Annotated[
        str,
        typer.Argument(metavar="POD", autocompletion=complete_logged, help="Or deploy/NAME, rs/NAME, svc/NAME."),
    ],
    container: Annotated[str, typer.Option("-c", "--container", help="Which one, where there are more.")] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
    tail: Annotated[int, typer.Option("--tail", metavar="N", min=-1, help="The last N lines; -1: all.")] = -1,
    previous: Annotated[bool, typer.Option("-p", "--previous", help="Of the run before the last restart.")] = False,
    namespace: NamespaceOption = "default",
    lab: LabOption = None,
) -> None:
    """Print what a pod's container wrote."""
    from k8snetlab.client.choice import pods_of
    from k8snetlab.messages.places import LOGS, LogsQuestion

    client = client_of(lab)
    first, *others = pods_of(client, pod, namespace)
    if others:
        screen.say(f"{pod} has {len(others) + 1} pods; this is {first}", err=True)
    for piece in client.stream(LOGS, LogsQuestion(namespace, first, container, follow, tail, previous)):
        sys.stdout.buffer.write(piece.data)
        sys.stdout.buffer.flush()
