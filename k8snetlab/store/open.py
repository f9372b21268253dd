"""The store that a lab file asks for."""

from __future__ import annotations

from pathlib import Path

from k8snetlab.api.lab import StoreSpec
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.protocol import Store


def open_store(spec: StoreSpec, path: Path | str) -> Store:
    """The embedded store in the file `path` (":memory:": none), or the etcd of `spec`. Called in the running loop.

    Raises InputError for what is wrong in `spec`, StoreError when the file cannot be used. An etcd is not asked yet:
    the first request tells whether it answers.
    """
    if spec.type == "embedded":
        return EmbeddedStore(path)
    # Imported here: httpx costs 60 ms that a lab without etcd need not spend.
    from k8snetlab.store.etcd import EtcdStore

    return EtcdStore(spec.endpoints, ca=spec.ca, cert=spec.cert, key=spec.key)
