"""`python -m k8snetlab.lab.exec.controlling CMD…`: become a command with standard input as its controlling terminal.

For a process that leads a session of its own. It is done by the new process, because nothing but exec is safe after
fork in one with threads.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
from collections.abc import Sequence


def command(argv: Sequence[str]) -> list[str]:
    """The command line of a process that becomes `argv`; its exit code is 127 or 126 where it cannot."""
    return [sys.executable, "-I", "-m", __name__, *argv]


def _main(*argv: str) -> None:
    for number in (signal.SIGINT, signal.SIGPIPE):  # Python's own ways with them are not the command's
        signal.signal(number, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    try:
        os.execvp(argv[0], argv)
    except FileNotFoundError:
        sys.exit(_said(127, f"{argv[0]}: command not found"))
    except OSError as error:
        sys.exit(_said(126, f"{argv[0]}: {error.strerror}"))


def _said(code: int, text: str) -> int:
    sys.stderr.write(f"k8snetlab: {text}\n")
    return code


if __name__ == "__main__":
    _main(*sys.argv[1:])
