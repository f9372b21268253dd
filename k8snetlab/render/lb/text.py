"""What all sections of haproxy.cfg are made of."""

from __future__ import annotations

import re

from k8snetlab.api.core import Node
from k8snetlab.api.load_balancer import EXCLUDED
from k8snetlab.api.snapshot import Snapshot

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def targets(snapshot: Snapshot) -> list[Node]:
    """All nodes that are not kept out. Whether one serves, health checks find out."""
    return [one for one in snapshot.all(Node).values() if EXCLUDED not in one.metadata.labels]


def endpoint(address: str, port: int) -> str:
    """As haproxy reads it."""
    return f"ipv6@{address}:{port}" if ":" in address else f"{address}:{port}"


def checked(name: str) -> str:
    """A name of Kubernetes', which has no blank and no quote. Raises ValueError for what is none."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} names nothing of Kubernetes'")
    return name
