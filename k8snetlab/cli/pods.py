"""exec, shell, logs: inside a pod or a node."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from k8snetlab.cli.options import (
    LabOption,
    NamespaceOption,
    client_of,
    complete_place,
    complete_pod,
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
    from k8snetlab.lab.exec import enter

    enter(client_of(lab), place, namespace, command)


def shell(place: PlaceArgument, namespace: NamespaceOption = "default", lab: LabOption = None) -> None:
    """Open your shell inside a pod or node."""
    need_root("shell")
    from k8snetlab.lab.exec import enter, own_shell

    enter(client_of(lab), place, namespace, own_shell())


def logs(
    pod: Annotated[str, typer.Argument(metavar="POD", autocompletion=complete_pod)],
    container: Annotated[str, typer.Option("-c", "--container", help="Which one, where there are more.")] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
    namespace: NamespaceOption = "default",
    lab: LabOption = None,
) -> None:
    """Print what a pod's containers wrote."""
    for chunk in client_of(lab).logs(namespace, pod.removeprefix("pod/"), container, follow):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
