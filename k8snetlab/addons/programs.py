"""Which programs the objects of a lab ask for."""

from __future__ import annotations

from k8snetlab.addons.program import Program
from k8snetlab.api.snapshot import Snapshot


def programs(snapshot: Snapshot, node: str) -> tuple[Program, ...]:
    """Those of one node. No kind of object asks for one yet."""
    return ()
