"""What a probe goes from and to."""

from __future__ import annotations

import msgspec


class Place(msgspec.Struct, frozen=True):
    """Where a probe can start: a namespace. `kind` is pod, node, router or outside; `ips` are a pod's addresses."""

    name: str
    kind: str
    netns: str
    node: str = ""
    ips: tuple[str, ...] = ()


class Target(msgspec.Struct, frozen=True):
    """What a probe is sent to. `kind` is pod, clusterIP, nodePort, externalIP, node or address."""

    name: str
    kind: str
    address: str
    port: int
    protocol: str
