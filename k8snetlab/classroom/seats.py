"""A student's seat: a machine of its own inside this one (`kernel/userns.py`), with bounds."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

import k8snetlab
from k8snetlab.classroom import roll
from k8snetlab.errors import ConflictError, KernelError
from k8snetlab.kernel import cgroups, roots, userns
from k8snetlab.state import scenarios

FILES = 64 << 20
"""Octets of all files that a student writes; they count as memory, too."""
TASKS = 1024
"""Processes and threads that a seat may have; a lab of two nodes has some forty."""
PARENT = "k8snetlab-class"
"""The control group that those of all seats are in."""
PATH = f"{roots.COMMANDS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ANSWER = 1 << 18
"""Octets that a look into a seat brings back at most."""
_MEMORY = 1 << 30
"""Octets of address space for a look: what a student has put there is read."""


class Seat(msgspec.Struct, frozen=True):
    """Of one student; `pid` is its first process, 0 where there is none."""

    name: str
    base: int
    pid: int = 0

    def groups(self) -> tuple[Path, ...]:
        """The control groups that bound it, as far as this machine has such."""
        return tuple(mount / PARENT / f"{self.base:x}" for mount in _mounts())


def of(held: roll.Roll) -> tuple[Seat, ...]:
    """All of a class, in order."""
    first = userns.first_processes()
    bases = [roll.base_of(place) for place in range(len(held.students))]
    return tuple(
        Seat(student.name, base, first.get(base, 0)) for student, base in zip(held.students, bases, strict=True)
    )


def all_of(held: roll.Roll) -> tuple[Seat, ...]:
    """Those of a class, and what runs in places of it that nobody has."""
    members, known = userns.all_members(), len(held.students)
    bases = {place: roll.base_of(place) for place in range(known, roll.MOST)}
    return (*of(held), *(Seat(f"seat {place}", base) for place, base in bases.items() if base in members))


def begin(seat: Seat, held: roll.Roll) -> Seat:
    """Makes it, where it is not there. Raises KernelError."""
    if seat.pid:
        return seat
    groups = seat.groups()
    for group in groups:
        _bound(group, seat.base, held)
    shown = (sys.prefix, sys.base_prefix, str(Path(k8snetlab.__file__).parent), str(scenarios.directory()))
    userns.begin(userns.Setting(seat.base, seat.name, tuple(dict.fromkeys(shown)), FILES, tuple(map(str, groups))))
    pid = userns.first_processes().get(seat.base, 0)
    if not pid:
        raise KernelError(f"{seat.name}: its seat has ended at once")
    return Seat(seat.name, seat.base, pid)


def end(seat: Seat) -> None:
    """Ends everything in it, and it. Raises KernelError for what cannot be ended."""
    if not userns.end(seat.base):
        raise KernelError(f"{seat.name}: a process of its seat does not end", "`k8snetlab class stop` again, later")
    for group in seat.groups():
        cgroups.end(group)
        with contextlib.suppress(OSError):  # others are in it
            group.parent.rmdir()


def limits() -> tuple[str, ...]:
    """What this machine can bound: memory, tasks."""
    return tuple(word for word, found in (("memory", _mount("memory")), ("tasks", _mount("pids"))) if found)


def environment(terminal: Mapping[str, str]) -> dict[str, str]:
    """Of a process in a seat, with the kind and the language of somebody's terminal."""
    shell = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"
    fixed = {"PATH": PATH, "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": shell}
    lent = {name: terminal[name] for name in ("TERM", "LANG", "LC_ALL", "COLORTERM") if name in terminal}
    small = {"K8SNETLAB_SMALL": "1", "MALLOC_ARENA_MAX": "1"}  # the second: threads share what libc keeps for them
    return {**lent, **fixed, **small, "PROMPT_COMMAND": "history -a"}  # `class status` shows the last line


def enter(seat: Seat) -> None:
    """This process, which has a single thread, is in the seat from now on. Raises ConflictError where it has ended."""
    try:
        userns.enter(seat.base, seat.pid, map(str, seat.groups()))
    except (ProcessLookupError, PermissionError) as error:
        raise ConflictError(f"{seat.name}: its seat has ended ({error})", "`k8snetlab class start` again") from None


def asked(seats: Sequence[Seat], look: Callable[[], bytes], patience: float, quiet: float) -> dict[str, bytes]:
    """What `look` answers in each seat, by the student's name. It runs there with the student's own rights, in a
    process of its own, all at once. The answer is empty where it fails, where it takes longer than `patience` seconds,
    and where nobody has answered for `quiet` seconds since the last who did: one seat keeps nobody waiting for long.
    """
    asking: dict[int, tuple[Seat, int, bytearray]] = {}
    found = dict.fromkeys((seat.name for seat in seats), b"")
    try:
        for seat in seats:
            with _undisturbed():  # what has begun is known
                answer, say = os.pipe()
                pid = os.fork()
                if not pid:
                    _answer(seat, look, say)
                os.close(say)
                asking[answer] = seat, pid, bytearray()
        last = deadline = time.monotonic() + patience
        while asking and (left := deadline - time.monotonic()) > 0:
            for fd in select.select(list(asking), [], [], left)[0]:
                seat, pid, said = asking[fd]
                said += (piece := os.read(fd, 1 << 16))
                if piece and len(said) <= _ANSWER:
                    continue
                with _undisturbed():
                    del asking[fd]
                    _reap(fd, pid)
                found[seat.name] = b"" if piece else bytes(said)
                deadline = min(last, time.monotonic() + quiet)
    finally:  # also where Ctrl-C ends it
        with _undisturbed():
            for fd, (_, pid, _) in asking.items():
                _reap(fd, pid)
    return found


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C comes afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _reap(fd: int, pid: int) -> None:
    """Ours, and not waited for yet: the number is nobody else's."""
    os.close(fd)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _answer(seat: Seat, look: Callable[[], bytes], say: int) -> NoReturn:
    try:
        os.setsid()  # what a student has put there may run in this process: it holds no terminal, no file of ours
        only(say)
        os.environ.clear()
        os.environ.update(environment({}))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        enter(seat)
        view = memoryview(look())
        while view:
            view = view[os.write(say, view) :]
    finally:
        os._exit(0)


def only(fd: int) -> None:
    """Closes all files of this process but one and the standard ones, and those are /dev/null, but for that one."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        if number != fd:
            os.dup2(null, number)
    os.closerange(3, max(3, fd))
    os.closerange(max(2, fd) + 1, os.sysconf("SC_OPEN_MAX"))


# --- bounds -----------------------------------------------------------------------------------------------------------


def _bound(group: Path, owner: int, held: roll.Roll) -> None:
    """Makes a control group with the class's bounds; below it the student may make others. Raises OSError."""
    version2 = (group.parent.parent / "cgroup.controllers").exists()
    if version2:
        for above in (group.parent.parent, group.parent):
            above.mkdir(exist_ok=True)
            for controller in ("memory", "pids"):
                with contextlib.suppress(OSError):  # it is version 1's, or none of this machine's
                    (above / "cgroup.subtree_control").write_text(f"+{controller}")
    group.mkdir(parents=True, exist_ok=True)
    octets = held.memory << 20
    for file, text in (
        ("memory.max", str(octets)),
        ("memory.swap.max", "0"),
        ("memory.limit_in_bytes", str(octets)),
        ("pids.max", str(TASKS)),
        ("cgroup.max.depth", "8"),  # version 2's: what is below it can be walked and taken away
        ("cgroup.max.descendants", str(TASKS)),
    ):
        if (group / file).exists():
            (group / file).write_text(text)
    if version2:
        for name in (".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
            os.chown(group / name, owner, owner)


@functools.cache
def _mounts() -> tuple[Path, ...]:
    """Where groups of seats are made: version 2, and version 1's memory and pids."""
    found = [cgroups.hierarchies().get("cgroup2"), cgroups.controller("memory"), cgroups.controller("pids")]
    return tuple(dict.fromkeys(mount for mount in found if mount))


def _mount(controller: str) -> Path | None:
    if found := cgroups.controller(controller):
        return found
    mount = cgroups.hierarchies().get("cgroup2")
    return mount if mount and controller in (mount / "cgroup.controllers").read_text().split() else None
