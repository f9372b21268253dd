"""Which programs the objects of a lab ask for."""

from __future__ import annotations

from k8snetlab.addons import balancing, outside, plane, routing
from k8snetlab.addons.access import access_of
from k8snetlab.addons.program import GUEST, Program
from k8snetlab.api.guest import Guest
from k8snetlab.api.selection import guests_of
from k8snetlab.api.snapshot import Snapshot


def programs(snapshot: Snapshot, node: str) -> tuple[Program, ...]:
    """Those of one node."""
    guests = (_guest(guest, snapshot, node) for guest in guests_of(snapshot, node))
    own = (*routing.programs(snapshot, node), *outside.programs(snapshot, node), *balancing.programs(snapshot, node))
    return (*plane.programs(snapshot, node), *own, *guests)


def _guest(guest: Guest, snapshot: Snapshot, node: str) -> Program:
    spec, access = guest.spec, access_of(guest, snapshot, node)
    return Program(
        f"{GUEST}{guest.name}",
        spec.command,
        env={**access.variables, **spec.env},
        directory=spec.workingDir,
        pod=guest.pod,
        access=access,
    )
