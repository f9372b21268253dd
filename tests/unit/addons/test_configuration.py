"""A program's files: replaced all at once, whatever is interrupted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from k8snetlab.addons.configuration import Configuration, revision_of

OLD, NEW = {"a.conf": "old", "b.conf": "of both"}, {"a.conf": "new", "b.conf": "of both"}


def read(files: Configuration) -> str:
    return (files.directory / "conf" / "a.conf").read_text()


@pytest.fixture
def files(tmp_path: Path) -> Configuration:
    files = Configuration(tmp_path / "nginx")
    files.stage(OLD)
    files.adopt(OLD)
    return files


def test_before_the_first_files_there_is_no_revision(tmp_path: Path) -> None:
    files = Configuration(tmp_path / "nginx")
    assert (files.current, files.loaded) == ("", "")


def test_staged_files_are_seen_by_the_trial_alone(files: Configuration) -> None:
    files.stage(NEW)
    assert (files.trial / "conf" / "a.conf").read_text() == "new" and read(files) == "old"
    assert files.current == revision_of(OLD)


def test_adopted_files_take_the_place_of_all_others(files: Configuration) -> None:
    files.stage(NEW)
    files.adopt(NEW)
    assert read(files) == "new" and files.current == revision_of(NEW)
    assert [one.name for one in (files.directory / "revisions").iterdir()] == [files.current]
    assert not files.trial.exists()


def test_dropped_files_leave_the_old_ones(files: Configuration) -> None:
    files.stage(NEW)
    files.drop()
    assert read(files) == "old" and not files.trial.exists()
    assert [one.name for one in (files.directory / "revisions").iterdir()] == [files.current]


def test_what_a_killed_daemon_has_staged_is_staged_again(files: Configuration) -> None:
    files.stage(NEW)
    (files.directory / "revisions" / revision_of(NEW) / "a.conf").write_text("half")
    (files.directory / ".conf.new").symlink_to("nowhere")
    again = Configuration(files.directory)
    again.stage(NEW)
    again.adopt(NEW)
    assert read(again) == "new"


def test_a_program_is_told_of_files_once(files: Configuration) -> None:
    assert files.loaded != files.current
    files.note_loaded()
    assert files.loaded == files.current
    files.stage(NEW)
    files.adopt(NEW)
    assert files.loaded != files.current


def test_what_a_program_reads_is_open_to_all_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files = Configuration(tmp_path / "nginx")
        files.stage(OLD)
        trial = (files.trial / "conf" / "a.conf").stat()
        files.adopt(OLD)
    finally:
        os.umask(before)
    link = files.directory / "conf"
    assert not Path(os.readlink(link)).is_absolute(), "a path from the program's own directory"  # noqa: PTH115
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (files.directory, link.resolve().parent, link)}
    assert {*modes.values()} == {0o755}
    assert stat.S_IMODE((link / "a.conf").stat().st_mode) == stat.S_IMODE(trial.st_mode) == 0o644


@pytest.mark.parametrize("name", ["nginx", "nginx/revisions", "nginx/trial", f"nginx/revisions/{revision_of(NEW)}"])
def test_a_stray_file_in_the_place_of_a_directory_is_in_nobodys_way(tmp_path: Path, name: str) -> None:
    stray = tmp_path / name
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("stray")
    files = Configuration(tmp_path / "nginx")
    files.stage(NEW)
    files.adopt(NEW)
    assert read(files) == "new"


def test_a_stray_file_among_the_revisions_goes_with_the_old_ones(files: Configuration) -> None:
    (files.directory / "revisions" / "stray").write_text("stray")
    files.stage(NEW)
    files.adopt(NEW)
    assert [one.name for one in (files.directory / "revisions").iterdir()] == [files.current]
