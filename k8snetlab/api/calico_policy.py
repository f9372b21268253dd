"""Calico's own kinds for policies, projectcalico.org/v3: NetworkPolicy, GlobalNetworkPolicy, and the sets of networks
that their selectors may name.

Source: Calico's API reference; github.com/projectcalico/api, pkg/apis/projectcalico/v3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from k8snetlab.api.meta import Object, Value
from k8snetlab.api.problems import port_name

VERSION = "projectcalico.org/v3"
DEFAULT_TIER = "default"
TIER_LABEL = "projectcalico.org/tier"
PREFIX = f"{DEFAULT_TIER}."
"""What older versions of Calico write before the name of a policy of the tier default, and newer ones drop."""
PROTOCOLS = {"TCP": 6, "UDP": 17, "ICMP": 1, "ICMPv6": 58, "SCTP": 132, "UDPLite": 136}
LENGTH_OF_NUMBER = 3
_RANGE = re.compile(r"(\d{1,10}):(\d{1,10})\Z")
Action = Literal["Allow", "Deny", "Log", "Pass"]
CalicoType = Literal["Ingress", "Egress"]
Port = int | str
"""A number, a range as "1:5", or the name of a container port."""


class CalicoICMPFields(Value):
    """A `code` goes with a `type` only."""

    type: int | None = None
    code: int | None = None


class CalicoServiceAccountMatch(Value):
    """Both at once."""

    names: tuple[str, ...] = ()
    selector: str = ""


class CalicoServiceMatch(Value):
    name: str = ""
    namespace: str = ""


class CalicoEntityRule(Value):
    """One end of a packet; all that is said has to hold. `services` is refused here."""

    nets: tuple[str, ...] = ()
    notNets: tuple[str, ...] = ()
    selector: str = ""
    notSelector: str = ""
    namespaceSelector: str = ""
    ports: tuple[Port, ...] = ()
    notPorts: tuple[Port, ...] = ()
    serviceAccounts: CalicoServiceAccountMatch | None = None
    services: CalicoServiceMatch | None = None


class CalicoRule(Value):
    """All that is said has to hold. `protocol` is a name or a number. `http` and `metadata` are refused here."""

    action: Action
    ipVersion: int | None = None
    protocol: int | str | None = None
    notProtocol: int | str | None = None
    icmp: CalicoICMPFields | None = None
    notICMP: CalicoICMPFields | None = None
    source: CalicoEntityRule = CalicoEntityRule()
    destination: CalicoEntityRule = CalicoEntityRule()
    http: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None


class CalicoNetworkPolicySpec(Value):
    """The policy with the lowest `order` comes first, one without it last. `types` left out are those of which there
    are rules, and Ingress where there are none."""

    tier: str = ""
    order: int | float | None = None
    selector: str = ""
    serviceAccountSelector: str = ""
    types: tuple[CalicoType, ...] = ()
    ingress: tuple[CalicoRule, ...] = ()
    egress: tuple[CalicoRule, ...] = ()
    performanceHints: tuple[str, ...] = ()


class GlobalNetworkPolicySpec(CalicoNetworkPolicySpec):
    """`doNotTrack`, `preDNAT` and `applyOnForward` are for host endpoints, and refused here."""

    namespaceSelector: str = ""
    doNotTrack: bool = False
    preDNAT: bool = False
    applyOnForward: bool = False


class CalicoNetworkPolicy(Object, kw_only=True):
    KIND: ClassVar[str] = "NetworkPolicy"
    API_VERSION: ClassVar[str] = VERSION
    REFERENCE: ClassVar[str] = "CalicoNetworkPolicy"
    counted: ClassVar[bool] = True
    lined: ClassVar[bool] = True

    spec: CalicoNetworkPolicySpec


class GlobalNetworkPolicy(Object, kw_only=True):
    KIND: ClassVar[str] = "GlobalNetworkPolicy"
    API_VERSION: ClassVar[str] = VERSION
    namespaced: ClassVar[bool] = False
    counted: ClassVar[bool] = True
    lined: ClassVar[bool] = True

    spec: GlobalNetworkPolicySpec


AnyCalicoPolicy = CalicoNetworkPolicy | GlobalNetworkPolicy


class NetworkSetSpec(Value):
    nets: tuple[str, ...] = ()


class NetworkSet(Object, kw_only=True):
    """Networks that selectors of rules find by the set's labels."""

    KIND: ClassVar[str] = "NetworkSet"
    API_VERSION: ClassVar[str] = VERSION

    spec: NetworkSetSpec = NetworkSetSpec()


class GlobalNetworkSet(Object, kw_only=True):
    KIND: ClassVar[str] = "GlobalNetworkSet"
    API_VERSION: ClassVar[str] = VERSION
    namespaced: ClassVar[bool] = False

    spec: NetworkSetSpec = NetworkSetSpec()


def policy_name(policy: AnyCalicoPolicy) -> str:
    """Its name without `default.` before it: `default.web` and `web` are one policy."""
    return policy.name.removeprefix(PREFIX)


def protocol_number(protocol: int | str) -> int:
    """0 where it is none."""
    if isinstance(protocol, str):
        digits = protocol.isascii() and protocol.isdigit() and len(protocol) <= LENGTH_OF_NUMBER
        protocol = int(protocol) if digits else PROTOCOLS.get(protocol, 0)
    return protocol if 0 < protocol < 256 else 0


def port_range(port: Port) -> tuple[int, int] | None:
    """The first and the last number; None of a name. Raises ValueError for what is none of both."""
    text = str(port)
    if found := _RANGE.match(text):
        first, last = int(found[1]), int(found[2])
    elif (text.isdigit() and text.isascii()) or isinstance(port, int):
        first = last = int(text[:10])
    else:
        if problem := port_name(text):
            raise ValueError(problem)
        return None
    if not 1 <= first <= 65535 or not 1 <= last <= 65535:
        raise ValueError("port range invalid, port number must be between 1 and 65535")
    if first > last:
        raise ValueError(f"minimum port number ({first}) is greater than maximum port number ({last}) in port range")
    return first, last
