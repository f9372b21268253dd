"""node join, leave: this machine as a node of a lab that others share; node stop, start: the power of a namespace."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

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
    client_of,
    example,
    need_root,
    print_json,
    untagged,
)

if TYPE_CHECKING:
    from k8snetlab.api.lab import StoreSpec
    from k8snetlab.client.client import Client
    from k8snetlab.lab.join import JoinPlan
    from k8snetlab.messages.machines import Joined

Json = dict[str, Any]


def register(app: typer.Typer) -> None:
    node = typer.Typer(
        help="This machine as a node of a lab that several machines share; the power of nodes that are namespaces.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("node join 192.168.56.11:2378 --token TOKEN --discovery-token-ca-cert-hash HASH"),
    )
    node.command(epilog=example("node join 192.168.56.11:2378 --token TOKEN --discovery-token-ca-cert-hash HASH"))(join)
    node.command(epilog=example("node leave"))(leave)
    node.command(epilog=example("node stop node2"))(stop)
    node.command(epilog=example("node start node2"))(start)
    app.add_typer(node, name="node")


class Shared(NamedTuple):
    """The store that options name; `urls` is "" where they name none."""

    urls: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    insecure: bool = False

    @property
    def spec(self) -> StoreSpec:
        from k8snetlab.lab import join

        return join.shared_store(self.urls, self.ca, self.cert, self.key, self.insecure)


def join(
    address: Annotated[
        str, typer.Argument(metavar="[ADDRESS]", help="Where the store gives certificates: `k8snetlab token create`.")
    ] = "",
    token: Annotated[str, typer.Option("--token", metavar="TOKEN", help="What lets this machine in, once.")] = "",
    ca_hash: Annotated[
        str,
        typer.Option("--discovery-token-ca-cert-hash", metavar="HASH", help="Which CA is the store's: sha256:…"),
    ] = "",
    unpinned: Annotated[
        bool,
        typer.Option("--discovery-token-unsafe-skip-ca-verification", help="Go by the token alone, without that hash."),
    ] = False,
    store: Annotated[str, typer.Option("--store", metavar="URL,…", help=f"Without a token. {STORE_HELP}")] = "",
    name: Annotated[str, typer.Option("--name", metavar="NODE", help="Left out: the machine's hostname.")] = "",
    node: Annotated[str, typer.Option("--node", hidden=True)] = "",
    iface: IfaceOption = "",
    ca: CaOption = "",
    cert: CertOption = "",
    key: KeyOption = "",
    insecure: InsecureOption = False,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Make this machine a node of the lab that the store holds.

    With what `k8snetlab token create` prints on the store's machine, or with --store and a certificate of your own.
    """
    need_root("node join")
    from k8snetlab.errors import InputError
    from k8snetlab.machines import fetching

    if bool(address or token) == bool(store):
        raise InputError(
            "a token or a store: one of them says where to join",
            "`k8snetlab token create` on the store's machine prints the whole command",
        )
    if store:
        _join(Shared(store, ca, cert, key, insecure).spec, name or node, iface, lab, output)
        return
    if not (address and token):
        raise InputError("ADDRESS and --token go together", "`k8snetlab token create` prints the whole command")
    with fetching.fetched(address, token, ca_hash, name or node or _hostname(), unpinned) as spec:
        _join(spec, name or node, iface, lab, output)


def _join(spec: StoreSpec, name: str, iface: str, lab: str | None, output: Any) -> None:
    import time

    from k8snetlab.errors import ConflictError, K8sNetLabError
    from k8snetlab.lab import join
    from k8snetlab.machines import fetching

    began = time.monotonic()
    found = join.find_lab(spec)
    if lab and lab != found.name:
        raise ConflictError(f"the store holds lab {found.name}, not {lab}", f"--lab {found.name}")
    plan = join.examine(found, name or _hostname(), iface, spec)
    from k8snetlab.cli import progress

    with progress.patient("the lab's daemon, which starts", quiet=output is not None):
        client = _begun(found.name, fetching.kept(spec, found.name), plan)
    try:
        node = joined(client, quiet=output is not None)
    except (K8sNetLabError, KeyboardInterrupt):
        if plan.fresh:
            withdraw(found.name, client)
        raise
    if output:
        print_json({"lab": found.name, **untagged(node)})
        return
    screen.say(
        f"{node.node} is a node of lab {found.name}: {node.address} by {node.interface}, "
        f"pods in {node.podCIDR}, in {time.monotonic() - began:.2f} s"
    )


def joined(client: Client, *, quiet: bool) -> Joined:
    """Once this machine is a node."""
    from k8snetlab.cli import progress
    from k8snetlab.messages.machines import JOINED
    from k8snetlab.messages.verb import Nothing

    with progress.patient("this machine, which is to be a node", quiet=quiet):
        return client.call(JOINED, Nothing())


def leave(
    force: Annotated[bool, typer.Option("--force", help="Even where the store does not answer.")] = False,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Take this machine out of its lab; the machine is then what it was before, and the lab goes on without it."""
    need_root("node leave")
    import time

    from k8snetlab.cli import progress
    from k8snetlab.errors import InputError, K8sNetLabError
    from k8snetlab.messages.machines import LEAVE, Left
    from k8snetlab.messages.verb import Nothing
    from k8snetlab.state import labs, machine
    from k8snetlab.state.paths import LabPaths

    began = time.monotonic()
    name = labs.choose_to_end(lab)
    paths = LabPaths(name)
    known = machine.read(paths)
    if known is None and paths.ledger.exists() and not paths.left.exists():
        raise InputError(f"this machine is no node of lab {name}: its nodes are namespaces", "`k8snetlab down`")
    try:
        if known and not paths.left.exists():
            with progress.patient("the node's pods, which end", quiet=output is not None):
                client_of(name).call(LEAVE, Nothing())
            paths.left.touch()  # should this be interrupted from here on, there is nobody to be asked again
    except K8sNetLabError as error:
        if not force:
            error.hint = f"{error.hint}; `k8snetlab node leave --force` cleans this machine only"
            raise
        screen.say(f"warning: {error.message}; the node stays in the store until its lease expires", err=True)
    _remove(name)
    node = known.node if known else ""  # an interrupted end has left no more than a directory
    if output:
        print_json(Left(name, node, round(time.monotonic() - began, 3)))
        return
    screen.say(f"{node or 'this machine'} has left lab {name} in {time.monotonic() - began:.2f} s")


def stop(node: NodeArgument, lab: LabOption = None, output: OutputOption = None) -> None:
    """Take a node's power away: its agent, its pods and its links end at once, and nobody says goodbye.

    After `spec.controlPlane.nodeMonitorGracePeriod` (40 s) it is NotReady; its pods leave when they tolerate that no
    longer (300 s, where they do not say otherwise).
    """
    need_root("node stop")
    from k8snetlab.messages.nodes import STOP, NodeName

    done = client_of(lab).call(STOP, NodeName(node))
    if output:
        print_json(done)
        return
    screen.say(f"{node} {'has no power already' if done.already else 'is off'} (`k8snetlab node start {node}`)")


def start(node: NodeArgument, lab: LabOption = None, output: OutputOption = None) -> None:
    """Give a stopped node its power back: it boots, and its pods are run anew."""
    need_root("node start")
    from k8snetlab.messages.nodes import START, NodeName

    done = client_of(lab).call(START, NodeName(node))
    if output:
        print_json(done)
        return
    if done.warning:
        screen.say(f"warning: {done.warning}", err=True)
    screen.say(f"{node} {'is on already' if done.already else 'is on, and its pods are run anew'}")


def is_here(files: list[tuple[str, str]], lab: str | None) -> bool:
    """Whether the lab in these files is one whose node this machine is already."""
    from k8snetlab.state import labs, machine
    from k8snetlab.state.paths import LabPaths

    ours = [name for name in labs.running() if machine.read(LabPaths(name))]
    if not ours or lab:
        return lab in ours
    from k8snetlab.api.lab import Lab
    from k8snetlab.api.load import load

    return any(isinstance(obj, Lab) and obj.name in ours for obj in load(files, machines=True).objects)


def plan_of(body: Json, node: str, iface: str, store: Shared) -> JoinPlan | None:
    """Where `up` makes this machine a node: with --node, or where it is one already; `body`, the Lab, is made to agree.

    None in a lab whose nodes are namespaces of this machine.
    """
    from k8snetlab.errors import InputError
    from k8snetlab.state import machine
    from k8snetlab.state.paths import LabPaths

    known = machine.read(LabPaths(body["metadata"]["name"]))
    spec = body.setdefault("spec", {})
    if not (node or known or spec.get("machines")):
        given = [option for option, value in (("--store", store.urls), ("--iface", iface)) if value]
        if given:
            raise InputError(f"{given[0]} goes with --node", "--node NAME makes this machine that node of the lab")
        return None
    if not node and known is None:
        raise InputError("the nodes of this lab are machines: which one is this?", "--node NAME --store URL")
    return _plan(body, node or (known.node if known else ""), iface, store)


def _plan(body: Json, node: str, iface: str, store: Shared) -> JoinPlan:
    import msgspec

    from k8snetlab.api.body import decode
    from k8snetlab.api.lab import Lab, StoreSpec
    from k8snetlab.errors import InputError
    from k8snetlab.lab import join
    from k8snetlab.state.paths import LabPaths
    from k8snetlab.state.store_spec import read_spec

    spec = body["spec"]
    spec["machines"] = True
    if isinstance(spec.get("nodes"), int):
        spec["nodes"] = []
    if store.urls:
        shared = store.spec
    else:
        shared = msgspec.convert(spec.get("store", {}), StoreSpec)
        if shared.type == "embedded":
            shared = read_spec(LabPaths(body["metadata"]["name"]))
    if shared.type == "embedded":
        raise InputError("machines share a lab through a store that all of them reach", "--store https://ADDRESS:2379")
    spec["store"] = msgspec.to_builtins(shared)
    lab = decode(msgspec.json.decode(msgspec.json.encode(body)))
    assert isinstance(lab, Lab)
    return join.examine(lab, node, iface, shared)


def begin(body: Json, plan: JoinPlan) -> Client:
    """Starts the daemon of `up`; the lab's underlay is the network of the interface that was chosen."""
    import msgspec

    from k8snetlab.api.lab import StoreSpec

    spec = body["spec"]
    spec["underlay"] = {**spec.get("underlay", {}), "cidr": plan.machine.network, "router": ""}
    return _begun(body["metadata"]["name"], msgspec.convert(spec["store"], StoreSpec), plan)


def _begun(lab: str, store: Any, plan: JoinPlan) -> Client:
    from k8snetlab.lab import join

    for warning in plan.warnings:
        screen.say(f"warning: {warning}", err=True)
    return join.begin(lab, store, plan)


def withdraw(lab: str, client: Client | None) -> None:
    """Undoes what a refused beginning of a lab had made here, and, where this machine was to be a node of it (whose
    daemon is the client's), as far as it goes in the store."""
    from k8snetlab.errors import K8sNetLabError
    from k8snetlab.messages.machines import LEAVE
    from k8snetlab.messages.verb import Nothing

    try:
        with contextlib.suppress(K8sNetLabError):
            if client:
                client.call(LEAVE, Nothing())
    finally:
        _remove(lab)


def _remove(lab: str) -> None:
    from k8snetlab.cli import progress
    from k8snetlab.lab.down import remove_from_machine

    for _ in progress.shown(remove_from_machine(lab), quiet=True):
        pass


def _hostname() -> str:
    import socket

    return socket.gethostname().partition(".")[0].lower()
