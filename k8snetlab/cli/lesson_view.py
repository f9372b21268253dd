"""A step of a lesson on the screen: prose by rich, at 80 columns at most, commands as they are typed."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from k8snetlab.cli import screen

if TYPE_CHECKING:
    from k8snetlab.workshop.lesson import Check, Prose, Question, Step, Try

WIDEST = 80
_GAPS = re.compile(r"\n(?:\s*\n){2,}")
"""Rich leaves a margin around code, of lines with nothing in them."""
LETTERS = {"number": "a number", "address": "an address", "choice": "a letter"}


def opening(title: str, minutes: int, parts: Iterable[Prose | Try]) -> str:
    return "\n\n".join((_bold(f"{title} ({minutes} minutes)"), *map(_part, parts)))


def step(number: int, of: int, shown: Step) -> str:
    """The step as the learner reads it; hints, checks and the solution are not told."""
    from k8snetlab.workshop.lesson import Question

    blocks = [_bold(f"{number}/{of}  {shown.title}")]
    asked = 0
    for part in shown.parts:
        if isinstance(part, Question):
            asked += 1
            blocks.append(_question(part, asked if len(shown.questions) > 1 else 0))
        elif text := _part(part):
            blocks.append(text)
    blocks.append(_bold(_then(shown)))
    return "\n\n".join(blocks)


def _then(shown: Step) -> str:
    if shown.questions:
        return f"then: k8snetlab lesson check {' '.join('ANSWER' for _ in shown.questions)}"
    return f"then: k8snetlab lesson {'check' if shown.checks else 'next'}"


def _part(part: Prose | Try | Question | Check) -> str:
    from k8snetlab.workshop.lesson import Prose, Try

    match part:
        case Prose():
            return _markdown(part.text)
        case Try():
            width = min(screen.columns() or WIDEST, WIDEST)
            lines = (line for command in part.commands for line in screen.command(command, width, "    "))
            return "\n".join(map(_bold, lines))
    return ""


def _question(question: Question, number: int) -> str:
    said = f"? {f'{number}. ' if number else ''}{question.text} ({LETTERS[question.kind]})"
    width = min(screen.columns() or WIDEST, WIDEST)
    lines = [
        line for text in (said, *(f"  {a}) {t}" for a, t in question.choices)) for line in screen.fold(text, width)
    ]
    return "\n".join(lines)


def _markdown(text: str) -> str:
    from rich.console import Console
    from rich.markdown import Markdown

    drawn = io.StringIO()
    width = min(screen.columns() or WIDEST, WIDEST)
    console = Console(file=drawn, width=width, force_terminal=_colours(), highlight=False, emoji=False, markup=False)
    console.print(Markdown(text, code_theme="ansi_dark", hyperlinks=False))
    lines = "\n".join(line.rstrip() for line in drawn.getvalue().strip("\n").splitlines())
    return _GAPS.sub("\n\n", lines)


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if _colours() else text


def _colours() -> bool:
    import os

    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"
