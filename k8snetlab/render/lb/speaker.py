"""The file of a node's speaker."""

from __future__ import annotations

import msgspec

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.render.lb.candidates import announced


def configuration(snapshot: Snapshot, node: str) -> str:
    """The addresses that the node may announce, each with its candidates in order, as JSON."""
    own = {address: order for address, order in sorted(announced(snapshot).items()) if node in order}
    return msgspec.json.format(msgspec.json.encode({"addresses": own})).decode() + "\n"
