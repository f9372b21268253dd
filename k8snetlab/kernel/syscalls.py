"""The system calls of namespaces(7) that Python 3.11's os module lacks."""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MNT_DETACH = 2
FALLOC_FL_PUNCH_HOLE = 3
"""PUNCH_HOLE with KEEP_SIZE, without which it is refused."""
IN_MODIFY_ONCE = 0x80000002

_PR_SET_PDEATHSIG = 1
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
"""The same on all architectures that Linux 5.2 was made for."""
_SYS_CLONE3, _SYS_OPENAT2 = 435, 437
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 1
_CLONE_PARENT, _RESOLVE_BENEATH = 0x8000, 0x08
_FSCONFIG_CMD_CREATE, _CLOEXEC = 6, 1
_libc = ctypes.CDLL(None, use_errno=True)


def give_back() -> None:
    """Hands the kernel the memory that libc keeps for this process and nobody uses: malloc_trim(3), glibc's."""
    if trim := getattr(_libc, "malloc_trim", None):
        trim(ctypes.c_size_t(0))


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into the namespace that `fd` is open on. Raises OSError."""
    _checked(_libc.setns(fd, kind), "setns")


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own. Raises OSError."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2). Raises OSError."""
    words = (source.encode(), target.encode(), kind.encode())
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None), target)


def seal(target: str) -> None:
    """Nobody writes any more through a mount, and those below it: mount_setattr(2); before Linux 5.12 through this one
    alone. Raises OSError."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    try:
        path = os.fsencode(target)
        _checked(_libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, attributes, size), target)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
        mount("", target, "none", MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def pivot_root_here() -> None:
    """Makes the working directory, which is a mount point, the root; `umount(".")` then takes the former root away:
    pivot_root(2), under `pivot_root(".", ".")`. Raises OSError."""
    _checked(_libc.pivot_root(b".", b"."), "pivot_root")


def open_beneath(directory: int, path: str) -> int:
    """An O_PATH descriptor of what is there, with no link and no `..` that leads out of the directory: openat2(2).
    Raises OSError: EXDEV for one that does."""
    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_BENEATH)
    call = _libc.syscall(_SYS_OPENAT2, directory, os.fsencode(path), how, ctypes.c_size_t(ctypes.sizeof(how)))
    return _checked(call, path)


def fork_sibling() -> int:
    """As fork(2), but the new process is a child of this one's parent: clone3(2) with CLONE_PARENT. 0 in the child.
    Only for a process with a single thread. Raises OSError: ENOSYS before Linux 5.3."""
    arguments = (ctypes.c_uint64 * 8)(_CLONE_PARENT)
    size = ctypes.c_size_t(ctypes.sizeof(arguments))
    return _checked(_libc.syscall(_SYS_CLONE3, arguments, size), "clone3")


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2). Raises OSError."""
    _checked(_libc.umount2(target.encode(), flags), target)


def procfs() -> int:
    """A new instance of procfs, mounted nowhere: a descriptor of its root, the caller's to close, with which it goes.
    Raises OSError: EPERM without CAP_SYS_ADMIN, ENOSYS before Linux 5.2. Source: fsopen(2), fsmount(2)."""
    context = _checked(_libc.syscall(_SYS_FSOPEN, b"proc", _CLOEXEC), "fsopen")
    try:
        _checked(_libc.syscall(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0), "fsconfig")
        return _checked(_libc.syscall(_SYS_FSMOUNT, context, _CLOEXEC, 0), "fsmount")
    finally:
        os.close(context)


def end_with_parent(number: int) -> None:
    """From now on the calling process gets this signal when its parent has ended. Raises OSError."""
    prctl(_PR_SET_PDEATHSIG, number)


def prctl(option: int, argument: int) -> None:
    """prctl(2) with one argument. Raises OSError."""
    _checked(_libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0), "prctl")


def new_session_keyring() -> None:
    """This process has no part any more in the keys of whose session it began in: keyctl(2),
    KEYCTL_JOIN_SESSION_KEYRING. Raises OSError: ENOSYS where the kernel has no keys."""
    number = {"x86_64": 250, "i686": 288, "armv7l": 311}.get(os.uname().machine, 219)  # 219: all newer ones
    _checked(_libc.syscall(number, 1, None), "keyctl")


def punch(fd: int, offset: int, length: int) -> None:
    """Gives back the room of a part of a file, which then reads as zeros; the rest stays. Raises OSError."""
    result = _libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE, ctypes.c_int64(offset), ctypes.c_int64(length))
    _checked(result, "fallocate")


def inotify() -> int:
    """A descriptor that becomes readable as files change, the caller's to close. Raises OSError."""
    return _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")


def await_write(fd: int, path: str) -> int:
    """Has `inotify` tell once that a file was written to; returns the watch's number. Raises OSError."""
    return _checked(_libc.inotify_add_watch(fd, os.fsencode(path), ctypes.c_uint32(IN_MODIFY_ONCE)), path)


def getsockopt(fd: int, level: int, option: int, given: bytes, size: int) -> bytearray:
    """getsockopt(2) that also hands something in, and takes more than the 1,024 bytes of the socket module."""
    buffer = bytearray(size)
    buffer[: len(given)] = given
    room = (ctypes.c_char * size).from_buffer(buffer)
    length = ctypes.c_uint32(size)
    _checked(_libc.getsockopt(fd, level, option, room, ctypes.byref(length)), "getsockopt")
    del room
    return buffer[: length.value]


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result
