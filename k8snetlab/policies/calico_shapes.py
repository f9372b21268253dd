"""Calico's own policies with every selector answered, as values that are never changed.

Each is asked in its order, and of it each rule; the first that allows or denies decides, as Felix' chains do. A
`CalicoRule` says what a rule of Felix says, field by field: all of it has to hold.
Source: Calico felix/proto/felixbackend.proto (Rule), libcalico-go updateprocessors, felix/calc/rule_scanner.go.
"""

from __future__ import annotations

import math

import msgspec

from k8snetlab.api.snapshot import Key
from k8snetlab.api.words import Path
from k8snetlab.policies.ends import Direction, Ends, NamedPort, Network, Port, PortRange

KNP_ORDER = 1000.0
"""The order of a NetworkPolicy of Kubernetes among them."""
LAST = math.inf
"""That of a policy without one."""
Action = str
"""Allow, Deny, Pass, or Log, after which the next rule is asked."""
ICMP = tuple[int, int | None]
"""A type, and a code where one is said."""
LETTERS = {"np": "NetworkPolicy", "gnp": "GlobalNetworkPolicy"}


class Selected(msgspec.Struct, frozen=True):
    """What a selector means. `selector` is its text as Calico has it after namespaces and service accounts were made
    labels, and in normal form; `ends` are the pods that it matches, `nets` the networks of the sets that it does."""

    selector: str
    ends: Ends
    nets: tuple[Network, ...] = ()


class CalicoSide(msgspec.Struct, frozen=True):
    """One end of a packet. () and None are not said. `path` is where it stands: ("spec", "ingress", 0, "source")."""

    path: Path
    nets: tuple[Network, ...] = ()
    not_nets: tuple[Network, ...] = ()
    selector: Selected | None = None
    not_selector: Selected | None = None
    ports: tuple[Port, ...] = ()
    not_ports: tuple[Port, ...] = ()

    @property
    def said(self) -> bool:
        return self != CalicoSide(self.path)


class CalicoRule(msgspec.Struct, frozen=True):
    """`version` 0 is both, `protocol` "" is all: TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite, or a number as text."""

    path: Path
    action: Action
    source: CalicoSide
    destination: CalicoSide
    version: int = 0
    protocol: str = ""
    not_protocol: str = ""
    icmp: ICMP | None = None
    not_icmp: ICMP | None = None

    def peer(self, direction: Direction) -> CalicoSide:
        """The end that is not the pod's own."""
        return self.source if direction == "ingress" else self.destination


class CalicoPolicy(msgspec.Struct, frozen=True, eq=False):
    """`key` is ("np/NAMESPACE", NAME) or ("gnp", NAME): joined by / it is how Felix calls the policy. `ingress` None:
    it says nothing of what comes in (spec.types); () matches nothing."""

    key: Key
    source: str
    order: float
    selector: str
    selected: Ends
    ingress: tuple[CalicoRule, ...] | None
    egress: tuple[CalicoRule, ...] | None

    @property
    def name(self) -> str:
        return "/".join(self.key)

    @property
    def kind(self) -> str:
        """NetworkPolicy or GlobalNetworkPolicy."""
        return LETTERS[self.key[0].partition("/")[0]]

    def rules(self, direction: Direction) -> tuple[CalicoRule, ...] | None:
        return self.ingress if direction == "ingress" else self.egress

    @property
    def place(self) -> tuple[float, str]:
        """By which policies are sorted. Source: felix/calc/policy_sorter.go."""
        namespace = self.key[0].partition("/")[2]
        return self.order, f"{self.key[1]}/{namespace}/{self.kind}"


def is_calico(key: Key) -> bool:
    """Whether a policy's key is one of Calico's own."""
    return key[0] == "gnp" or key[0].startswith("np/")


def has_port(port: Port, protocol: str, number: int, target: Key | None) -> bool:
    """Whether a port is that of a packet to a pod (None: to no pod)."""
    if port.protocol != protocol:
        return False
    if isinstance(port, NamedPort):
        return target is not None and number in port.numbers.get(target, ())
    assert isinstance(port, PortRange)
    return port.first <= number <= port.last
