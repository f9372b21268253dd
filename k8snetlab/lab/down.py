"""Taking a lab down: by its ledger and by what the kernel holds, with or without its daemon."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

from k8snetlab.kernel import modules, netns, processes
from k8snetlab.lab import labs
from k8snetlab.lab.ledger import Ledger
from k8snetlab.lab.paths import LabPaths, root
from k8snetlab.lab.rights import need_capabilities
from k8snetlab.lab.storing import forget, read_spec

GRACE = 2.0
"""Seconds that processes get between SIGTERM and SIGKILL."""


def down(lab: str | None = None, everything: bool = False) -> Iterator[dict[str, Any]]:
    """Removes one lab, or all of this machine; yields progress events, and a last one of type "done" for each lab."""
    need_capabilities()
    for name in labs.running() if everything else [labs.choose(lab)]:
        yield from _down(name)
    with contextlib.suppress(OSError):
        root().rmdir()


def _down(lab: str) -> Iterator[dict[str, Any]]:
    paths = LabPaths(lab)
    ledger = Ledger(paths.ledger)
    # Daemons first, or they start a kubelet anew; and what they have started by then is in the ledger.
    for others in (False, True):
        for owned in ledger.processes:
            if owned.process.alive and (owned.role != "daemon") == others:
                yield _progress("processes", owned.role)
                owned.process.stop(GRACE)
        ledger.reload()
    spec = read_spec(paths)
    if spec.type != "embedded":
        yield _progress("store", ", ".join(spec.endpoints))
        if not forget(lab, spec):
            yield {"type": "warning", "message": "the store does not answer: the lab's objects stay in it"}
    # The daemon may have made a last namespace before it ended.
    ledger.reload()
    names = [name for name in ledger.namespaces if netns.exists(name)]
    yield _progress("namespaces", f"{len(names)} namespaces")
    pids = [pid for pid in processes.pids_in(names) if pid != os.getpid()]
    processes.terminate(pids, GRACE)
    for name in ledger.namespaces:
        netns.delete(name)
    shutil.rmtree(paths.directory, ignore_errors=True)
    _give_back(ledger)
    yield {"type": "done", "lab": lab, "namespaces": len(names), "processes": len(pids)}


def _give_back(ledger: Ledger) -> None:
    """What labs share, when this lab brought it and is the last; else the next one to use it inherits the duty."""
    heirs = labs.running()
    for brought, own, undo in (
        (ledger.made_netns_directory, Ledger.own_netns_directory, netns.remove_directory),
        (ledger.loaded_bridge_filter, Ledger.own_bridge_filter, modules.unload_bridge_filter),
    ):
        if brought and heirs:
            own(Ledger(LabPaths(heirs[0]).ledger))
        elif brought:
            undo()


def _progress(phase: str, message: str) -> dict[str, Any]:
    return {"type": "progress", "phase": phase, "done": 0, "total": 0, "message": message}
