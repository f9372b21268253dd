"""The Lease of each node, by which a kubelet tells that it lives; it is never written again (`api.renewal`).

Machines make theirs themselves, with a key that goes when they do. Source: component-helpers apimachinery/lease.
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.coordination import NODE_LEASES, Lease, LeaseSpec
from k8snetlab.api.core import Node
from k8snetlab.api.machines import is_machine
from k8snetlab.api.meta import ObjectMeta, OwnerReference
from k8snetlab.api.renewal import EVERY
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers.changes import Answer, put


def period(duration: int) -> int:
    """Seconds between two renewals of a lease of so many (kubelet's nodeLeaseDurationSeconds, 40): a quarter of it."""
    return max(1, duration // 4)


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    for _, name in now.changes(Node, before):
        node, lease = now.get(Node, name), now.get(Lease, name, NODE_LEASES)
        if node is None:
            if lease is not None and EVERY in lease.metadata.annotations:
                yield Lease, lease.key, None
        elif lease is None and not is_machine(node):
            yield put(_lease(node, now.lab.spec.controlPlane.nodeMonitorGracePeriod))


def _lease(node: Node, duration: int) -> Lease:
    owner = OwnerReference(apiVersion=node.API_VERSION, kind=node.KIND, name=node.name, uid=node.metadata.uid)
    return Lease(
        metadata=ObjectMeta(
            name=node.name,
            namespace=NODE_LEASES,
            annotations={EVERY: str(period(duration))},
            ownerReferences=(owner,),
        ),
        spec=LeaseSpec(holderIdentity=node.name, leaseDurationSeconds=duration),
    )
