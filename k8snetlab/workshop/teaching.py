"""A learner's way through a lesson: what each verb of `k8snetlab lesson` does to the lab and to the progress."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from k8snetlab.client.client import Client
from k8snetlab.errors import ConflictError, DaemonError, InputError, NotFoundError
from k8snetlab.state import labs, scenarios
from k8snetlab.state.paths import LabPaths
from k8snetlab.wording import counted, nearest
from k8snetlab.workshop import answers, checking, lesson, progress, resting, scripts
from k8snetlab.workshop.lesson import Check, Lesson, Question, Step
from k8snetlab.workshop.progress import Progress
from k8snetlab.workshop.scenes import LESSON

LAB = "lesson"
"""The lab of lessons, where none is named."""
AGAIN = 0.5
"""Seconds between two looks at what takes some time to come about."""
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,8})?")


class Verdict(msgspec.Struct, frozen=True):
    """Of one question or check of a step."""

    what: str
    """question or check."""
    says: str
    """What was asked, or what it proves."""
    ok: bool
    """Whether it is right, or so."""
    why: str
    """What is not so, or why the answer is right; ""."""


class LessonState(msgspec.Struct, frozen=True):
    """Where a learner is."""

    lab: str
    """The lesson's lab."""
    lesson: str
    """Its name or directory."""
    title: str
    """Its title."""
    language: str
    """Its language, as en or zh."""
    step: int
    """The step, from 1."""
    steps: int
    """How many it has."""
    heading: str
    """The step's title."""
    passed: bool
    """Whether the step's check has passed, or it has none."""
    done: bool
    """Whether the lesson is over."""
    running: bool
    """Whether its lab runs."""
    hints: int
    """How many hints were looked at, in all steps."""
    solved: tuple[int, ...]
    """Steps that `solve` did."""
    minutes: float
    """Since it was begun; once it is over, how long it took."""
    verdicts: tuple[Verdict, ...] = ()
    """Of `check`: one for every question and check."""


class LessonEntry(msgspec.Struct, frozen=True):
    """A lesson that ships."""

    name: str
    """What `lesson start` takes."""
    title: str
    """Its title, in the language asked for where it is written in it."""
    minutes: int
    """How long it takes."""
    steps: int
    """How many steps it has."""
    languages: tuple[str, ...]
    """In which it is written."""


class Lessons(msgspec.Struct, frozen=True):
    """All lessons that ship."""

    lessons: tuple[LessonEntry, ...]
    """In their order."""


def shipped(language: str = "en") -> Lessons:
    found = []
    for path in scenarios.lessons():
        place = scenarios.folder(path)
        known = languages(place)
        read = load(place, language if language in known else "en")
        name = path.partition("/")[2]
        found.append(LessonEntry(name, read.title, read.minutes, len(read.steps), known))
    return Lessons(tuple(found))


def find(name: str) -> tuple[str, Path]:
    """What `up` calls it, and its folder: of "03-two-nodes", "two-nodes", "3", or a directory with a lesson.md."""
    if Path(name).is_dir():
        place = Path(name).absolute()
        if not (place / LESSON).is_file():
            raise InputError(f"{name}: no {LESSON} in it", "docs/lessons.md tells how a lesson is written")
        return str(place), place
    for path in scenarios.lessons():
        number, _, short = path.partition("/")[2].partition("-")
        if name in (path, path.partition("/")[2], short, number, number.lstrip("0")):
            return path, scenarios.folder(path)
    short_names = [path.partition("/")[2] for path in scenarios.lessons()]
    known = {short.partition("-")[2]: short for short in short_names}
    raise InputError(f"no lesson or directory is called {name!r}", nearest(name, known, "`k8snetlab lesson list`"))


def languages(place: Path) -> tuple[str, ...]:
    others = sorted(file.name.split(".")[1] for file in place.glob("lesson.*.md") if file.name.count(".") == 2)
    return ("en", *others)


def load(place: Path, language: str) -> Lesson:
    """Raises ManifestError where it is wrong, InputError where it is not written in that language."""
    file = place / (LESSON if language == "en" else f"lesson.{language}.md")
    if not _LANGUAGE.fullmatch(language) or not file.is_file():
        raise InputError(f"{place.name} is not written in {language[:20]!r}", f"--lang {' or '.join(languages(place))}")
    return lesson.load(scenarios.text(file, file.name)[1], f"{place.name}/{file.name}")


class Teaching:
    """One lab's lesson, as far as its progress tells. Raises NotFoundError where none was begun."""

    def __init__(self, lab: str) -> None:
        self.lab = lab
        self.progress = progress.read(lab)
        _, place = find(self.progress.lesson)
        self.lesson = load(place, self.progress.language)
        self.progress.step = min(max(self.progress.step, 1), len(self.lesson.steps))

    @staticmethod
    def start(lab: str, name: str, language: str, step: int) -> Teaching:
        """Builds the lesson's lab up to a step. Raises ConflictError where a lab of that name is none of a lesson."""
        called, place = find(name)
        read = load(place, language)
        if not 1 <= step <= len(read.steps):
            raise InputError(f"--step {step}: it has {len(read.steps)} steps", "steps count from 1")
        built = progress.read(lab).built if progress.known(lab) else 0
        _refuse_anothers(lab, built)
        earlier = list(range(1, step))
        progress.write(lab, Progress(called, language, step, passed=earlier, began=time.time(), built=built))
        teaching = Teaching(lab)
        teaching.reset()
        return teaching

    @property
    def step(self) -> Step:
        return self.lesson.steps[self.progress.step - 1]

    @property
    def passed(self) -> bool:
        return self.progress.step in self.progress.passed or not (self.step.checks or self.step.questions)

    def reset(self) -> None:
        """The lab, from nothing to the step's beginning. Raises ConflictError where a lab of that name is none of a
        lesson, DaemonError or ScriptError where it fails."""
        _refuse_anothers(self.lab, self.progress.built)
        self._clean()
        if self.lab in labs.running():
            self._own("down", "--lab", self.lab)
        try:
            with scripts.ended_in_order():
                self._own("up", self.progress.lesson, "--lab", self.lab, "--yes")
                self.progress.built = _made(self.lab)
                self._keep()
        except BaseException:  # half a lab that nobody knows to be the lesson's would be in the way
            with scripts.undisturbed():
                scripts.command(("k8snetlab", "down", "--lab", self.lab), self.lab)
            raise
        for earlier in self.lesson.steps[: self.progress.step - 1]:
            self._script(earlier.setup)
            self._script(earlier.solution)
        self._script(self.step.setup)
        self.progress.answered = []
        self.progress.passed = [step for step in self.progress.passed if step != self.progress.step]
        self._keep()

    def next(self) -> bool:
        """Goes to the next step; False where there is none: the lesson is over. Raises ConflictError where this step
        is not done."""
        if not self.passed:
            raise ConflictError(
                f"step {self.progress.step} is not done yet",
                "`k8snetlab lesson check` proves it; `hint` and `solve` help",
            )
        if self.progress.step == len(self.lesson.steps):
            self.progress.ended = self.progress.ended or time.time()
            self._keep()
            self._clean()
            return False
        self.progress.step += 1
        self.progress.answered = []
        self._keep()
        self._script(self.step.setup)
        return True

    def check(self, given: Sequence[str]) -> tuple[Verdict, ...]:
        """What of the step is so; `given` answers the questions that are not answered yet, in their order."""
        questions = [n for n in range(len(self.step.questions)) if n not in self.progress.answered]
        if given and not questions:
            said = "this step's questions are answered" if self.step.questions else "this step asks no question"
            raise InputError(said, "`k8snetlab lesson check`, without an answer")
        if len(given) > len(questions):
            said = f"{counted(len(given), 'answer')}, and {counted(len(questions), 'open question')} in this step"
            raise InputError(said, "one answer for each question that is not answered yet, in their order")
        answered = dict(zip(questions, given, strict=False))
        verdicts = [self._question(number, answered) for number in range(len(self.step.questions))]
        verdicts += self._checks()
        if all(one.ok for one in verdicts) and self.progress.step not in self.progress.passed:
            self.progress.passed.append(self.progress.step)
        self._keep()
        return tuple(verdicts)

    @property
    def open_questions(self) -> tuple[Question, ...]:
        return tuple(q for n, q in enumerate(self.step.questions) if n not in self.progress.answered)

    def hint(self) -> tuple[str, int]:
        """The next one, and how many are left. Raises NotFoundError where there is none."""
        seen = self.progress.hints.get(self.progress.step, 0)
        if not self.step.hints:
            hint = "its commands show what is asked for; `k8snetlab lesson solve` tells it"
            raise NotFoundError("this step has no hints", hint)
        seen = min(seen + 1, len(self.step.hints))
        self.progress.hints[self.progress.step] = seen
        self._keep()
        return self.step.hints[seen - 1], len(self.step.hints) - seen

    def solve(self) -> tuple[str, ...]:
        """Does what the step asks for, unless it is done; the answers of its questions."""
        if not (self.step.checks and all(one.ok for one in self._checks(now=True))):
            self._script(self.step.solution)
        said = tuple(self._answer(question)[0] for question in self.step.questions)
        self.progress.answered = list(range(len(said)))
        if self.progress.step not in self.progress.solved:
            self.progress.solved.append(self.progress.step)
        self._keep()
        return said

    def state(self, verdicts: tuple[Verdict, ...] = ()) -> LessonState:
        kept = self.progress
        return LessonState(
            lab=self.lab,
            lesson=kept.lesson,
            title=self.lesson.title,
            language=kept.language,
            step=kept.step,
            steps=len(self.lesson.steps),
            heading=self.step.title,
            passed=self.passed,
            done=bool(kept.ended),
            running=self.lab in labs.running(),
            hints=sum(kept.hints.values()),
            solved=tuple(kept.solved),
            minutes=round(((kept.ended or time.time()) - kept.began) / 60, 1),
            verdicts=verdicts,
        )

    @property
    def following(self) -> tuple[str, str] | None:
        """Name and title of the lesson that comes after this one, of those that ship."""
        ordered = scenarios.lessons()
        if self.progress.lesson not in ordered[:-1]:
            return None
        name = ordered[ordered.index(self.progress.lesson) + 1]
        place, language = scenarios.folder(name), self.progress.language
        read = load(place, language if language in languages(place) else "en")
        return name.partition("/")[2], read.title

    # --- parts ---

    def _question(self, number: int, given: dict[int, str]) -> Verdict:
        question = self.step.questions[number]
        if number in self.progress.answered:
            return Verdict("question", question.text, True, question.because)
        if number not in given:
            return Verdict("question", question.text, False, "not answered yet: `k8snetlab lesson check ANSWER`")
        if not answers.canonical(question.kind, given[number]):
            return Verdict("question", question.text, False, f"{given[number][:60]!r} is no {question.kind}")
        if not answers.right(question.kind, given[number], self._answer(question)):
            return Verdict("question", question.text, False, f"{given[number][:60]} is not right")
        self.progress.answered.append(number)
        return Verdict("question", question.text, True, question.because)

    def _answer(self, question: Question) -> tuple[str, ...]:
        """The right ones. Raises ScriptError where the command that knows it prints none."""
        if not question.answer_of:
            return question.answers
        ran = scripts.command(question.answer_of, self.lab)
        found = answers.printed(question.kind, ran.output) if ran.code == 0 else ""
        if not found:
            said = ran.output.strip()[:300] or "nothing"
            raise scripts.ScriptError(f"{question.where}: the lab does not tell the answer: {said}", _BACK)
        return (answers.canonical(question.kind, found),)

    def _checks(self, *, now: bool = False) -> list[Verdict]:
        """Of the lab at rest, and, unless it is asked for `now`, again while one of them is not so that may take some
        time to come about."""
        if not self.step.checks:
            return []
        resting.at_rest(Client(self.lab), resting.SOON if now else resting.LONGEST)
        began = time.monotonic()
        found = {one: self._check(one) for one in self.step.checks}
        while not now and (
            late := [one for one, was in found.items() if not was.ok and time.monotonic() - began < one.within]
        ):
            time.sleep(AGAIN)
            found |= {one: self._check(one) for one in late}
        return list(found.values())

    def _check(self, one: Check) -> Verdict:
        why = self._against_lab(one) if one.expectation else _of_command(one, self.lab)
        return Verdict("check", one.says, not why, why)

    def _against_lab(self, one: Check) -> str:
        assert one.expectation
        report = checking.check(Client(self.lab), [one.expectation], self.progress.lesson)
        return "; ".join(f"{row.source} → {row.target}: {row.why}" for row in report.checks if not row.ok)

    def _clean(self) -> None:
        """Takes away what was made beside the lab, as far as it is there."""
        if self.lesson.cleanup:
            scripts.command(("sh", "-c", self.lesson.cleanup), self.lab)

    def _script(self, text: str) -> None:
        if text:
            scripts.script(text, self.lab)

    def _own(self, *words: str) -> None:
        ran = scripts.command(("k8snetlab", *words), self.lab)
        if ran.code:
            raise DaemonError(f"k8snetlab {' '.join(words)}: {ran.output.strip()[-scripts.LONGEST :]}", _BACK)

    def _keep(self) -> None:
        progress.write(self.lab, self.progress)


_BACK = "`k8snetlab lesson reset` brings back the step's beginning"


def _refuse_anothers(lab: str, built: int) -> None:
    if lab in labs.running() and built != _made(lab):
        hint = f"--lab NAME names another; or `k8snetlab down --lab {lab}` ends it"
        raise ConflictError(f"lab {lab} runs, and is none of a lesson", hint)


def _made(lab: str) -> int:
    """When the lab was made, which tells it from another that had its name (the next directory may have the inode of
    the last one); 0 where there is none."""
    try:
        return LabPaths(lab).lock.stat().st_mtime_ns
    except OSError:
        return 0


def _of_command(one: Check, lab: str) -> str:
    """Why a command's check is not passed; ""."""
    ran = scripts.command(one.command, lab)
    shown = " ".join(one.command)
    if one.code is not None and ran.code != one.code:
        last = ran.output.strip().splitlines()[-1:] or [""]
        return f"`{shown}` ended with {ran.code}, not {one.code}: {last[0][:200]}"
    for text in one.shows:
        if text not in ran.output:
            return f"`{shown}` does not show {text}"
    for text in one.lacks:
        if text in ran.output:
            return f"`{shown}` shows {text}"
    return ""
