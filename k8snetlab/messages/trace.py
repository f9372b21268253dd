"""trace: the question for a packet's way, and the answer: what was predicted, and what was seen."""

from __future__ import annotations

import msgspec

from k8snetlab.dataplane.packet import Fate
from k8snetlab.dataplane.rules import Family
from k8snetlab.dataplane.view import View
from k8snetlab.messages.dig import Dig
from k8snetlab.messages.probe import Port, TargetKind
from k8snetlab.messages.timeouts import LONG
from k8snetlab.messages.verb import Call, OfPlace, Packed
from k8snetlab.trace.way import Way

ConntrackTuple = tuple[str, int, str, int]
"""Source, its port, destination, its port."""


class TraceQuestion(msgspec.Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """Which packet is to be followed."""

    source: str
    """A pod, a node, router or outside."""
    target: str
    """A pod, a Service, a node, an address or outside."""
    port: Port | None = None
    """Left out: the first one that the target has."""
    protocol: str = "tcp"
    """tcp, udp, icmp or sctp."""
    node: str = ""
    """Enter a Service by its node port there."""
    endpoint: str = ""
    """Of a Service's ways show the one to this "ip" or "ip:port"."""
    predictOnly: bool = False
    """Send no packet."""
    namespace: str = ""
    """That of names which do not say theirs; "": default's first, then any other's."""


class Translation(msgspec.Struct, frozen=True):
    """A connection that conntrack made of the packet."""

    place: str
    """The pod, node, router or outside whose conntrack it is."""
    original: ConntrackTuple
    """As the packet came: source, its port, destination, its port."""
    reply: ConntrackTuple
    """As the answer is to come: source, its port, destination, its port."""


class Observation(msgspec.Struct, frozen=True):
    """What became of a real packet."""

    fate: Fate
    """What its sender heard."""
    agrees: bool
    """Whether it went as predicted."""
    differences: tuple[str, ...]
    """Where prediction and observation part, in sentences."""
    remark: str
    """What else is worth knowing of it, or ""."""
    milliseconds: float
    """From sending to hearing, or until nobody waited any more."""
    error: str
    """What the sender's kernel said instead of an answer, or ""."""
    connections: tuple[Translation, ...]
    """What conntrack made of it, in the order of the way."""
    unwatched: tuple[str, ...]
    """Of machines that did not watch: why, in a sentence each."""


class Trace(msgspec.Struct, frozen=True, rename={"source": "from", "sourceNode": "fromNode", "target": "to"}):
    """A packet's way through the lab and back."""

    source: str
    """The place that sends it."""
    sourceNode: str
    """The node that it is on, "" for the router and the host outside."""
    target: str
    """What is asked, by name: "NAME@NODE" is a Service by that node's port."""
    kind: TargetKind
    """What that is: a pod's address, one of a Service's, a node's own, or any."""
    address: str
    """The IP address that it is sent to."""
    port: int
    """0 for ICMP."""
    protocol: str
    """tcp, udp, icmp or sctp."""
    ways: tuple[Way, ...]
    """All that it can take, as the kernel's tables are now."""
    chosen: int
    """The place in `ways` of the one that was taken, or that is shown."""
    observed: Observation | None
    """null where no packet was sent."""
    note: str
    """Why it cannot be answered, where the target alone tells that, or ""."""
    dns: Dig | None = None
    """How the target's name was looked up first, null where it was none; without an address there is no way."""
    behind: Trace | None = None
    """Where a load balancer or a Gateway's nginx answers: the connection that it opens itself; null where it opens
    none."""

    @property
    def way(self) -> Way:
        """The chosen one."""
        return self.ways[self.chosen]

    @property
    def fate(self) -> Fate:
        """Of the packet that was sent, else of the predicted one."""
        return self.observed.fate if self.observed else self.way.fate


class SurveyQuestion(msgspec.Struct, frozen=True):
    """Which part of a machine's kernel is meant."""

    namespace: str
    """A network namespace by name."""
    family: Family = "ipv4"
    """ipv4 or ipv6."""


TRACE: Call[TraceQuestion, Trace] = Call(
    "trace", "POST", "trace", TraceQuestion, Trace, OfPlace("source"), group=True, silence=LONG
)
SURVEY: Packed[SurveyQuestion, View] = Packed("survey", "GET", "survey", SurveyQuestion, View)
"""For another machine's trace: a network namespace as the kernel has it."""
