"""Running iptables' own programs inside a namespace."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from k8snetlab.dataplane.names import is_host
from k8snetlab.errors import KernelError, UnsupportedError
from k8snetlab.kernel import fault, netns

_LINE = re.compile(r"(?:at line: |[Ll]ine )(\d+)")
_NOT_IN_KERNEL = "missing kernel module"
_NO_CHAIN = re.compile(r"Chain '(\S+)' does not exist")


class RestoreRefused(KernelError):
    """iptables-restore failed; `line` is the line that it complained of, "" where it names none."""

    def __init__(self, message: str, hint: str, operation: str, line: str) -> None:
        super().__init__(message, hint, operation)
        self.line = line


def run(namespace: str, argv: Sequence[str], lockfile: Path) -> subprocess.CompletedProcess[str]:
    """Start the program inside the namespace and wait for it; its exit code is the caller's to judge.

    `lockfile` takes the place of /run/xtables.lock, which all namespaces of the machine would share.
    Raises UnsupportedError when the program is missing, NotFoundError when the namespace is.
    """
    with _started(namespace, argv, lockfile, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def output(namespace: str, argv: Sequence[str], lockfile: Path) -> str:
    """What the program prints. Raises KernelError when it fails."""
    done = run(namespace, argv, lockfile)
    if done.returncode:
        raise _failed(namespace, argv, done.stderr)
    return done.stdout


@contextlib.contextmanager
def lines(namespace: str, argv: Sequence[str], lockfile: Path) -> Iterator[Iterator[str]]:
    """What the program prints, line by line while it runs. Raises KernelError when it fails."""
    with tempfile.TemporaryFile("w+") as said:
        with _started(namespace, argv, lockfile, stdout=subprocess.PIPE, stderr=said) as process:
            assert process.stdout is not None
            yield (line.rstrip("\n") for line in process.stdout)
        if process.returncode:
            said.seek(0)
            raise _failed(namespace, argv, said.read())


def restore(namespace: str, argv: Sequence[str], lockfile: Path, text: Iterable[str]) -> None:
    """Feed the pieces of `text`, of a line or more each, to iptables-restore as it takes them: 10,000 Services are
    30 MB.

    Raises RestoreRefused, with the offending line quoted, for which `text` is gone through again.
    """
    with tempfile.TemporaryFile("w+") as said:
        with _started(namespace, argv, lockfile, stdin=subprocess.PIPE, stderr=said) as process:
            assert process.stdin is not None
            # A program that refuses a line reads no further; what it says is looked at below.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.writelines(f"{piece}\n" for piece in _with_faults(text))
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        fault.point()
        if not process.returncode:
            return
        said.seek(0)
        stderr = said.read()
    number, line = _offending(stderr, text)
    quoted = f", line {number}: {line}" if line else ""
    raise RestoreRefused(
        f"{argv[0]}{_where(namespace)} refused{quoted}\n{_reason(stderr)}",
        "the rules of that table are as they were before",
        " ".join(argv),
        line,
    )


def takes(namespace: str, argv: Sequence[str], lockfile: Path, text: str) -> bool:
    """Whether `iptables-restore --test` finds nothing wrong. Of a match that the kernel does not have it only warns."""
    with _started(namespace, argv, lockfile, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _, said = process.communicate(text)
    return not process.returncode and _NOT_IN_KERNEL not in said


def _with_faults(text: Iterable[str]) -> Iterator[str]:
    """The pieces; a transaction is an effect."""
    for piece in text:
        if piece == "COMMIT":
            fault.point()
        yield piece


def _started(
    namespace: str,
    argv: Sequence[str],
    lockfile: Path,
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int | IO[str] = subprocess.DEVNULL,
) -> subprocess.Popen[str]:
    environment = {**os.environ, "XTABLES_LOCKFILE": str(lockfile), "LC_ALL": "C"}
    try:
        with netns.inside(namespace):
            return subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, text=True, env=environment)
    except FileNotFoundError:
        raise UnsupportedError(f"there is no {argv[0]} on this machine", "apt-get install iptables") from None


def _failed(namespace: str, argv: Sequence[str], stderr: str) -> KernelError:
    return KernelError(f"{' '.join(argv)}{_where(namespace)}: {_reason(stderr)}", operation=" ".join(argv))


def _offending(stderr: str, text: Iterable[str]) -> tuple[int, str]:
    """The line it stumbled over and its number; for a jump to a chain that is not there it only says so at the end."""
    if missing := _NO_CHAIN.search(stderr):
        jump = re.compile(rf"-A .*-[jg] {re.escape(missing[1])}(?: |$)")
        for number, line in enumerate(_lines(text), 1):
            if jump.match(line):
                return number, line
    found = _LINE.search(stderr)
    number = int(found[1]) if found else 0
    line = next(itertools.islice(_lines(text), number - 1, None), "") if number else ""
    return (number, line) if line else (0, "")


def _lines(text: Iterable[str]) -> Iterator[str]:
    return (line for piece in text for line in piece.split("\n"))


def _where(namespace: str) -> str:
    return "" if is_host(namespace) else f" in {namespace}"


def _reason(stderr: str) -> str:
    """What the program says, without its advice on help pages and the line number that is quoted already."""
    lines = [line.strip() for line in stderr.splitlines()]
    dull = ("Try `", "Error occurred at line", "# Warning")
    return "; ".join(line for line in lines if line and not line.startswith(dull)) or "it failed without a word"
