"""What a seat answers is what its student wants it to be: nothing of it ends a look, or grows without end."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from k8snetlab.classroom import looking, records
from k8snetlab.classroom.roll import Student
from k8snetlab.classroom.sheet import as_csv, as_html, of
from k8snetlab.workshop.progress import Progress
from k8snetlab.workshop.teaching import LessonState

LESSON = LessonState(
    lab="lesson",
    lesson="lessons/01-pod",
    title="A Pod",
    language="en",
    step=1,
    steps=4,
    heading="",
    passed=False,
    done=False,
    running=True,
    hints=0,
    solved=(),
    minutes=1.5,
)
PROGRESS = Progress("lessons/01-pod", "en", hints={1: 2}, built=1_764_000_000_000_000_000, began=1_764_000_000.5)
SEEN = looking._Seen(labs=("ada",), answering=True, progress={"lesson": PROGRESS}, lessons=(LESSON,), typed=1.5)


def test_what_a_seat_says_is_read_as_it_was_said() -> None:
    assert looking._read(msgspec.json.encode(SEEN)) == SEEN


def lessons(**changed: object) -> bytes:
    said = msgspec.to_builtins(LESSON) | changed
    return msgspec.json.encode({"lessons": [said, said]})


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff",
        b'{"command": "\xff"}',
        b'{"command": "\\ud800"}',
        b'{"x": ' + b"[" * 100_000,
        b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"typed": 1e999}',
        b'{"typed": -1e300}',
        lessons(minutes=1e308),
        lessons(hints=0).replace(b'"hints":0', b'"hints":' + b"9" * 4300),
        lessons(title="x" * 5000),
        lessons(solved=[1] * 1000),
        b'{"labs": "ada"}',
    ],
    ids=lambda answer: answer[:24].decode(errors="replace"),
)
def test_an_answer_beyond_all_bounds_is_none(answer: bytes) -> None:
    assert looking._read(answer) is None


def test_numbers_that_are_read_can_be_added_up_and_shown() -> None:
    seen = looking._read(lessons(minutes=9e18, hints=(1 << 63) - 1))
    assert seen
    sheet = of(Student("ada"), records.Record(lessons={str(n): one for n, one in enumerate(seen.lessons)}))
    assert as_csv([sheet]) and as_html([sheet], "", "")


def test_a_record_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNETLAB_CLASS", str(tmp_path))
    for number in range(40):
        many = tuple(
            msgspec.structs.replace(LESSON, lesson=f"{number}.{one}", title="x" * 4000) for one in range(number, 60)
        )
        looking._keep("ada", looking._Seen(lessons=many))
    assert 0 < (tmp_path / "records" / "ada.json").stat().st_size <= 1 << 20
    looking._keep("bob", looking._Seen(progress={"../x": PROGRESS, "lesson": PROGRESS}))
    assert records.read("bob").progress == {"lesson": PROGRESS}
