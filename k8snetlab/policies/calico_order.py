"""Calico's tier `default` of one pod: NetworkPolicies of Kubernetes among Calico's own, in the order of both."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.snapshot import Key
from k8snetlab.policies.calico_shapes import KNP_ORDER, CalicoPolicy
from k8snetlab.policies.shapes import Applied, Direction, Policy, Resolved

KIND = "KubernetesNetworkPolicy"
"""How Felix calls a NetworkPolicy of Kubernetes."""


def default_tier(resolved: Resolved, pod: Key) -> tuple[Policy | CalicoPolicy, ...]:
    """The policies that select a pod, in any direction."""
    ours = [one for one in resolved.by_pod.get(pod, ()) if one.tier == "NetworkPolicy"]
    return tuple(sorted((*ours, *resolved.calico_of(pod)), key=_place))


def in_direction(resolved: Resolved, pod: Key, direction: Direction) -> Iterator[Applied | CalicoPolicy]:
    """Those that say something of what comes in, or goes out."""
    isolation = resolved.of(pod)
    applied = (isolation.ingress if direction == "ingress" else isolation.egress) or ()
    by_key = {one.policy.key: one for one in applied}
    for policy in default_tier(resolved, pod):
        if isinstance(policy, CalicoPolicy):
            if policy.rules(direction) is not None:
                yield policy
        elif policy.key in by_key:
            yield by_key[policy.key]


def _place(policy: Policy | CalicoPolicy) -> tuple[float, str]:
    if isinstance(policy, CalicoPolicy):
        return policy.place
    namespace, name = policy.key
    return KNP_ORDER, f"{name}/{namespace}/{KIND}"
