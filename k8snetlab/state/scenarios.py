"""Where manifests come from: the scenarios that ship with k8snetlab, a directory, a file, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from k8snetlab.errors import InputError
from k8snetlab.wording import nearest

DEFAULT = "business-manager"
SUFFIXES = (".yaml", ".yml", ".json")
MAX = 1 << 26
"""Characters of one manifest: 50,000 Services with their endpoints have a third of them."""
LAB_FILES = ("lab.yaml", "lab.yml")
EXPECTED = ("expect.yaml", "expect.yml")
"""What stands beside a scenario's manifests and is none."""
LESSONS = "lessons"
"""The directory of the scenarios that are lessons."""

File = tuple[str, str]
"""(name as the user would write it, text)"""


def directory() -> Path:
    """The scenarios of an installed k8snetlab (inside the package) or of a source checkout (beside it)."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "scenarios"
    return inside if inside.is_dir() else package.parent / "scenarios"


def names() -> list[str]:
    """The scenarios that ship with k8snetlab."""
    root = directory()
    return sorted(p.name for p in root.iterdir() if p.is_dir() and _manifests(p)) if root.is_dir() else []


def lessons() -> list[str]:
    """The lessons that ship with k8snetlab, as "lessons/NAME", in their order."""
    root = directory() / LESSONS
    return sorted(f"{LESSONS}/{p.name}" for p in root.iterdir() if _manifests(p)) if root.is_dir() else []


def folder(name: str) -> Path:
    """The directory of a scenario: a path, or one that ships with k8snetlab. Raises InputError."""
    if Path(name).is_dir():
        return Path(name)
    if name in names() or name in lessons():
        return directory() / name
    raise _unknown(name)


def find(name: str | None = None) -> list[File]:
    """The manifests of a directory, a file or a scenario, in that order of preference.

    None stands for the current directory where it holds a lab file, else for the first scenario.
    """
    if name is None:
        here = any(Path(lab).is_file() for lab in LAB_FILES)
        return read(".") if here else find(DEFAULT)
    if name == "-" or Path(name).exists():
        return read(name)
    if name in names() or name in lessons():
        return [text(file, f"{name}/{file.name}") for file in _manifests(directory() / name)]
    raise _unknown(name)


def _unknown(name: str) -> InputError:
    return InputError(
        f"no scenario, directory or file is called {name!r}",
        nearest(name, [*names(), *lessons()], f"scenarios: {', '.join(names())}; or give a path"),
    )


def read(path: str) -> list[File]:
    """A manifest, all manifests of a directory (sorted, not those of its subdirectories), or "-" for stdin."""
    if path == "-":
        return [("stdin", _limited("stdin", sys.stdin.read(MAX + 1)))]
    place = Path(path)
    if place.is_dir():
        files = _manifests(place)
        if not files:
            raise InputError(f"{path}: no manifest in this directory", f"manifests end in {', '.join(SUFFIXES)}")
        return [text(file, str(file)) for file in files]
    if not place.exists():
        beside = [str(place.parent / one.name) for one in place.parent.iterdir()] if place.parent.is_dir() else []
        hint = nearest(path, beside, f"the current directory is {Path.cwd()}")
        raise InputError(f"{path}: no such file or directory", hint)
    return [text(place, path)]


def read_all(paths: Iterable[str]) -> list[File]:
    return [file for path in paths for file in read(path)]


def _manifests(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    files = (file for file in place.iterdir() if file.suffix in SUFFIXES and file.is_file())
    return sorted(file for file in files if file.name not in EXPECTED)


def text(file: Path, shown: str) -> File:
    """A file's text, and its name as it is `shown`. Raises InputError."""
    try:
        with file.open(encoding="utf-8") as opened:
            return (shown, _limited(shown, opened.read(MAX + 1)))
    except UnicodeDecodeError as error:
        raise InputError(f"{shown}: not UTF-8 text (byte {error.start})", "save the manifest as UTF-8") from None
    except OSError as error:
        raise InputError(f"{shown}: {error.strerror}", "give a file that can be read") from None


def _limited(shown: str, text: str) -> str:
    if len(text) > MAX:
        raise InputError(f"{shown}: more than {MAX >> 20} MiB of text", "is this the right file?")
    return text
