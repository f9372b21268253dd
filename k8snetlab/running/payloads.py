"""The files of a volume that objects fill, written so that a reader sees all of them old, or all of them new.

Source: Kubernetes pkg/volume/util/atomic_writer.go: `key` is a link to `..data/key`, and `..data` one to a directory
that is never changed; a new one takes its place by a rename.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from k8snetlab.api.volume_files import Files
from k8snetlab.kernel import fault

DATA = "..data"
_NEW = "..data_tmp"


def write(directory: Path, files: Files) -> bool:
    """Whether anything changed. Raises OSError, and ValueError for a path that leads out of the volume."""
    fault.point()
    made(directory, 0o755)
    for path in files:
        _checked(path)
    if _held(directory) == {path: (file.data, file.mode & 0o777) for path, file in files.items()}:
        return False
    before = _target(directory)
    at = Path(tempfile.mkdtemp(prefix=datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S."), dir=directory))
    at.chmod(0o755)
    for path, file in files.items():
        _put(at, path, file.data, file.mode)
    draft = directory / _NEW
    draft.unlink(missing_ok=True)
    draft.symlink_to(at.name)
    fault.point()
    draft.rename(directory / DATA)
    _links(directory, {PurePosixPath(path).parts[0] for path in files})
    for old in directory.glob("..[0-9]*"):
        if old != at and (before is None or old.name == before or old.is_dir()):
            shutil.rmtree(old, ignore_errors=True)
    return True


def made(directory: Path, mode: int) -> None:
    """A directory with these permissions, whatever the umask is."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(mode)


def _checked(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise ValueError(f"invalid path {path!r}: it leads out of the volume, or begins with '..'")


def _put(at: Path, path: str, data: bytes, mode: int) -> None:
    file = at / path
    for above in reversed(file.relative_to(at).parents[:-1]):
        made(at / above, 0o755)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(data)
    file.chmod(mode & 0o777)


def _links(directory: Path, names: set[str]) -> None:
    for entry in list(directory.iterdir()):
        if entry.is_symlink() and entry.name not in (*names, DATA):
            entry.unlink()
    for name in names:
        with contextlib.suppress(FileExistsError):
            (directory / name).symlink_to(f"{DATA}/{name}")


def _target(directory: Path) -> str | None:
    with contextlib.suppress(OSError):
        return str((directory / DATA).readlink())
    return None


def _held(directory: Path) -> dict[str, tuple[bytes, int]] | None:
    """What is there now, None where nothing whole is."""
    if (target := _target(directory)) is None:
        return None
    at, found = directory / target, {}
    try:
        for above, _, names in os.walk(at):
            for name in names:
                file = Path(above, name)
                found[str(file.relative_to(at))] = file.read_bytes(), file.stat().st_mode & 0o777
        tops = {PurePosixPath(path).parts[0] for path in found}
        return found if all((directory / top).is_symlink() for top in tops) and at.is_dir() else None
    except OSError:
        return None
