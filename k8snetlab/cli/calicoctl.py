"""calicoctl: its words, for a lab on Calico's network; birdc and vtysh: the real ones, of one node."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import LabOption, NamespaceOption, client_of, complete_node, example, need_root

if TYPE_CHECKING:
    from k8snetlab.api.lab import Lab
    from k8snetlab.client.client import Client
    from k8snetlab.explain.calicoctl import Cluster


class Kind(StrEnum):
    IPPOOL = "ippool"
    NODE = "node"
    WEP = "wep"
    BGPPEER = "bgppeer"
    BGPCONFIG = "bgpconfig"
    NETWORKPOLICY = "networkpolicy"
    GLOBALNETWORKPOLICY = "globalnetworkpolicy"
    NETWORKSET = "networkset"
    GLOBALNETWORKSET = "globalnetworkset"


_POLICED = (Kind.NETWORKPOLICY, Kind.GLOBALNETWORKPOLICY, Kind.NETWORKSET, Kind.GLOBALNETWORKSET)


class Form(StrEnum):
    WIDE = "wide"
    YAML = "yaml"


def register(app: typer.Typer) -> None:
    words = {"no_args_is_help": True, "rich_markup_mode": None}
    calicoctl = typer.Typer(help="Calico's own words for its network.", epilog=example("calicoctl ipam show"), **words)  # type: ignore[arg-type]
    node = typer.Typer(help="Nodes.", epilog=example("calicoctl node status node1"), **words)  # type: ignore[arg-type]
    ipam = typer.Typer(help="Addresses.", epilog=example("calicoctl ipam show --show-blocks"), **words)  # type: ignore[arg-type]
    node.command(epilog=example("calicoctl node status node1"))(status)
    node.callback()(lambda: None)
    ipam.command(epilog=example("calicoctl ipam show --show-blocks"))(show)
    ipam.command(epilog=example("calicoctl ipam check"))(check)
    calicoctl.command(epilog=example("calicoctl get ippool -o wide"))(get)
    calicoctl.add_typer(node, name="node")
    calicoctl.add_typer(ipam, name="ipam")
    app.add_typer(calicoctl, name="calicoctl")
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command(epilog=example("birdc node1 show protocols"), context_settings=settings)(birdc)
    app.command(epilog=example("vtysh node1 -c 'show ip ospf neighbor'"), context_settings=settings)(vtysh)


def status(
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", autocompletion=complete_node, help="All if left out.")
    ] = None,
    lab: LabOption = None,
) -> None:
    """Show a node's BGP sessions."""
    from k8snetlab.explain import calicoctl
    from k8snetlab.messages.routing import ROUTING, RoutingQuestion

    client, cluster = client_of(lab), _cluster(lab)
    if node:
        client.get("Node", node)
    routed = cluster.lab.spec.network.routed
    found = {one.name: one for one in client.call(ROUTING, RoutingQuestion(node or "")).nodes} if routed else {}
    for name in [node] if node else [one.name for one in cluster.nodes]:
        screen.say(("" if node else f"{name}\n") + calicoctl.status(found.get(name)).rstrip("\n"))


def get(
    kind: Annotated[
        Kind,
        typer.Argument(
            metavar="KIND",
            help="ippool, node, wep, bgppeer, bgpconfig, networkpolicy, globalnetworkpolicy, networkset or "
            "globalnetworkset.",
        ),
    ],
    form: Annotated[
        Form | None, typer.Option("-o", "--output", metavar="wide|yaml", help="As calicoctl has it.")
    ] = None,
    namespace: NamespaceOption = "default",
    everywhere: Annotated[
        bool, typer.Option("-A", "--all-namespaces", help="Of policies and sets: all namespaces.")
    ] = False,
    lab: LabOption = None,
) -> None:
    """List Calico's resources."""
    from k8snetlab.errors import InputError

    cluster = _cluster(lab)
    if kind in _POLICED:
        _policies(client_of(lab), kind.value, form, "" if everywhere else namespace)
        return
    if form is not Form.YAML:
        screen.say(cluster.get(kind.value, form is Form.WIDE).rstrip("\n"))
        return
    if kind is Kind.WEP:
        raise InputError("wep has no -o yaml here", "all others have one")
    import yaml

    screen.say(yaml.safe_dump(dict(cluster.resources(kind.value)), sort_keys=False).rstrip("\n"))


def _policies(client: Client, kind: str, form: Form | None, namespace: str) -> None:
    import msgspec
    import yaml

    from k8snetlab.api.scheme import BY_TYPE
    from k8snetlab.explain import calicoctl_policies as printed

    resource = BY_TYPE[printed.KINDS[kind]]
    within = namespace if resource.type.namespaced else ""
    found = [msgspec.convert(one, printed.KINDS[kind]) for one in client.list(resource, within or None)]
    if form is Form.YAML:
        screen.say(yaml.safe_dump(printed.resources(found, kind), sort_keys=False).rstrip("\n"))
        return
    spaces = resource.type.namespaced and not namespace
    screen.say(printed.table(found, kind, wide=form is Form.WIDE, spaces=spaces).rstrip("\n"))


def show(
    blocks: Annotated[bool, typer.Option("--show-blocks", help="The pools' blocks, too.")] = False,
    ip: Annotated[str, typer.Option("--ip", metavar="IP", help="Who has that address.")] = "",
    lab: LabOption = None,
) -> None:
    """Show how many addresses of pools and blocks are in use."""
    from k8snetlab.api.addressing import address
    from k8snetlab.errors import InputError

    cluster = _cluster(lab)
    try:
        asked = str(address(ip)) if ip else ""
    except ValueError as error:
        raise InputError(f"--ip: {error}", "10.1.0.1 is one") from error
    screen.say((cluster.show_ip(asked) if asked else cluster.show(blocks)).rstrip("\n"))


def check(lab: LabOption = None) -> None:
    """Compare what is allocated with what is in use; exit code 1 where they differ."""
    said, problems = _cluster(lab).check()
    screen.say(said.rstrip("\n"))
    if problems:
        raise typer.Exit(1)


def birdc(
    node: Annotated[str, typer.Argument(metavar="NODE", autocompletion=complete_node, help="Also a router.")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORDS…", help="What to ask it; none: its shell.")
    ] = None,
    lab: LabOption = None,
) -> None:
    """Talk to a node's BIRD: the real birdc."""
    _talk("birdc", "bird", node, lab, words or [])


def vtysh(
    node: Annotated[str, typer.Argument(metavar="NODE", autocompletion=complete_node, help="Also a router.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[-c COMMAND]", help="vtysh's own options.")] = None,
    lab: LabOption = None,
) -> None:
    """Talk to a node's FRR: the real vtysh, with the daemon of the lab's protocol."""
    _talk("vtysh", "frr", node, lab, words or [])


def _talk(program: str, daemon: str, node: str, lab: str | None, words: list[str]) -> None:
    need_root(program)
    import os

    from k8snetlab.addons.routing import talking
    from k8snetlab.api import bgp_routers, topology
    from k8snetlab.errors import InputError, UnsupportedError
    from k8snetlab.state.paths import LabPaths

    client = client_of(lab)
    held = _lab(client)
    routers = topology.beside_nodes(held.spec)
    if node not in routers:
        client.get("Node", node)
    if held.spec.daemon != daemon:
        runs = held.spec.daemon or "no routing daemon"
        raise InputError(f"{node} runs {runs}, and not {daemon}", "`k8snetlab routing` shows what there is")
    if held.spec.network.calico and node in routers and not bgp_routers.speak(held):
        named = "the router" if node == "router" else node
        raise InputError(f"{named} runs no BIRD: no peer of network.bgp names a router", "name a node")
    directory, command = talking(held, LabPaths(held.name).addons / node)
    try:
        os.chdir(directory)
        os.execvp(command[0], [*command, *words])
    except OSError as error:
        raise UnsupportedError(f"{program}: {error.strerror}", "it comes with the daemon's package") from error


def _lab(client: Client) -> Lab:
    import msgspec

    from k8snetlab.api.lab import Lab

    return msgspec.convert(client.list("Lab")[0], Lab)


def _cluster(lab: str | None) -> Cluster:
    """Raises InputError where the lab has another network."""
    import msgspec

    from k8snetlab.api.core import Node, Pod
    from k8snetlab.errors import InputError
    from k8snetlab.explain.calicoctl import Cluster

    client = client_of(lab)
    held = _lab(client)
    if not held.spec.network.calico:
        backend = held.spec.network.backend
        raise InputError(f"this lab's network is {backend}, and not Calico's", "network: {backend: calico} is")
    nodes = [msgspec.convert(one, Node) for one in client.list("Node")]
    pods = [msgspec.convert(one, Pod) for one in client.list("Pod")]
    return Cluster(held, nodes, pods)
