"""attach, detach: a network namespace of one's own as a pod."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    LabOption,
    NamespaceOption,
    OutputOption,
    TimeoutOption,
    client_of,
    complete_node,
    complete_pod,
    example,
    need_root,
    print_json,
)
from k8snetlab.errors import InputError
from k8snetlab.messages.timeouts import CHANGE_TIMEOUT
from k8snetlab.wording import whole

if TYPE_CHECKING:
    from k8snetlab.client.client import Client
    from k8snetlab.messages.attach import Attached, PluggedIn


def register(app: typer.Typer) -> None:
    app.command(epilog=example("attach mine --node node1"))(attach)
    app.command(epilog=example("detach mine"))(detach)


def attach(
    which: Annotated[str, typer.Argument(metavar="NETNS|PID", help="A name of `ip netns list`, or a process.")],
    node: Annotated[
        str, typer.Option("--node", metavar="NODE", autocompletion=complete_node, help="Plug it in there.")
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What the Pod is called; left out: as the namespace.")
    ] = "",
    namespace: NamespaceOption = "default",
    timeout: TimeoutOption = CHANGE_TIMEOUT,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Plug a network namespace of your own into a node, with an address of its pool.

    It is a Pod then, as all others: it gets eth0, routes, names, and is in every table and trace. `detach` unplugs it.
    """
    need_root("attach")
    from k8snetlab.cli import progress
    from k8snetlab.messages.changes import WAIT, Named, Wait

    pid = whole(which, 1 << 22) or 0
    called = name or (f"pid-{pid}" if pid else re.sub(r"[^a-z0-9.-]+", "-", which.lower()).strip("-."))
    client = client_of(lab)
    with progress.patient(f"{which}, which is plugged in", quiet=output is not None):
        ask = partial(_of_process, pid=pid) if pid else partial(_asked, which=which)
        done = ask(client, node=node, pod=called, namespace=namespace)
    followed = client.stream(WAIT, Wait(timeout=timeout, objects=(Named("Pod", called, namespace),)))
    progress.refuse_failed(progress.follow(followed, quiet=True))
    plugged = _plugged(client, called, namespace, done)
    if output:
        print_json(plugged)
        return
    screen.say(f"{plugged.attached} is pod {called} on {node}: eth0 {plugged.ip}, default via {plugged.gateway}")
    screen.say(f"try: k8snetlab trace {called} SERVICE; `k8snetlab detach {called}` unplugs it")


def _asked(client: Client, *, which: str, node: str, pod: str, namespace: str, whose: str = "") -> Attached:
    from k8snetlab.messages.attach import ATTACH, Attach

    return client.call(ATTACH, Attach(node, which, pod, namespace, whose))


def _of_process(client: Client, *, pid: int, node: str, pod: str, namespace: str) -> Attached:
    """The daemon may not look into processes that are none of its own: their namespace gets a name for as long as it
    is asked."""
    import os

    from k8snetlab.errors import NotFoundError
    from k8snetlab.kernel import netns

    try:
        held = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        hint = "ps -e shows which there are; a network namespace whose name is a number goes by another name"
        raise NotFoundError(f"process {pid}: {error.strerror}", hint) from None
    passing = f"attach-{os.getpid()}-{pid}"
    try:
        netns.adopt(passing, held)
        return _asked(client, which=passing, node=node, pod=pod, namespace=namespace, whose=f"process {pid}")
    finally:
        os.close(held)
        netns.delete(passing)


def _plugged(client: Client, name: str, namespace: str, done: Attached) -> PluggedIn:
    import ipaddress

    from k8snetlab.messages.attach import PluggedIn

    pod = client.get("pod", name, namespace)
    subnet = str(client.get("node", done.node)["spec"].get("podCIDR", ""))
    gateway = str(ipaddress.ip_network(subnet)[1]) if subnet else ""
    return PluggedIn(done.pod, done.node, done.netns, done.attached, str(pod["status"].get("podIP", "")), gateway)


def detach(
    pod: Annotated[str, typer.Argument(metavar="POD", autocompletion=complete_pod, help="What `attach` called it.")],
    namespace: NamespaceOption = "default",
    timeout: TimeoutOption = CHANGE_TIMEOUT,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Unplug a namespace that was attached. It goes on, without eth0; its address is free again."""
    need_root("detach")
    from k8snetlab.api.meta import ATTACHED
    from k8snetlab.cli import progress
    from k8snetlab.messages.changes import DELETE, Change

    client = client_of(lab)
    found: dict[str, Any] = client.get("pod", pod, namespace)
    whose = found["metadata"].get("annotations", {}).get(ATTACHED, "")
    if not whose:
        raise InputError(f"pod {pod} was not attached: its namespace is the lab's own", f"k8snetlab delete pod {pod}")
    outcome = progress.follow(client.stream(DELETE, Change(objects=[found], timeout=timeout)), quiet=output is not None)
    if output:
        print_json(outcome)
    else:
        screen.say(f"{whose} is unplugged; pod {pod} is gone")
