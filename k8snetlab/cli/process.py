"""process kill: what becomes of a pod or an add-on whose process is gone."""

from __future__ import annotations

from typing import Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    LabOption,
    NamespaceOption,
    OutputOption,
    client_of,
    complete_node,
    complete_pod,
    example,
    need_root,
    print_json,
)


def register(app: typer.Typer) -> None:
    process = typer.Typer(
        help="Processes of pods and add-ons, to be broken on purpose.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("process kill worker"),
    )
    process.command(epilog=example("process kill worker"))(kill)
    process.callback()(lambda: None)
    app.add_typer(process, name="process")


def kill(
    name: Annotated[
        str, typer.Argument(metavar="POD|ADDON", autocompletion=complete_pod, help="A pod, a guest, or bird, frr.")
    ],
    *,
    namespace: NamespaceOption = "default",
    node: Annotated[
        str, typer.Option("--node", metavar="NODE", autocompletion=complete_node, help="Of an add-on on several.")
    ] = "",
    container: Annotated[str, typer.Option("-c", "--container", help="One of the pod's, or pause.")] = "",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Kill the process of a pod's containers or of an add-on, as if it had crashed (SIGKILL).

    `-c pause` kills the process that holds the pod's namespaces: its sandbox is then made again.
    """
    need_root("process kill")
    from k8snetlab.messages.processes import KILL, KillQuestion

    done = client_of(lab).call(KILL, KillQuestion(name, namespace, node, container))
    if output:
        print_json(done)
        return
    what = f"pod {done.name}" if done.kind == "pod" else done.name
    screen.say(f"{what} on {done.node}: killed {', '.join(done.containers) or 'what was about to run'}")
