"""Starting a lab's daemon."""

from __future__ import annotations

import contextlib
import fcntl
import time
from typing import TYPE_CHECKING

from k8snetlab.api.lab import Lab, StoreSpec
from k8snetlab.api.plane import store as own_store
from k8snetlab.errors import DaemonError, K8sNetLabError, StoreError
from k8snetlab.lab.ahead import WITH_NAMES, launched
from k8snetlab.messages.timeouts import ANSWER
from k8snetlab.state.ledger import Ledger, let_begin, living
from k8snetlab.state.machine import Machine
from k8snetlab.state.machine import write as write_machine
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.plane import write as write_plane
from k8snetlab.state.processes import processor_seconds
from k8snetlab.state.rights import need_capabilities
from k8snetlab.state.store_spec import write_spec
from k8snetlab.state.turn import turn
from k8snetlab.store.keys import Keys

if TYPE_CHECKING:
    import subprocess

    from k8snetlab.client.client import Client
    from k8snetlab.lab.ahead import Ahead

DYING = 2.0
"""Seconds after which a daemon that says nothing is taken for a busy one, not for one that was killed."""
GRACE = 5.0
"""Seconds that a daemon of another version gets to end by itself."""
START = 60.0
"""Seconds a daemon may take to open its socket; a machine that has just booted, on an emulated processor, takes 20."""
LONGEST = 5
"""Times START for one that is at work all the while: a machine may be busier, or slower, than that."""
WORK = 0.05
"""The part of START for which one that is at work has a processor."""


def start(
    lab: str,
    store: StoreSpec | None = None,
    machine: Machine | None = None,
    plane: Lab | None = None,
    *,
    loading: Ahead | None = None,
    names: bool = False,
) -> Client:
    """The lab's daemon, started where it does not run; with `machine`, as that node of the lab; with `plane`, with that
    Lab's own control plane; where one is `loading`, as that; with its name server where there are to be DNS pods.

    Raises DaemonError with its last words when it cannot start; where there was no lab before there is none then.
    """
    need_capabilities()
    paths = LabPaths(lab)
    with turn(paths, create=True):
        fresh = paths.fresh
        try:
            paths.create()
            _write(paths, store, machine, plane)
            return _started(lab, paths, machine, loading, names)
        except (RefusedError, KeyboardInterrupt):
            if fresh:
                from k8snetlab.lab.down import remove  # 35 ms, for what rarely happens

                for _ in remove(lab):
                    pass
            raise


class RefusedError(DaemonError):
    """The daemon has said itself why it cannot run; its log has no more to tell."""


def _write(paths: LabPaths, store: StoreSpec | None, machine: Machine | None, plane: Lab | None) -> None:
    """What the daemon is to know before it begins."""
    if plane is not None:
        store = own_store(plane, str(paths.directory))
    if store is not None:
        write_spec(paths, store)
    if plane is not None:
        write_plane(paths, plane)
    if machine is not None:
        write_machine(paths, machine)
        paths.left.unlink(missing_ok=True)


def _started(lab: str, paths: LabPaths, machine: Machine | None, loading: Ahead | None, names: bool) -> Client:
    if _serves(lab, paths):
        return _client(lab)
    log_begin = paths.daemon_log.stat().st_size if paths.daemon_log.exists() else 0
    with paths.daemon_log.open("ab") as log:
        process = (loading and loading.taken(lab)) or launched(lab, log)
    if machine is None:
        _make_ca(paths)
    let_begin(process, Ledger(paths.ledger), "daemon", WITH_NAMES if names else b"\n")
    client = _client(lab)
    if _comes(process, paths, client):
        return client
    with paths.daemon_log.open("rb") as log:
        log.seek(log_begin)
        said = log.read().decode(errors="replace").strip().splitlines()
    reason, refused, hint = (said[-1] if said else "").partition("\t")
    message = f"the daemon of lab {lab} did not start" + (f": {reason}" if reason else "")
    raise RefusedError(message, hint) if refused else DaemonError(message, f"its log is {paths.daemon_log}")


def _make_ca(paths: LabPaths) -> None:
    """The API's CA, while the daemon loads: to load OpenSSL takes a tenth of the time of a small lab, and there is
    nothing else to do here. Where it cannot be made the daemon says why."""
    with contextlib.suppress(StoreError):
        Keys(paths.api_pki).make()


def _comes(process: subprocess.Popen[bytes], paths: LabPaths, client: Client) -> bool:
    """Waits until it answers; not where it ends, nor where it has done nothing for START."""
    began = time.monotonic()
    deadline, had = began + START, 0.0
    while True:
        if time.monotonic() > deadline:
            spent = processor_seconds(process.pid)
            if spent - had < WORK * START or time.monotonic() > began + LONGEST * START:
                return False
            deadline, had = time.monotonic() + START, spent
        if paths.socket.exists() and _answers(client):
            return True
        if process.poll() is not None and not _daemon_alive(paths):
            return False
        time.sleep(0.005)


def _serves(lab: str, paths: LabPaths) -> bool:
    """Whether a daemon of this version runs; one of another version is ended.

    One that has just been killed may hold its lock and its socket for a moment yet.
    """
    deadline = time.monotonic() + DYING
    while _daemon_alive(paths) and paths.socket.exists():
        client = _client(lab)
        answers = _answers(client, DYING)
        if client.of_another_version:
            _end(paths)
            return False
        if answers or time.monotonic() > deadline:
            return True
        time.sleep(0.005)
    return False


def _client(lab: str) -> Client:
    """What it takes is imported while a daemon starts: 16 ms in which there is nothing else to do."""
    from k8snetlab.client.client import Client

    return Client(lab)


def _end(paths: LabPaths) -> None:
    """Ends the lab's daemon; the kubelet, the pods and all that is in the kernel stay for the one that comes next."""
    if process := living(paths.ledger, "daemon"):
        process.stop(GRACE)


def _daemon_alive(paths: LabPaths) -> bool:
    """The daemon holds a lock on a file for as long as it lives."""
    try:
        with paths.lock.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _answers(client: Client, silence: float = ANSWER) -> bool:
    from k8snetlab.messages.places import NAMES
    from k8snetlab.messages.verb import Nothing

    try:
        client.call(NAMES, Nothing(), silence)
    except K8sNetLabError:
        return False
    return True
