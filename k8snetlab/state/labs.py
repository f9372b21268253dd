"""Which labs this machine has."""

from __future__ import annotations

import contextlib

from k8snetlab.errors import InputError, NotFoundError
from k8snetlab.state import paths
from k8snetlab.wording import nearest


def running() -> list[str]:
    """The labs that have a ledger here, whether their daemon lives or not, sorted."""
    root = paths.root()
    try:
        return sorted(entry.name for entry in root.iterdir() if (entry / "ledger").exists())
    except FileNotFoundError:
        return []
    except PermissionError:
        raise InputError(f"{root} can be read by root only", "use sudo") from None


def begun() -> list[str]:
    """Bare directories: of an `up` that was killed at its very beginning, or of an end that was in its last moment."""
    root = paths.root()
    try:
        return sorted(e.name for e in root.iterdir() if e.is_dir() and paths.names_lab(e.name) and _is_bare(e.name))
    except FileNotFoundError:
        return []


def _is_bare(lab: str) -> bool:
    found = paths.LabPaths(lab)
    with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
        return all(entry == found.left for entry in found.directory.iterdir())
    return False


def choose(lab: str | None) -> str:
    """The lab of that name, or the only one."""
    found = running()
    if lab is not None:
        if lab not in found:
            raise NotFoundError(f"no lab {lab!r} runs here", nearest(lab, found, _hint(found)))
        return lab
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFoundError("no lab runs here", "`k8snetlab up` starts one")
    raise InputError(
        f"{len(found)} labs run here", f"choose one with --lab, or K8SNETLAB_LAB for this shell: {', '.join(found)}"
    )


def choose_to_end(lab: str | None) -> str:
    """As `choose`; also one of which an interrupted `up`, `down` or `leave` has left an empty directory."""
    empty = begun()
    if lab in empty or (lab is None and len(empty) == 1 and not running()):
        return lab or empty[0]
    return choose(lab)


def _hint(found: list[str]) -> str:
    return f"labs: {', '.join(found)}" if found else "`k8snetlab up` starts one"
