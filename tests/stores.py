"""What the fixtures `run_etcd` and `connect` hand out."""

from __future__ import annotations

from collections.abc import Callable

from k8snetlab.store.etcd import EtcdStore
from k8snetlab.store.serve import EtcdProcess

StartEtcd = Callable[..., EtcdProcess]
Connect = Callable[..., EtcdStore]
