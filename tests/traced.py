"""An answer of `trace`, for what tells and draws it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from k8snetlab.messages.trace import Observation, Trace
from k8snetlab.trace.way import Decision, Flow, Hop, Way

_DNAT = Decision(
    what="rule",
    text="DNAT 10.0.0.9:80: nat PREROUTING > KUBE-SERVICES, rule 1",
    owner="Service default/web, port 80, web.yaml:3",
    counters=(5, 300),
)
_OUTER = Flow("192.168.0.1", "192.168.0.2", "udp", 0, 8472)


def hop(place: str, device: str, direction: str, dst: str, **more: Any) -> Hop:
    return Hop(place, place, device, direction, Flow("10.0.0.1", dst, "tcp", 1, 80), **more)


def answer() -> Trace:
    there = (
        hop("a", "eth0", "out", "10.9.0.1", seen=True, microseconds=0.0),
        hop("node1", "eth0", "out", "10.0.0.9", decisions=(_DNAT,), outer=_OUTER, vni=1, seen=True, microseconds=8.25),
        hop("b <b>", "eth0", "in", "10.0.0.9", seen=False, remark="not seen here: the cable"),
    )
    way = Way(0.5, "answered", there, endpoint="10.0.0.9:80")
    observed = Observation(
        fate="lost",
        agrees=False,
        differences=("b eth0 in: not seen here: the cable",),
        remark="",
        milliseconds=500.0,
        error="",
        connections=(),
        unwatched=(),
    )
    return Trace(
        source="a",
        sourceNode="node1",
        target="web",
        kind="clusterIP",
        address="10.9.0.1",
        port=80,
        protocol="tcp",
        ways=(way, replace(way, endpoint="10.0.0.8:80")),
        chosen=0,
        observed=observed,
        note="",
    )


def led(trace: Trace, *there: Hop) -> Trace:
    """The trace with other hops on the way there."""
    return replace(trace, ways=(replace(trace.way, there=there), *trace.ways[1:]))
