"""A volume that objects fill changes as a whole: its reader sees the old files, or the new ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8snetlab.api.volume_files import File
from k8snetlab.running import payloads


def held(directory: Path) -> dict[str, str]:
    """What a container reads, by the names that it sees."""
    shown = [entry for entry in directory.iterdir() if not entry.name.startswith("..")]
    files = [file for entry in shown for file in ([entry] if entry.is_file() else entry.rglob("*")) if file.is_file()]
    return {str(file.relative_to(directory)): file.read_text() for file in files}


def test_files_are_links_into_a_directory_that_a_rename_replaces(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    assert payloads.write(volume, {"a": File(b"1", 0o644), "deep/b": File(b"2", 0o600)})
    assert held(volume) == {"a": "1", "deep/b": "2"}
    assert [(volume / name).readlink() for name in ("a", "deep")] == [Path("..data/a"), Path("..data/deep")]
    assert (volume / "deep/b").stat().st_mode & 0o777 == 0o600
    first = (volume / "..data").readlink().name
    with (volume / "a").open() as reading:
        assert payloads.write(volume, {"a": File(b"new", 0o644), "c": File(b"3", 0o644)})
        assert reading.read() == "1", "who has it open reads on in what it was"
    assert held(volume) == {"a": "new", "c": "3"}
    assert (volume / "..data").readlink().name != first and not (volume / first).exists()
    assert not (volume / "deep").is_symlink()


def test_what_is_the_same_is_not_written_again(tmp_path: Path) -> None:
    volume, files = tmp_path / "v", {"a": File(b"1", 0o644)}
    assert payloads.write(volume, files)
    before = (volume / "..data").readlink().name
    assert not payloads.write(volume, files)
    assert (volume / "..data").readlink().name == before
    assert payloads.write(volume, {"a": File(b"1", 0o400)}), "another mode is a change"
    assert payloads.write(volume, {}) and held(volume) == {}
    assert not payloads.write(volume, {})


def test_one_that_was_killed_in_between_is_done_again(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    payloads.write(volume, {"a": File(b"1", 0o644)})
    (volume / "..2026_01_01_00_00_00.dead").mkdir()
    (volume / "..data_tmp").symlink_to("..2026_01_01_00_00_00.dead")
    (volume / "a").unlink()
    assert payloads.write(volume, {"a": File(b"1", 0o644)})
    assert held(volume) == {"a": "1"} and len(list(volume.glob("..2*"))) == 1


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../b", "..data", ""])
def test_no_path_leads_out_of_the_volume(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        payloads.write(tmp_path / "v", {path: File(b"x", 0o644)})
    assert not (tmp_path / "out").exists()
