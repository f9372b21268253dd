"""drill: find a hidden fault, say what it is, mend it, and be graded."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.fault import complete_fault
from k8snetlab.cli.options import LabOption, OutputOption, client_of, complete_node, example, need_root, print_json
from k8snetlab.errors import InputError
from k8snetlab.wording import for_a_spreadsheet

if TYPE_CHECKING:
    from k8snetlab.client.client import Client
    from k8snetlab.messages.drills import DrillState

SCORED = ("detected", "node", "object", "cause", "repaired", "time", "hints", "answers")
COLUMNS = ("student", "lab", "fault", "level", "points", *SCORED)
"""Of the line for a class sheet."""


def register(app: typer.Typer) -> None:
    drill = typer.Typer(
        help="A hidden fault to find and to mend, with a grade.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("drill start --level 1 --minutes 15"),
    )
    drill.command(epilog=example("drill start --seed monday --level 1"))(start)
    drill.command(epilog=example("drill hint"))(hint)
    drill.command(epilog=example("drill answer --node node1 --object flannel.1 --cause tunnel-down"))(answer)
    drill.command(epilog=example("drill check"))(check)
    drill.command("give-up", epilog=example("drill give-up"))(give_up)
    drill.command(epilog=example("drill grade --csv --student 'Ada L.' >> class.csv"))(grade)
    app.add_typer(drill, name="drill")


def start(
    seed: Annotated[str, typer.Option("--seed", help="The same seed is the same fault in the same lab.")] = "",
    level: Annotated[int | None, typer.Option("--level", min=1, max=3, help="3 is the hardest.")] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="For how long time counts.")] = 15,
    allow_diagnose: Annotated[
        bool, typer.Option("--allow-diagnose", help="Let `diagnose` be asked meanwhile.")
    ] = False,
    *,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Hide a fault in the lab, which is to be whole. `diagnose` is off until the drill is over."""
    import secrets

    from k8snetlab.cli import progress
    from k8snetlab.messages.drills import DRILL_START, DrillStart

    need_root("drill")
    asked = DrillStart(seed or secrets.token_hex(8), level or 0, minutes, allow_diagnose)
    with progress.patient("looking whether the lab is whole", quiet=output is not None):
        state = client_of(lab).call(DRILL_START, asked)
    if output:
        print_json(state)
        return
    screen.say(f"something is wrong in the lab. What is heard of it: {state.symptom}", hang=2)
    screen.say(f"You have {state.minutes:g} minutes. Look with what you like; {_told(allow_diagnose)}.")
    screen.say(
        "answer: k8snetlab drill answer --node NODE --object OBJECT --cause NAME (`k8snetlab fault list`)", hang=2
    )
    screen.say("mend it with ordinary commands, then: k8snetlab drill check")
    screen.say("stuck?  k8snetlab drill hint, or drill give-up")


def _told(allowed: bool) -> str:
    return "`diagnose` may be asked" if allowed else "`diagnose` is off"


def hint(lab: LabOption = None, output: OutputOption = None) -> None:
    """Ask for a hint; each costs points."""
    from k8snetlab.messages.drills import DRILL_HINT
    from k8snetlab.messages.verb import Nothing

    need_root("drill")
    state = client_of(lab).call(DRILL_HINT, Nothing())
    if output:
        print_json(state)
    else:
        screen.say(f"hint {len(state.hints)}: {state.hints[-1]}", hang=2)


def answer(
    node: Annotated[
        str, typer.Option("--node", metavar="NODE", autocompletion=complete_node, help="Where it is.")
    ] = "",
    object_: Annotated[
        str, typer.Option("--object", metavar="OBJECT", help="What is damaged: flannel.1, 10.244.2.0/24, default/web.")
    ] = "",
    cause: Annotated[
        str, typer.Option("--cause", metavar="NAME", autocompletion=complete_fault, help="As `fault list` names it.")
    ] = "",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Say where and what the fault is. The last answer counts; each one after the first costs points."""
    from k8snetlab.messages.drills import DRILL_ANSWER, DrillAnswer

    need_root("drill")
    state = client_of(lab).call(DRILL_ANSWER, DrillAnswer(node, object_, cause))
    if output:
        print_json(state)
    else:
        screen.say(f"noted, {_left(state)}; now mend it, and `k8snetlab drill check`")


def check(lab: LabOption = None, output: OutputOption = None) -> None:
    """Look whether the lab is whole again, and end the drill if it is. The exit code is 1 when it is not."""
    from k8snetlab.cli import progress
    from k8snetlab.messages.drills import DRILL_CHECK, DrillCheck

    need_root("drill")
    client = client_of(lab)
    with progress.patient("looking whether the lab is whole", quiet=output is not None):
        state = client.call(DRILL_CHECK, DrillCheck(_expected(client)))
    if output:
        print_json(state)
    elif state.running:
        screen.say(f"not yet: {state.still}; {_left(state)}")
    else:
        _tell(state)
    if state.running or state.notes:
        raise typer.Exit(1)


def give_up(lab: LabOption = None, output: OutputOption = None) -> None:
    """End the drill, tell what it was and take it out of the lab. The exit code is 1 where not all of it could be."""
    from k8snetlab.messages.drills import DRILL_GIVE_UP
    from k8snetlab.messages.verb import Nothing

    need_root("drill")
    state = client_of(lab).call(DRILL_GIVE_UP, Nothing())
    if output:
        print_json(state)
    else:
        _tell(state)
    if state.notes:
        raise typer.Exit(1)


def grade(
    csv_: Annotated[bool, typer.Option("--csv", help=f"One line: {', '.join(COLUMNS)}.")] = False,
    student: Annotated[str, typer.Option("--student", metavar="NAME", help="The line's first field.")] = "",
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Show what the last drill was worth, once it is over."""
    from k8snetlab.messages.drills import DRILL
    from k8snetlab.messages.verb import Nothing

    need_root("drill")
    client = client_of(lab)
    state = client.call(DRILL, Nothing())
    if state.running and (csv_ or not output):
        raise InputError(f"the drill is not over, {_left(state)}", "`k8snetlab drill check`, or `drill give-up`")
    if output:
        print_json(state)
    elif csv_:
        typer.echo(line(state, client.lab, student), nl=False)
    else:
        _tell(state)


def line(state: DrillState, lab: str, student: str) -> str:
    """For a class sheet: `COLUMNS`, as RFC 4180 has it. What a spreadsheet would take for a formula is text."""
    points = {row.what: row.points for row in state.grade}
    assert state.fault is not None
    text = io.StringIO()
    fields = (
        for_a_spreadsheet(student),
        lab,
        state.fault.name,
        state.level,
        state.points,
        *(points.get(what, 0) for what in SCORED),
    )
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue()


def _left(state: DrillState) -> str:
    minutes, seconds = divmod(int(state.left), 60)
    return f"{minutes}:{seconds:02d} left" if state.left else "time is over"


def _expected(client: Client) -> bool | None:
    """Whether the packets of the lab's scenario go as it expects; None where it expects nothing."""
    from k8snetlab.cli.scenario import built_from
    from k8snetlab.workshop import checking, scenes

    try:
        scenario = built_from(client)
        placed = scenes.expectations(scenario)
    except InputError:
        return None
    return checking.check(client, placed, scenario).ok if placed else None


def _tell(state: DrillState) -> None:
    assert state.fault is not None
    screen.say(f"it was {state.fault.name} on {state.fault.node}: {state.fault.title} ({state.fault.object})", hang=2)
    for command in state.fault.commands:
        screen.say(f"done by: {command}", hang=9)
    rows = [(row.what, str(row.points), f"of {row.most}" if row.most else "", row.why) for row in state.grade]
    typer.echo(screen.table(("", "POINTS", "", ""), rows, screen.columns()))
    screen.say(f"{state.points} of 100 points")
    for note in state.notes:
        screen.say(f"not mended: {note}", hang=2)
    if state.notes:
        screen.say("`k8snetlab fault clear` tries it again; `k8snetlab diagnose` says what is wrong", hang=2)
