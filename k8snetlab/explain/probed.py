"""What a probe goes from and to."""

from __future__ import annotations

import msgspec

from k8snetlab.messages.probe import TargetKind
from k8snetlab.messages.tables import PlaceKind


class Place(msgspec.Struct, frozen=True):
    """Where a probe can start: a namespace. `ips` are a pod's addresses."""

    name: str
    kind: PlaceKind
    netns: str
    node: str = ""
    ips: tuple[str, ...] = ()


class Target(msgspec.Struct, frozen=True):
    """What a probe is sent to."""

    name: str
    kind: TargetKind
    address: str
    port: int
    protocol: str
