"""Two ways into a container made of the machines' root file system: podman, and what podman does, done by hand.

Both see an overlay over the image's root, so nothing written stays; the checkout at /opt/k8snetlab; no network.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

LIMITED = ("--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_ADMIN")
PRIVILEGED = ("--privileged",)

# process 1 of the container: it reaps what a lab's processes leave
_INIT = ("sh", "-c", '"$@"; exit $?', "sh")

Done = subprocess.CompletedProcess[str]


class Runtime(Protocol):
    def run(self, *command: str, rights: Sequence[str] = PRIVILEGED) -> Done:
        """Runs a command in a container of its own and returns what it printed, standard error included."""


class Podman:
    """podman without a daemon's or systemd's help: its state in `directory`, cgroups left alone.

    It wants a cgroup2 hierarchy at /sys/fs/cgroup; where the machine has another there, it gets one in a mount
    namespace of its own.
    """

    _MOUNT = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'

    def __init__(self, root: Path, checkout: Path, directory: Path) -> None:
        self._root, self._checkout = root, checkout
        state = ["--root", str(directory / "storage"), "--runroot", str(directory / "run")]
        self._podman = ["podman", "--cgroup-manager=cgroupfs", *state]

    def works(self) -> bool:
        try:
            return self.run("true").returncode == 0
        except FileNotFoundError:
            return False

    def run(self, *command: str, rights: Sequence[str] = PRIVILEGED) -> Done:
        name = f"k8snetlab-{os.getpid()}-{secrets.token_hex(2)}"
        limits = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=1024:1024", "--cgroups=disabled"]
        place = ["--network", "none", "-v", f"{self._checkout}:/opt/k8snetlab", "-w", "/opt/k8snetlab"]
        run = ["run", "--rm", "--name", name, *rights, *limits, *place, "--rootfs", f"{self._root}:O"]
        try:
            return self._inside(*run, *_INIT, *command)
        except BaseException:
            self._inside("rm", "--force", "--time", "0", name)
            raise

    def _inside(self, *words: str) -> Done:
        return _run("unshare", "--mount", "sh", "-c", self._MOUNT, "sh", *self._podman, *words)


class Chroot:
    """Namespaces from unshare, mounts, chroot: every right that root has here, and nothing left when it ends."""

    _ENTER = """
        set -eu
        root=$1 checkout=$2 scratch=$3
        shift 3
        mount -t tmpfs scratch "$scratch"
        mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
        mount -t overlay -o "lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$scratch/root"
        cd "$scratch/root"
        mount --rbind /dev dev
        mount -t proc proc proc
        mount -t sysfs sysfs sys
        mount -t cgroup2 cgroup2 sys/fs/cgroup
        mount -t tmpfs run run
        mkdir -p opt/k8snetlab
        mount --bind "$checkout" opt/k8snetlab
        exec chroot . sh -c 'cd /opt/k8snetlab && exec "$@"' sh "$@"
    """

    def __init__(self, root: Path, checkout: Path, directory: Path) -> None:
        self._places = [str(root), str(checkout), str(directory)]

    def run(self, *command: str, rights: Sequence[str] = PRIVILEGED) -> Done:
        assert rights == PRIVILEGED, "this container has every right"
        unshare = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        return _run(*unshare, "sh", "-c", self._ENTER, "sh", *self._places, *_INIT, *command)


def _run(*command: str) -> Done:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
