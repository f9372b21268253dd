"""All faults, by name, and the choice of one by a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import NotFoundError, UnsupportedError
from k8snetlab.faults import (
    balancers,
    bounds,
    daemons,
    devices,
    firewall,
    gateways,
    ingresses,
    limits,
    namings,
    objects,
    overlay,
    planes,
    programs,
    routes,
    services,
    workloads,
)
from k8snetlab.faults.fault import Damage, Fault
from k8snetlab.faults.scene import LacksError, Scene, number
from k8snetlab.wording import nearest

ROOMS = (
    overlay,
    routes,
    devices,
    firewall,
    services,
    objects,
    workloads,
    ingresses,
    gateways,
    namings,
    programs,
    limits,
    daemons,
    balancers,
    planes,
)
FAULTS: Mapping[str, Fault] = {fault.name: fault for room in ROOMS for fault in room.faults()}


IMPOSSIBLE = {
    "neighbour-table-full": (
        "the table of neighbours has one size for the whole machine (net.ipv4.neigh.default.gc_thresh3): filled, it "
        "would harm more than this lab",
        "`k8snetlab fault inject neighbour-missing`; `diagnose` names a table that is full",
    ),
}
"""Incidents that a lab cannot have: why, and what comes near."""


def fault(name: str) -> Fault:
    """Raises NotFoundError, UnsupportedError for one that cannot be."""
    if name in IMPOSSIBLE:
        why, hint = IMPOSSIBLE[name]
        raise UnsupportedError(f"{name} cannot be injected: {why}", hint)
    if name not in FAULTS:
        raise NotFoundError(f"there is no fault {name!r}", nearest(name, FAULTS) or "`k8snetlab fault list`")
    return FAULTS[name]


def damage(asked: Fault, snapshot: Snapshot, node: str, variant: str, seed: int = 0) -> tuple[str, Damage]:
    """What a fault does to the lab, and on which node: `node`, or the first where it can be. Raises LacksError."""
    nodes = [node] if node else _turned([name for _, name in snapshot.all(Node)], seed)
    why: LacksError | None = None
    for name in nodes:
        try:
            scene = Scene(snapshot, name, variant, seed)
            made = asked.make(scene)
            if snapshot.lab.spec.machines and (more := bounds.beyond(made, scene)):
                raise LacksError(f"{name} is a machine, and {more}", "a lab whose nodes are namespaces of one machine")
            return name, made
        except LacksError as error:
            why = why or error
        except StopIteration:  # a device, an address, a port that every usual lab has
            why = why or LacksError(f"{name} has not {asked.touches}")
    reason = why.message if why else "this lab has no node"
    raise LacksError(f"{asked.name} is not possible here: {reason}", why.hint if why else "")


def chosen(
    snapshot: Snapshot,
    variant: str,
    seed: str,
    level: int = 0,
    *,
    node: str = "",
    suits: Callable[[Fault], bool] = lambda _: True,
) -> tuple[Fault, str, Damage]:
    """The fault that `seed` stands for in this lab, of a level where one is asked for (else 0), among those that
    suit. Raises LacksError."""
    names = [name for name, one in FAULTS.items() if level in (0, one.level) and suits(one)]
    for name in sorted(names, key=lambda name: number(f"{seed}/{name}")):
        try:
            return FAULTS[name], *damage(FAULTS[name], snapshot, node, variant, number(seed))
        except LacksError:
            continue
    raise LacksError("no fault of that level is possible in this lab", "a lab of two nodes with pods and a Service")


def _turned(names: list[str], seed: int) -> list[str]:
    start = seed % len(names) if names else 0
    return [*names[start:], *names[:start]]


def listed() -> Iterator[Fault]:
    """In the order of their declaration."""
    yield from FAULTS.values()
