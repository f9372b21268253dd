"""Taking a lab down: by its ledger and by what the kernel holds, with or without its daemon.

What only labs of machines and of shared stores need is imported where it is needed: 40 ms, a small lab's third.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from k8snetlab.api.workload import LOGS
from k8snetlab.checkup.audit import left_of
from k8snetlab.client.client import Client
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import bounds, cgroups, fault, modules, netns, processes
from k8snetlab.kernel.inventory import Thing
from k8snetlab.messages.machines import END, DownEvent, EndQuestion, TakenDown
from k8snetlab.messages.progress import Progress, Warning
from k8snetlab.messages.timeouts import ANSWER
from k8snetlab.state import held, labs, machine
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths, root
from k8snetlab.state.rights import need_capabilities
from k8snetlab.state.store_spec import read_spec
from k8snetlab.state.turn import turn

LEAVE_TIMEOUT = 30.0
"""Seconds that the other machines of a lab get to leave it."""
GRACE = 2.0
"""Seconds that processes get between SIGTERM and SIGKILL."""


def down(lab: str | None = None, everything: bool = False) -> Iterator[DownEvent]:
    """Removes one lab, or all of this machine; yields progress, and at last `TakenDown` for each lab."""
    need_capabilities()
    for name in _chosen(lab, everything):
        for event in _down(name):
            if isinstance(event, TakenDown) and (left := _left_of(name)):
                named = "; ".join(f"{thing.kind} {thing.name}" for thing in left)
                message = f"not touched, since no ledger has it, but it looks like lab {name}'s: {named}"
                yield Warning(f"{message} (`k8snetlab audit`)")
            yield event


def _left_of(lab: str) -> Sequence[Thing]:
    """A process that has just been killed is gone a moment later."""
    for _ in range(10):
        if not (left := left_of(lab)):
            return left
        time.sleep(0.05)
    return left


def _chosen(lab: str | None, everything: bool) -> list[str]:
    if everything:
        return sorted({*labs.running(), *labs.begun()})
    return [labs.choose_to_end(lab)]


def _down(lab: str) -> Iterator[DownEvent]:
    paths = LabPaths(lab)
    with turn(paths, create=False) as there:
        if paths.ledger.exists():
            yield from _taken_down(lab, paths)
        else:  # somebody else did it meanwhile, or an `up` was killed before it did anything
            if there:
                _remove_directory(paths)
            yield TakenDown(lab, 0, 0)


def _taken_down(lab: str, paths: LabPaths) -> Iterator[DownEvent]:
    if machine.read(paths):
        yield from _end_others(lab)
    yield from _end_processes(Ledger(paths.ledger))
    spec = read_spec(paths)
    if spec.type != "embedded" and not paths.plane.exists():
        from k8snetlab.lab.store import forget

        yield _progress("store", ", ".join(spec.endpoints))
        if not forget(lab, spec):
            yield Warning("the store does not answer: the lab's objects stay in it")
    yield from remove(lab)


def _end_others(lab: str) -> Iterator[DownEvent]:
    """Lets the other machines of the lab leave first, for as long as they seem to be about it."""
    left: Sequence[str] = ["the other machines"]
    try:
        for event in Client(lab).stream(END, EndQuestion(LEAVE_TIMEOUT), LEAVE_TIMEOUT + ANSWER):
            left = event.nodes
            yield event
    except K8sNetLabError as error:
        yield Warning(error.message)
    if left:
        message = f"{', '.join(left)} did not leave: `k8snetlab node leave --force` there takes the rest away"
        yield Warning(message)


def remove_from_machine(lab: str) -> Iterator[DownEvent]:
    """All of the lab that is on this machine, with or without a daemon or a store; yields events as `down` does.

    What cannot be undone is raised at the end; the ledger then stays, and it can be tried again.
    """
    with turn(LabPaths(lab), create=False):
        yield from remove(lab)


def remove(lab: str) -> Iterator[DownEvent]:
    """`remove_from_machine`, for who has the `turn`."""
    paths = LabPaths(lab)
    ledger = Ledger(paths.ledger)
    yield from _end_processes(ledger)
    names = [name for name in ledger.namespaces if netns.exists(name)]
    yield _progress("namespaces", f"{len(names)} namespaces")
    pids = _workloads(paths, names)
    processes.terminate(pids, GRACE)
    held.end(paths.directory / "exec")
    if ledger.cgroup:
        group = Path(ledger.cgroup)
        cgroups.leave(group)
        cgroups.terminate(group)
        cgroups.end(group)
        cgroups.remove_parent(group)
        bounds.remove(group)
        bounds.remove_parent(group)
    if ledger.additions:
        yield from _remove_with_additions(ledger, names)
    for name in ledger.namespaces:
        netns.delete(name)
    netns.forget(f"{lab}.")
    _give_back(ledger, lab)
    _remove_directory(paths)
    yield TakenDown(lab, len(names), len(pids))


def _remove_with_additions(ledger: Ledger, names: list[str]) -> Iterator[DownEvent]:
    """The namespaces `names`, and then what was added to the machine's own."""
    from k8snetlab.agent import removal
    from k8snetlab.kernel.read import cables

    ends = cables(names)
    for name in names:
        netns.delete(name)
    yield _progress("machine", "devices, routes, rules and sysctls of the machine itself")
    removal.remove_cables(ends)
    removal.remove(ledger.additions)
    ledger.release_additions()


def _end_processes(ledger: Ledger) -> Iterator[DownEvent]:
    """Daemons first, or they start a kubelet anew; and what they have started by then is in the ledger."""
    for others in (False, True):
        for owned in ledger.processes:
            if owned.process.alive and (owned.role != "daemon") == others:
                yield _progress("processes", owned.role)
                fault.point()
                owned.process.stop(GRACE)
        ledger.reload()


def _workloads(paths: LabPaths, names: list[str]) -> list[int]:
    """The processes in the lab's namespaces; on a machine, the commands of pods that share its own."""
    found = processes.pids_in(names)
    if machine.read(paths):
        for logs in (paths.pod_logs, paths.addons):
            found += processes.with_environment(HOST_NETNS, f"{LOGS}={logs}", below=True)
    return [pid for pid in found if pid != os.getpid()]


def _remove_directory(paths: LabPaths) -> None:
    """The ledger last: for as long as anything of the lab is left it can be taken down again, or left."""
    kept = (paths.ledger, paths.left)
    for entry in [*paths.directory.iterdir()] if paths.directory.exists() else []:
        if entry in kept:
            continue
        fault.point()
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    for entry in kept:
        fault.point()
        entry.unlink(missing_ok=True)
    fault.point()
    shutil.rmtree(paths.directory, ignore_errors=True)
    with contextlib.suppress(OSError):  # other labs are in it
        root().rmdir()


def _give_back(ledger: Ledger, lab: str) -> None:
    """What labs share, when this lab brought it and is the last; else the next one to use it inherits the duty."""
    heirs = [name for name in labs.running() if name != lab]
    for brought, own, undo in (
        (ledger.made_netns_directory, Ledger.own_netns_directory, netns.remove_directory),
        (ledger.loaded_bridge_filter, Ledger.own_bridge_filter, _unload_bridge_filter),
    ):
        if brought and not any(_inherits(heir, own) for heir in heirs):
            undo()


def _inherits(lab: str, own: Callable[[Ledger], None]) -> bool:
    """False where there is no such lab any more: it may be taken down just now, too."""
    try:
        own(Ledger(LabPaths(lab).ledger))
    except FileNotFoundError:
        return False
    return True


def _unload_bridge_filter() -> None:
    """Unless a class is there, whose labs use it, too."""
    from k8snetlab.kernel import userns

    if not userns.first_processes():
        modules.unload_bridge_filter()


def _progress(phase: str, message: str) -> Progress:
    return Progress(phase, 0, 0, message)
