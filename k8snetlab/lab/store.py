"""Whose a shared store is: claimed for a lab, and given back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from k8snetlab.api import leases
from k8snetlab.api.lab import Lab, StoreSpec
from k8snetlab.api.scheme import BY_TYPE, resource_for_key
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import ConflictError, K8sNetLabError, NotFoundError
from k8snetlab.peers import parts
from k8snetlab.store.informer import FENCE
from k8snetlab.store.open import open_store
from k8snetlab.store.protocol import Delete, Store

PURGE = 10.0
"""Seconds that `down` gives an etcd to forget the lab."""


async def claim(lab: str, spec: StoreSpec, snapshot: Snapshot, store: Store) -> None:
    """Refuses a shared store that holds another lab, a real cluster or a real flannel. Raises ConflictError.

    The keys are looked at, not the snapshot: a real cluster's values are Protocol Buffers, which no snapshot has.
    """
    if spec.type == "embedded":
        return
    labs = [name for _, name in snapshot.all(Lab)]
    where = ", ".join(spec.endpoints)
    if not labs and (await store.list(leases.NETWORK)).entries:
        raise ConflictError(
            f"the store at {where} holds leases of no lab below {leases.NETWORK}; they may be a real flannel's",
            "nothing was touched; use an etcd of its own (`k8snetlab store serve`)",
        )
    if not labs:
        held = (entry.key for entry in (await store.list("/registry/")).entries)
        # Machines put their leases back, and one may give an address while another takes the lab down.
        unmanaged = [key for key in held if not key.startswith((leases.KUBERNETES, FENCE))]
        if unmanaged:
            raise ConflictError(
                f"the store at {where} holds {unmanaged[0]}, which is no lab's; it may be a real cluster's",
                "nothing was touched; use an etcd of its own (`k8snetlab store serve`)",
            )
    elif labs != [lab]:
        raise ConflictError(
            f"the store at {where} holds lab {labs[0]}", f"use --lab {labs[0]}, or an etcd of its own for {lab}"
        )


def forget(lab: str, spec: StoreSpec) -> bool:
    """Deletes the lab's objects from a shared store; False when it does not answer, or holds another lab by now."""
    try:
        asyncio.run(_forget(lab, spec))
    except (TimeoutError, K8sNetLabError):
        return False
    return True


async def _forget(lab: str, spec: StoreSpec) -> None:
    """The Lab goes last, so that what is left half-way is known for the lab's."""
    store = open_store(spec, Path())
    try:
        async with asyncio.timeout(PURGE):
            keys = [e.key for e in (await store.list("/registry/")).entries if resource_for_key(e.key)]
            for prefix in (leases.NETWORK, leases.NODE_LEASES, leases.LEADER, parts.PREFIX, FENCE):
                keys += [e.key for e in (await store.list(prefix)).entries]
            own = BY_TYPE[Lab].key("", lab)
            if own not in keys:
                raise NotFoundError(f"no lab {lab} in this store")
            in_order = sorted(dict.fromkeys(keys), key=lambda key: key == own)
            for refused in await store.write_many([Delete(key) for key in in_order]):
                if isinstance(refused, K8sNetLabError) and not isinstance(refused, NotFoundError):
                    raise refused
    finally:
        await store.close()
