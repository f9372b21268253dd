"""Start a command as a process of its own inside a namespace: what a container's `command` becomes.

A fresh Python enters the namespaces and becomes the command (15 ms): a mount namespace is entered by a whole process,
and nothing but exec is safe after fork in a process with threads.

Whatever the command starts stays in the control group that it was started in. Where there is none, it gets a pid
namespace: when its first process ends, the kernel ends all others.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import cgroups, netns, syscalls

TEXT_LIMIT = 4096


class Setting(msgspec.Struct, frozen=True):
    """Where a command runs: a namespace ("" for the machine's own), its hostname, the directory it begins in, what it
    sees as /run/flannel, as its ServiceAccount's directory (`account`) and as files of /etc (`etc`; "" for the
    namespace's own), and the control group that holds it ("" for a pid namespace instead). What is not `held` is in
    neither: what it leaves behind goes on. With `stdin` what it reads never ends, and nothing comes; else it has ended.
    """

    netns: str
    hostname: str = ""
    directory: str = "/"
    flannel: str = ""
    cgroup: str = ""
    held: bool = True
    account: str = ""
    etc: str = ""
    stdin: bool = False


class Hindrance(msgspec.Struct, frozen=True):
    """Why a command did not begin; `missing` says that there is no such program."""

    message: str
    missing: bool = False


def popen(
    setting: Setting, argv: Sequence[str], environment: Mapping[str, str], log: int
) -> tuple[subprocess.Popen[bytes], int]:
    """The started process, leader of a session of its own, with its output on descriptor `log`; and a descriptor that
    ends when the command has begun, after a Hindrance where it cannot (`hindrance` reads it). The caller closes it.

    Raises NotFoundError when there is no such namespace, OSError and ValueError for what no process can be made of.
    """
    said, say = os.pipe()
    try:
        process = subprocess.Popen(
            command(setting, argv, report=say),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(say,),
            umask=0o022,
        )
    except BaseException:
        os.close(said)
        raise
    finally:
        os.close(say)
    return process, said


def hindrance(said: bytes) -> Hindrance | None:
    """What kept a command from beginning, as its pipe told; None when it began."""
    return msgspec.json.decode(said, type=Hindrance) if said else None


def command(setting: Setting, argv: Sequence[str], terminal: bool = False, report: int = -1) -> list[str]:
    """The command line of a process that enters the namespace and becomes `argv`. Raises NotFoundError.

    With a `terminal` on standard input, which it then takes for its controlling one, it must lead a session.
    """
    netns.inode(setting.netns)
    how = json.dumps({**msgspec.structs.asdict(setting), "terminal": terminal, "report": report})
    return [sys.executable, "-I", "-m", "k8snetlab.kernel.launch", how, *argv]


def main_process(pid: int) -> int:
    """Which process is the command that `popen` has begun as `pid`: that one, or the second of its pid namespace."""
    namespaces = Path(f"/proc/{pid}/ns")
    with contextlib.suppress(OSError, ValueError):
        if (namespaces / "pid").stat().st_ino != (namespaces / "pid_for_children").stat().st_ino:
            first = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
            return int(Path(f"/proc/{first}/task/{first}/children").read_text().split()[0])
    return pid


def become(setting: Setting, argv: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replaces this process, which has a single thread, by the command. Raises OSError, NotFoundError.

    Without a control group it stays, as the parent of the pid namespace, and ends with the command's exit code.
    """
    if setting.held and not _joined(setting.cgroup):
        _in_pid_namespace()
    if setting.stdin:
        _hold_input()
    seen = netns.Seen(setting.hostname, setting.flannel, setting.account, setting.etc)
    netns.enter_and_exec(setting.netns, argv, environment, seen)


def _hold_input() -> None:
    """Standard input becomes a pipe whose other end the process has itself, so that it has no end."""
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)
    os.set_inheritable(writing, True)


def _joined(group: str) -> bool:
    if group:
        with contextlib.suppress(OSError):
            cgroups.join(Path(group))
            return True
    return False


def _in_pid_namespace() -> None:
    """Returns in a new process, the second of a new pid namespace; its ancestors wait and pass on its exit code."""
    syscalls.unshare(syscalls.CLONE_NEWPID)
    first = os.fork()
    if first:
        _wait_for(first)
    syscalls.end_with_parent(signal.SIGKILL)
    with contextlib.suppress(OSError):
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", "none", syscalls.MS_SLAVE | syscalls.MS_REC)
        syscalls.mount("proc", "/proc", "proc", 0)
    second = os.fork()
    if second:
        _wait_for(second)


def _wait_for(child: int) -> NoReturn:
    """As an init does: orphans are reaped, what ends others does not end this one first."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    os.closerange(3, 1 << 20)  # who reads what the command reports waits for its end
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _main(how: str, *argv: str) -> None:
    given = json.loads(how)
    terminal, report = given.pop("terminal"), given.pop("report")
    setting = Setting(**given)
    if report >= 0:
        os.set_inheritable(report, False)
    if terminal:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who started us may ignore Ctrl-C; the command does not
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    try:
        os.chdir(setting.directory)
    except OSError as error:
        shown = setting.directory if len(setting.directory) <= 200 else setting.directory[:199] + "…"
        _give_up(126, Hindrance(f'chdir to cwd ("{shown}") failed: {_words(error)}'), report)
    except ValueError as error:
        _give_up(126, Hindrance(f"chdir to cwd failed: {error}"), report)
    try:
        become(setting, argv, os.environ)
    except FileNotFoundError as error:
        _give_up(127, Hindrance(refusal(argv[0], error), missing=True), report)
    except OSError as error:
        _give_up(126, Hindrance(refusal(argv[0], error)), report)
    except K8sNetLabError as error:
        _give_up(126, Hindrance(error.message), report)
    except (ValueError, IndexError) as error:  # a NUL, an empty name
        _give_up(126, Hindrance(f"{argv[0]!r:.200}: {error}"), report)


def refusal(program: str, error: OSError) -> str:
    """Why a program cannot be executed, in runc's words."""
    shown = program if len(program) <= 200 else program[:199] + "…"
    if isinstance(error, FileNotFoundError):
        why = f"stat {shown}: no such file or directory" if "/" in program else "executable file not found in $PATH"
        if "/" in program and Path(program).exists():
            why = "no such file or directory"  # it is there: what its first line names is not
    else:
        why = _words(error)
    return f'exec: "{shown}": {why}: unknown'


def _words(error: OSError) -> str:
    """An error as Go prints it: in small letters."""
    text = os.strerror(error.errno) if error.errno else str(error)
    return "argument list too long" if error.errno == errno.E2BIG else text[:1].lower() + text[1:]


def _give_up(code: int, why: Hindrance, report: int) -> NoReturn:
    if report >= 0:
        os.write(report, msgspec.json.encode(msgspec.structs.replace(why, message=why.message[:TEXT_LIMIT])))
    else:
        sys.stderr.write(f"k8snetlab: {why.message}\n")
    sys.exit(code)


if __name__ == "__main__":
    _main(*sys.argv[1:])
