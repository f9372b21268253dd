"""What the API server fills in of networking.k8s.io/v1. Source: Kubernetes pkg/apis/networking/v1/defaults.go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from k8snetlab.api.calico_policy import (
    DEFAULT_TIER,
    TIER_LABEL,
    AnyCalicoPolicy,
    CalicoNetworkPolicy,
    GlobalNetworkPolicy,
)
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import (
    IngressClass,
    NetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPort,
    PolicyType,
)


def network_policy(policy: NetworkPolicy) -> NetworkPolicy:
    """Every port with its protocol, and the directions that it speaks of."""
    spec = policy.spec
    changes: dict[str, object] = {}
    for field in ("ingress", "egress"):
        rules: tuple[NetworkPolicyIngressRule | NetworkPolicyEgressRule, ...] = getattr(spec, field)
        if any(port.protocol is None for rule in rules for port in rule.ports):
            changes[field] = tuple(replace(rule, ports=tuple(map(_port, rule.ports))) for rule in rules)
    if not spec.policyTypes:
        types: tuple[PolicyType, ...] = ("Ingress", "Egress") if spec.egress else ("Ingress",)
        changes["policyTypes"] = types
    return replace(policy, spec=replace(spec, **changes)) if changes else policy


def _port(port: NetworkPolicyPort) -> NetworkPolicyPort:
    return replace(port, protocol="TCP") if port.protocol is None else port


def ingress_class(obj: IngressClass) -> IngressClass:
    parameters = obj.spec.parameters
    if parameters is None or parameters.scope is not None:
        return obj
    return replace(obj, spec=replace(obj.spec, parameters=replace(parameters, scope="Cluster")))


def calico_policy(policy: AnyCalicoPolicy) -> Object:
    """The directions that it speaks of, its tier, and the label that says so. Source: Calico's clientv3."""
    spec = policy.spec
    changes: dict[str, object] = {} if spec.tier else {"tier": DEFAULT_TIER}
    if not spec.types:
        types: tuple[PolicyType, ...] = ("Ingress", "Egress") if spec.ingress else ("Egress",)
        changes["types"] = types if spec.egress else ("Ingress",)
    if changes:
        policy = replace(policy, spec=replace(spec, **changes))
    if TIER_LABEL in policy.metadata.labels:
        return policy
    labels = {**policy.metadata.labels, TIER_LABEL: policy.spec.tier}
    return replace(policy, metadata=replace(policy.metadata, labels=labels))


OF_KIND: Mapping[type[Object], Callable[[Any], Object]] = {
    NetworkPolicy: network_policy,
    IngressClass: ingress_class,
    CalicoNetworkPolicy: calico_policy,
    GlobalNetworkPolicy: calico_policy,
}
