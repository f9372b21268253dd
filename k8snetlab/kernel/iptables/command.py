"""Running iptables' own programs inside a namespace."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from k8snetlab.errors import KernelError, UnsupportedError
from k8snetlab.kernel import netns

_LINE = re.compile(r"(?:at line: |[Ll]ine )(\d+)")
_NO_CHAIN = re.compile(r"Chain '(\S+)' does not exist")


class RestoreRefused(KernelError):
    """iptables-restore failed; `line` is what it complained of, as far as it said."""

    def __init__(self, message: str, hint: str, operation: str, line: str) -> None:
        super().__init__(message, hint, operation)
        self.line = line


def run(namespace: str, argv: Sequence[str], lockfile: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    """Start the program inside the namespace and wait for it; its exit code is the caller's to judge.

    `lockfile` takes the place of /run/xtables.lock, which all namespaces of the machine would share.
    Raises UnsupportedError when the program is missing, NotFoundError when the namespace is.
    """
    environment = {**os.environ, "XTABLES_LOCKFILE": str(lockfile), "LC_ALL": "C"}
    pipe = subprocess.PIPE
    try:
        with netns.inside(namespace):
            process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
    except FileNotFoundError:
        raise UnsupportedError(f"there is no {argv[0]} on this machine", "apt-get install iptables") from None
    with process:
        out, err = process.communicate(given)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def output(namespace: str, argv: Sequence[str], lockfile: Path) -> str:
    """What the program prints. Raises KernelError when it fails."""
    done = run(namespace, argv, lockfile)
    if done.returncode:
        raise KernelError(f"{' '.join(argv)}{_where(namespace)}: {_reason(done.stderr)}", operation=" ".join(argv))
    return done.stdout


def restore(namespace: str, argv: Sequence[str], lockfile: Path, text: str) -> None:
    """Feed `text` to iptables-restore. Raises RestoreRefused, with the offending line quoted."""
    done = run(namespace, argv, lockfile, text)
    if not done.returncode:
        return
    number, line = _offending(done.stderr, text.splitlines())
    quoted = f", line {number}: {line}" if line else ""
    raise RestoreRefused(
        f"{argv[0]}{_where(namespace)} refused{quoted}\n{_reason(done.stderr)}",
        "the rules of that table are as they were before",
        " ".join(argv),
        line,
    )


def _offending(stderr: str, lines: list[str]) -> tuple[int, str]:
    """The line it stumbled over and its number; for a jump to a chain that is not there it only says so at the end."""
    if missing := _NO_CHAIN.search(stderr):
        jump = re.compile(rf"-A .*-[jg] {re.escape(missing[1])}(?: |$)")
        for number, line in enumerate(lines, 1):
            if jump.match(line):
                return number, line
    found = _LINE.search(stderr)
    number = int(found[1]) if found else 0
    return (number, lines[number - 1]) if 0 < number <= len(lines) else (0, "")


def _where(namespace: str) -> str:
    return f" in {namespace}" if namespace else ""


def _reason(stderr: str) -> str:
    """What the program says, without its advice on help pages and the line number that is quoted already."""
    lines = [line.strip() for line in stderr.splitlines()]
    dull = ("Try `", "Error occurred at line", "# Warning")
    return "; ".join(line for line in lines if line and not line.startswith(dull)) or "it failed without a word"
