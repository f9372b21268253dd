"""A machine for one person inside this one: namespaces of every kind, owned by a user namespace.

Root in there is user `base` out here, of whom this machine knows nothing, and may in there whatever root may: make
network namespaces, devices, rules, mounts. Out here he may nothing (user_namespaces(7)). Its first process does nothing
at all; the kernel ends everything else in there when that one ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from k8snetlab.errors import KernelError
from k8snetlab.kernel import capabilities, cgroups, roots, syscalls

LEAST = 0x70000000
"""The first user number. From here to 0x7FFFFFFF systemd, adduser and containers give none (systemd's UIDS-GIDS)."""
IDS = 1 << 16
"""User and group numbers that it has."""
INSIDE = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWCGROUP
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWNET
)
_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS = 4, 8, 38
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_IDLE = ("sleep", "infinity")
_AT_ONCE = 256
"""Processes that are ended together: each takes a file of this one."""


class Setting(msgspec.Struct, frozen=True):
    """What one is made of: its `base`, the first of IDS user numbers out here, at least LEAST; its hostname;
    directories of programs that it sees (`shown`); octets of files; and the control groups that all of it is in."""

    base: int
    hostname: str
    shown: tuple[str, ...]
    size: int
    groups: tuple[str, ...] = ()


def begin(setting: Setting) -> None:
    """Makes one; it is there when this returns. Raises KernelError with the step that was refused."""
    words = [sys.executable, "-I", "-m", "k8snetlab.kernel.userns", msgspec.json.encode(setting).decode()]
    ran = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd="/",
        check=False,
        preexec_fn=lambda: syscalls.end_with_parent(signal.SIGKILL),  # nothing comes to be after whoever wanted it
    )
    if ran.returncode:
        said = ran.stderr.decode(errors="replace").strip().splitlines()
        raise KernelError(f"{setting.hostname}: {said[-1] if said else 'it did not begin'}", _HINT)


_HINT = (
    "user namespaces are needed (/proc/sys/user/max_user_namespaces), and in a container --privileged; "
    "`k8snetlab doctor` looks at the rest"
)


def first_processes() -> dict[int, int]:
    """The first process of each one that there is, by its base."""
    found = {}
    for pid, uid, numbers in _processes():
        if uid >= LEAST and len(numbers) == 2 and numbers[1] == 1:  # any user of it: root in there may trace and change
            found[uid - uid % IDS] = pid
    return found


def members(base: int) -> list[int]:
    """All processes of one, whatever namespaces they have made themselves since."""
    return [pid for pid, uid, _ in _processes() if base <= uid < base + IDS]


def all_members() -> dict[int, list[int]]:
    """As `members`, of each base there is."""
    found: dict[int, list[int]] = {}
    for pid, uid, _ in _processes():
        found.setdefault(uid - uid % IDS, []).append(pid)
    return found


def end(base: int, seconds: float = 5.0) -> bool:
    """Kills all processes of one, its first one first, and with them goes all that they have made; idempotent. False
    when something is left."""
    for _ in range(20):
        first = first_processes().get(base)
        pids = [first] if first else members(base)[:_AT_ONCE]
        if not pids:
            return True
        held = [fd for pid in pids if (fd := _held(pid, base)) >= 0]
        try:
            for fd in held:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
            for fd in held:
                select.select([fd], [], [], seconds)
        finally:
            for fd in held:
                os.close(fd)
    return not members(base)


def enter(base: int, pid: int, groups: Iterable[str] = ()) -> None:
    """This process, which has a single thread, goes into the one whose first process is `pid`, and is root there; what
    it forks is in its pid namespace. Nothing leads back. Raises OSError, ProcessLookupError where it has gone."""
    first = _held(pid, base)
    if first < 0:
        raise ProcessLookupError(f"process {pid} has gone")
    for group in groups:
        cgroups.join(Path(group))
    syscalls.prctl(_PR_SET_DUMPABLE, 0)  # nobody in there looks into what this process brings along
    _forget_keys()
    syscalls.setns(first, INSIDE | syscalls.CLONE_NEWUSER)
    os.close(first)
    os.chdir("/")
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    syscalls.prctl(_PR_SET_DUMPABLE, 0)
    syscalls.prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _forget_keys() -> None:
    try:
        syscalls.new_session_keyring()
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise


def _held(pid: int, base: int) -> int:
    """A pidfd of a process, once it is sure that the number is still one of this base's; -1."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        uid, _ = _status(pid)
        if base <= uid < base + IDS:
            return fd
        os.close(fd)
    return -1


def _processes() -> Iterable[tuple[int, int, Sequence[int]]]:
    """(number, user, its number in each pid namespace from ours inwards) of all that run."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            uid, numbers = _status(int(entry.name))
            if uid >= 0:
                yield int(entry.name), uid, numbers


def _status(pid: int) -> tuple[int, Sequence[int]]:
    """The real user, -1 for what has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_bytes().splitlines()
    except OSError:
        return -1, ()
    fields = {name: rest.split() for line in lines for name, _, rest in (line.partition(b":\t"),)}
    if fields[b"State"][:1] == [b"Z"]:
        return -1, ()
    return int(fields[b"Uid"][0]), [int(number) for number in fields.get(b"NSpid", ())]


# --- making one: a process of its own ---------------------------------------------------------------------------------


def _main(how: str) -> NoReturn:
    """Two processes more: one that becomes the user and unshares, and its child, the first process in there. This one
    stays root, since only root may say which users are which."""
    setting = msgspec.json.decode(how, type=Setting)
    for group in setting.groups:
        cgroups.join(Path(group))
    wants, asks = os.pipe()
    may, allows = os.pipe()
    child = os.fork()
    if not child:
        os.close(wants)
        os.close(allows)
        _reporting(lambda: _unshared(setting, asks, may))
    os.close(asks)
    os.close(may)
    if os.read(wants, 1):  # else it has said why
        for file in ("gid_map", "uid_map"):
            Path(f"/proc/{child}/{file}").write_text(f"0 {setting.base} {IDS}\n")
        os.write(allows, b"\n")
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) and 1)


def _unshared(setting: Setting, asks: int, may: int) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "none", syscalls.MS_PRIVATE | syscalls.MS_REC)
    roots.build(roots.AT, setting.base, setting.hostname, setting.shown, setting.size)
    _commands(roots.AT, setting.base)
    _forget_keys()
    # The namespace belongs to the user who makes it: what it uses of the machine's limits is counted as that user's.
    syscalls.prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(setting.base, setting.base, setting.base)
    os.setresuid(setting.base, setting.base, setting.base)
    capabilities.raise_permitted()
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    os.write(asks, b"\n")
    if not os.read(may, 1):
        raise OSError("the process that gives it its users has ended")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    syscalls.unshare(INSIDE)
    begun, begins = os.pipe()
    first = os.fork()
    if not first:
        os.close(begun)
        _reporting(lambda: _first(setting, begins))
    os.close(begins)
    if os.read(begun, 1):
        raise OSError("its first process did not begin")


def _first(setting: Setting, begins: int) -> NoReturn:
    """Becomes the first process in there. It ignores the end of its children, so the kernel reaps them all."""
    try:
        os.setsid()
        socket.sethostname(setting.hostname)
        with socket.socket() as sock:
            fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))
        roots.finish(roots.AT)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        null = os.open("/dev/null", os.O_RDWR)
        syscalls.prctl(_PR_SET_NO_NEW_PRIVS, 1)
        errors = os.dup(2)
        os.set_inheritable(errors, False)
        for number in (0, 1, 2):
            os.dup2(null, number)
        try:
            os.execvpe(_IDLE[0], _IDLE, {"PATH": "/usr/bin:/bin"})
        except OSError:
            os.dup2(errors, 2)
            raise
    except BaseException:
        os.write(begins, b"\n")
        raise


def _commands(at: Path, owner: int) -> None:
    """`k8snetlab` is this very program there, and `sudo`, which lessons and habits say, runs what follows."""
    directory = at / roots.COMMANDS.lstrip("/")
    (directory / "k8snetlab").symlink_to(Path(sys.executable).with_name("k8snetlab"))
    sudo = directory / "sudo"
    sudo.write_text('#!/bin/sh\nwhile :; do case "$1" in -*) shift ;; *) break ;; esac; done\nexec "$@"\n')
    sudo.chmod(0o755)
    os.chown(sudo, owner, owner)


def _reporting(work: Callable[[], None]) -> NoReturn:
    try:
        work()
    except BaseException as error:
        os.write(2, f"{error}\n".encode(errors="replace"))
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
