"""A program's files, replaced all at once: whoever reads them finds those of before or the new ones.

As a kubelet does with a ConfigMap, `conf` is a link to a directory that is written once and never changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from k8snetlab.addons import leftovers
from k8snetlab.addons.program import CONF
from k8snetlab.kernel import fault

REVISIONS, TRIAL, LOADED = "revisions", "trial", "loaded"
FILE, DIRECTORY, PASSAGE = 0o644, 0o755, 0o711
"""The modes of what a program reads, and of where its node's others are: it may have given up being root."""


def revision_of(files: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]


class Configuration:
    """Of one program, below its directory. Raises OSError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._link = directory / CONF
        self.trial = directory / TRIAL
        """Where a check begins: `conf` there is what is to be checked, and what it writes is in nobody's way."""

    @property
    def current(self) -> str:
        """The revision that stands, "" before the first."""
        with contextlib.suppress(OSError):
            return os.path.basename(os.readlink(self._link))  # noqa: PTH115,PTH119
        return ""

    @property
    def loaded(self) -> str:
        """The revision that the program was told of last."""
        with contextlib.suppress(OSError):
            return (self.directory / LOADED).read_text()
        return ""

    def note_loaded(self) -> None:
        fault.point()
        (self.directory / LOADED).write_text(self.current)

    def stage(self, files: Mapping[str, str]) -> None:
        """Writes files beside those that stand, to be tried."""
        fault.point()
        own = self.directory / REVISIONS / revision_of(files)
        for directory in (self.directory, own.parent):
            _open_directory(directory)
        self.directory.parent.chmod(PASSAGE)
        for fresh in (own, self.trial):
            leftovers.delete(fresh)
            _open_directory(fresh)
        for name, text in files.items():
            (own / name).write_text(text)
            (own / name).chmod(FILE)
        (self.trial / CONF).symlink_to(f"../{REVISIONS}/{own.name}")

    def adopt(self, files: Mapping[str, str]) -> None:
        """What was staged stands from now on; the revisions of before go."""
        new = revision_of(files)
        draft = self.directory / f".{CONF}.new"
        draft.unlink(missing_ok=True)
        draft.symlink_to(f"{REVISIONS}/{new}")
        fault.point()
        draft.replace(self._link)
        self._forget(new)

    def drop(self) -> None:
        """What was staged was refused."""
        self._forget(self.current)

    def _forget(self, but: str) -> None:
        fault.point()
        leftovers.delete(self.trial)
        for old in (self.directory / REVISIONS).iterdir():
            if old.name != but:
                leftovers.delete(old)


def _open_directory(path: Path) -> None:
    """One that any user's program may read, whatever the umask is; what else has its name goes."""
    if not path.is_dir() or path.is_symlink():
        leftovers.delete(path)
        path.mkdir(parents=True)
    path.chmod(DIRECTORY)
