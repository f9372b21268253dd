"""Control groups: what holds all of a container's processes, whatever they do, and ends them all at once.

A process leaves its session, its process group, its parent and its namespaces as it likes, but never the group that it
was started in. Sources: the kernel's cgroup-v2.rst (cgroup.kill, cgroup.events) and freezer-subsystem.rst for v1.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from k8snetlab.kernel import fault

PARENT = "k8snetlab"
"""The group that the groups of all labs are in."""
_PAUSE = 0.002
_MOUNTS = Path("/proc/self/mounts")


def hierarchy() -> Path | None:
    """Where groups can be made: the mount point of cgroup v2, else of v1's freezer; None without either."""
    return next(iter(hierarchies().values()), None)


def hierarchies() -> dict[str, Path]:
    """Mount points where groups can be made, by "cgroup2" and "cgroup" (v1's freezer), in this order."""
    found: dict[str, Path] = {}
    for kind, at, words in _mounted():
        if kind == "cgroup2" or "freezer" in words:
            found.setdefault(kind, at)
    return {kind: found[kind] for kind in ("cgroup2", "cgroup") if kind in found and _writable(found[kind])}


def controller(name: str) -> Path | None:
    """Where v1 has that controller, and groups can be made; None where v2 has it, or nobody."""
    at = next((at for kind, at, words in _mounted() if kind == "cgroup" and name in words), None)
    return at if at and _writable(at) else None


def _mounted() -> Iterator[tuple[str, Path, Sequence[str]]]:
    """("cgroup" or "cgroup2", mount point, options)."""
    for line in _MOUNTS.read_text().splitlines():
        _, at, kind, options, *_ = line.split(" ")
        if kind in ("cgroup", "cgroup2"):
            yield kind, Path(at.encode().decode("unicode_escape")), options.split(",")


def _writable(mount: Path) -> bool:
    """Asked by making one: a read-only mount and one that hides the files of another look writable by their bits. Each
    asks with a name of its own: threads ask at the same time, and who found the other's would say that it cannot."""
    trial = mount / f"{PARENT}.trial.{os.urandom(8).hex()}"
    try:
        trial.mkdir()
        return (trial / "cgroup.procs").exists()
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            trial.rmdir()


def join(group: Path) -> None:
    """Puts the calling process, and so all that it will start, into a group, which is made. Raises OSError."""
    fault.point()
    group.mkdir(parents=True, exist_ok=True)
    (group / "cgroup.procs").write_text("0")


def members(group: Path) -> list[int]:
    """The processes in a group and in those below it, of which any may go meanwhile."""
    found: list[int] = []
    for directory, _, _ in os.walk(group):
        with contextlib.suppress(OSError):
            found += map(int, Path(directory, "cgroup.procs").read_text().split())
    return sorted({*found})


def terminate(group: Path, number: signal.Signals = signal.SIGTERM) -> None:
    """Sends a signal to all that is in a group now."""
    for pid in members(group):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end(group: Path, seconds: float = 5.0) -> bool:
    """Kills all that is in a group and below, and takes the group away. Idempotent; False when something is left, which
    only a process in the kernel's hands (D) can be."""
    deadline = time.monotonic() + seconds
    while group.is_dir():
        fault.point()
        _kill(group)
        fault.point()
        remove(group)
        if not group.is_dir():
            break
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def leave(group: Path) -> None:
    """Takes the calling process out of a group that is about to be ended: a process inside the lab may be the one that
    takes it down."""
    if os.getpid() in members(group):
        for above in group.parents:
            if not (above.parent / "cgroup.procs").exists():
                (above / "cgroup.procs").write_text("0")
                return


def remove_parent(group: Path) -> None:
    """Takes away the groups above, up to that of all labs, once nothing is in them."""
    fault.point()
    with contextlib.suppress(OSError):
        for above in group.parents:
            above.rmdir()
            if above.name == PARENT:
                return


def _kill(group: Path) -> None:
    """v2 kills a whole tree in one step; without that, nothing can be forked by what is frozen."""
    try:
        (group / "cgroup.kill").write_text("1")
        return
    except OSError:
        pass
    frozen = group / "freezer.state"
    freeze = (frozen, "FROZEN", "THAWED") if frozen.exists() else (group / "cgroup.freeze", "1", "0")
    with contextlib.suppress(OSError):
        freeze[0].write_text(freeze[1])
    terminate(group, signal.SIGKILL)
    with contextlib.suppress(OSError):
        freeze[0].write_text(freeze[2])


def remove(group: Path) -> None:
    """Takes a group and those below it away, as far as nothing is in them."""
    for directory, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(directory).rmdir()
