"""A step of a lesson on the screen: prose by rich, at 80 columns at most, commands as they are typed."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from k8snetlab.cli import ink, screen

if TYPE_CHECKING:
    from k8snetlab.workshop.lesson import Check, Prose, Question, Step, Try

WIDEST = 80
_CODE = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WORDS = {
    "en": {
        "number": "a number",
        "address": "an address",
        "choice": "a letter",
        "minutes": "minutes",
        "then": "then",
        "begin": "begin: sudo k8snetlab lesson start NAME (its number will do)",
    },
    "zh": {
        "number": "数字",
        "address": "地址",
        "choice": "字母",
        "minutes": "分钟",
        "then": "然后",
        "begin": "开始: sudo k8snetlab lesson start NAME --lang zh (NAME 也可以只写编号)",
    },
}


def word(name: str, language: str) -> str:
    """One of the few words around a lesson, in its language, or English where they are not known in that."""
    return WORDS.get(language, WORDS["en"])[name]


def opening(title: str, minutes: int, parts: Iterable[Prose | Try], language: str = "en") -> str:
    return "\n\n".join((_bold(f"{title} ({minutes} {word('minutes', language)})"), *map(_part, parts)))


def step(number: int, of: int, shown: Step, language: str = "en") -> str:
    """The step as the learner reads it; hints, checks and the solution are not told."""
    from k8snetlab.workshop.lesson import Question

    blocks = [_bold(f"{number}/{of}  {shown.title}")]
    asked = 0
    for part in shown.parts:
        if isinstance(part, Question):
            asked += 1
            blocks.append(_question(part, asked if len(shown.questions) > 1 else 0, language))
        elif text := _part(part):
            blocks.append(text)
    blocks.append(_bold(f"{word('then', language)}: k8snetlab lesson {_then(shown)}"))
    return "\n\n".join(blocks)


def _then(shown: Step) -> str:
    if shown.questions:
        return f"check {' '.join('ANSWER' for _ in shown.questions)}"
    return "check" if shown.checks else "next"


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


def _question(question: Question, number: int, language: str) -> str:
    said = f"? {f'{number}. ' if number else ''}{question.text} ({word(question.kind, language)})"
    width = min(screen.columns() or WIDEST, WIDEST)
    lines = [
        line for text in (said, *(f"  {a}) {t}" for a, t in question.choices)) for line in screen.fold(text, width)
    ]
    return "\n".join(lines)


def _markdown(text: str) -> str:
    """Prose by rich, code as it stands."""
    parts = _CODE.split(text)  # prose, then code and prose in turn
    drawn = [_prose(part) if number % 2 == 0 else _code(part) for number, part in enumerate(parts)]
    return "\n\n".join(filter(None, drawn))


def _code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _prose(text: str) -> str:
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    drawn = io.StringIO()
    plain = Theme({"markdown.code": "bold", "markdown.item.bullet": "none", "markdown.item.number": "none"})
    width = min(screen.columns() or WIDEST, WIDEST)
    console = Console(
        file=drawn, width=width, force_terminal=ink.coloured(), highlight=False, emoji=False, markup=False, theme=plain
    )
    console.print(Markdown(text.strip(), hyperlinks=False))
    return "\n".join(line.rstrip() for line in drawn.getvalue().strip("\n").splitlines())


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if ink.coloured() else text
