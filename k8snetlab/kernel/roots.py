"""A root directory of its own for processes that see of this machine its programs, and nothing else of its files.

It is made of what is named here; what is not named is not there. Programs are bound read-only, /etc is a directory of
links to the machine's, and all the rest is a tmpfs of bounded size.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from k8snetlab.kernel import syscalls

AT = Path("/run")
"""Where it is made: a directory that everybody may enter, and that has no programs. Nobody else sees it there."""
PROGRAMS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt")
"""Below /: where a distribution has programs and what they read."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
COMMANDS = "/run/bin"
"""The first directory of PATH in there: programs that are there under another name."""
_OWN = frozenset({"netns", "hosts", "hostname", "resolv.conf", "mtab"})
"""What of /etc is not the machine's."""
_ETC = ".etc"
_SPARE = (".proc", ".sys")
"""The same once more: the kernel lets a user namespace mount these where another one is to be seen already, and
`ip netns exec` takes /sys away before it mounts its own."""
_MODES = {"tmp": 0o1777, "var/tmp": 0o1777, "dev/shm": 0o1777, "root": 0o700}
_DIRECTORIES = (
    *_SPARE,
    "dev/pts",
    "dev/shm",
    "etc/netns",
    "home",
    "mnt",
    "proc",
    "root",
    "run/bin",
    "srv",
    "sys",
    "tmp",
    "var/cache",
    "var/lib",
    "var/log",
    "var/tmp",
)
_LINKS = {"var/run": "/run", "var/lock": "/run", "etc/mtab": "/proc/self/mounts", "dev/ptmx": "pts/ptmx"}
_LINKS |= {"dev/fd": "/proc/self/fd", "dev/stdin": "fd/0", "dev/stdout": "fd/1", "dev/stderr": "fd/2"}


def build(at: Path, owner: int, hostname: str, shown: Iterable[str], size: int) -> None:
    """Mounts it at a directory, of `size` octets, whose files are user `owner`'s. `shown` are directories besides
    PROGRAMS that are to be seen where they are. `finish` does the rest, as that user. Raises OSError.

    Only for a process in a mount namespace of its own.
    """
    syscalls.mount("root", str(at), "tmpfs", syscalls.MS_NOSUID, f"mode=755,size={size},nr_inodes={size >> 12}")
    for name in _DIRECTORIES:
        (at / name).mkdir(parents=True)
    for name in PROGRAMS:
        _show(at, Path("/", name))
    for directory in shown:
        if not any(Path(directory).is_relative_to(Path("/", name)) for name in PROGRAMS):
            _show(at, Path(directory))
    for name in DEVICES:
        (at / "dev" / name).touch()
        syscalls.mount(f"/dev/{name}", str(at / "dev" / name), "none", syscalls.MS_BIND)
    _etc(at, hostname)
    for name, target in _LINKS.items():
        (at / name).symlink_to(target)
    for name, mode in _MODES.items():
        (at / name).chmod(mode)
    _give(at, owner)


def finish(at: Path) -> None:
    """Mounts what belongs to the process's own namespaces, and makes the directory the root. Raises OSError: EPERM for
    /proc or /sys where this machine's own are covered in part, as in a container without --privileged."""
    bare = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    for proc, sys in (("proc", "sys"), _SPARE):
        syscalls.mount("proc", str(at / proc), "proc", bare)
        syscalls.mount("sysfs", str(at / sys), "sysfs", bare)
    with contextlib.suppress(OSError):  # a machine without cgroup v2
        syscalls.mount("cgroup2", str(at / "sys/fs/cgroup"), "cgroup2", bare)
    syscalls.mount("devpts", str(at / "dev/pts"), "devpts", syscalls.MS_NOSUID, "ptmxmode=0666,mode=0620")
    syscalls.mount(str(at), str(at), "none", syscalls.MS_BIND | syscalls.MS_REC)
    os.chdir(at)
    syscalls.pivot_root_here()
    syscalls.umount(".")
    os.chdir("/")


def _show(at: Path, directory: Path) -> None:
    place = at / directory.relative_to("/")
    if directory.is_symlink():
        place.symlink_to(directory.readlink())
    elif directory.is_dir() and not place.exists():
        place.mkdir(parents=True)
        _bind(directory, place)


def _bind(source: Path, place: Path) -> None:
    syscalls.mount(str(source), str(place), "none", syscalls.MS_BIND)
    flags = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("", str(place), "none", syscalls.MS_REMOUNT | syscalls.MS_BIND | flags)


def _etc(at: Path, hostname: str) -> None:
    machine = at / _ETC
    machine.mkdir()
    _bind(Path("/etc"), machine)
    if (machine / "netns").is_dir():  # other labs' files
        syscalls.mount("none", str(machine / "netns"), "tmpfs", syscalls.MS_RDONLY, "size=4k,mode=755")
    for entry in Path("/etc").iterdir():
        if entry.name not in _OWN:
            (at / "etc" / entry.name).symlink_to(f"/{_ETC}/{entry.name}")
    (at / "etc/hostname").write_text(f"{hostname}\n")
    (at / "etc/hosts").write_text(f"127.0.0.1 localhost {hostname}\n::1 localhost\n")
    (at / "etc/resolv.conf").write_text("")


def _give(at: Path, owner: int) -> None:
    """Everything that is no other mount's."""
    device = at.stat().st_dev
    for directory, below, files in os.walk(at):
        os.chown(directory, owner, owner)
        below[:] = [name for name in below if os.lstat(f"{directory}/{name}").st_dev == device]
        for name in files:
            if os.lstat(f"{directory}/{name}").st_dev == device:
                os.chown(f"{directory}/{name}", owner, owner, follow_symlinks=False)
