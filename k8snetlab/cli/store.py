"""store status, dump, serve: where a lab's objects are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    OPEN_STORE,
    InsecureOption,
    LabOption,
    OutputOption,
    client_of,
    example,
    print_json,
)

DIRECTORY = Path("/var/lib/k8snetlab/etcd")
DirectoryOption = Annotated[Path, typer.Option("--directory", metavar="DIR", help="Where the store keeps its data.")]


def register(app: typer.Typer) -> None:
    store = typer.Typer(
        help="Where a lab's objects are kept.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("store dump"),
    )
    store.command(epilog=example("store status"))(status)
    store.command(epilog=example("store dump /registry/services"))(dump)
    store.command(epilog=example("store serve --listen https://192.168.56.11:2379"))(serve)
    app.add_typer(store, name="store")


def status(lab: LabOption = None, output: OutputOption = None) -> None:
    """Show the lab's store: does it answer, at which revision, how many objects of each kind."""
    from k8snetlab.messages.store import STORE_STATUS
    from k8snetlab.messages.verb import Nothing

    state = client_of(lab).call(STORE_STATUS, Nothing())
    if output:
        print_json(state)
    else:
        screen.say(f"{state.type} at {', '.join(state.where)}")
        if state.insecure:
            typer.secho(f"the store {OPEN_STORE}", fg="red")
        screen.say("answers" if state.healthy else f"does not answer: {state.problem}")
        screen.say(f"revision {state.revision}")
        for kind, count in state.objects.items():
            screen.say(f"  {count:>6} {kind}")
    if not state.healthy:
        raise typer.Exit(1)


def dump(
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Only keys that begin so.")] = "/",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Print every key and value, as `etcdctl get --prefix` would; -o json: a JSON line for each."""
    import json

    import msgspec

    from k8snetlab.messages.store import DUMP, DumpQuestion

    for entry in client_of(lab).stream(DUMP, DumpQuestion(prefix)):
        if output:
            typer.echo(json.dumps(msgspec.to_builtins(entry)))
        else:
            typer.echo(entry.key)
            typer.echo(json.dumps(entry.value))


def serve(
    listen: Annotated[str, typer.Option("--listen", metavar="URL", help="The address for clients.")] = (
        "https://127.0.0.1:2379"
    ),
    join_port: Annotated[
        int,
        typer.Option(
            "--join-port",
            min=0,
            max=65535,
            help="Where machines with a token get their certificate [default: the port below --listen's].",
        ),
    ] = 0,
    directory: DirectoryOption = DIRECTORY,
    insecure: InsecureOption = False,
) -> None:
    """Run an etcd for a workshop until Ctrl-C, with mutual TLS and a CA of its own.

    `k8snetlab token create` prints the command by which another machine joins. Plain http only with --insecure: then
    whoever reaches the store, any user of this machine among them, can run commands as root.
    """
    import signal

    from k8snetlab.store import serving

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    served = serving.start(directory, listen, join_port, insecure, lambda line: typer.echo(line, err=True))
    try:
        served.wait_ready()
        screen.say(f"etcd answers at {listen}, its data is in {directory}; Ctrl-C ends it", err=True)
        if insecure:
            typer.secho(f"warning: it {OPEN_STORE}", fg="red", err=True)
        else:
            typer.echo("`k8snetlab token create` prints how other machines join", err=True)
        served.wait()
    except KeyboardInterrupt:
        pass
    finally:
        served.stop()
