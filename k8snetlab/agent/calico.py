"""Felix of one node: its tunnel and routes, and its rules, each after the ipsets that they look into."""

from __future__ import annotations

from k8snetlab.agent.netpol import KubeRouter, PolicyPart
from k8snetlab.agent.protocol import Manager
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import CALI_SETS
from k8snetlab.dataplane.netns import NodeDataplane
from k8snetlab.kernel.iptables import Iptables


class Calico(KubeRouter):
    """Its rules only translate addresses: pods are plugged in without them."""

    def wanted(self, snapshot: Snapshot) -> NodeDataplane | None:
        part = Manager.wanted(self, snapshot)
        self.sets = part.sets if part else ()
        return part

    def table_part(self, iptables: Iptables) -> PolicyPart:
        part = PolicyPart(self, iptables, CALI_SETS)
        self._tables[iptables.family] = part
        return part
