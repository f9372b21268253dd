"""kind ClusterNetworkPolicy, policy.networking.k8s.io/v1alpha2: what an administrator says of pods before (tier Admin)
and after (tier Baseline) NetworkPolicies. Alpha: its next version may have other fields.

Source: kubernetes-sigs/network-policy-api, apis/v1alpha2.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from k8snetlab.api.core import Condition
from k8snetlab.api.meta import LabelSelector, Object, Value, always

Tier = Literal["Admin", "Baseline"]
Action = Literal["Accept", "Deny", "Pass"]


class NamespacedPod(Value):
    """Both selectors at once; an empty one selects all."""

    namespaceSelector: LabelSelector
    podSelector: LabelSelector


class ClusterNetworkPolicySubject(Value):
    """One of the two; pods with hostNetwork are never among them."""

    namespaces: LabelSelector | None = None
    pods: NamespacedPod | None = None


class ClusterNetworkPolicyPortRange(Value):
    """Both included."""

    start: int
    end: int


class ClusterNetworkPolicyPort(Value):
    """`number`, where it is not 0, or `range`."""

    number: int = 0
    range: ClusterNetworkPolicyPortRange | None = None


class ClusterNetworkPolicyProtocolTCP(Value):
    destinationPort: ClusterNetworkPolicyPort | None = None


class ClusterNetworkPolicyProtocolUDP(Value):
    destinationPort: ClusterNetworkPolicyPort | None = None


class ClusterNetworkPolicyProtocolSCTP(Value):
    destinationPort: ClusterNetworkPolicyPort | None = None


class ClusterNetworkPolicyProtocol(Value):
    """One of them. A `destinationNamedPort` is a container port's name, of any protocol."""

    tcp: ClusterNetworkPolicyProtocolTCP | None = None
    udp: ClusterNetworkPolicyProtocolUDP | None = None
    sctp: ClusterNetworkPolicyProtocolSCTP | None = None
    destinationNamedPort: str = ""


class ClusterNetworkPolicyIngressPeer(Value):
    """One of the two."""

    namespaces: LabelSelector | None = None
    pods: NamespacedPod | None = None


class ClusterNetworkPolicyEgressPeer(Value):
    """One of them. `nodes` are the nodes' addresses (experimental channel), `networks` CIDRs. `domainNames`
    (experimental too) is refused: nothing here hears what names are answered."""

    namespaces: LabelSelector | None = None
    pods: NamespacedPod | None = None
    nodes: LabelSelector | None = None
    networks: tuple[str, ...] = ()
    domainNames: tuple[str, ...] = ()


class ClusterNetworkPolicyIngressRule(Value):
    """`from_` is the API's `from`."""

    action: Action
    from_: tuple[ClusterNetworkPolicyIngressPeer, ...] = msgspec.field(name="from")
    name: str = ""
    protocols: tuple[ClusterNetworkPolicyProtocol, ...] = ()


class ClusterNetworkPolicyEgressRule(Value):
    action: Action
    to: tuple[ClusterNetworkPolicyEgressPeer, ...]
    name: str = ""
    protocols: tuple[ClusterNetworkPolicyProtocol, ...] = ()


class ClusterNetworkPolicySpec(Value):
    """Of a tier the policy with the lowest `priority` comes first, and of a policy the first rule."""

    tier: Tier
    priority: int
    subject: ClusterNetworkPolicySubject
    ingress: tuple[ClusterNetworkPolicyIngressRule, ...] = ()
    egress: tuple[ClusterNetworkPolicyEgressRule, ...] = ()


class ClusterNetworkPolicyStatus(Value):
    conditions: tuple[Condition, ...] = always(())


class ClusterNetworkPolicy(Object, kw_only=True):
    KIND: ClassVar[str] = "ClusterNetworkPolicy"
    API_VERSION: ClassVar[str] = "policy.networking.k8s.io/v1alpha2"
    namespaced: ClassVar[bool] = False
    counted: ClassVar[bool] = True
    lined: ClassVar[bool] = True

    spec: ClusterNetworkPolicySpec
    status: ClusterNetworkPolicyStatus = ClusterNetworkPolicyStatus()
