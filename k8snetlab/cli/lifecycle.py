"""up, down, status, pause, resume: the lab as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    STORE_HELP,
    CaOption,
    CertOption,
    IfaceOption,
    InsecureOption,
    KeyOption,
    LabOption,
    NodeArgument,
    OutputOption,
    TimeoutOption,
    Wait,
    WaitOption,
    client_of,
    complete_scenario,
    example,
    need_root,
    print_json,
    untagged,
)
from k8snetlab.errors import ConflictError, InputError, UnconfirmedError, UnsupportedError
from k8snetlab.messages.timeouts import CHANGE_TIMEOUT
from k8snetlab.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8snetlab.api.load import Loaded
    from k8snetlab.api.meta import Object
    from k8snetlab.client.client import Client
    from k8snetlab.lab.ahead import Ahead
    from k8snetlab.messages.changes import Outcome, Up


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
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Go on where more objects would be deleted than are kept.")
    ] = False,
    timeout: TimeoutOption = CHANGE_TIMEOUT,
    wait: WaitOption = Wait.TRUE,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Build a lab, or bring a running one to what its files say now."""
    import time

    from k8snetlab.api import lab_names
    from k8snetlab.lab.ahead import ahead
    from k8snetlab.state import scenarios

    began = time.monotonic()
    files = scenarios.find(scenario)
    with ahead("" if node else lab or lab_names.likely(files)) as loading:
        from k8snetlab.cli import node as nodes
        from k8snetlab.cli import progress
        from k8snetlab.messages.changes import Up
        from k8snetlab.state.paths import LabPaths

        loaded = _loaded(files, lab, bool(node) or nodes.is_here(files, lab), loading)
        body = _named(loaded.objects, lab)
        name = body["metadata"]["name"]
        need_root("up")
        place = nodes.plan_of(body, node, iface, nodes.Shared(store, ca, cert, key, insecure))
        fresh = place.fresh if place else LabPaths(name).fresh
        with progress.patient("the lab's daemon, which starts", quiet=output is not None):
            client = nodes.begin(body, place) if place else _begun(name, loaded.objects, loading)
        handed = loading.handed if loading and loading.is_taken else ()
        objects = [body, *_others(loaded, handed)]
    try:
        wanted = Up(
            objects=objects,
            timeout=timeout,
            wait=wait is Wait.TRUE,
            yes=yes,
            handed=loading.pid if loading and handed else 0,
        )
        outcome = _brought(client, wanted, quiet=output is not None)
        if place and wait is Wait.TRUE:
            nodes.joined(client, quiet=output is not None)
    except (ConflictError, InputError, UnconfirmedError, UnsupportedError):
        # another `up` of the same lab, at the same time, may have been taken
        if fresh and (place or not client.list("labs")):
            nodes.withdraw(name, client if place else None)
        raise
    if output:
        print_json({"lab": name, **untagged(outcome)})
    else:
        from k8snetlab.cli import summary

        screen.say(summary.of(name, client, outcome, time.monotonic() - began))
    progress.refuse_failed(outcome)


def _loaded(files: list[tuple[str, str]], lab: str | None, machines: bool, loading: Ahead | None) -> Loaded:
    """What is in the files, which are not another lab's than `lab`; a daemon that is `loading` is handed it."""
    from k8snetlab.cli import manifests

    loaded = manifests.of(files, machines=machines, read=loading.hand if loading else lambda _: None)
    if lab:
        chosen = manifests.chosen_by(lab)
        hint = f"the lab's own name, with {chosen} left out; or another name in the file, or none"
        manifests.refuse_other_name(loaded, lab, f"{chosen} says {lab}", hint)
    return loaded


def _begun(name: str, objects: Iterable[Object], loading: Ahead | None) -> Client:
    """The daemon of a lab whose nodes are namespaces."""
    from k8snetlab.api.defaults import with_defaults
    from k8snetlab.api.dns import Dns
    from k8snetlab.api.lab import Lab
    from k8snetlab.lab.up import start

    lab = next((with_defaults(obj, name) for obj in objects if isinstance(obj, Lab)), None)
    plane = lab if lab and lab.spec.controlPlane.etcd else None
    names = (lab.spec.dns if lab else Dns()).served
    return start(name, lab.spec.store if lab else None, plane=plane, loading=loading, names=names)


def _brought(client: Client, asked: Up, *, quiet: bool) -> Outcome:
    """The outcome of `up`; where it would delete more than it keeps, whoever sits there is asked first."""
    import sys

    from msgspec.structs import replace

    from k8snetlab.cli import progress
    from k8snetlab.messages.changes import UP

    try:
        return progress.follow(client.stream(UP, asked), quiet=quiet)
    except UnconfirmedError as error:
        error.message = f"lab {client.lab}: {error.message}"
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        screen.say(error.message, err=True)
        if not typer.confirm("continue?", default=False, err=True):
            declined = UnconfirmedError("nothing was changed")
            declined.exit_code = 1
            raise declined from None
    return progress.follow(client.stream(UP, replace(asked, yes=True)), quiet=quiet)


def _named(objects: Iterable[Object], lab: str | None) -> dict[str, Any]:
    """The Lab, or one that is made where there is none, as it is sent; its name is --lab, else its own, else "lab"."""
    from k8snetlab.api.lab_names import LAB
    from k8snetlab.cli import manifests

    written = manifests.builtins(obj for obj in objects if obj.KIND == "Lab")
    body: dict[str, Any] = next(iter(written), {"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab"})
    metadata = body.get("metadata", {})
    body["metadata"] = {**metadata, "name": lab or metadata.get("name") or LAB}
    return body


def _others(loaded: Loaded, handed: Sequence[Object]) -> list[dict[str, Any]]:
    """What is to be sent beside the Lab and what the daemon was handed."""
    from k8snetlab.cli import manifests

    there = set(map(id, handed))
    objects = (*loaded.objects, *loaded.ignored)
    return manifests.builtins(obj for obj in objects if obj.KIND != "Lab" and id(obj) not in there)


def down(
    all_labs: Annotated[bool, typer.Option("--all", help="Every lab of this machine.")] = False,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Take a lab down; the machine is then what it was before `up`."""
    need_root("down")
    import sys
    import time

    from k8snetlab.cli import progress
    from k8snetlab.lab.down import down as take_down
    from k8snetlab.messages.machines import Down, LabGone, TakenDown
    from k8snetlab.messages.progress import Warning

    began, gone, warnings = time.monotonic(), list[TakenDown](), list[str]()
    drawn = sys.stderr.isatty()  # progress has the screen then
    with progress.patient("the lab's processes and namespaces, which go", quiet=drawn or output is not None):
        for event in progress.shown(take_down(lab, all_labs), quiet=output is not None):
            if isinstance(event, TakenDown):
                gone.append(event)
            elif isinstance(event, Warning):
                warnings.append(event.message)
    for warning in warnings:
        screen.say(f"warning: {warning}", err=True)
    seconds = time.monotonic() - began
    if output:
        print_json(Down(tuple(LabGone(one.lab, one.namespaces, one.processes) for one in gone), round(seconds, 3)))
        return
    for one in gone:
        screen.say(f"lab {one.lab} is down: {counted(one.namespaces, 'namespace')} removed")
    screen.say(f"{'nothing to take down' if not gone else 'done'} in {seconds:.2f} s")


def status(lab: LabOption = None, output: OutputOption = None) -> None:
    """Show nodes, pods, Services, the agents and what has drifted."""
    from k8snetlab.messages.status import STATUS
    from k8snetlab.messages.verb import Nothing

    state = client_of(lab).call(STATUS, Nothing())
    if output:
        print_json(state)
        return
    from k8snetlab.cli import summary

    screen.say(summary.status(state))


def pause(node: NodeArgument, lab: LabOption = None, output: OutputOption = None) -> None:
    """Stop a node's repairs. What you break there then stays broken."""
    from k8snetlab.cli import progress
    from k8snetlab.messages.nodes import PAUSE, NodeName

    with progress.patient(f"{node}, where a repair is under way", quiet=output is not None):
        answer = client_of(lab).call(PAUSE, NodeName(node))
    if answer.warning:
        screen.say(f"warning: {answer.warning}", err=True)
    if output:
        print_json(answer)
        return
    screen.say(f"{node} is paused: nothing is repaired there until `k8snetlab resume {node}`")


def resume(node: NodeArgument, lab: LabOption = None, output: OutputOption = None) -> None:
    """Let a paused node's agent repair again."""
    from k8snetlab.messages.nodes import RESUME, NodeName

    answer = client_of(lab).call(RESUME, NodeName(node))
    if output:
        print_json(answer)
        return
    screen.say(f"{node} is resumed: its agent repairs what differs")
