"""link: a node's devices slowed, lossy or down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import LabOption, OutputOption, client_of, complete_node, example, need_root, print_json

if TYPE_CHECKING:
    from k8snetlab.messages.links import LinkChange, LinkList, LinkState

LinkArgument = Annotated[
    str, typer.Argument(metavar="NODE[:DEV]", autocompletion=complete_node, help="DEV left out: eth0.")
]
SomeLinkArgument = Annotated[
    str, typer.Argument(metavar="[NODE[:DEV]]", autocompletion=complete_node, help="Left out: all.")
]


def register(app: typer.Typer) -> None:
    link = typer.Typer(
        help="Slow a node's device, let it lose packets, or take it down.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("link set node1 --delay 50ms --loss 1%"),
    )
    link.command("set", epilog=example("link set node1 --delay 50ms --loss 1%"))(set_)
    link.command(epilog=example("link show"))(show)
    link.command(epilog=example("link clear node1"))(clear)
    link.command(epilog=example("link down node1"))(down)
    link.command(epilog=example("link up node1"))(up)
    app.add_typer(link, name="link")


def set_(
    link: LinkArgument,
    *,
    delay: Annotated[str, typer.Option("--delay", metavar="TIME", help="50ms, 1s, 200us.")] = "",
    jitter: Annotated[str, typer.Option("--jitter", metavar="TIME", help="So much more or less than the delay.")] = "",
    loss: Annotated[str, typer.Option("--loss", metavar="PERCENT", help="1%, 0.5%.")] = "",
    rate: Annotated[str, typer.Option("--rate", metavar="RATE", help="10mbit, 500kbit.")] = "",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Have a node's device delay, lose or slow down what it sends, by tc; what it receives is not touched.

    What is not given is not so: a second `set` takes the place of the first. Agents leave it in place.
    """
    need_root("link")
    from k8snetlab.dataplane.shaping import shape
    from k8snetlab.errors import InputError
    from k8snetlab.messages.links import LinkChange

    wanted = shape(delay, jitter, loss, rate)
    if not wanted:
        raise InputError("link set: what?", "--delay 50ms, --jitter 5ms, --loss 1%, --rate 10mbit, one or more of them")
    node, device = _parts(link)
    _change(LinkChange(node, device, shape=wanted.words()), lab, output)


def show(link: SomeLinkArgument = "", lab: LabOption = None, output: OutputOption = None) -> None:
    """Show the devices of which something was set, and what tc counted there."""
    from msgspec.structs import replace

    from k8snetlab.messages.links import LINKS, LinksQuestion

    node, device = _parts(link) if link else ("", "")
    answer = client_of(lab).call(LINKS, LinksQuestion(node))
    if device:
        answer = replace(answer, links=tuple(one for one in answer.links if one.device == device))
    _print(answer, output, "nothing is set of any device, and nobody has shaped one")


def clear(link: SomeLinkArgument = "", lab: LabOption = None, output: OutputOption = None) -> None:
    """Take back all that `link` set of a device, of a node's devices, or of all."""
    need_root("link")
    from k8snetlab.messages.links import LINK, LINKS, LinkChange, LinkList, LinksQuestion

    client = client_of(lab)
    if link:
        answer = client.call(LINK, LinkChange(*_parts(link)))
    else:
        nodes = dict.fromkeys(one.node for one in client.call(LINKS, LinksQuestion()).links if one.shape or one.down)
        notes = tuple(note for node in nodes for note in client.call(LINK, LinkChange(node)).notes)
        answer = LinkList(client.call(LINKS, LinksQuestion()).links, notes)
    _print(answer, output, "all is as it was")


def down(link: LinkArgument, lab: LabOption = None, output: OutputOption = None) -> None:
    """Take a node's device down: what goes by it is cut off, until `link up`."""
    from k8snetlab.messages.links import LinkChange

    need_root("link")
    _change(LinkChange(*_parts(link), up=False), lab, output)


def up(link: LinkArgument, lab: LabOption = None, output: OutputOption = None) -> None:
    """Bring a node's device up again; its agent then mends what went with it."""
    from k8snetlab.messages.links import LinkChange

    need_root("link")
    _change(LinkChange(*_parts(link), up=True), lab, output)


def _parts(link: str) -> tuple[str, str]:
    node, _, device = link.partition(":")
    return node, device


def _change(asked: LinkChange, lab: str | None, output: str | None) -> None:
    from k8snetlab.cli import progress
    from k8snetlab.messages.links import LINK

    with progress.patient(f"{asked.node}, whose agent follows", quiet=output is not None):
        answer = client_of(lab).call(LINK, asked)
    _print(answer, output, f"{asked.node}: all is as it was")


def _print(answer: LinkList, output: str | None, nothing: str) -> None:
    for note in answer.notes:
        screen.say(f"warning: {note}", err=True)
    if output:
        print_json(answer)
        return
    if not answer.links:
        screen.say(nothing)
        return
    from k8snetlab.cli.views import table

    screen.say(table(("DEVICE", "SET", "QDISC", "SENT", "LOST", "HELD-UP"), map(_row, answer.links)))
    for one in answer.links:
        if one.qdisc and not one.ours:
            screen.say(f"{one.node}:{one.device} was shaped by somebody else: {one.qdisc} {one.held}")


def _row(one: LinkState) -> tuple[str, ...]:
    wanted = ", ".join(filter(None, ("down" if one.down else "", one.shape)))
    counted = (str(one.packets), str(one.drops), str(one.overlimits)) if one.qdisc else ("-", "-", "-")
    return (f"{one.node}:{one.device}", wanted or "-", one.qdisc or "-", *counted)
