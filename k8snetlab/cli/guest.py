"""guest start, list, stop, logs: programs of the user's own in a node's or a pod's namespaces."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    LabOption,
    NamespaceOption,
    OutputOption,
    TimeoutOption,
    client_of,
    complete_guest,
    complete_node,
    complete_pod,
    example,
    print_json,
)
from k8snetlab.errors import AlreadyExistsError, DaemonError, InputError
from k8snetlab.messages.timeouts import CHANGE_TIMEOUT

if TYPE_CHECKING:
    from k8snetlab.client.client import Client
    from k8snetlab.messages.guests import GuestState

Json = dict[str, Any]
LOOK = 0.1
"""Seconds between two looks whether a guest runs."""
STEADY = 3
"""So many looks later a guest that runs has not ended at once."""
NameArgument = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_guest, help="The guest's.")]


def register(app: typer.Typer) -> None:
    guest = typer.Typer(
        help="Programs of your own in a node or a pod, with the lab's API: an ingress controller, a kube-proxy.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("guest start hello --node node1 -- python3 -m http.server 8000"),
    )
    guest.command(epilog=example("guest start hello --node node1 -- python3 -m http.server 8000"))(start)
    guest.command("list", epilog=example("guest list"))(list_)
    guest.command(epilog=example("guest stop hello"))(stop)
    guest.command(epilog=example("guest logs hello -f"))(logs)
    app.add_typer(guest, name="guest")


def start(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of your choice: lower-case letters, digits, -.")],
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND", help="What to run there.")],
    node: Annotated[
        str, typer.Option("--node", metavar="NODE", autocompletion=complete_node, help="The node it runs in.")
    ] = "",
    pod: Annotated[
        str, typer.Option("--pod", metavar="POD", autocompletion=complete_pod, help="The pod it runs in, on its node.")
    ] = "",
    env: Annotated[
        list[str] | None, typer.Option("-e", "--env", metavar="NAME=VALUE", help="A variable for it; may be repeated.")
    ] = None,
    directory: Annotated[
        str, typer.Option("--directory", metavar="DIR", help="Where it begins; left out: this directory.")
    ] = "",
    account: Annotated[
        str, typer.Option("--serviceaccount", metavar="NAME", help="Whose token it finds; default: its pod's, default.")
    ] = "",
    namespace: NamespaceOption = "default",
    timeout: TimeoutOption = CHANGE_TIMEOUT,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Run a program in a node or a pod, with a kubeconfig of the lab; it is started again whenever it ends.

    It is an object of the lab: it stays when the daemon goes, and ends with `guest stop`, or with the lab.
    """
    from k8snetlab.cli import progress

    client = client_of(lab)
    spec: Json = {
        "command": command,
        **_place(client, node, pod, namespace),
        "workingDir": os.path.abspath(directory or "."),  # noqa: PTH100 - links stay as they were written
        "env": _variables(env or []),
        "serviceAccountName": account,
    }
    try:
        client.create("Guest", {"metadata": {"name": name}, "spec": spec})
    except AlreadyExistsError:
        raise AlreadyExistsError(f"guest {name} is there already", f"`k8snetlab guest stop {name}` ends it") from None
    try:
        with progress.patient(f"guest {name}, which starts", quiet=output is not None):
            state = _started(client, name, timeout)
    except KeyboardInterrupt:
        screen.say(f"guest {name} stays and is started: `k8snetlab guest stop {name}` ends it", err=True)
        raise
    if output:
        print_json(state)
    elif state.state == "Running":
        screen.say(f"guest {name} runs in {_where(state)}")
    if state.state != "Running":
        raise DaemonError(
            f"guest {name} in {_where(state)} does not run: {state.message}",
            f"it goes on being tried; `k8snetlab guest logs {name}`, `k8snetlab guest stop {name}`",
        )


def list_(lab: LabOption = None, output: OutputOption = None) -> None:
    """Show the guests, where each of them runs, and how."""
    from k8snetlab.cli.views import table
    from k8snetlab.messages.guests import GUESTS
    from k8snetlab.messages.verb import Nothing

    known = client_of(lab).call(GUESTS, Nothing())
    if output:
        print_json(known)
        return
    if not known.guests:
        screen.say("No guests: `k8snetlab guest start` starts one", err=True)
        return
    titles = ("NAME", "NODE", "POD", "STATE", "RESTARTS", "AGE", "COMMAND")
    screen.say(table(titles, map(_row, known.guests)))
    for guest in known.guests:
        if guest.message:
            screen.say(f"{guest.name}: {guest.message}")


def stop(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", autocompletion=complete_guest, help="The guests.")],
    timeout: TimeoutOption = CHANGE_TIMEOUT,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """End guests, and wait until nothing of them runs."""
    from k8snetlab.cli import progress
    from k8snetlab.messages.changes import DELETE, Change, Outcome

    client = client_of(lab)
    objects = [_object(client, name) for name in dict.fromkeys(names)]
    what = f"guest{'s' * (len(objects) > 1)} {', '.join(one['metadata']['name'] for one in objects)}"
    asked = Change(objects=objects, timeout=timeout)
    with progress.patient(f"the end of {what}", quiet=output is not None):
        outcome: Outcome = progress.follow(client.stream(DELETE, asked), quiet=True)
    if output:
        print_json(outcome)
    else:
        screen.say(f"{what} stopped")


def logs(
    name: NameArgument,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows, through restarts.")] = False,
    tail: Annotated[int, typer.Option("--tail", metavar="N", min=-1, help="The last N lines; -1: all.")] = -1,
    previous: Annotated[bool, typer.Option("-p", "--previous", help="Of the run before the last restart.")] = False,
    lab: LabOption = None,
) -> None:
    """Print what a guest wrote in its last run."""
    from k8snetlab.messages.guests import GUEST_LOGS, GuestLog

    client = client_of(lab)
    state = _state(client, name)
    for piece in client.stream(GUEST_LOGS, GuestLog(state.node, name, follow, tail, previous)):
        sys.stdout.buffer.write(piece.data)
        sys.stdout.buffer.flush()


def _place(client: Client, node: str, pod: str, namespace: str) -> Json:
    """Where it is to run, as fields of a Guest's spec."""
    if not pod:
        if not node:
            raise InputError("where is it to run?", "--node NODE, or --pod POD")
        return {"nodeName": node, "namespace": namespace}
    space, slash, short = pod.rpartition("/")
    space = space if slash else namespace
    found = client.get("Pod", short, space)
    there = found["spec"].get("nodeName", "")
    if node and node != there:
        raise InputError(f"pod {pod} is on {there or 'no node yet'}, not on {node}", "leave --node out")
    return {"podName": short, "namespace": space}


def _variables(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise InputError(f"-e {text}: no variable", "-e NAME=VALUE")
        found[name] = value
    return found


def _started(client: Client, name: str, timeout: float) -> GuestState:
    """Its state once it runs, or has failed, or time is up."""
    began, running = time.monotonic(), 0
    while True:
        state = _state(client, name)
        running = running + 1 if state.state == "Running" else 0
        tried = state.state == "Waiting" and state.tried
        if running > STEADY or tried or time.monotonic() - began > timeout:
            return state
        time.sleep(LOOK)


def _state(client: Client, name: str) -> GuestState:
    from k8snetlab.errors import NotFoundError
    from k8snetlab.messages.guests import GUESTS
    from k8snetlab.messages.verb import Nothing
    from k8snetlab.wording import nearest

    guests = {guest.name: guest for guest in client.call(GUESTS, Nothing()).guests}
    if name not in guests:
        known = f"guests: {', '.join(guests)}" if guests else "`k8snetlab guest start` starts one"
        raise NotFoundError(f"guest {name!r} not found", nearest(name, guests, known))
    return guests[name]


def _object(client: Client, name: str) -> Json:
    _state(client, name)  # names what there is, where there is no such guest
    return client.get("Guest", name)


def _row(guest: GuestState) -> tuple[str, ...]:
    from k8snetlab.api.ages import age
    from k8snetlab.cli import ages

    since = age(guest.since, ages.now()) if guest.since else "-"
    pod, command = guest.pod.removeprefix("default/") or "-", " ".join(guest.command)
    return guest.name, guest.node or "-", pod, guest.state, str(guest.restarts), since, command


def _where(guest: GuestState) -> str:
    return f"pod {guest.pod.removeprefix('default/')} on {guest.node or 'no node'}" if guest.pod else guest.node
