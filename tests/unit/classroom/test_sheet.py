"""A report is text only, whatever students call themselves and their lessons."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

from k8snetlab.classroom.records import Record
from k8snetlab.classroom.roll import Student
from k8snetlab.classroom.sheet import COLUMNS, as_csv, as_html, of
from k8snetlab.messages.drills import DrillState, GradeRow
from k8snetlab.messages.faults import InjectedFault
from k8snetlab.workshop.teaching import LessonState

EVIL = '<script src="//x">alert(1)</script>'


def lesson(name: str, step: int, *, passed: bool = False, done: bool = False) -> LessonState:
    return LessonState(
        lab="lesson",
        lesson=name,
        title=EVIL,
        language="en",
        step=step,
        steps=4,
        heading="",
        passed=passed,
        done=done,
        running=True,
        hints=2,
        solved=(1,),
        minutes=7.4,
    )


FAULT = InjectedFault("tunnel-down", "", 1, "node1", "flannel.1", "", "", (), 0)
DRILL = DrillState(
    running=False,
    level=1,
    minutes=15,
    left=0,
    symptom="",
    hints=("look",),
    answers=1,
    repaired=True,
    fault=FAULT,
    grade=(GradeRow("node", 15, 15, ""),),
    points=80,
)
SHEETS = [
    of(
        Student("ada", EVIL),
        Record(lessons={"b": lesson("b", 3, passed=True), "a": lesson("a", 4, done=True)}, drills=(DRILL, DRILL)),
    ),
    of(Student("bob", "=HYPERLINK(1)"), Record()),
]


def test_the_table_has_a_line_for_each_and_no_formula() -> None:
    titles, ada, bob = csv.reader(io.StringIO(as_csv(SHEETS)))
    assert tuple(titles) == COLUMNS
    assert ada == ["ada", EVIL, "1", "5", "2", "4", "15", "2", "160"]
    assert bob == ["bob", "'=HYPERLINK(1)", "0", "0", "0", "0", "0", "0", "0"]


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name in {"src", "href"} or name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_no_other_file_and_runs_nothing() -> None:
    page = as_html(SHEETS, f"Class {EVIL}", "2026-11-29")
    seen = Seen()
    seen.feed(page)
    assert {"script", "link", "img", "iframe"}.isdisjoint(seen.tags)
    assert EVIL in seen.text
    assert "tunnel-down" in seen.text
    assert "no lesson begun, no drill ended" in seen.text
