"""Starting a lab and taking it down, one after the other."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from k8snetlab.errors import DaemonError
from k8snetlab.state import turn as turns
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.turn import turn


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPaths:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path / "run"))
    return LabPaths("x")


def test_where_there_is_no_lab_there_is_nothing_to_hold(paths: LabPaths) -> None:
    with turn(paths, create=False) as there:
        assert not there
    assert not paths.directory.exists()


def test_the_second_waits_and_finds_a_directory_of_its_own(paths: LabPaths) -> None:
    found: list[bool] = []

    def second() -> None:
        with turn(paths, create=True):
            found.append(paths.directory.is_dir())

    with turn(paths, create=True):
        waiting = threading.Thread(target=second)
        waiting.start()
        shutil.rmtree(paths.directory)  # as `down` does, while the other one holds a descriptor of it
        waiting.join(0.1)
    waiting.join(30)
    assert found == [True]


def test_a_directory_that_goes_while_it_cannot_be_made_is_made_in_the_next_try(
    paths: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mkdir has found it there, and says so when it is there no more."""
    tries, real = list[Path](), Path.mkdir

    def mkdir(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        tries.append(self)
        if len(tries) == 1:
            raise FileExistsError(17, "File exists", str(self))
        real(self, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with turn(paths, create=True) as there:
        assert there and len(tries) >= 2


def test_a_file_in_its_place_is_not_waited_for(paths: LabPaths) -> None:
    paths.directory.parent.mkdir(parents=True)
    paths.directory.touch()
    with pytest.raises(FileExistsError), turn(paths, create=True):
        pass


def test_a_turn_that_never_comes_is_not_waited_for(paths: LabPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_TIMEOUT", 0.0)
    with (
        turn(paths, create=True),
        pytest.raises(DaemonError, match="another `up` or `down` has been at work"),
        turn(paths, create=False),
    ):
        pass
