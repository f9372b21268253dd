"""What Felix has of a node in the filter table: the chains of its pods, and of the policies that select them.

A policy that selects none of the node's pods has no chain and no set there. Source: Calico felix/dataplane/linux
(endpoint_mgr.go, policy_mgr.go), felix/calc.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from k8snetlab.api.core import Pod
from k8snetlab.api.pools import pools
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.dataplane import felix_names as names
from k8snetlab.dataplane.families import pick
from k8snetlab.dataplane.names import CALI_CHAIN, cali
from k8snetlab.dataplane.rules import ChainKey, Family, Rules, RuleSet
from k8snetlab.dataplane.sets import IPSet
from k8snetlab.policies.calico_order import default_tier
from k8snetlab.policies.calico_shapes import CalicoPolicy
from k8snetlab.policies.shapes import Direction, Policy, Resolved
from k8snetlab.policies.shapes import Tier as Placed
from k8snetlab.policies.world import in_force
from k8snetlab.render.blocks import Holder
from k8snetlab.render.felix import dispatch, endpoint, policy, rules, static
from k8snetlab.render.felix.endpoint import Asked, Tier
from k8snetlab.render.netpol.node import resolved_of

TIERS: Mapping[Placed, tuple[str, bool]] = {
    "Admin": ("kube-admin", True),
    "NetworkPolicy": ("default", False),
    "Baseline": ("kube-baseline", True),
}
"""The tiers in their order, by what `policies.shapes` calls them; and whether what none of one decides is passed on."""
NONE = Resolved({}, {}, {})
Chains = dict[ChainKey, Rules]


class Filter(NamedTuple):
    """`rules` of one family, with the hooks, and the `sets` that these look into."""

    rules: RuleSet
    sets: tuple[IPSet, ...]


class _Mine(NamedTuple):
    """A pod of the node."""

    device: str
    profiles: tuple[str, ...]
    policies: tuple[Policy | CalicoPolicy, ...]


class _Wanted(NamedTuple):
    """All that a node's chains say. Policies are compared by identity."""

    pods: tuple[_Mine, ...]
    ipip: bool
    vxlan: bool
    cuts: bool


_BEFORE: dict[tuple[str, str, Family], tuple[_Wanted, Chains, tuple[policy.PolicyRules, ...]]] = {}
"""What each node of a lab had last: most changes are of other nodes."""


def render(snapshot: Snapshot, node: str, family: Family, holders: Iterable[Holder]) -> Filter:
    """`holders` are all nodes, whose tunnels' packets are let in."""
    resolved = resolved_of(snapshot) if in_force(snapshot) else NONE
    tunnels = {pool.tunnel for pool in pools(snapshot.lab)} if family == "ipv4" else set()
    cuts = snapshot.lab.spec.networkPolicy.cutEstablished
    wanted = _Wanted(tuple(_pods(snapshot, node, family, resolved)), "ipip" in tunnels, "vxlan" in tunnels, cuts)
    before = _BEFORE.get((snapshot.lab.name, node, family))
    if before is None or before[0] != wanted:
        before = _BEFORE[snapshot.lab.name, node, family] = (wanted, *_chains(wanted, family))
    _, chains, used = before
    sets = {**_hosts(tunnels, holders, node), **_sets(used, resolved, family)}
    return Filter(RuleSet(family, chains, (CALI_CHAIN,), static.HOOKS), tuple(sets.values()))


def _chains(wanted: _Wanted, family: Family) -> tuple[Chains, tuple[policy.PolicyRules, ...]]:
    """All, and the policies that are among them."""
    chains: Chains = {}
    _put(chains, static.chains(family, wanted.ipip, wanted.vxlan))
    used: dict[tuple[int, Direction], policy.PolicyRules] = {}
    for direction in names.DIRECTIONS:
        _put(chains, dispatch.chains(tuple(sorted(one.device for one in wanted.pods)), direction))
        for one in wanted.pods:
            _endpoint(chains, used, one, direction, family, wanted.cuts)
    _put(chains, ((one.chain, one.rules) for one in used.values()))
    return chains, tuple(used.values())


def tiers_of(policies: Sequence[Policy | CalicoPolicy], direction: Direction) -> Iterator[Tier]:
    """Those of a pod that say something of a direction, in the tiers that they are in."""
    for placed, (name, passes) in TIERS.items():
        mine = tuple(
            (one.key, one.selector) for one in policies if _tier(one) == placed and one.rules(direction) is not None
        )
        if mine:
            yield Tier(name, mine, passes)


def _tier(policy: Policy | CalicoPolicy) -> Placed:
    return "NetworkPolicy" if isinstance(policy, CalicoPolicy) else policy.tier


def _asked(resolved: Resolved, pod: Key) -> tuple[Policy | CalicoPolicy, ...]:
    """The policies of a pod, in the order in which they are asked."""
    others = resolved.by_pod.get(pod, ())
    of_tier = {tier: [one for one in others if one.tier == tier] for tier in TIERS}
    return (*of_tier["Admin"], *default_tier(resolved, pod), *of_tier["Baseline"])


def _pods(snapshot: Snapshot, node: str, family: Family, resolved: Resolved) -> Iterator[_Mine]:
    for pod in snapshot.select(Pod, pods_by_node, node).values():
        if pod.spec.hostNetwork or pod.ended or not pick(pod.ips, family):
            continue
        account = pod.spec.serviceAccountName or pod.spec.serviceAccount
        profiles = endpoint.profiles(pod.namespace, account)
        yield _Mine(cali(pod.namespace, pod.name), profiles, _asked(resolved, pod.key))


def _endpoint(  # noqa: PLR0917 (what a pod's chains are made of, and where to put them)
    chains: Chains,
    used: dict[tuple[int, Direction], policy.PolicyRules],
    pod: _Mine,
    direction: Direction,
    family: Family,
    cuts: bool,
) -> None:
    """The chains of a pod, and those that they lead to."""
    tiers = tuple(tiers_of(pod.policies, direction))
    _put(chains, [endpoint.chain(Asked(pod.device, direction, tiers, pod.profiles, cuts))])
    _put(chains, (endpoint.profile(name, direction) for name in pod.profiles))
    for tier in tiers:
        for name, keys in endpoint.groups(tier, direction):
            if len(keys) > 1:
                _put(chains, [(name, endpoint.group(name, direction, keys))])
    for one in pod.policies:
        if one.rules(direction) is not None and (id(one), direction) not in used:
            used[id(one), direction] = policy.render(one, direction, family)


def _put(chains: Chains, found: Iterable[tuple[str, Rules]]) -> None:
    chains.update((ChainKey("filter", name), held) for name, held in found)


def _sets(used: Iterable[policy.PolicyRules], resolved: Resolved, family: Family) -> dict[str, IPSet]:
    used = list(used)
    found = {one.name: one for said in used for one in said.sets}
    for protocol, name in sorted({port for said in used for port in said.of_all}):
        one = _of_all(_Pods(resolved), protocol, name, family)
        found[one.name] = one
    return found


class _Pods:
    """All pods, by the identity of what was resolved."""

    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved

    def __hash__(self) -> int:
        return id(self.resolved)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pods) and other.resolved is self.resolved


@lru_cache(maxsize=256)
def _of_all(pods: _Pods, protocol: str, name: str, family: Family) -> IPSet:
    return rules.named_set(rules.ports_of_all(pods.resolved.pods, protocol, name), family)


def _hosts(tunnels: Iterable[str], holders: Iterable[Holder], node: str) -> dict[str, IPSet]:
    """Of nodes, by what their tunnels speak."""
    holders = list(holders)
    found = {}
    if "ipip" in tunnels:
        found[static.ALL_HOSTS] = frozenset(one.address for one in holders)
    if "vxlan" in tunnels:
        found[static.ALL_VXLAN] = frozenset(one.address for one in holders if one.name != node and one.vxlan)
    made = (IPSet(names.set_name(name, "ipv4"), "hash:net", "ipv4", held) for name, held in found.items())
    return {one.name: one for one in made}
