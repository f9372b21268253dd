"""What a class has done, as a page and as a table: pure text, with nothing in it that a browser or a spreadsheet would
take for more than text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from html import escape

import msgspec

from k8snetlab.classroom.records import Record
from k8snetlab.classroom.roll import Student
from k8snetlab.messages.drills import DrillState
from k8snetlab.wording import for_a_spreadsheet
from k8snetlab.workshop.teaching import LessonState

COLUMNS = ("student", "name", "lessons done", "steps passed", "solved for", "hints", "minutes", "drills", "points")
"""Of the table."""


class StudentReport(msgspec.Struct, frozen=True):
    """What one student has done."""

    name: str
    """What `class shell` takes."""
    full: str
    """As a page shows it; ""."""
    lessons: tuple[LessonState, ...]
    """By name, each as it was seen last."""
    drills: tuple[DrillState, ...]
    """Those that are over, in their order."""

    @property
    def row(self) -> tuple[str | int, ...]:
        solved = sum(len(one.solved) for one in self.lessons)
        return (
            self.name,
            self.full,
            sum(one.done for one in self.lessons),
            sum(map(_passed, self.lessons)) - solved,
            solved,
            sum(one.hints for one in self.lessons),
            round(sum(one.minutes for one in self.lessons)),
            len(self.drills),
            sum(one.points for one in self.drills),
        )


class ClassReport(msgspec.Struct, frozen=True):
    """What a class has done."""

    students: tuple[StudentReport, ...]
    """In the order of the class."""


def of(student: Student, record: Record) -> StudentReport:
    lessons = sorted(record.lessons.values(), key=lambda one: one.lesson)
    return StudentReport(student.name, student.full, tuple(lessons), record.drills)


def as_csv(sheets: Iterable[StudentReport]) -> str:
    """RFC 4180, a line for each student below the titles."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for sheet in sheets:
        writer.writerow([for_a_spreadsheet(cell) if isinstance(cell, str) else cell for cell in sheet.row])
    return text.getvalue()


def as_html(sheets: Sequence[StudentReport], title: str, when: str) -> str:
    """One page that needs no other file."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1><p>{escape(when)}</p>",
        _table(COLUMNS, [sheet.row for sheet in sheets]),
    ]
    for sheet in sheets:
        parts.append(f"<h2>{escape(sheet.full or sheet.name)}</h2>")
        if not (sheet.lessons or sheet.drills):
            parts.append("<p>no lesson begun, no drill ended</p>")
        if sheet.lessons:
            parts.append(_table(_LESSON, map(_lesson, sheet.lessons)))
        if sheet.drills:
            parts.append(_table(_DRILL, map(_drill, sheet.drills)))
    return "\n".join([*parts, "</body></html>", ""])


_STYLE = (
    "body{font:15px/1.4 sans-serif;margin:2em auto;max-width:60em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}th,td{border:1px solid #bbb;padding:.2em .6em;text-align:left}"
    "th{background:#eee}h2{margin-top:2em}"
)
_LESSON = ("lesson", "title", "step", "done", "solved for", "hints", "minutes")
_DRILL = ("fault", "level", "points", "hints", "answers", "repaired", "points for")


def _lesson(one: LessonState) -> tuple[object, ...]:
    solved = ", ".join(map(str, one.solved))
    return one.lesson, one.title, f"{one.step} of {one.steps}", _word(one.done), solved, one.hints, round(one.minutes)


def _drill(one: DrillState) -> tuple[object, ...]:
    grade = ", ".join(f"{row.what} {row.points}" for row in one.grade)
    name = one.fault.name if one.fault else ""
    return name, one.level, one.points, len(one.hints), one.answers, _word(one.repaired), grade


def _passed(one: LessonState) -> int:
    """Steps that are behind the student."""
    return one.steps if one.done else one.step - 1 + one.passed


def _word(so: bool) -> str:
    return "yes" if so else "no"


def _table(titles: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{escape(str(title))}</th>" for title in titles)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>\n{body}\n</table>"
