"""up, down, status, pause, resume: the lab as a whole."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from k8snetlab.cli.options import (
    STORE_HELP,
    CaOption,
    CertOption,
    IfaceOption,
    InsecureOption,
    KeyOption,
    LabOption,
    OutputOption,
    client_of,
    complete_node,
    complete_scenario,
    example,
    need_root,
    print_json,
)
from k8snetlab.errors import ConflictError, DaemonError, InputError
from k8snetlab.wording import counted

NodeArgument = Annotated[str, typer.Argument(metavar="NODE", autocompletion=complete_node)]


def register(app: typer.Typer) -> None:
    app.command(epilog=example("up business-manager"))(up)
    app.command(epilog=example("down --all"))(down)
    app.command(epilog=example("status -o json"))(status)
    app.command(epilog=example("pause node1"))(pause)
    app.command(epilog=example("resume node1"))(resume)


def up(
    scenario: Annotated[
        str | None,
        typer.Argument(
            metavar="SCENARIO|DIR|FILE",
            autocompletion=complete_scenario,
            help="Left out: the current directory if it has a lab.yaml, else business-manager.",
        ),
    ] = None,
    node: Annotated[
        str, typer.Option("--node", metavar="NAME", help="This machine itself becomes that node of the lab.")
    ] = "",
    store: Annotated[str, typer.Option("--store", metavar="URL,…", help=STORE_HELP)] = "",
    iface: IfaceOption = "",
    ca: CaOption = "",
    cert: CertOption = "",
    key: KeyOption = "",
    insecure: InsecureOption = False,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Build a lab, or bring a running one to what its files say now."""
    import time

    from k8snetlab.api.lab import Lab
    from k8snetlab.cli import manifests, progress
    from k8snetlab.cli import node as nodes
    from k8snetlab.lab import scenarios

    began = time.monotonic()
    files = scenarios.find(scenario)
    loaded = manifests.of(files, machines=bool(node) or nodes.is_here(files, lab))
    objects = manifests.builtins(loaded)
    name = _named(objects, lab)
    need_root("up")
    from k8snetlab.lab.up import start

    body = objects[0] if objects[0]["kind"] == "Lab" else next(obj for obj in objects if obj["kind"] == "Lab")
    if place := nodes.place_of(body, node, iface, nodes.Shared(store, ca, cert, key, insecure)):
        client = nodes.begin(body, place)
    else:
        client = start(name, next((obj.spec.store for obj in loaded if isinstance(obj, Lab)), None))
    try:
        outcome = progress.follow(client.up(objects), quiet=output is not None)
        if place:
            client.joined()
    except (ConflictError, InputError):
        if place and place.fresh:
            nodes.withdraw(name, client)
        raise
    if output:
        print_json({"lab": name, **outcome})
    else:
        from k8snetlab.cli import summary

        typer.echo(summary.of(name, client, outcome, time.monotonic() - began))
    if outcome["failed"]:
        raise _not_running(outcome["failed"])


def _not_running(pods: list[dict[str, Any]]) -> DaemonError:
    """All else stands; pods that fail are tried again and again, as on a real node."""
    first = pods[0]
    where = "" if first["namespace"] == "default" else f" -n {first['namespace']}"
    what = f"{counted(len(pods), 'pod')} {'does' if len(pods) == 1 else 'do'}"
    if "nodes are available" in first["message"]:
        hint = f"`k8snetlab get nodes -o wide` shows why no node fits pod {first['name']}: labels and states"
    else:
        hint = f"k8snetlab logs {first['name']}{where}"
    return DaemonError(f"{what} not run", hint)


def _named(objects: list[dict[str, Any]], lab: str | None) -> str:
    """The lab's name: --lab, else its own, else "lab"; the Lab object is made to agree, or made where there is none."""
    existing = next((obj for obj in objects if obj["kind"] == "Lab"), None)
    if existing is None:
        existing = {"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab"}
        objects.insert(0, existing)
    metadata = existing.get("metadata", {})
    name: str = lab or metadata.get("name") or "lab"
    existing["metadata"] = {**metadata, "name": name}
    return name


def down(
    all_labs: Annotated[bool, typer.Option("--all", help="Every lab of this machine.")] = False,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Take a lab down; the machine is then what it was before `up`."""
    need_root("down")
    import time

    from k8snetlab.cli import progress
    from k8snetlab.lab.down import down as take_down

    began, gone = time.monotonic(), []
    for event in progress.shown(take_down(lab, all_labs), quiet=output is not None):
        if event["type"] == "done":
            gone.append({key: value for key, value in event.items() if key != "type"})
    seconds = time.monotonic() - began
    if output:
        print_json({"labs": gone, "seconds": round(seconds, 3)})
        return
    for one in gone:
        typer.echo(f"lab {one['lab']} is down: {counted(one['namespaces'], 'namespace')} removed")
    typer.echo(f"{'nothing to take down' if not gone else 'done'} in {seconds:.2f} s")


def status(lab: LabOption = None, output: OutputOption = None) -> None:
    """Show nodes, pods, Services, the agents and what has drifted."""
    state = client_of(lab).status()
    if output:
        print_json(state)
        return
    from k8snetlab.cli import summary

    typer.echo(summary.status(state))


def pause(node: NodeArgument, lab: LabOption = None, output: OutputOption = None) -> None:
    """Stop a node's repairs. What you break there then stays broken."""
    answer = client_of(lab).pause(node)
    if output:
        print_json(answer)
        return
    typer.echo(f"{node} is paused: nothing is repaired there until `k8snetlab resume {node}`")


def resume(node: NodeArgument, lab: LabOption = None, output: OutputOption = None) -> None:
    """Let a paused node's agent repair again."""
    answer = client_of(lab).resume(node)
    if output:
        print_json(answer)
        return
    typer.echo(f"{node} is resumed: its agent repairs what differs")
