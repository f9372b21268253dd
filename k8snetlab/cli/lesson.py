"""lesson: learn by doing, step by step, each proven."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import LabOption, OutputOption, complete_lesson, example, need_root, print_json
from k8snetlab.wording import counted

if TYPE_CHECKING:
    from k8snetlab.workshop.teaching import Teaching, Verdict


def register(app: typer.Typer) -> None:
    lesson = typer.Typer(
        help="Learn by doing, step by step, each proven.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("lesson start pod"),
    )
    lesson.command("list", epilog=example("lesson list"))(list_)
    lesson.command(epilog=example("lesson start pod --lang zh"))(start)
    lesson.command(epilog=example("lesson show"))(show)
    lesson.command("next", epilog=example("lesson next"))(next_)
    lesson.command(epilog=example("lesson check 1450"))(check)
    lesson.command(epilog=example("lesson hint"))(hint)
    lesson.command(epilog=example("lesson solve"))(solve)
    lesson.command(epilog=example("lesson reset"))(reset)
    lesson.command(epilog=example("lesson status"))(status)
    app.add_typer(lesson, name="lesson")


LanguageOption = Annotated[str, typer.Option("--lang", metavar="LANGUAGE", help="en, or zh for Chinese.")]


def list_(lang: LanguageOption = "en", output: OutputOption = None) -> None:
    """List the lessons that ship with k8snetlab, in the order in which they are best taken."""
    from k8snetlab.cli import lesson_view
    from k8snetlab.workshop import teaching

    found = teaching.shipped(lang)
    if output:
        print_json(found)
        return
    rows = [(one.name, f"{one.minutes} min", one.title) for one in found.lessons]
    typer.echo(screen.table(("LESSON", "TIME", ""), rows, screen.columns()))
    screen.say(lesson_view.word("begin", lang))


def start(
    name: Annotated[
        str,
        typer.Argument(
            metavar="LESSON|DIR", autocompletion=complete_lesson, help="A lesson's name or number, or a directory."
        ),
    ],
    lang: LanguageOption = "en",
    step: Annotated[int, typer.Option("--step", metavar="N", help="Begin there, with all before it done.")] = 1,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Build a lesson's lab (called "lesson", if --lab names no other), and show its first step."""
    need_root("lesson")
    from k8snetlab.cli import lesson_view, progress
    from k8snetlab.workshop.teaching import LAB, Teaching

    with progress.patient("the lesson's lab, which is built", quiet=output is not None):
        teaching = Teaching.start(lab or LAB, name, lang, step)
    if output:
        print_json(teaching.state())
        return
    if step == 1:
        read = teaching.lesson
        typer.echo(lesson_view.opening(read.title, read.minutes, read.opening, lang) + "\n")
    _tell_where(teaching)
    _show(teaching)


def show(lab: LabOption = None, output: OutputOption = None) -> None:
    """Show the step again."""
    teaching = _begun(lab)
    if output:
        print_json(teaching.state())
        return
    _show(teaching)


def next_(lab: LabOption = None, output: OutputOption = None) -> None:
    """Go to the next step, once this one is done."""
    need_root("lesson")
    from k8snetlab.cli import progress

    teaching = _begun(lab)
    with progress.patient("the next step", quiet=output is not None):
        more = teaching.next()
    if output:
        print_json(teaching.state())
    elif more:
        _show(teaching)
    else:
        state = teaching.state()
        alone = state.steps - len(state.solved)
        screen.say(f"The lesson is over: {state.title}")
        screen.say(
            f"{alone} of {counted(state.steps, 'step')} by yourself, {counted(state.hints, 'hint')}, "
            f"{state.minutes:g} minutes"
        )
        if following := teaching.following:
            screen.say(f"next: k8snetlab lesson start {following[0]}   ({following[1]})")
        screen.say(
            f"`k8snetlab down --lab {teaching.lab}` takes its lab away, `k8snetlab lesson list` shows all lessons"
        )


def check(
    answers: Annotated[
        list[str] | None, typer.Argument(metavar="ANSWER", help="To the step's open questions, in their order.")
    ] = None,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Say whether the step is done. The exit code is 1 when it is not."""
    need_root("lesson")
    from k8snetlab.cli import progress

    teaching = _begun(lab)
    given = list(answers or ())
    if not given and sys.stdin.isatty() and sys.stdout.isatty() and output is None:
        from k8snetlab.cli.lesson_view import word

        language = teaching.progress.language
        given = [typer.prompt(f"{one.text} ({word(one.kind, language)})") for one in teaching.open_questions]
    with progress.patient("the lab, which is looked at", quiet=output is not None):
        verdicts = teaching.check(given)
    if output:
        print_json(teaching.state(verdicts))
    else:
        _judge(teaching, verdicts)
    if not teaching.passed:
        raise typer.Exit(1)


def hint(lab: LabOption = None) -> None:
    """Give a hint; the next time another one."""
    teaching = _begun(lab)
    said, left = teaching.hint()
    screen.say(f"hint: {said}")
    screen.say(f"({counted(left, 'more hint')})" if left else "(that was the last; `k8snetlab lesson solve` does it)")


def solve(lab: LabOption = None, output: OutputOption = None) -> None:
    """Do what the step asks for, and show how."""
    need_root("lesson")
    from k8snetlab.cli import progress

    teaching = _begun(lab)
    with progress.patient("the step, which is done for you", quiet=output is not None):
        answers = teaching.solve()
    if output:
        print_json(teaching.state())
        return
    for line in teaching.step.solution.splitlines():
        typer.echo(f"    {line}")
    for question, answer in zip(teaching.step.questions, answers, strict=True):
        screen.say(f"? {question.text}")
        screen.say(f"  {answer}" + (f": {question.because}" if question.because else ""))
    screen.say("then: k8snetlab lesson check")


def reset(lab: LabOption = None, output: OutputOption = None) -> None:
    """Bring the lab back to the beginning of the step, whatever was done to it."""
    need_root("lesson")
    from k8snetlab.cli import progress

    teaching = _begun(lab)
    with progress.patient("the lesson's lab, which is built anew", quiet=output is not None):
        teaching.reset()
    if output:
        print_json(teaching.state())
        return
    _show(teaching)


def status(lab: LabOption = None, output: OutputOption = None) -> None:
    """Say which lesson and step it is, and what to do next."""
    teaching = _begun(lab)
    state = teaching.state()
    if output:
        print_json(state)
        return
    screen.say(f"{state.title}: step {state.step} of {state.steps}, {state.heading}")
    screen.say(f"lab {state.lab}, {state.minutes:g} minutes, {counted(state.hints, 'hint')}")
    if not state.running:
        screen.say(f"its lab does not run: `k8snetlab lesson reset` builds it as it was at step {state.step}")
    else:
        word = "over" if state.done else "k8snetlab lesson next" if state.passed else "k8snetlab lesson check"
        screen.say(f"next: {word}")


def _begun(lab: str | None) -> Teaching:
    from k8snetlab.workshop.teaching import LAB, Teaching

    return Teaching(lab or LAB)


def _show(teaching: Teaching) -> None:
    from k8snetlab.cli import lesson_view

    kept = teaching.progress
    typer.echo(lesson_view.step(kept.step, len(teaching.lesson.steps), teaching.step, kept.language))


def _tell_where(teaching: Teaching) -> None:
    """Where commands would not find the lesson's lab by themselves."""
    from k8snetlab.state import labs

    if len(labs.running()) > 1:
        screen.say(f"Several labs run here. In this shell first: export K8SNETLAB_LAB={teaching.lab}\n")


def _judge(teaching: Teaching, verdicts: tuple[Verdict, ...]) -> None:
    for one in verdicts:
        said = one.says or ("the lab" if one.what == "check" else "")
        why = f"{' ' if one.what == 'question' else ': '}{one.why}" if one.why else ""
        screen.say(f"{'ok   ' if one.ok else 'not  '} {said}{why}", hang=6)
    if not verdicts:
        screen.say("there is nothing to prove in this step")
    last = teaching.progress.step == len(teaching.lesson.steps)
    done = "k8snetlab lesson next" + (" ends the lesson" if last else "")
    helps = "`k8snetlab lesson hint` helps, " if teaching.step.hints else ""
    screen.say(f"then: {done}" if teaching.passed else f"{helps}`k8snetlab lesson solve` does it")
