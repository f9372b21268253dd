"""fault: damage a lab on purpose, and take it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import LabOption, OutputOption, client_of, complete_node, example, need_root, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8snetlab.messages.faults import DeclaredFault, InjectedFault, InjectQuestion

NodeOption = Annotated[
    str,
    typer.Option("--node", metavar="NODE", autocompletion=complete_node, help="Where. Left out: where it can be."),
]
LevelOption = Annotated[int | None, typer.Option("--level", min=1, max=3, help="Of this level only; 3 is the hardest.")]


def complete_fault(incomplete: str) -> list[str]:
    from k8snetlab.faults.catalogue import FAULTS

    return [name for name in FAULTS if name.startswith(incomplete)]


NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=complete_fault, help="`fault list` has all.")
]


def register(app: typer.Typer) -> None:
    fault = typer.Typer(
        help="Damage a lab on purpose, as real incidents do, and take it back.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("fault inject fdb-missing --node node1"),
    )
    fault.command("list", epilog=example("fault list --level 2"))(list_)
    fault.command(epilog=example("fault show fdb-missing"))(show)
    fault.command(epilog=example("fault inject fdb-missing --node node1"))(inject)
    fault.command("random", epilog=example("fault random --seed monday --level 1"))(random_)
    fault.command(epilog=example("fault clear"))(clear)
    app.add_typer(fault, name="fault")


def list_(
    level: LevelOption = None,
    injected: Annotated[bool, typer.Option("--injected", help="Those that are in the lab now.")] = False,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """List the faults that there are. Neither root nor a lab is needed but with --injected."""
    if injected:
        _now(lab, output)
        return
    found = [one for one in _declared() if level in (None, one.level)]
    if output:
        print_json(found)
        return
    wide = max(len(one.name) for one in found)
    for one in found:
        screen.say(f"{one.name:<{wide}}  {one.level}  {one.title}", hang=wide + 5)


def show(name: NameArgument, output: OutputOption = None) -> None:
    """Say what a fault damages, what is seen of it, what diagnose says of it. Neither root nor a lab is needed."""
    from k8snetlab.faults.catalogue import fault

    one = fault(name)
    declared = next(other for other in _declared() if other.name == one.name)
    if output:
        print_json(declared)
        return
    screen.say(f"{declared.name}: {declared.title}")
    screen.say(f"level:    {declared.level} of 3, {declared.group}")
    screen.say(f"damages:  {declared.touches}")
    screen.say(f"seen:     {declared.symptom}", hang=10)
    screen.say(f"diagnose: {declared.finding}")


def inject(name: NameArgument, node: NodeOption = "", lab: LabOption = None, output: OutputOption = None) -> None:
    """Inject a fault. The agents leave what it damages alone until `fault clear`; all else they repair as ever."""
    from k8snetlab.messages.faults import InjectQuestion

    _inject(InjectQuestion(name, node), lab, output)


def random_(
    seed: Annotated[str, typer.Option("--seed", help="The same seed is the same fault in the same lab.")] = "",
    level: LevelOption = None,
    node: NodeOption = "",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Inject a fault that a seed chooses."""
    import secrets

    from k8snetlab.messages.faults import InjectQuestion

    _inject(InjectQuestion("", node, seed or secrets.token_hex(4), level or 0), lab, output)


def clear(lab: LabOption = None, output: OutputOption = None) -> None:
    """Take all faults back and wait until the agents have mended the rest. The exit code is 1 when that fails."""
    need_root("fault")
    from k8snetlab.messages.faults import CLEAR
    from k8snetlab.messages.verb import Nothing

    answer = client_of(lab).call(CLEAR, Nothing())
    if output:
        print_json(answer)
    else:
        for one in answer.faults:
            screen.say(f"cleared: {one.name} on {one.node}")
        if not answer.faults:
            screen.say("there is no fault to clear")
        for note in answer.notes:
            screen.say(f"not mended: {note}")
    if answer.notes:
        raise typer.Exit(1)


def _now(lab: str | None, output: str | None) -> None:
    from k8snetlab.messages.faults import INJECTED
    from k8snetlab.messages.verb import Nothing

    answer = client_of(lab).call(INJECTED, Nothing())
    if output:
        print_json(answer)
    else:
        _say(answer.faults)
        if not answer.faults:
            screen.say("no fault is injected")
        for note in answer.notes:
            screen.say(note)


def _inject(question: InjectQuestion, lab: str | None, output: str | None) -> None:
    need_root("fault")
    from k8snetlab.messages.faults import INJECT

    answer = client_of(lab).call(INJECT, question)
    if output:
        print_json(answer)
        return
    _say(answer.faults)


def _say(faults: Iterable[InjectedFault]) -> None:
    for one in faults:
        screen.say(f"{one.name} on {one.node}: {one.title}", hang=2)
        screen.say(f"seen:  {one.symptom}", hang=7)
        for command in one.commands:
            screen.say(f"done:  {command}", hang=7)
        screen.say(f"look:  {one.probe}", hang=7)
        screen.say("clear: k8snetlab fault clear")


def _declared() -> list[DeclaredFault]:
    from k8snetlab.faults.catalogue import FAULTS
    from k8snetlab.messages.faults import DeclaredFault

    return [
        DeclaredFault(
            name=one.name,
            title=one.title,
            level=one.level,
            group=one.group,
            touches=one.touches,
            symptom=one.symptom,
            finding=f"{one.said.kind} {one.said.fault}",
        )
        for one in FAULTS.values()
    ]
