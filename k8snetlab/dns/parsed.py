"""The parts of a name in a cluster's zone.

Source: CoreDNS, plugin/kubernetes/parse.go (its behaviour: which names mean what, which are too long).
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Parts(msgspec.Struct, frozen=True):
    """`under` is "svc" or "pod", "" for the zone's own name. What is not there is ""; `port` and `protocol` without
    their underscores."""

    under: Literal["", "svc", "pod"] = ""
    namespace: str = ""
    name: str = ""
    endpoint: str = ""
    port: str = ""
    protocol: str = ""


def parse(name: str, zone: str) -> Parts | None:
    """The parts of `name` (lower case, in `zone`); None where no name of the zone looks so."""
    labels = name.removesuffix(zone).rstrip(".").split(".") if name != zone else []
    if not labels:
        return Parts()
    *rest, under = labels
    if under not in ("svc", "pod") or len(rest) > 4 or not all(labels):
        return None
    found = Parts("svc" if under == "svc" else "pod", *reversed(rest[-2:]))
    match rest[:-2]:
        case [endpoint]:
            return msgspec.structs.replace(found, endpoint=endpoint)
        case [port, protocol]:
            return msgspec.structs.replace(found, port=port.removeprefix("_"), protocol=protocol.removeprefix("_"))
    return found
