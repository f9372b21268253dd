"""Files that a command sees in place of the machine's: mounts in a mount namespace of its own, which is slave to all.

Whatever is made here for a mount to stand on is made in memory, never in the machine's own directories.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from k8snetlab.kernel import syscalls

SECRETS = "/var/run/secrets"
ACCOUNT = f"{SECRETS}/kubernetes.io/serviceaccount"
"""Where a container finds the token, the CA and the namespace of its ServiceAccount."""


def bind_etc(directory: Path) -> None:
    """The files of a directory in place of those in /etc. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        for file in directory.iterdir():
            if (target := Path("/etc", file.name)).exists():
                syscalls.mount(str(file), str(target), "none", syscalls.MS_BIND)


def bind_flannel(directory: str) -> None:
    """The directory as /run/flannel, also where the machine has none. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        wanted = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        _stand(Path("/run/flannel"))
        syscalls.mount(f"/proc/self/fd/{wanted}", "/run/flannel", "none", syscalls.MS_BIND)
        os.close(wanted)


def bind_account(directory: str) -> None:
    """The directory as ACCOUNT, and nothing else in SECRETS. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        wanted = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        secrets = Path(SECRETS).parent.resolve() / "secrets"
        _stand(secrets)
        syscalls.mount("secrets", str(secrets), "tmpfs", 0)
        secrets.chmod(0o755)
        target = secrets / Path(ACCOUNT).relative_to(SECRETS)
        target.mkdir(parents=True)
        target.parent.chmod(0o755)
        syscalls.mount(f"/proc/self/fd/{wanted}", str(target), "none", syscalls.MS_BIND)
        os.close(wanted)


def _stand(target: Path) -> None:
    """Where the machine has no such directory, this process sees the one above it with all that is there, and that."""
    if target.is_dir():
        return
    above = target.parent
    held = os.open(above, os.O_PATH | os.O_DIRECTORY)
    entries = list(os.scandir(above))
    syscalls.mount(above.name, str(above), "tmpfs", 0)
    above.chmod(0o755)
    for entry in entries:
        place, source = above / entry.name, f"/proc/self/fd/{held}/{entry.name}"
        if entry.is_symlink():
            place.symlink_to(os.readlink(entry.name, dir_fd=held))
            continue
        if entry.is_dir(follow_symlinks=False):
            place.mkdir()
        else:
            place.touch()
        with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
            syscalls.mount(source, str(place), "none", syscalls.MS_BIND | syscalls.MS_REC)
    target.mkdir()
    os.close(held)
