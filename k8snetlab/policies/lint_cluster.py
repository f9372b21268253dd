"""What surprises people in ClusterNetworkPolicies that are valid."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.words import Path, shorten
from k8snetlab.policies.shapes import NamedPort, Policy, Resolved

Said = tuple[str, Path, str]


def of_cluster(policy: Policy, resolved: Resolved) -> Iterator[Said]:
    """Kind, path and message of each."""
    if not policy.selected:
        yield "selects-nothing", ("spec", "subject"), "no pod is selected"
    for rule in (*(policy.ingress or ()), *(policy.egress or ())):
        for peer in rule.peers or ():
            if peer.block is None and not peer.pods:
                yield "peer-matches-nothing", peer.path, "no pod is matched"
        if not rule.peers:
            yield "peer-matches-nothing", rule.path, "no node is matched"
        named = {port.path: port.name for port in rule.ports or () if isinstance(port, NamedPort)}
        held = {port.path for port in rule.ports or () if isinstance(port, NamedPort) and port.numbers}
        for path, name in named.items():
            if path not in held and policy.selected:
                yield (
                    "unknown-port-name",
                    (*path, "destinationNamedPort"),
                    f"no pod that it could lead to has a port called {shorten(name)}, so this matches nothing",
                )
    yield from _priorities(policy, resolved)


def _priorities(policy: Policy, resolved: Resolved) -> Iterator[Said]:
    """Said of the second of two."""
    before: list[Policy] = []
    for one in resolved.policies.values():
        if one is policy:
            break
        if (one.tier, one.priority) == (policy.tier, policy.priority) and one.selected.keys() & policy.selected.keys():
            before.append(one)
    if before:
        yield (
            "same-priority",
            ("spec", "priority"),
            f"{', '.join(one.name for one in before)} has tier {policy.tier} and priority {policy.priority} too, and "
            "selects some of the same pods: which of them is asked first, the API leaves open (here: by name)",
        )
