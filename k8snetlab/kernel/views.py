"""Files that a command sees in place of the machine's: mounts in a mount namespace of its own, which is slave to all.

Whatever is made here for a mount to stand on is made in memory, never in the machine's own directories.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from k8snetlab.kernel import syscalls

SECRETS = "/var/run/secrets"
ACCOUNT = f"{SECRETS}/kubernetes.io/serviceaccount"
"""Where a container finds the token, the CA and the namespace of its ServiceAccount."""


class Mount(msgspec.Struct, frozen=True):
    """A directory or a file of the machine, seen at `target`; of a directory only what is at `part`, which is made
    where it is not there and `sealed` is false. Nobody may write through a `sealed` one."""

    source: str
    target: str
    part: str = ""
    sealed: bool = False


class Own(msgspec.Struct, frozen=True):
    """What a container has of its own: processes, unless `shared`; the rest of its pod's namespaces are those of the
    process `sandbox`, 0 for new ones. It sees `mounts`, and as its root the directory `root`, "" for the machine's;
    what it writes there is gone with it. `scratch` is an empty directory for this one."""

    sandbox: int = 0
    shared: bool = False
    mounts: tuple[Mount, ...] = ()
    root: str = ""
    scratch: str = ""


class View:
    """What the calling process sees, in a mount namespace of its own. What it is to see is opened at once: the paths
    of the machine lead elsewhere when its root is another."""

    def __init__(self, mounts: Sequence[Mount] = ()) -> None:
        """Raises OSError for a source that is not there."""
        ordered = sorted(mounts, key=lambda one: PurePosixPath(one.target).parts)
        self._mounts = [(one, _opened(one)) for one in ordered]
        self._own: set[int] = set()
        """Numbers of the file systems that are this process's alone."""
        self._behind = False
        """Whether the former root is still there, below the new one."""

    # --- a root of its own ---

    def root(self, own: Own) -> None:
        """Makes a new root where one is asked for, or where a mount has to stand in /. Raises OSError."""
        if own.root:
            self._image(own)
        elif any(_first_there(_resolved(one.target)) == Path("/") for one in own.mounts):
            self._copy_root(Path(own.scratch))

    def finish(self) -> None:
        """Mounts the volumes, and takes the former root away. Raises OSError."""
        for one, source in self._mounts:
            target = _resolved(one.target)
            self._stand(target, Path(_held(source)).is_dir())
            syscalls.mount(_held(source), str(target), "none", syscalls.MS_BIND | syscalls.MS_REC)
            if one.sealed:
                syscalls.seal(str(target))
            os.close(source)
        if self._behind:
            syscalls.umount(".")
            os.chdir("/")

    def processes(self) -> None:
        """/proc of its own processes, and what else belongs to its namespaces. Where the machine's /proc is covered in
        part, as in a container without --privileged, the kernel refuses that: then it sees the machine's."""
        with contextlib.suppress(OSError):
            syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
        with contextlib.suppress(OSError):
            if Path("/dev/mqueue").is_dir():
                syscalls.mount("mqueue", "/dev/mqueue", "mqueue", 0)

    def _image(self, own: Own) -> None:
        scratch = Path(own.scratch)
        syscalls.mount("root", str(scratch), "tmpfs", 0, "mode=755")
        names = ("upper", "work", "merged")
        for name in names:
            (scratch / name).mkdir(mode=0o755)
        fds = [os.open(path, os.O_PATH | os.O_DIRECTORY) for path in (own.root, scratch / "upper", scratch / "work")]
        lower, upper, work = map(_held, fds)
        merged = scratch / "merged"
        syscalls.mount("overlay", str(merged), "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")
        for fd in fds:
            os.close(fd)
        for name in ("dev", "proc", "sys"):
            (merged / name).mkdir(exist_ok=True)
            syscalls.mount(f"/{name}", str(merged / name), "none", syscalls.MS_BIND | syscalls.MS_REC)
        self._own.add(merged.stat().st_dev)
        self._pivot(merged)

    def _copy_root(self, scratch: Path) -> None:
        """The same root once more, with room for what is not there."""
        syscalls.mount("root", str(scratch), "tmpfs", 0, "mode=755")
        for entry in os.scandir("/"):
            _show(entry.path, scratch / entry.name, entry)
        with contextlib.suppress(OSError):  # /run is there with this very mount
            syscalls.umount(f"{scratch}{scratch}")
        self._own.add(scratch.stat().st_dev)
        self._pivot(scratch)

    def _pivot(self, at: Path) -> None:
        os.chdir(at)
        try:
            syscalls.pivot_root_here()
            self._behind = True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            syscalls.mount(".", "/", "none", syscalls.MS_MOVE)  # the machine's root is its initramfs
            os.chroot(".")

    # --- single files and directories ---

    def bind_etc(self, directory: Path) -> None:
        """The files of a directory in place of those in /etc. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            for file in directory.iterdir():
                target = Path("/etc", file.name)
                if _first_there(target).stat().st_dev in self._own:
                    self._stand(target, directory=False)
                if target.exists():
                    syscalls.mount(str(file), str(target), "none", syscalls.MS_BIND)

    def bind_flannel(self, directory: str) -> None:
        """The directory as /run/flannel, also where the machine has none. Raises OSError."""
        with contextlib.suppress(FileNotFoundError), opened(directory) as held:
            self._stand(Path("/run/flannel"))
            syscalls.mount(held, "/run/flannel", "none", syscalls.MS_BIND)

    def bind_account(self, directory: str) -> None:
        """The directory as ACCOUNT, and nothing else in SECRETS. Raises OSError."""
        with contextlib.suppress(FileNotFoundError), opened(directory) as held:
            secrets = _resolved(SECRETS)
            self._stand(secrets)
            syscalls.mount("secrets", str(secrets), "tmpfs", 0)
            secrets.chmod(0o755)
            target = secrets / Path(ACCOUNT).relative_to(SECRETS)
            target.mkdir(parents=True)
            target.parent.chmod(0o755)
            syscalls.mount(held, str(target), "none", syscalls.MS_BIND)

    def _stand(self, target: Path, directory: bool = True) -> None:
        """Where the machine has no such directory or file, this process sees the one above it with all that is there,
        and that."""
        if target.exists():
            return
        above = _first_there(target)
        if above.stat().st_dev not in self._own:
            self._copy(above)
        inner = target if directory else target.parent
        for one in reversed([inner, *inner.parents]):
            if not one.exists():
                one.mkdir()
                one.chmod(0o755)
        if not directory:
            target.touch()

    def _copy(self, above: Path) -> None:
        held = os.open(above, os.O_PATH | os.O_DIRECTORY)
        entries = list(os.scandir(above))
        mode = above.stat().st_mode & 0o7777
        syscalls.mount(above.name, str(above), "tmpfs", 0)
        above.chmod(mode)
        self._own.add(above.stat().st_dev)
        for entry in entries:
            _show(f"{_held(held)}/{entry.name}", above / entry.name, entry)
        os.close(held)


@contextlib.contextmanager
def opened(directory: str) -> Iterator[str]:
    """A path that leads to the directory, whatever is mounted over it, and whichever root this process has. Raises
    OSError."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield _held(descriptor)
    finally:
        os.close(descriptor)


def _held(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _show(source: str, place: Path, entry: os.DirEntry[str]) -> None:
    if entry.is_symlink():
        place.symlink_to(Path(source).readlink())
        return
    if entry.is_dir(follow_symlinks=False):
        place.mkdir()
    else:
        place.touch()
    with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
        syscalls.mount(source, str(place), "none", syscalls.MS_BIND | syscalls.MS_REC)


def _resolved(target: str) -> Path:
    """Where a path leads, as far as it is there."""
    return Path(target).resolve()


def _first_there(target: Path) -> Path:
    """The nearest directory above, or the path itself, that exists."""
    return next(one for one in (target, *target.parents) if one.exists())


def _opened(one: Mount) -> int:
    """What is to be mounted. A `part` never leads out of its volume, whatever links are in there. Raises OSError."""
    whole = os.open(one.source, os.O_PATH | os.O_CLOEXEC)
    if not one.part:
        return whole
    try:
        return _beneath(whole, one)
    finally:
        os.close(whole)


def _beneath(whole: int, one: Mount) -> int:
    with contextlib.suppress(FileNotFoundError):
        return syscalls.open_beneath(whole, one.part)
    if one.sealed:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{one.source}/{one.part}")
    at = os.dup(whole)
    for name in PurePosixPath(one.part).parts:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=at)
        inner = syscalls.open_beneath(at, name)
        os.close(at)
        at = inner
    return at
