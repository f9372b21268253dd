"""The CNI plugin portmap of one node: hostPorts, and the UDP connections that lead to pods which have gone."""

from __future__ import annotations

from collections.abc import Mapping

from k8snetlab.agent.protocol import Manager
from k8snetlab.agent.table_part import RuleSets, TablePart
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.kernel import conntrack
from k8snetlab.kernel.iptables import Iptables
from k8snetlab.render import hostports
from k8snetlab.render.pods import pods_of


class Portmap(Manager):
    """Its rules are the part's."""

    def table_part(self, iptables: Iptables) -> TablePart:
        return _PortmapPart(self.name, self.node, iptables)


class _PortmapPart(TablePart):
    def __init__(self, name: str, node: str, iptables: Iptables) -> None:
        super().__init__(name, iptables.family)
        self._node, self._namespace = node, iptables.namespace
        self._udp: Mapping[tuple[str, int], frozenset[str]] = {}
        self._led: Mapping[tuple[str, int], frozenset[str]] = {}

    def want(self, snapshot: Snapshot, rules: RuleSets) -> None:
        super().want(snapshot, rules)
        self._udp = hostports.serving_udp(pods_of(snapshot, self._node), self.family)

    def took(self, rules: RuleSets) -> None:
        super().took(rules)
        if new := {port: ends for port, ends in self._udp.items() if self._led.get(port) != ends}:
            conntrack.forget_udp(self._namespace, self.family, new)
        self._led = self._udp
