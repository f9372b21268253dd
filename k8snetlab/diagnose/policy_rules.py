"""Which rule of a policy a kernel's rule is made of."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.words import Path
from k8snetlab.dataplane.rules import Family
from k8snetlab.iptables.syntax import canonical
from k8snetlab.policies.calico_shapes import CalicoPolicy
from k8snetlab.policies.shapes import Policy
from k8snetlab.render.felix import policy as felix_policy
from k8snetlab.render.netpol import policy
from k8snetlab.render.netpol.node import resolved_of
from k8snetlab.render.netpol.policy import DIRECTIONS

FAMILIES: tuple[Family, Family] = ("ipv4", "ipv6")


class PolicyRules:
    """Of a snapshot; a policy is rendered when it is first asked for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._paths: dict[Key, dict[str, Path]] = {}

    def __call__(self, key: Key, rule: str) -> Path | None:
        """The path of the rule, as ("spec", "ingress", 0); None for what is made of none. `key` is (namespace, name),
        of a ClusterNetworkPolicy with namespace "", of Calico's own as `policies` has it; `rule` as iptables-save
        prints it, without -A and chain."""
        if key not in self._paths:
            self._paths[key] = dict(self._of(key))
        return self._paths[key].get(canonical(rule))

    def _of(self, key: Key) -> dict[str, Path]:
        resolved = resolved_of(self._snapshot)
        if (own := resolved.calico.get(key)) is not None:
            return dict(_felix(own))
        if (found := resolved.policies.get(key)) is None:
            return {}
        if self._snapshot.lab.spec.network.calico:
            return dict(_felix(found))
        said = (policy.render(found, family, resolved.pods).paths for family in FAMILIES)
        return {canonical(rule): path for paths in said for rule, path in paths.items()}


def _felix(policy: Policy | CalicoPolicy) -> Iterator[tuple[str, Path]]:
    ways = [way for way in DIRECTIONS if policy.rules(way) is not None]
    for paths in (felix_policy.render(policy, way, family).paths for way in ways for family in FAMILIES):
        yield from ((canonical(rule), path) for rule, path in paths.items())
