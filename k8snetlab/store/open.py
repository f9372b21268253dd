"""The store that a lab file asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from k8snetlab.api.lab import StoreSpec
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.protocol import Store

if TYPE_CHECKING:
    from k8snetlab.store.within import Opener

FAR, NEAR = 4.0, 1.0
"""Seconds that a member of an etcd gets to begin to answer; where the lab itself runs it, its disk is memory."""


def open_store(spec: StoreSpec, path: Path | str, opener: Opener | None = None, patience: float = FAR) -> Store:
    """The embedded store in the file `path` (":memory:": none), or the etcd of `spec`. Called in the running loop.

    Raises InputError for what is wrong in `spec`, StoreError when the file cannot be used. An etcd is not asked yet:
    the first request tells whether it answers. `opener` opens the sockets to it, as `within.Opener`; a member gets
    `patience` seconds to begin to answer.
    """
    if spec.type == "embedded":
        return EmbeddedStore(path)
    # Imported here: httpx costs 60 ms that a lab without etcd need not spend.
    from k8snetlab.store.etcd import EtcdStore

    return EtcdStore(spec.endpoints, ca=spec.ca, cert=spec.cert, key=spec.key, patience=patience, opener=opener)
