"""class: a lab for each student on one machine, apart from each other."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    OutputOption,
    as_json,
    complete_lesson,
    complete_scenario,
    example,
    form_of,
    need_root,
    print_json,
    write,
)
from k8snetlab.errors import ConflictError, DaemonError, InputError
from k8snetlab.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8snetlab.classroom.looking import ClassState, StudentState
    from k8snetlab.classroom.opening import ClassOpened, Opened
    from k8snetlab.classroom.roll import Roll, Student


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="A lab for each student on this machine, apart from each other.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("class start --students 20 --lesson 1"),
    )
    group.command(epilog=example("class start --names class.txt --scenario business-manager"))(start)
    group.command(epilog=example("class status --watch"))(status)
    group.command(epilog=example("class shell student1"), context_settings={"allow_interspersed_args": False})(shell)
    group.command(epilog=example("class logins"))(logins)
    group.command(epilog=example("class reset student1"))(reset)
    group.command(epilog=example("class report -o class.html"))(report)
    group.command(epilog=example("class stop"))(stop)
    app.add_typer(group, name="class")


def complete_student(incomplete: str) -> list[str]:
    from k8snetlab.classroom import roll

    try:
        return [one.name for one in roll.read().students if one.name.startswith(incomplete)]
    except Exception:  # completion never says a word
        return []


StudentArgument = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_student)]


def start(
    students: Annotated[int, typer.Option("--students", metavar="N", help="student1 to studentN.")] = 0,
    names: Annotated[
        Path | None, typer.Option("--names", metavar="FILE", help="A line for each: ada, or: ada Ada Lovelace.")
    ] = None,
    scenario: Annotated[
        str,
        typer.Option(
            "--scenario", metavar="SCENARIO|DIR|FILE", autocompletion=complete_scenario, help="What each lab is of."
        ),
    ] = "",
    lesson: Annotated[
        str, typer.Option("--lesson", metavar="LESSON", autocompletion=complete_lesson, help="Or the first lesson.")
    ] = "",
    lang: Annotated[str, typer.Option("--lang", metavar="LANGUAGE", help="Of the lesson: en, or zh.")] = "en",
    memory: Annotated[
        int | None, typer.Option("--memory", metavar="MIB", min=128, max=65536, help="Of each student: 256.")
    ] = None,
    output: OutputOption = None,
) -> None:
    """Give each student a seat with a lab, or go on with the class that there is: what is there stays."""
    need_root("class")
    import time

    from msgspec.structs import replace

    from k8snetlab.classroom import opening, roll, seats

    wanted = _students(students, names)
    before = _there()
    if not (wanted or before):
        raise InputError("who is in the class?", "--students 20, or --names FILE")
    held = _roll(before, wanted, scenario, lesson, lang)
    if memory:
        held = replace(held, memory=memory)
    began = time.monotonic()
    with roll.turn():
        if _there() != before:
            raise ConflictError("the class has changed meanwhile", "the same command again")
        roll.write(held)
        held = opening.load(held)
        opened = _opened([one.name for one in held.students], quiet=output is not None)
    unlimited = tuple(word for word in ("memory", "tasks") if word not in seats.limits())
    done = opening.ClassOpened(opened, unlimited, round(time.monotonic() - began, 1))
    failed = [one for one in opened if not one.ok]
    if output:
        print_json(done)
    else:
        _tell(done, held)
    if failed:
        which = ", ".join(one.name for one in failed[:8])
        raise DaemonError(
            f"{counted(len(failed), 'lab')} did not start: {which}", "`k8snetlab class start` tries again"
        )


def _there() -> Roll | None:
    from k8snetlab.classroom import roll
    from k8snetlab.errors import NotFoundError

    try:
        return roll.read()
    except NotFoundError:
        return None


def _students(count: int, names: Path | None) -> tuple[Student, ...]:
    from k8snetlab.classroom import roll
    from k8snetlab.state import scenarios

    if count and names:
        raise InputError("--students and --names: one of them", "the file's lines say how many")
    if names:
        return roll.named(scenarios.text(names, str(names))[1], str(names))
    return roll.numbered(count) if count else ()


def _roll(before: Roll | None, wanted: tuple[Student, ...], scenario: str, lesson: str, lang: str) -> Roll:
    """The class that is wanted. What it is made of is looked at first: nobody's lab would start with a wrong one."""
    from msgspec.structs import replace

    from k8snetlab.classroom import roll
    from k8snetlab.state.scenarios import DEFAULT

    if scenario and lesson:
        raise InputError("--scenario and --lesson: one of them", "a lesson builds its own lab")
    held = before or roll.Roll(())
    if wanted:
        held = replace(held, students=roll.together(held.students, wanted))
    if lesson:
        from k8snetlab.workshop import teaching

        name, place = teaching.find(lesson)
        if place.is_dir() and Path(lesson).is_dir():
            raise InputError(f"{lesson}: a class begins with a lesson that ships", "`k8snetlab lesson list`")
        teaching.load(place, lang)
        held = replace(held, lesson=name.partition("/")[2], language=lang, scenario="", lab="")
    elif scenario or not (held.lesson or held.scenario):
        scenario = scenario or DEFAULT
        shipped = _is_shipped(scenario)
        where = scenario if shipped else str(Path(scenario).absolute())
        held = replace(held, scenario=where, lab=_lab_of(scenario), lesson="")
    return held


def _is_shipped(scenario: str) -> bool:
    from k8snetlab.state import scenarios

    return scenario in (*scenarios.names(), *scenarios.lessons())


def _lab_of(scenario: str) -> str:
    """What its files call their lab; "". Raises ManifestError for wrong ones."""
    from k8snetlab.api.lab import Lab
    from k8snetlab.classroom import work
    from k8snetlab.cli import manifests
    from k8snetlab.state import scenarios

    if scenario == "-":
        raise InputError("--scenario -: there is one standard input, and many labs", "name a file or a directory")
    loaded = manifests.of(scenarios.find(scenario), machines=False)
    if not _is_shipped(scenario):
        work.brought(scenario)
    return next((obj.metadata.name for obj in loaded.objects if isinstance(obj, Lab)), "") if loaded.named else ""


def _opened(names: list[str], *, quiet: bool) -> tuple[Opened, ...]:
    from k8snetlab.classroom import opening
    from k8snetlab.cli import progress
    from k8snetlab.messages.progress import Progress

    found: dict[str, Opened] = {}

    def events() -> Iterator[Progress]:
        yield Progress("labs", 0, len(names), "")
        for one in opening.open_(names):
            found[one.name] = one
            said = "stands" if one.new else "was there" if one.ok else "FAILED"
            yield Progress("labs", len(found), len(names), f"{one.name} {said}, {one.seconds:g} s")

    for _ in progress.shown(events(), quiet=quiet):
        pass
    return tuple(found[name] for name in names)


def _tell(done: ClassOpened, held: Roll) -> None:
    for one in done.students:
        if not one.ok:
            screen.say(f"{one.name}: {one.said}", err=True, hang=2)
    stand = sum(one.ok for one in done.students)
    screen.say(f"{stand} of {len(done.students)} labs stand, in {done.seconds:g} s")
    if done.unlimited:
        screen.say(f"warning: this machine's control groups do not bound {' and '.join(done.unlimited)}", err=True)
    first = held.students[0].name
    screen.say(f"who sits where:    k8snetlab class status --watch\na student's shell: k8snetlab class shell {first}")


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    output: OutputOption = None,
) -> None:
    """Show who is where: lesson and step, drill, the last command, memory."""
    need_root("class")
    from k8snetlab.classroom import looking, roll

    held = roll.read()
    if output and not watch:
        print_json(looking.look(held))
        return
    import time

    while True:
        state = looking.look(roll.read())
        if output:
            typer.echo(as_json(state))
        else:
            if watch and sys.stdout.isatty():
                typer.echo("\033[H\033[2J", nl=False)
            _show(state)
        if not watch:
            return
        time.sleep(3)


def _show(state: ClassState) -> None:
    rows = [_row(one) for one in state.students]
    typer.echo(screen.table(("STUDENT", "STATE", "LESSON", "STEP", "DRILL", "MEMORY", "LAST"), rows, screen.columns()))
    total = sum(one.memory for one in state.students)
    screen.say(f"{counted(len(rows), 'student')}, {total:.0f} MiB")


def _row(one: StudentState) -> tuple[str, ...]:
    from k8snetlab.classroom.looking import printable

    lesson = one.lesson
    name = printable(lesson.lesson.rpartition("/")[2])[:40] if lesson else ""
    step = f"{lesson.step}/{lesson.steps}{' ok' if lesson.passed else ''}" if lesson else ""
    if lesson and lesson.done:
        step = "done"
    last = f"{one.command[:40]} ({_ago(one.idle)})" if one.idle is not None else ""
    return one.name, one.state, name, step, _drill(one), f"{one.memory:.0f} MiB", last


def _drill(one: StudentState) -> str:
    if one.drill is None:
        return ""
    return f"runs, {one.drill.left / 60:.0f} min left" if one.drill.running else f"{one.drill.points} points"


def _ago(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f}s" if minutes < 2 else f"{minutes:.0f}m" if minutes < 120 else f"{minutes / 60:.0f}h"


def shell(
    name: StudentArgument,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- CMD]", help="What to run there; left out: a shell.")
    ] = None,
) -> None:
    """Open a shell in a student's seat, which sees that student's lab alone. The exit code is the command's."""
    need_root("class")
    from k8snetlab.classroom import entering, roll, seats
    from k8snetlab.errors import NotFoundError

    held = roll.read()
    seat = seats.of(held)[held.place(name)]
    if not seat.pid:
        raise NotFoundError(f"{name} has no seat now", "`k8snetlab class start` makes what is missing")
    words = list(command or ())
    raise typer.Exit(entering.run(seat, words[1:] if words[:1] == ["--"] else words))


def logins() -> None:
    """Print the lines that let accounts of this machine, each called as a student, into that student's seat.

    Accounts of the machine's own and the one that you use are left out: they could do nothing else afterwards.
    """
    need_root("class")
    import shutil

    from k8snetlab.classroom import roll

    program = shutil.which("k8snetlab") or "/usr/local/bin/k8snetlab"
    all_students = roll.read().students
    students = [one for one in all_students if not _is_needed(one.name)]
    for one in all_students:
        if one not in students:
            typer.echo(f"# left out: {one.name} is an account that is needed for other things")
    if not students:
        return
    typer.echo("# /etc/sudoers.d/k8snetlab-class: nothing but that, and with no other words behind it")
    for one in students:
        typer.echo(f"{one.name} ALL=(root) NOPASSWD: {program} class shell {one.name}")
    typer.echo("# /etc/ssh/sshd_config.d/k8snetlab-class.conf: and nowhere else")
    typer.echo(f"Match User {','.join(one.name for one in students)}")
    typer.echo(f'    ForceCommand sudo {program} class shell "$LOGNAME"\n    DisableForwarding yes')


def _is_needed(account: str) -> bool:
    """Whether an account that there is belongs to the system (below 1000, as useradd counts), or to who asks."""
    import pwd

    try:
        user = pwd.getpwnam(account).pw_uid
    except KeyError:
        return False
    return user < 1000 or account == os.environ.get("SUDO_USER")


def reset(name: StudentArgument, output: OutputOption = None) -> None:
    """Give a student a new seat and lab. How far the lessons are stays: the lesson's lab is built to that step."""
    need_root("class")
    from k8snetlab.classroom import looking, roll, seats

    held = roll.read()
    place = held.place(name)
    with roll.turn():
        looking.look(held)
        seats.end(seats.of(held)[place])
        [opened] = _opened([name], quiet=output is not None)
    if output:
        print_json(opened)
    elif opened.ok:
        screen.say(f"{name} has a new seat and lab, in {opened.seconds:g} s")
    if not opened.ok:
        raise DaemonError(f"{name}: {opened.said}", f"`k8snetlab class reset {name}` again, or class shell {name}")


def report(
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FORM|FILE", help="html, csv, json, or a FILE that ends so.")
    ] = "csv",
) -> None:
    """Tell what everybody has done: lessons, steps, hints, drills. Also after `class stop`."""
    need_root("class")
    import time

    from k8snetlab.classroom import looking, records, roll, sheet

    form = form_of(output, ("html", "csv", "json"))
    held = roll.read()
    looking.look(held)
    sheets = [sheet.of(one, records.read(one.name)) for one in held.students]
    if form.name == "json":
        text = as_json(sheet.ClassReport(tuple(sheets)), indent=2) + "\n"
    elif form.name == "csv":
        text = sheet.as_csv(sheets)
    else:
        about = f"lesson {held.lesson}" if held.lesson else f"scenario {held.scenario}"
        text = sheet.as_html(sheets, f"Class: {about}", time.strftime("%Y-%m-%d %H:%M %Z"))
    if form.file:
        write(form.file, text)
    else:
        typer.echo(text, nl=False)


def stop(
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget who was in it and how far everybody was, too.")
    ] = False,
) -> None:
    """End every student's lab and seat. The class and how far everybody is stay known, for `class start`."""
    need_root("class")
    from k8snetlab.classroom import looking, opening, roll
    from k8snetlab.cli import progress

    held = roll.Roll(()) if forget and not roll.readable() else roll.read()
    with roll.turn():
        with progress.patient("all seats, which are looked at and end"):
            if not forget:
                looking.look(held)
            ended = list(opening.close(held))
        if forget:
            roll.forget()
    screen.say(f"{counted(len(ended), 'seat')} ended" + ("" if forget else "; `k8snetlab class start` goes on"))
