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
import os
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NoReturn

import msgspec

from k8snetlab.errors import K8sNetLabError, NotFoundError
from k8snetlab.kernel import cgroups, netns, syscalls
from k8snetlab.kernel.views import Own

TEXT_LIMIT = 4096


class Setting(msgspec.Struct, frozen=True):
    """Where a command runs: a namespace ("" for the machine's own), its hostname, the directory it begins in, what it
    sees as /run/flannel, as its ServiceAccount's directory (`account`) and as files of /etc (`etc`; "" for the
    namespace's own), and the control group that holds it ("" for a pid namespace instead). What is not `held` is in
    neither: what it leaves behind goes on. With `stdin` what it reads never ends, and nothing comes; else it has ended.

    With `own` it is a container, the first process of what it has of its own. With `process` it is a command beside
    that process of a container, whose namespaces and files it has. A `pause` holds a pod's namespaces, for nothing
    else: "alone", or "shared" with the pod's processes as those of which it is the first. `bounds` are further control
    groups, those of controllers, that it is in.
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
    own: Own | None = None
    process: int = 0
    pause: Literal["", "alone", "shared"] = ""
    bounds: tuple[str, ...] = ()

    @property
    def reports(self) -> bool:
        """Whether the process is another one than that which is started: its pipe tells which, before all else."""
        return self.own is not None or self.pause == "shared"


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


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """Which process became the command. `waits`: that which was started is its parent, and ends as it does; else that
    one has ended, and who started it is the parent."""

    pid: int
    waits: bool


def hindrance(said: bytes) -> Hindrance | None:
    """What kept a command from beginning, as its pipe told; None when it began."""
    last = said.rpartition(b"\n")[2]
    return msgspec.json.decode(last, type=Hindrance) if last else None


def reported(said: bytes) -> Begun | None:
    """Which process it is, as the pipe of a setting that `reports` told; None where it did not come so far."""
    first, end, _ = said.partition(b"\n")
    return msgspec.json.decode(first, type=Begun) if end else None


def command(setting: Setting, argv: Sequence[str], terminal: bool = False, report: int = -1) -> list[str]:
    """The command line of a process that enters the namespace and becomes `argv`. Raises NotFoundError.

    With a `terminal` on standard input, which it then takes for its controlling one, it must lead a session.
    """
    netns.inode(setting.netns)
    how = msgspec.json.encode(_How(setting, terminal, report)).decode()
    return [sys.executable, "-I", "-m", "k8snetlab.kernel.launch", how, *argv]


class _How(msgspec.Struct, frozen=True, omit_defaults=True):
    setting: Setting
    terminal: bool = False
    report: int = -1


def main_process(pid: int) -> int:
    """Which process is the command that `popen` has begun as `pid`: that one, or the second of its pid namespace; 0
    where it has ended, and those before it are about to."""
    namespaces = Path(f"/proc/{pid}/ns")
    try:
        if (namespaces / "pid").stat().st_ino == (namespaces / "pid_for_children").stat().st_ino:
            return pid
        first, *_ = _children(pid)
        second, *_ = _children(first)
    except (OSError, ValueError):  # it has gone; it has no children any more
        return 0
    return second


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def become(setting: Setting, argv: Sequence[str], environment: Mapping[str, str], report: int = -1) -> NoReturn:
    """Replaces this process, which has a single thread, by the command. Raises OSError, K8sNetLabError.

    Without a control group it stays, as the parent of the pid namespace, and ends with the command's exit code. So it
    does beside the process of a container.
    """
    joined = _joined(setting)
    if setting.stdin:
        _hold_input()
    if setting.process:
        _join_container(setting)
        netns.become(argv, environment)
    if setting.pause:
        _pause(setting, report)
        netns.become(argv, environment)
    if setting.own is not None:
        _in_own_processes(setting.own, report)
    elif setting.held and not joined:
        _in_pid_namespace()
    seen = netns.Seen(setting.hostname, setting.flannel, setting.account, setting.etc, setting.own)
    netns.enter(setting.netns, seen)
    if setting.own is not None:
        _change_directory(setting.directory)
    netns.become(argv, environment)


# --- a pod's namespaces ---


def _pause(setting: Setting, report: int) -> None:
    target = netns.opened(setting.netns)
    syscalls.setns(target, syscalls.CLONE_NEWNET)
    os.close(target)
    syscalls.unshare(syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC)
    if setting.hostname:
        socket.sethostname(setting.hostname[:63].rstrip("-."))
    if setting.pause == "shared":
        syscalls.unshare(syscalls.CLONE_NEWPID)
        _sibling(report)


def _in_own_processes(own: Own, report: int) -> None:
    """Returns in a new process, the first of its pid namespace, or one of its pod's."""
    joined = {"uts": syscalls.CLONE_NEWUTS, "ipc": syscalls.CLONE_NEWIPC}
    if own.shared:
        joined["pid"] = syscalls.CLONE_NEWPID
    if own.sandbox:
        _join(own.sandbox, joined)
    else:
        syscalls.unshare(syscalls.CLONE_NEWIPC)
    if not own.shared:
        syscalls.unshare(syscalls.CLONE_NEWPID)
    _sibling(report)


def _sibling(report: int) -> None:
    """Returns in a new process, whose parent is this one's; which one it is, is reported, and this one ends. On a
    machine that cannot do that this one stays, and ends as that one does."""
    try:
        pid, ours = syscalls.fork_sibling(), False
    except OSError:
        pid, ours = os.fork(), True
    if not pid:
        if ours:
            syscalls.end_with_parent(signal.SIGKILL)
        os.setsid()
        return
    if report >= 0:
        os.write(report, msgspec.json.encode(Begun(pid, ours)) + b"\n")
    if ours:
        _wait_for(pid)
    os._exit(0)


_OF_CONTAINER = {
    "net": syscalls.CLONE_NEWNET,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "pid": syscalls.CLONE_NEWPID,
    "mnt": syscalls.CLONE_NEWNS,
}


def _join_container(setting: Setting) -> None:
    """Returns in a new process beside that of the container; this one passes on what it is told to end by, and how
    that one ended. Raises NotFoundError where the container has gone."""
    here = Path.cwd()
    try:
        if Path(f"/proc/{setting.process}/ns/net").stat().st_ino != netns.inode(setting.netns):
            raise FileNotFoundError  # another process has its number by now
        _join(setting.process, _OF_CONTAINER)
    except (FileNotFoundError, ProcessLookupError):
        raise NotFoundError("the container has ended", "`k8snetlab get pods` shows how it is") from None
    child = os.fork()
    if child:
        _wait_for(child, passes_on=True)
    syscalls.end_with_parent(signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.chdir(here)


def _join(pid: int, kinds: Mapping[str, int]) -> None:
    """Raises FileNotFoundError, ProcessLookupError where there is no such process, OSError."""
    opened = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in kinds.items()]
    for descriptor, kind in opened:
        syscalls.setns(descriptor, kind)
        os.close(descriptor)


def _hold_input() -> None:
    """Standard input becomes a pipe whose other end the process has itself, so that it has no end."""
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)
    os.set_inheritable(writing, True)


def _joined(setting: Setting) -> bool:
    for one in setting.bounds:
        cgroups.join(Path(one))
    if setting.cgroup:
        with contextlib.suppress(OSError):
            cgroups.join(Path(setting.cgroup))
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


def _wait_for(child: int, passes_on: bool = False) -> NoReturn:
    """As an init does: orphans are reaped, what ends others does not end this one first. It `passes_on` what a terminal
    does not send to both."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP) if passes_on else ():
        signal.signal(number, lambda number, _: os.kill(child, number))
    os.closerange(3, 1 << 20)  # who reads what the command reports waits for its end
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _main(how: str, *argv: str) -> None:
    given = msgspec.json.decode(how, type=_How)
    setting, report = given.setting, given.report
    if report >= 0:
        os.set_inheritable(report, False)
    if given.terminal:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who started us may ignore Ctrl-C; the command does not
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    try:
        if setting.own is None:
            _change_directory(setting.directory)
        become(setting, argv, os.environ, report)
    except FileNotFoundError as error:
        _give_up(127, Hindrance(refusal(argv[0], error), missing=True), report)
    except OSError as error:
        _give_up(126, Hindrance(refusal(argv[0], error)), report)
    except K8sNetLabError as error:
        _give_up(126, Hindrance(error.message), report)
    except (ValueError, IndexError) as error:  # a NUL, an empty name
        _give_up(126, Hindrance(f"{argv[0]!r:.200}: {error}"), report)


def _change_directory(directory: str) -> None:
    """Raises K8sNetLabError."""
    try:
        os.chdir(directory)
    except OSError as error:
        shown = directory if len(directory) <= 200 else directory[:199] + "…"
        raise K8sNetLabError(f'chdir to cwd ("{shown}") failed: {_words(error)}') from error
    except ValueError as error:
        raise K8sNetLabError(f"chdir to cwd failed: {error}") from error


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
