"""Felix of one node: its tunnel and routes, and its rules, each after the ipsets that they look into."""

from __future__ import annotations

from typing import ClassVar

from k8snetlab.agent import closing_felix
from k8snetlab.agent.netpol import Closes, PolicyManager
from k8snetlab.dataplane.names import CALI_SETS


class Calico(PolicyManager):
    """It has chains of every pod, whether policies select it or not: none is plugged in without them."""

    PREFIXES: ClassVar[tuple[str, ...]] = CALI_SETS
    closes: ClassVar[Closes] = closing_felix
