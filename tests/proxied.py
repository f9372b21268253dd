"""kube-proxy by itself."""

from __future__ import annotations

from pathlib import Path

from k8snetlab.agent.proxy import ProxyPart
from k8snetlab.agent.tables import Table
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import KernelError
from k8snetlab.kernel.iptables import Iptables
from k8snetlab.render.proxy import Shared


class AloneProxy:
    """kube-proxy of node1 in one table, with no other manager beside it."""

    def __init__(self, table: Iptables, shared: Shared | None = None) -> None:
        self._part = ProxyPart(
            "kube-proxy", "node1", table, shared or Shared(), counters=lambda: False, left=Path("/proc/none")
        )
        self._table = Table(table, [self._part])

    @property
    def failure(self) -> KernelError | None:
        return self._part.failure

    def sync(self, snapshot: Snapshot) -> int:
        self._part.want(snapshot, ())
        return self._table.sync()

    def drift(self) -> list[str]:
        return self._table.drift()
