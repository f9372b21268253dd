"""What a diagnosis compares the kernel with: the objects, and who keeps them, with a daemon or without."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.failing import Failing
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.rules import Family
from k8snetlab.diagnose.components import Plane
from k8snetlab.errors import K8sNetLabError
from k8snetlab.render.ingress.model import NOTHING_REFUSED, Refused
from k8snetlab.running.agents import PAUSED
from k8snetlab.state.ledger import living
from k8snetlab.state.paths import LabPaths
from k8snetlab.state.plane import opener
from k8snetlab.state.store_spec import read_spec
from k8snetlab.store.informer import Informer
from k8snetlab.store.open import open_store

State = Literal["runs", "halted", "dead"]
STORE_TIMEOUT = 3.0
"""Seconds that a store is waited for where no daemon says how it is."""


class AgentNow(msgspec.Struct, frozen=True):
    """`error` is what the kernel refused it last, with the `operation`; `works`: it repairs what it notices. `warnings`
    are its managers'. `behind` are the seconds for which it has not begun a sync that it was asked for; `deaf`: nobody
    answers what its kernel asks, though somebody should."""

    paused: bool = False
    error: str = ""
    hint: str = ""
    operation: str = ""
    works: bool = True
    warnings: tuple[str, ...] = ()
    behind: float = 0.0
    deaf: bool = False


class Desired(msgspec.Struct, frozen=True):
    """`snapshot` None: the store could not be read. `store` says in a sentence what is wrong with it, `where` is its
    file or its endpoints; `problems` are stored values that cannot be read, by key; `failures` are the
    daemon's tasks that fail, by name, with a sentence each; `failing` is what controllers fail at. `untouched` are
    namespaces of which the kernel has told the agents no change since they were made, as they were made.
    `overflowed` says how many seconds ago a neighbour table was full, `behind` for how many seconds controllers, by
    their names, have not looked at what changed; `refused` is what nginx does not take of Ingresses."""

    snapshot: Snapshot | None
    agents: Mapping[str, AgentNow]
    daemon: State
    kubelet: State
    daemon_pid: int
    where: tuple[str, ...]
    store: str = ""
    problems: Mapping[str, str] = {}
    failures: Mapping[str, str] = {}
    failing: tuple[Failing, ...] = ()
    untouched: Mapping[str, Netns] = {}
    overflowed: Mapping[Family, float] = {}
    behind: Mapping[str, float] = {}
    refused: Refused = NOTHING_REFUSED
    plane: Plane | None = None
    """A control plane of the lab's own, as it is now."""
    ahead: float = 0.0
    """By how many seconds the API's clock is ahead of the machine's."""
    quiet: float = 0.0
    """For how many seconds no object has changed; 0 where that is not known."""


def state_of(paths: LabPaths, role: str) -> tuple[State, int]:
    """Of the daemon or the kubelet, with its pid, 0 when it is dead."""
    process = living(paths.ledger, role)
    if process is None:
        return "dead", 0
    return "halted" if process.halted else "runs", process.pid


def where(paths: LabPaths) -> tuple[str, ...]:
    """The store's endpoints, or its file."""
    return tuple(read_spec(paths).endpoints) or (str(paths.store),)


def without_daemon(paths: LabPaths) -> Desired:
    """From the store itself, which is not touched: of an embedded one a copy is read."""
    snapshot, trouble, problems = asyncio.run(_stored(paths))
    nodes = snapshot.all(Node).values() if snapshot else ()
    agents = {n.name: AgentNow(n.metadata.annotations.get(PAUSED) == "true", works=False) for n in nodes}
    daemon, pid = state_of(paths, "daemon")
    return Desired(snapshot, agents, daemon, state_of(paths, "kubelet")[0], pid, where(paths), trouble, problems)


async def _stored(paths: LabPaths) -> tuple[Snapshot | None, str, Mapping[str, str]]:
    spec = read_spec(paths)
    with tempfile.TemporaryDirectory(prefix="k8snetlab-") as scratch:
        copy = Path(scratch, "store.db")
        if spec.type == "embedded":
            if not paths.store.exists():
                return None, f"its file {paths.store} is gone", {}
            for file in paths.directory.glob(f"{paths.store.name}*"):
                if not file.name.endswith("-shm"):
                    shutil.copy(file, Path(scratch, file.name))
        try:
            async with asyncio.timeout(STORE_TIMEOUT):
                store = open_store(spec, copy, opener(paths.lab) if paths.plane.exists() else None)
                try:
                    informer = Informer(store)
                    snapshot = await informer.start()
                    await informer.close()
                    return snapshot, "", informer.problems
                finally:
                    await store.close()
        except TimeoutError:
            return None, f"it does not answer within {STORE_TIMEOUT:g} s", {}
        except K8sNetLabError as error:
            return None, error.message, {}


def gone(paths: LabPaths) -> str:
    """What is wrong with an embedded store's file though its daemon goes on, "" where nothing is."""
    spec = read_spec(paths)
    lost = spec.type == "embedded" and not paths.store.exists()
    return f"its file {paths.store} is gone: what the daemon knows is lost when it ends" if lost else ""
