"""The ledger: what a lab owns on this machine, written and fsynced before it is made.

`down` works from the ledger and from what the kernel holds, never from YAML and never by a name pattern. One JSON value
per line; a line that a crash cut short is ignored, as what it announced was never made.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from k8snetlab.agent.additions import AddedFile, Addition, OwnedNetns
from k8snetlab.errors import AlreadyExistsError
from k8snetlab.kernel import fault
from k8snetlab.state.processes import ProcessId


class OwnedProcess(msgspec.Struct, frozen=True, tag="process"):
    """`role` is "daemon", "kubelet" or "maker"."""

    role: str
    process: ProcessId


class Released(msgspec.Struct, frozen=True, tag="released"):
    """A namespace that was deleted again."""

    name: str


class MadeNetnsDirectory(msgspec.Struct, frozen=True, tag="netns-directory"):
    """/run/netns was not there before this lab: it goes when the last namespace goes."""


class LoadedBridgeFilter(msgspec.Struct, frozen=True, tag="br_netfilter"):
    """The kernel module br_netfilter was not loaded before this lab."""


class OwnedCgroup(msgspec.Struct, frozen=True, tag="cgroup"):
    """The control group of all that the lab's pods and `exec` start; made when the first of them is."""

    path: str


class Undone(msgspec.Struct, frozen=True, tag="undone"):
    """All additions to the machine's own namespace so far were undone."""


_Line = OwnedNetns | OwnedProcess | Released | MadeNetnsDirectory | LoadedBridgeFilter | OwnedCgroup | Addition | Undone
COMPACT = 512
"""Lines from which on a ledger is rewritten."""


class Ledger:
    """Reads the file at opening; several processes may append, each line in one write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lock = threading.Lock()
        self.namespaces: dict[str, OwnedNetns] = {}
        self.processes: list[OwnedProcess] = []
        self.additions: list[Addition] = []
        """What is to be undone in the machine's own namespace."""
        self.made_netns_directory = False
        self.loaded_bridge_filter = False
        self.cgroup = ""
        self._released = 0
        self.reload()

    def reload(self) -> None:
        self.namespaces.clear()
        self.processes.clear()
        self.additions.clear()
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in lines:
            try:
                self._apply(msgspec.json.decode(line, type=_Line))
            except msgspec.MsgspecError:
                continue

    def alive(self, role: str) -> ProcessId | None:
        """The process of that role, where one lives."""
        return next((p.process for p in reversed(self.processes) if p.role == role and p.process.alive), None)

    def own_namespaces(self, owned: Iterable[OwnedNetns]) -> None:
        self._append([one for one in owned if self.namespaces.get(one.name) != one])

    def release_namespaces(self, names: Iterable[str]) -> None:
        gone: list[_Line] = [Released(name) for name in names if name in self.namespaces]
        self._append(gone)
        self._released += len(gone)
        if self._released >= COMPACT // 2:
            self._released = 0
            self.compact()

    def own_additions(self, additions: Iterable[Addition]) -> None:
        self._append([addition for addition in additions if addition not in self.additions])

    def release_additions(self) -> None:
        self._append([Undone()] if self.additions else [])

    def own_file(self, path: Path) -> None:
        """Call it before a file outside the lab's directory, or the directory of that file, is made. Raises
        AlreadyExistsError when the file is there and not ours."""
        if any(isinstance(one, AddedFile) and one.path == str(path) for one in self.additions):
            return
        if path.exists():
            raise AlreadyExistsError(f"{path} exists and is not this lab's", "another tool on this machine writes it")
        missing = [str(directory) for directory in reversed(path.parents) if not directory.exists()]
        self._append([AddedFile(str(path), tuple(missing))])

    def own_process(self, role: str, process: ProcessId) -> None:
        self._append([OwnedProcess(role, process)])

    def own_cgroup(self, path: str) -> None:
        self._append([OwnedCgroup(path)] if path != self.cgroup else [])

    def own_netns_directory(self) -> None:
        self._append([MadeNetnsDirectory()])

    def own_bridge_filter(self) -> None:
        self._append([LoadedBridgeFilter()])

    def _apply(self, line: _Line) -> None:
        match line:
            case OwnedNetns():
                self.namespaces[line.name] = line
            case Released():
                self.namespaces.pop(line.name, None)
            case OwnedProcess():
                self.processes.append(line)
            case MadeNetnsDirectory():
                self.made_netns_directory = True
            case LoadedBridgeFilter():
                self.loaded_bridge_filter = True
            case OwnedCgroup():
                self.cgroup = line.path
            case Undone():
                self.additions.clear()
            case _:
                self.additions.append(line)

    def compact(self) -> None:
        """Rewrites the file where less than half of many lines still count: each pod that comes and goes leaves two."""
        with self._held() as fd:
            lines = [line for line in self._path.read_bytes().split(b"\n") if line]
            if len(lines) < COMPACT:
                return
            kept = Ledger(self._path)._kept()  # other threads ask this one meanwhile
            if len(kept) * 2 > len(lines):
                return
            fresh = self._path.with_suffix(".new")
            fresh.write_bytes(_encoded(kept))
            fresh.chmod(0o600)
            with fresh.open("rb") as file:
                os.fsync(file.fileno())
            fresh.rename(self._path)
            os.fsync(fd)

    def _kept(self) -> list[_Line]:
        """What all the lines add up to, in an order in which they can be read again."""
        once: list[_Line] = [MadeNetnsDirectory()] if self.made_netns_directory else []
        once += [LoadedBridgeFilter()] if self.loaded_bridge_filter else []
        once += [OwnedCgroup(self.cgroup)] if self.cgroup else []
        alive = [owned for owned in self.processes if owned.process.alive]
        return [*once, *self.namespaces.values(), *self.additions, *alive]

    @contextlib.contextmanager
    def _held(self) -> Iterator[int]:
        """The file opened for appending, while no other process appends to it or rewrites it."""
        while True:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):
                    if os.fstat(fd).st_ino == self._path.stat().st_ino:
                        yield fd
                        return
            finally:
                os.close(fd)

    def _append(self, lines: list[_Line]) -> None:
        if not lines:
            return
        fault.point()
        with self._held() as fd:
            os.write(fd, _encoded(lines))
            os.fsync(fd)
        for line in lines:
            self._apply(line)


def _encoded(lines: Iterable[_Line]) -> bytes:
    return b"".join(b"\n" + msgspec.json.encode(line) + b"\n" for line in lines)


def living(path: Path, role: str) -> ProcessId | None:
    """As `Ledger.alive`, for who asks a ledger nothing else: that of 1,000 pods takes 10 ms to read whole."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        if b'"process"' in line:
            with contextlib.suppress(msgspec.MsgspecError):
                owned = msgspec.json.decode(line, type=_Line)
                if isinstance(owned, OwnedProcess) and owned.role == role and owned.process.alive:
                    return owned.process
    return None


def let_begin(process: subprocess.Popen[bytes], ledger: Ledger, role: str, byte: bytes = b"\n") -> None:
    """Writes the process into the ledger, and only then gives it the byte it waits for: `down` can always find it."""
    identity = ProcessId.of(process.pid)
    if identity is not None:
        ledger.own_process(role, identity)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as permission:
        permission.write(byte)
