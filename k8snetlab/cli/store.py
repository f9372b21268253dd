"""store status, dump, serve: where a lab's objects are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from k8snetlab.cli.options import LabOption, OutputOption, client_of, example, print_json

DIRECTORY = Path("/var/lib/k8snetlab/etcd")


def register(app: typer.Typer) -> None:
    store = typer.Typer(
        help="Where a lab's objects are kept.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("store dump"),
    )
    store.command(epilog=example("store status"))(status)
    store.command(epilog=example("store dump /registry/services"))(dump)
    store.command(epilog=example("store serve --listen http://192.168.56.11:2379"))(serve)
    app.add_typer(store, name="store")


def status(lab: LabOption = None, output: OutputOption = None) -> None:
    """Show the lab's store: does it answer, at which revision, how many objects of each kind."""
    state = client_of(lab).store_status()
    if output:
        print_json(state)
    else:
        typer.echo(f"{state['type']} at {', '.join(state['where'])}")
        typer.echo("answers" if state["healthy"] else f"does not answer: {state['problem']}")
        typer.echo(f"revision {state['revision']}")
        for kind, count in state["objects"].items():
            typer.echo(f"  {count:>6} {kind}")
    if not state["healthy"]:
        raise typer.Exit(1)


def dump(
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Only keys that begin so.")] = "/",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Print every key and value, as `etcdctl get --prefix` would; -o json: a JSON line for each."""
    import json

    for entry in client_of(lab).store_dump(prefix):
        if output:
            typer.echo(json.dumps(entry))
        else:
            typer.echo(entry["key"])
            typer.echo(json.dumps(entry["value"]))


def serve(
    listen: Annotated[str, typer.Option("--listen", metavar="URL", help="The address for clients.")] = (
        "http://127.0.0.1:2379"
    ),
    directory: Annotated[Path, typer.Option("--directory", metavar="DIR", help="Where it keeps its data.")] = DIRECTORY,
) -> None:
    """Run an etcd for a workshop until Ctrl-C. Labs on other machines name it in spec.store.endpoints."""
    import signal

    from k8snetlab.store.serve import serve as start

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    process = start(directory, listen)
    try:
        process.wait_ready()
        typer.echo(f"etcd answers at {listen}, its data is in {directory}; Ctrl-C ends it", err=True)
        if process.wait():
            raise process.ended()
    except KeyboardInterrupt:
        pass
    finally:
        process.stop()
