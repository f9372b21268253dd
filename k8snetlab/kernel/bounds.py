"""What a container may take of memory, processors and processes: bounds of control groups, v1 or v2, whichever has the
controller.

With v2 they are the bounds of the very group that holds the container. With v1 each controller has a hierarchy of its
own, where a group of the same path stands for it. Sources: the kernel's cgroup-v2.rst, cgroup-v1/memory.rst, pids.rst,
scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path

import msgspec

from k8snetlab.kernel import cgroups, fault

PERIOD = 100_000
"""Microseconds of a period of the processors' time, as container runtimes have it."""
_CONTROLLERS = ("memory", "cpu", "pids")


class Bounds(msgspec.Struct, frozen=True):
    """`memory` in octets, `cpu` in thousandths of a processor, `pids` in processes and threads; 0 for no bound."""

    memory: int = 0
    cpu: int = 0
    pids: int = 0

    def __bool__(self) -> bool:
        return bool(self.memory or self.cpu or self.pids)


def hold(group: Path, bounds: Bounds) -> tuple[str, ...]:
    """Bounds what is in a group and below it; the controllers that are wanted and that nobody can use here. Whatever
    the bounds are, it gets the processors' time as one among those beside it, however many its processes are.

    `group` is one of `cgroups.hierarchy()`. What is put into it is to be in what is `joined` with it, too.
    """
    with contextlib.suppress(OSError):
        _made(group, "cpu")
    lacking = []
    for name, files in _files(bounds).items():
        try:
            at = _made(group, name)
            if at is None:
                lacking.append(name)
                continue
            fault.point()
            for file, text in files.items():
                if (at / file).exists():
                    (at / file).write_text(text)
        except OSError:
            lacking.append(name)
    return tuple(lacking)


def joined(group: Path) -> tuple[str, ...]:
    """The groups that stand for it in other hierarchies, or for the one above it: a process of it is to be in them."""
    found = (next((one for one in (at, at.parent) if one.is_dir()), None) for at in _others(group).values())
    return tuple(str(one) for one in found if one is not None)


def killed(group: Path) -> int:
    """How often the kernel has killed something in it for want of memory."""
    for at, file in ((group, "memory.events"), (_others(group).get("memory"), "memory.oom_control")):
        with contextlib.suppress(OSError, ValueError):
            if at is not None:
                words = dict(line.split() for line in (at / file).read_text().splitlines())
                return int(words.get("oom_kill", 0))
    return 0


def remove(group: Path) -> None:
    """Takes away what stands for it, and for those below it, in other hierarchies, once nothing is in it."""
    for at in _others(group).values():
        if at.is_dir():
            fault.point()
            cgroups.remove(at)


def remove_parent(group: Path) -> None:
    """As `cgroups.remove_parent`, in the other hierarchies."""
    for at in _others(group).values():
        cgroups.remove_parent(at)


def _files(bounds: Bounds) -> Mapping[str, Mapping[str, str]]:
    """By controller what is written, of v2 and of v1: a group has the files of one of them."""
    found: dict[str, Mapping[str, str]] = {}
    if bounds.memory:
        octets = str(bounds.memory)
        found["memory"] = {"memory.max": octets, "memory.swap.max": "0", "memory.limit_in_bytes": octets}
    if bounds.cpu:
        quota = max(1000, bounds.cpu * PERIOD // 1000)
        found["cpu"] = {
            "cpu.max": f"{quota} {PERIOD}",
            "cpu.cfs_period_us": str(PERIOD),
            "cpu.cfs_quota_us": str(quota),
        }
    if bounds.pids:
        found["pids"] = {"pids.max": str(bounds.pids)}
    return found


def _made(group: Path, controller: str) -> Path | None:
    """The group that has that controller. Raises OSError."""
    if (at := _others(group).get(controller)) is not None:
        at.mkdir(parents=True, exist_ok=True)
        return at
    mount = _mount(group)
    if mount is None or controller not in _words(mount / "cgroup.controllers"):
        return None
    group.mkdir(parents=True, exist_ok=True)
    for above in reversed([one for one in group.parents if one == mount or mount in one.parents]):
        if controller not in _words(above / "cgroup.subtree_control"):
            (above / "cgroup.subtree_control").write_text(f"+{controller}")
    return group


def _others(group: Path) -> dict[str, Path]:
    """By v1's controllers the group of the same path."""
    mount = _mount(group)
    if mount is None:
        return {}
    path = group.relative_to(mount)
    return {name: at / path for name in _CONTROLLERS if (at := _v1(name)) is not None and at != mount}


def _mount(group: Path) -> Path | None:
    return next((at for at in _hierarchies() if at in group.parents), None)


@functools.cache
def _hierarchies() -> tuple[Path, ...]:
    return tuple(cgroups.hierarchies().values())


@functools.cache
def _v1(name: str) -> Path | None:
    return cgroups.controller(name)


def _words(file: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return file.read_text().split()
    return []
