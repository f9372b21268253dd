"""Who is in a class: lines of a file, seats that stay, and user numbers that are nobody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from k8snetlab.classroom import roll
from k8snetlab.classroom.roll import Student
from k8snetlab.cli import classes
from k8snetlab.errors import InputError, ManifestError, NotFoundError


def test_a_line_names_a_student_and_how_it_is_shown() -> None:
    text = "ada  Ada Lovelace\n\n# a comment\nbob\ncyd, =1+1  # late\ndan;Dan\n"
    assert roll.named(text, "class.txt") == (
        Student("ada", "Ada Lovelace"),
        Student("bob"),
        Student("cyd", "=1+1"),
        Student("dan", "Dan"),
    )


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("ada\n../root\n", "f:2: '../root' cannot name a student"),
        ("Ada\n", "f:1: 'Ada' cannot name a student"),
        ("ada\nada\n", "f:2: ada stands there twice"),
        ("a Ada\x1b[2J\n", "f:1: at most 100 printable characters"),
        (f"a {'x' * 101}\n", "f:1: at most 100 printable characters"),
        ("# nobody\n", "f: 0 students"),
        ("\n".join(f"s{number}" for number in range(257)), "f: 257 students"),
        ("-x\n$(id)\n", "f:2: '$(id)' cannot name a student"),
    ],
)
def test_a_wrong_line_is_named(text: str, wrong: str) -> None:
    with pytest.raises(ManifestError) as refused:
        roll.named(text, "f")
    assert wrong in refused.value.message


@pytest.mark.parametrize("count", [-1, 0, 257])
def test_a_class_has_between_one_and_256(count: int) -> None:
    with pytest.raises(InputError):
        roll.numbered(count)


def test_students_keep_their_seats_when_others_come_and_none_is_left_out() -> None:
    before = (Student("ada"), Student("bob"))
    now = roll.together(before, (Student("cyd"), Student("bob", "Bob B."), Student("ada")))
    assert now == (Student("ada"), Student("bob", "Bob B."), Student("cyd"))
    with pytest.raises(InputError, match="ada of this class would be left out"):
        roll.together(before, (Student("bob"),))


def test_the_file_outlives_and_what_is_none_of_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNETLAB_CLASS", str(tmp_path))
    with pytest.raises(NotFoundError):
        roll.read()
    held = roll.Roll((Student("ada", "Ada"),), lesson="01-pod")
    roll.write(held)
    assert roll.read() == held
    with pytest.raises(NotFoundError, match="no student 'bob'"):
        held.place("bob")
    (tmp_path / "class.json").write_text('{"students": 1}')
    with pytest.raises(InputError):
        roll.read()
    assert not roll.readable()
    (tmp_path / "mine").touch()
    roll.forget()
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_user_numbers_of_seats_and_of_classes_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("K8SNETLAB_CLASS", raising=False)
    usual = {roll.base_of(place) for place in range(roll.MOST)}
    monkeypatch.setenv("K8SNETLAB_CLASS", str(tmp_path))
    other = {roll.base_of(place) for place in range(roll.MOST)}
    assert len(usual) == len(other) == roll.MOST
    assert not usual & other
    assert all(base >= 0x70000000 and base + 65535 <= 0x7FFFFFFF and base % 65536 == 0 for base in usual | other)


def test_accounts_of_the_machine_are_not_turned_into_students(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ForceCommand for root would be the last thing that anybody logs in to."""
    monkeypatch.setenv("K8SNETLAB_CLASS", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    roll.write(roll.Roll((Student("ada", "Ada"), Student("root")), lesson="01-pod"))
    classes.logins()
    said = capsys.readouterr().out
    assert "# left out: root is an account" in said and "Match User ada\n" in said
    assert "class shell root" not in said and "class shell ada" in said
