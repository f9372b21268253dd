"""What a probe goes from and to, and what became of it."""

from __future__ import annotations

from typing import Literal

import msgspec

Expected = Literal["answered", "closed", "either"]
Seen = Literal["answered", "refused", "unreachable", "silent", "not tried"]
Verdict = Literal["as intended", "closed on purpose", "broken"]


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


class Result(msgspec.Struct, frozen=True, rename={"source": "from", "sourceNode": "fromNode", "target": "to"}):
    """`reached` tells whether something answered, `seen` what happened, `expected` what the manifests ask for.

    `verdict` compares the two, and `ok` is False where that is "broken". `why` is the reason for a closed door or for
    what is broken, in words that are the same for all probes that fail for it.
    """

    source: str
    sourceNode: str
    target: str
    kind: str
    address: str
    port: int
    protocol: str
    reached: bool
    seen: Seen
    expected: Expected = "answered"
    verdict: Verdict = "as intended"
    ok: bool = True
    why: str = ""
    answeredBy: str = ""
    answeredNode: str = ""
    answeredIP: str = ""
    client: str = ""
    milliseconds: float = 0.0
    error: str = ""
