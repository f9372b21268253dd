"""kube-router's policy controller of one node."""

from __future__ import annotations

from typing import ClassVar

from k8snetlab.agent import closing
from k8snetlab.agent.netpol import Closes, PolicyManager
from k8snetlab.dataplane.names import KUBE_ROUTER_SETS


class KubeRouter(PolicyManager):
    """It has chains of those pods only that policies select."""

    PREFIXES: ClassVar[tuple[str, ...]] = KUBE_ROUTER_SETS
    closes: ClassVar[Closes] = closing
