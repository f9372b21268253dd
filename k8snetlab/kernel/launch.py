"""Start a command as a process of its own inside a namespace: what a container's `command` becomes.

A fresh Python enters the namespaces and becomes the command (15 ms): a mount namespace is entered by a whole process,
and nothing but exec is safe after fork in a process with threads.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import netns


def popen(
    name: str,
    hostname: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    log: int,
    directory: str = "/",
    flannel: str = "",
) -> subprocess.Popen[bytes]:
    """The started process, leader of a session of its own, with its output on descriptor `log`.

    What hinders the command itself (not found) is written to the log; the exit code is then 127 or 126, as a shell's.
    Raises NotFoundError when there is no such namespace.
    """
    return subprocess.Popen(
        command(name, hostname, argv, directory, flannel),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def command(
    name: str, hostname: str, argv: Sequence[str], directory: str = "/", flannel: str = "", terminal: bool = False
) -> list[str]:
    """The command line of a process that enters the namespace and becomes `argv`. Raises NotFoundError.

    With a `terminal` on standard input, which it then takes for its controlling one, it must lead a session.
    """
    netns.inode(name)
    how = "terminal" if terminal else ""
    return [sys.executable, "-I", "-m", "k8snetlab.kernel.launch", name, hostname, directory, flannel, how, *argv]


def under_way(pid: int) -> bool:
    """Whether the started process has yet to become its command."""
    try:
        return __name__.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _main(name: str, hostname: str, directory: str, flannel: str, terminal: str, *argv: str) -> None:
    if terminal:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who started us may ignore Ctrl-C; the command does not
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    try:
        os.chdir(directory)
    except OSError as error:
        sys.exit(_said(126, f"working directory {directory}: {error.strerror}"))
    try:
        netns.enter_and_exec(name, hostname, argv, os.environ, flannel)
    except FileNotFoundError:
        sys.exit(_said(127, f"{argv[0]}: command not found"))
    except OSError as error:
        sys.exit(_said(126, f"{argv[0]}: {error.strerror}"))
    except K8sNetLabError as error:
        sys.exit(_said(126, error.message))


def _said(code: int, text: str) -> int:
    sys.stderr.write(f"k8snetlab: {text}\n")
    return code


if __name__ == "__main__":
    _main(*sys.argv[1:])
