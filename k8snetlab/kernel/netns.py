"""Named network namespaces, kept as iproute2 keeps them, so that `ip netns exec NAME` works on each.

A namespace is a bind mount of nsfs on a file below /run/netns (ip-netns(8); iproute2's ip/ipnetns.c).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from k8snetlab.dataplane.names import HOST_NETNS, is_host
from k8snetlab.errors import AlreadyExistsError, InputError, KernelError, NotFoundError, UnsupportedError
from k8snetlab.kernel import etc, fault, syscalls, views

DIRECTORY = Path("/run/netns")
_OWN = Path("/proc/thread-self/ns/net")
_thread = threading.local()
"""Where `inside` has led each thread."""
_DELETION = 0.02
"""Seconds that `ip netns del` has between unmounting a namespace and unlinking its file."""


def path(name: str) -> Path:
    """The file that a namespace of that name is mounted on. Raises InputError for what cannot be a file's name."""
    if not name or "/" in name or "\0" in name or name in (".", "..") or len(name.encode()) > 255:
        raise InputError(
            f"{name!r} cannot name a network namespace", "use at most 255 characters, without a slash, and not . or .."
        )
    return DIRECTORY / name


@functools.lru_cache(4096)
def _file(name: str) -> str:
    return str(path(name))


def names() -> list[str]:
    """Every name that `ip netns list` shows, sorted."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(file.name for file in DIRECTORY.iterdir())
    return []


def opened(name: str) -> int:
    """A file descriptor of the namespace, the caller's to close. Raises NotFoundError."""
    return _open(name) if name else os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


def exists(name: str) -> bool:
    """Whether a live namespace is mounted at that name; "" (the process's own) always exists."""
    return not name or _number_at(path(name)) != 0


def number(name: str) -> int:
    """As `inode`, 0 where there is no namespace at that name: one system call, for those who ask often."""
    return _number_at(DIRECTORY / name if name else _OWN)


def inode(name: str) -> int:
    """The number that tells namespaces apart, the one in `net:[4026531840]`. Raises NotFoundError."""
    if is_host(name):
        return _OWN.stat().st_ino
    if not (found := _number_at(path(name))):
        raise _missing(name)
    return found


def create(name: str) -> None:
    """Make a namespace. Raises AlreadyExistsError, UnsupportedError when not allowed to."""
    try:
        make_directory()
    except OSError as error:
        raise _refused(f"ip netns add {name}", error) from error
    with created(name):
        pass


def adopt(name: str, source: int) -> None:
    """Gives the namespace of an open file descriptor another name, as `ip netns attach` does; `delete` takes that away
    alone. Raises AlreadyExistsError, UnsupportedError when not allowed to."""
    target = path(name)
    try:
        fault.point()
        _claim(target, name)
        try:
            fault.point()
            syscalls.mount(f"/proc/self/fd/{source}", str(target), "none", syscalls.MS_BIND)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _refused(f"ip netns attach {name}", error) from error


@contextlib.contextmanager
def created(name: str) -> Iterator[None]:
    """As `create`, where the directory is there already, and as `inside` for the length of the block."""
    target = path(name)
    with contextlib.ExitStack() as stack:
        try:
            fault.point()
            _claim(target, name)
            try:
                fault.point()
                stack.enter_context(_returning())
                syscalls.unshare(syscalls.CLONE_NEWNET)
                syscalls.mount(str(_OWN), str(target), "none", syscalls.MS_BIND)
            except BaseException:
                target.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise _refused(f"ip netns add {name}", error) from error
        with _at(name):
            yield


def delete(name: str) -> None:
    """Take the name away, and its files in /etc/netns; the kernel frees the namespace once no process or socket is left
    in it. Idempotent."""
    target = path(name)
    try:
        with contextlib.suppress(FileNotFoundError):
            fault.point()
            if _number_at(target):
                syscalls.umount(str(target))
            fault.point()
            target.unlink()
        fault.point()
        etc.remove(name)  # last: who writes them looks afterwards whether the namespace is still there
    except OSError as error:
        raise _refused(f"ip netns del {name}", error) from error


def forget(prefix: str) -> None:
    """Takes away the files in /etc/netns of what once had such a name: /etc outlives a machine's restart, and
    namespaces do not."""
    for name in etc.names():
        if name.startswith(prefix) and not exists(name):
            try:
                etc.remove(name)
            except OSError as error:
                raise _refused(f"rm -r {etc.DIRECTORY / name}", error) from error


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """The calling thread is inside the namespace for the length of the block; "" changes nothing.

    Sockets opened and processes started in the block belong to that namespace for good, wherever they are used later.
    Never await inside the block: other tasks of the thread would find themselves in the namespace too. A block inside a
    block of the same name stays where the thread is: who has much to do there enters once.
    Raises NotFoundError.
    """
    if is_host(name) or name == getattr(_thread, "inside", HOST_NETNS):
        yield
        return
    with _returning():
        target = _open(name)
        try:
            syscalls.setns(target, syscalls.CLONE_NEWNET)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise _missing(name) from error
            raise _refused(f"entering {name}", error) from error
        finally:
            os.close(target)
        with _at(name):
            yield


class Seen(msgspec.Struct, frozen=True):
    """What a command in a namespace sees that others do not: its hostname, and the directories `flannel` as
    /run/flannel, `account` as that of its ServiceAccount, "" for none, and the files of `etc` in place of those in
    /etc, "" for the namespace's own. With `own` it is a container: of its pod's host, with its own files."""

    hostname: str = ""
    flannel: str = ""
    account: str = ""
    etc: str = ""
    own: views.Own | None = None


def enter(name: str, seen: Seen) -> None:
    """This process is inside the namespace from now on, as with `ip netns exec`, and has a hostname of its own.

    It sees the namespace's devices in /sys/class/net, the files of /etc/netns/NAME/ in place of those in /etc, and what
    `seen` says. Only for a process with a single thread. Raises NotFoundError, UnsupportedError, KernelError.
    """
    try:
        if name:
            target = _open(name)
            syscalls.setns(target, syscalls.CLONE_NEWNET)
            if not (seen.own and seen.own.sandbox):
                syscalls.unshare(syscalls.CLONE_NEWUTS)
        if name or seen.account or seen.own:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount("", "/", "none", syscalls.MS_SLAVE | syscalls.MS_REC)
        _see(name, seen)
    except OSError as error:
        raise _refused(f"ip netns exec {name}", error) from error


def become(argv: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replaces this process by a command. Raises FileNotFoundError or PermissionError for that."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the command would too
    os.execvpe(argv[0], list(argv), dict(environment))


def _see(name: str, seen: Seen) -> None:
    """Makes the files that it sees. Raises OSError."""
    with contextlib.ExitStack() as stack:
        paths = {"etc": seen.etc or (str(etc.DIRECTORY / name) if name else ""), "account": seen.account}
        if seen.own:  # its root may be another one, where they are not
            paths = {
                key: stack.enter_context(views.opened(path))
                for key, path in paths.items()
                if path and Path(path).is_dir()
            }
        view = views.View(seen.own.mounts if seen.own else ())
        if seen.own:
            view.root(seen.own)
            view.processes()
        if name:
            with contextlib.suppress(OSError):
                syscalls.umount("/sys")
            syscalls.mount(name, "/sys", "sysfs", 0)
            if seen.flannel:
                view.bind_flannel(seen.flannel)
            if seen.hostname and not (seen.own and seen.own.sandbox):
                socket.sethostname(seen.hostname[:63].rstrip("-."))
        if found := paths.get("etc"):
            view.bind_etc(Path(found))
        if found := paths.get("account"):
            view.bind_account(found)
        view.finish()


def make_directory(announce: Callable[[], None] = lambda: None) -> bool:
    """Make /run/netns a shared mount point as iproute2 does, so that every mount namespace sees new names and
    deleted ones are freed everywhere. True when it was not one before, and `remove_directory` is then its undoing;
    `announce` is called beforehand in that case.
    """
    with contextlib.suppress(OSError):
        syscalls.mount("", str(DIRECTORY), "none", syscalls.MS_SHARED | syscalls.MS_REC)
        return False
    announce()
    fault.point()
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    fault.point()
    syscalls.mount(str(DIRECTORY), str(DIRECTORY), "none", syscalls.MS_BIND | syscalls.MS_REC)
    syscalls.mount("", str(DIRECTORY), "none", syscalls.MS_SHARED | syscalls.MS_REC)
    return True


def remove_directory() -> bool:
    """Undo `make_directory`, or as much of it as was done, when no namespace is left; True when it did."""
    if names():
        return False
    fault.point()
    with contextlib.suppress(OSError):  # Path.is_mount does not see a mount of a file system below itself
        syscalls.umount(str(DIRECTORY))
    fault.point()
    with contextlib.suppress(OSError):
        DIRECTORY.rmdir()
    return True


def _open(name: str) -> int:
    try:
        return os.open(_file(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _missing(name) from None
    except OSError as error:
        raise _refused(f"entering {name}", error) from error


def _claim(target: Path, name: str) -> None:
    """Take the name. A bare file holds no namespace: somebody is just deleting it, or a killed `create` left it behind,
    and it is taken over."""
    for _ in range(2):
        try:
            os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
            return
        except FileExistsError:
            if not _number_at(target):
                time.sleep(_DELETION)
            if _number_at(target):
                break
            target.unlink(missing_ok=True)
    raise AlreadyExistsError(
        f"a network namespace named {name} exists already", f"choose another name, or delete it: ip netns del {name}"
    )


def _number_at(target: Path) -> int:
    """Of the namespace that is mounted there, 0 where none is."""
    try:
        found = target.stat()
    except FileNotFoundError:
        return 0
    return found.st_ino if found.st_dev == _nsfs() else 0


@functools.cache
def _nsfs() -> int:
    """The number of the file system that all namespaces are on."""
    return _OWN.stat().st_dev


@contextlib.contextmanager
def _at(name: str) -> Iterator[None]:
    """The thread has come to this namespace."""
    around = getattr(_thread, "inside", HOST_NETNS)
    _thread.inside = name
    try:
        yield
    finally:
        _thread.inside = around


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    """Whatever namespace the block goes to, the thread comes back."""
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        syscalls.setns(home, syscalls.CLONE_NEWNET)
        os.close(home)


def _missing(name: str) -> NotFoundError:
    return NotFoundError(f"there is no network namespace named {name}", "ip netns list shows those that exist")


def _refused(operation: str, error: OSError) -> KernelError | UnsupportedError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return UnsupportedError(f"{operation}: {error.strerror}", "run as root (CAP_SYS_ADMIN, CAP_NET_ADMIN)")
    return KernelError(f"{operation}: {error.strerror}", operation=operation)
