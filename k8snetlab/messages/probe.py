"""probe: who is asked by whom, and what became of it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from k8snetlab.errors import RequestError
from k8snetlab.messages.dig import Dig
from k8snetlab.messages.timeouts import LONG
from k8snetlab.messages.verb import All, Call, OfPlace

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
TargetKind = Literal["pod", "clusterIP", "nodePort", "externalIP", "node", "outside", "address"]
Expected = Literal["answered", "closed", "either"]
Seen = Literal["answered", "refused", "unreachable", "silent", "not tried"]
Verdict = Literal["as intended", "closed on purpose", "broken"]


class ProbeQuestion(msgspec.Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """Who is to ask whom. Without `from` every place asks every target."""

    source: str = ""
    """A pod, a node, router or outside."""
    target: str = ""
    """A pod, a Service, a node or an address."""
    port: Port | None = None
    """Left out: the first one that the target has."""
    protocols: tuple[str, ...] | None = None
    """TCP, UDP, SCTP or ICMP, in any case; of one pair the first counts. Left out: TCP and UDP."""
    namespace: str = ""
    """That of names which do not say theirs; "": default's first, then any other's."""

    def __post_init__(self) -> None:
        if self.source and not self.target:
            raise RequestError("to: is missing", "name what is to be reached")

    @property
    def asked(self) -> tuple[str, ...]:
        """The protocols, in capitals."""
        return tuple(protocol.upper() for protocol in self.protocols or ("TCP", "UDP"))


class ProbeResult(msgspec.Struct, frozen=True, rename={"source": "from", "sourceNode": "fromNode", "target": "to"}):
    """One connection or datagram that was tried."""

    source: str
    """The place that asked."""
    sourceNode: str
    """The node that it is on, "" for the host outside."""
    target: str
    """What was asked, by name: "NAME@NODE" is a Service by that node's port."""
    kind: TargetKind
    """What that is: a pod's address, one of a Service's, a node's own, or any."""
    address: str
    """The IP address that it was sent to."""
    port: int
    """0 for ICMP."""
    protocol: str
    """TCP, UDP, SCTP or ICMP."""
    reached: bool
    """Whether something answered."""
    seen: Seen
    """What happened, as the sender's kernel tells it."""
    expected: Expected = "answered"
    """What the manifests ask for."""
    verdict: Verdict = "as intended"
    """What happened, set against what the manifests ask for."""
    ok: bool = True
    """False where the verdict is "broken"."""
    why: str = ""
    """Why a door is closed or what is broken, in words that are the same for all probes that fail for it."""
    answeredBy: str = ""
    """The pod or node that answered."""
    answeredNamespace: str = ""
    """The pod's namespace, where who answered says it."""
    answeredNode: str = ""
    """The node that it is on."""
    answeredIP: str = ""
    """Its address."""
    client: str = ""
    """The address that it saw as its client's."""
    milliseconds: float = 0.0
    """From the first packet to the answer, or until nobody waited any more."""
    error: str = ""
    """What the sender heard instead of an answer."""


class ProbeResults(msgspec.Struct, frozen=True):
    """All that was tried."""

    results: tuple[ProbeResult, ...]
    """In the order of the places that asked."""
    pairs: int = 0
    """How many pairs of who may ask and what may be asked there are: of a large lab a part is tried, others in turn."""
    dns: Dig | None = None
    """How the target's name was looked up first, null where it was none; without an address nothing is tried."""


PROBE: Call[ProbeQuestion, ProbeResults] = Call(
    "probe", "POST", "probe", ProbeQuestion, ProbeResults, OfPlace("source", otherwise=All()), group=True, silence=LONG
)
