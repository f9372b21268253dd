"""A lesson as Markdown: prose, and fenced blocks whose first word says what they are.

A second-level heading begins a step. The blocks are `lesson` (before the first step), `setup`, `try`, `question KIND`,
`check`, `hint` and `solution`; docs/lessons.md tells what stands in each. Others are prose.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from markdown_it import MarkdownIt
from markdown_it.token import Token

from k8snetlab.api.fields import check
from k8snetlab.api.source import Document, parse
from k8snetlab.api.words import shorten, show
from k8snetlab.errors import ManifestError
from k8snetlab.wording import near
from k8snetlab.workshop import expectations
from k8snetlab.workshop.answers import canonical
from k8snetlab.workshop.expectations import Names, Placed, listed

Kind = Literal["number", "address", "choice"]
BLOCKS = ("lesson", "cleanup", "setup", "try", "question", "check", "hint", "solution")
PLAIN = ("", "sh", "bash", "console", "text", "yaml", "json", "ini")
MOST = 1 << 16
"""Characters of one lesson."""
_FIELD = re.compile(r"(answer of|answer|because): *(.*)")
_CHOICE = re.compile(r"([a-h])\) +(.+)")
S = TypeVar("S", bound=msgspec.Struct)


class Prose(msgspec.Struct, frozen=True):
    """Markdown."""

    text: str


class Try(msgspec.Struct, frozen=True):
    """Commands for the learner to type."""

    commands: tuple[str, ...]


class Question(msgspec.Struct, frozen=True):
    """What the learner is asked. One of `answers` is right, or what the command `answer_of` prints."""

    kind: Kind
    text: str
    choices: tuple[tuple[str, str], ...]
    answers: tuple[str, ...]
    answer_of: tuple[str, ...]
    because: str
    where: str


class Check(msgspec.Struct, frozen=True):
    """What proves that a step is done: an expectation, or a command by what it prints."""

    says: str
    where: str
    expectation: Placed | None = None
    command: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    code: int | None = 0
    within: int = 0
    """Seconds that it may take to come about, when the lab is at rest: what daemons of others do, nobody tells."""


class Step(msgspec.Struct, frozen=True):
    """What stands below one heading."""

    title: str
    parts: tuple[Prose | Try | Question | Check, ...]
    hints: tuple[str, ...]
    setup: str
    """A script for `sh`, run when the step begins."""
    solution: str
    """Another, which does what is asked of the learner."""

    @property
    def questions(self) -> tuple[Question, ...]:
        return tuple(part for part in self.parts if isinstance(part, Question))

    @property
    def checks(self) -> tuple[Check, ...]:
        return tuple(part for part in self.parts if isinstance(part, Check))


class Lesson(msgspec.Struct, frozen=True):
    """The whole file."""

    title: str
    minutes: int
    opening: tuple[Prose | Try, ...]
    cleanup: str
    """A script that takes away what a learner may have made beside the lab."""
    steps: tuple[Step, ...]


class _Head(msgspec.Struct, frozen=True):
    minutes: int


Seconds = Annotated[int, msgspec.Meta(ge=1, le=60)]


class _Within(msgspec.Struct, frozen=True):
    """What a `check` by an expectation says besides it."""

    within: Seconds = 0


class _Run(msgspec.Struct, frozen=True):
    """A `check` by a command."""

    run: Names
    says: str = ""
    shows: Names = ()
    lacks: Names = ()
    code: int | None = 0
    within: Seconds = 0


def load(text: str, file: str) -> Lesson:
    """The lesson; raises ManifestError with every wrong place (`file:line: what`)."""
    if len(text) > MOST:
        raise ManifestError([f"{file}:1: more than {MOST >> 10} KiB"], "is this a lesson?")
    reader = _Reader(text, file)
    lesson = reader.lesson()
    if reader.wrong:
        lines = [f"{file}:{line}: {message}" for line, message in sorted(dict.fromkeys(reader.wrong))]
        raise ManifestError(lines, "docs/lessons.md tells how a lesson is written")
    return lesson


class _Open:
    """A step, or what stands before the first, while it is read."""

    def __init__(self, title: str, line: int) -> None:
        self.title, self.line = title, line
        self.parts: list[Prose | Try | Question | Check] = []
        self.hints: list[str] = []
        self.scripts: dict[str, str] = {}


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.file, self.lines = file, text.splitlines()
        self.wrong: list[tuple[int, str]] = []
        self.minutes = 0
        for number, line in enumerate(self.lines, 1):
            if not line.replace("\t", " ").isprintable():
                self.problem(number, f"a character that no terminal should get: {shorten(line)}")
        self.tokens = MarkdownIt("commonmark", {"html": False}).parse("\n".join(self.lines))

    def problem(self, line: int, message: str) -> None:
        self.wrong.append((line, message))

    def lesson(self) -> Lesson:
        title, opened = "", [_Open("", 1)]
        for number, token in enumerate(self.tokens):
            if token.map is None or token.nesting < 0:
                continue
            line = token.map[0] + 1
            if token.level:
                if token.type == "fence" and _words(token)[0] in BLOCKS:
                    self.problem(line, f"a {_words(token)[0]} block inside a list or quote: it begins its line")
            elif token.type == "heading_open" and token.tag in ("h1", "h2"):
                said = self.tokens[number + 1].content
                if token.tag == "h1" and (title or len(opened) > 1):
                    self.problem(line, "a second title: steps begin with ##")
                elif token.tag == "h1":
                    title = said
                else:
                    opened.append(_Open(said, line))
            elif token.type == "fence":
                self.block(token, line, opened)
            else:
                self.prose(token, opened[-1])
        return self.whole(title, opened)

    def whole(self, title: str, opened: list[_Open]) -> Lesson:
        head, *steps = opened
        if not title:
            self.problem(1, "no title: the file begins with # and one")
        if not steps:
            self.problem(1, "no step: each begins with ## and its title")
        if not self.minutes and not any("minutes" in message for _, message in self.wrong):
            self.problem(1, "how long does it take? A block ```lesson before the first step says minutes: 10")
        for step in steps:
            if any(isinstance(part, Check) for part in step.parts) and "solution" not in step.scripts:
                self.problem(step.line, f"step {shorten(step.title)!r} has a check and no solution")
        return Lesson(
            title,
            self.minutes,
            tuple(part for part in head.parts if isinstance(part, Prose | Try)),
            head.scripts.get("cleanup", ""),
            tuple(
                Step(s.title, tuple(s.parts), tuple(s.hints), s.scripts.get("setup", ""), s.scripts.get("solution", ""))
                for s in steps
            ),
        )

    def prose(self, token: Token, into: _Open) -> None:
        begin, end = token.map or (0, 0)
        text = "\n".join(self.lines[begin:end]).strip("\n")
        if into.parts and isinstance(last := into.parts[-1], Prose):
            into.parts[-1] = Prose(f"{last.text}\n\n{text}")
        else:
            into.parts.append(Prose(text))

    def block(self, token: Token, line: int, opened: list[_Open]) -> None:
        word, *rest = _words(token)
        into, body = opened[-1], token.content.strip("\n")
        if word not in BLOCKS:
            if word not in PLAIN:
                meant = near(word, BLOCKS)
                hint = f"; did you mean {meant}?" if meant else f"; blocks are {', '.join(BLOCKS)}, or sh, text, yaml"
                self.problem(line, f"no block is called {shorten(word)!r}{hint}")
            self.prose(token, into)
            return
        if not body.strip():
            self.problem(line, f"an empty {word} block")
        elif (word in ("lesson", "cleanup")) != (len(opened) == 1) and word != "try":
            where = "before the first step" if word in ("lesson", "cleanup") else "in a step"
            self.problem(line, f"a {word} block stands {where}")
        elif word in ("cleanup", "setup", "solution"):
            if word in into.scripts:
                self.problem(line, f"a second {word} in one step")
            into.scripts[word] = body
        else:
            self.part(word, rest, body, line, into)

    def part(self, word: str, rest: list[str], body: str, line: int, into: _Open) -> None:
        match word:
            case "lesson":
                if head := self.value(body, line, _Head):
                    self.minutes = head.minutes
                    if not 1 <= head.minutes <= 120:
                        self.problem(line, "minutes: 1 to 120")
            case "try":
                into.parts.append(Try(tuple(part for part in body.split("\n") if part.strip())))
            case "hint":
                into.hints.append(" ".join(body.split()))
            case "question":
                if question := self.question(rest, body, line):
                    into.parts.append(question)
            case "check":
                if found := self.check(body, line):
                    into.parts.append(found)

    # --- question ---

    def question(self, rest: list[str], body: str, line: int) -> Question | None:
        kind = rest[0] if rest else ""
        if kind not in ("number", "address", "choice"):
            self.problem(line, f"question {shorten(kind)}: it is a number, an address or a choice")
            return None
        text: list[str] = []
        choices: list[tuple[str, str]] = []
        fields: dict[str, list[str]] = {"answer": [], "answer of": [], "because": []}
        for number, part in enumerate(body.split("\n"), line + 1):
            if field := _FIELD.fullmatch(part):
                fields[field[1]].append(field[2].strip())
            elif choice := _CHOICE.fullmatch(part):
                choices.append((choice[1], choice[2]))
            elif fields["because"]:
                fields["because"].append(part.strip())
            elif choices or fields["answer"]:
                self.problem(number, f"what is this, after the choices or the answer? {shorten(part)}")
            else:
                text.append(part)
        command = self.words(" ".join(fields["answer of"]), line) if fields["answer of"] else ()
        for problem in _of_question(kind, choices, fields["answer"], bool(command)):
            self.problem(line, problem)
        return Question(
            kind,  # type: ignore[arg-type]  # one of the three
            " ".join(" ".join(text).split()),
            tuple(choices),
            tuple(fields["answer"]),
            command,
            " ".join(fields["because"]),
            f"{self.file}:{line}",
        )

    # --- check ---

    def check(self, body: str, line: int) -> Check | None:
        """An expectation where it says `from`, else a command."""
        document = self.document(body, line)
        if document is None:
            return None
        where = f"{self.file}:{line}"
        if isinstance(document.value, dict) and "run" not in document.value:
            says = document.value.pop("says", "")
            aside = {"within": document.value.pop("within")} if "within" in document.value else {}
            if findings := check(aside, _Within).wrong:
                self.wrong += [(line + document.line(path), f"{show(path)}: {message}") for path, message in findings]
                return None
            try:
                placed = expectations.one(document, document.value, (), where)
            except ManifestError as error:
                self.wrong += [(line, problem.removeprefix(f"{where}: ")) for problem in error.problems]
                return None
            within = msgspec.convert(aside, _Within).within
            return Check(str(says) or placed.expectation.name, where, placed, within=within)
        if run := self.value(body, line, _Run):
            command = self.words(run.run, line) if isinstance(run.run, str) else run.run
            if command:
                return Check(run.says, where, None, command, listed(run.shows), listed(run.lacks), run.code, run.within)
            self.problem(line, "run: no command in it")
        return None

    # --- what several of them have ---

    def words(self, text: str, line: int) -> tuple[str, ...]:
        try:
            return tuple(shlex.split(text))
        except ValueError as error:
            self.problem(line, f"no command: {error}: {shorten(text)}")
            return ()

    def document(self, body: str, line: int) -> Document | None:
        documents, flaws = parse(body, self.file)
        self.wrong += [(line + flaw.line, flaw.message) for flaw in flaws]
        if not flaws and len(documents) != 1:
            self.problem(line, "one YAML mapping stands in it")
        return documents[0] if len(documents) == 1 and not flaws else None

    def value(self, body: str, line: int, type_: type[S]) -> S | None:
        document = self.document(body, line)
        if document is None:
            return None
        findings = check(document.value, type_)
        for path, message in (*findings.unknown, *findings.wrong):
            said = message if message.startswith("unknown field") or not path else f"{show(path)}: {message}"
            self.problem(line + document.line(path), said)
        wrong: Any = findings.wrong or findings.unknown
        return None if wrong else msgspec.convert(document.value, type_)


def _words(token: Token) -> list[str]:
    return token.info.split() or [""]


def _of_question(kind: str, choices: list[tuple[str, str]], answers: list[str], computed: bool) -> Iterator[str]:
    if computed == bool(answers):
        yield "a question has answer: or answer of:, and not both"
    if (kind == "choice") != bool(choices):
        yield "choices a) b) … stand in a question choice, and only there"
    if len({letter for letter, _ in choices}) < len(choices):
        yield "two choices have one letter"
    for answer in answers:
        if not canonical(kind, answer) or (kind == "choice" and answer not in dict(choices)):
            yield f"answer: {shorten(answer)!r} is no {kind}{' of these' * (kind == 'choice')}"
    if computed and kind == "choice":
        yield "a choice's answer is written"
