"""Who leads, as Kubernetes tells it: the Leases of kube-scheduler and kube-controller-manager in kube-system.

One daemon at a time runs both. The Leases are renewed by its being there (`api.renewal`); each daemon that begins is
another holder. In a lab of machines that of kube-controller-manager is what the daemons stand for election with, and is
no controller's. Source: client-go tools/leaderelection (LeaseDuration 15 s, RetryPeriod 2 s, "became leader").
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api import renewal
from k8snetlab.api.coordination import Lease, LeaseSpec
from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, Context, put, record
from k8snetlab.controllers.correlation import Note

SYSTEM = "kube-system"
SCHEDULER, MANAGER = "kube-scheduler", "kube-controller-manager"
DURATION, PERIOD = 15, 2
"""Seconds: for which a holder that falls silent leads, and between two renewals."""


def reconcile(now: Snapshot, before: Snapshot | None, context: Context) -> Iterator[Answer]:
    """Takes them for the daemon that `context` names; nothing where it names none."""
    if not context.identity or not now.all(Node):
        return
    if not (now.changes(Lab, before) or now.changes(Node, before) or now.changes(Lease, before)):
        return
    for name in (SCHEDULER,) if now.lab.spec.machines else (SCHEDULER, MANAGER):
        held = now.get(Lease, name, SYSTEM)
        if held is not None and held.spec.holderIdentity == context.identity:
            continue
        taken = _taken(held, name, context)
        yield put(taken)
        yield record(taken, Note(taken, "Normal", "LeaderElection", f"{context.identity} became leader", name))


def _taken(held: Lease | None, name: str, context: Context) -> Lease:
    moment = renewal.moment(context.time)
    metadata = ObjectMeta(name=name, namespace=SYSTEM, annotations={renewal.EVERY: str(PERIOD)})
    spec = LeaseSpec(
        holderIdentity=context.identity,
        leaseDurationSeconds=DURATION,
        acquireTime=moment,
        renewTime=moment,
        leaseTransitions=(held.spec.leaseTransitions or 0) + 1 if held else 0,
    )
    return replace(held, spec=spec) if held else Lease(metadata=metadata, spec=spec)
