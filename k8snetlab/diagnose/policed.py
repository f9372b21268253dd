"""What NetworkPolicies say of a lab's usual paths, and what they close: as meant, and no fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from k8snetlab.api.core import Pod
from k8snetlab.api.problems import title
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.dataplane.families import end, family_of
from k8snetlab.diagnose.finding import Finding
from k8snetlab.policies.calico_order import in_direction
from k8snetlab.policies.calico_shapes import CalicoPolicy, is_calico
from k8snetlab.policies.lint import DNS, DNS_PODS
from k8snetlab.policies.shapes import OPEN, Direction, End, named
from k8snetlab.policies.verdict import Verdict, allowed, denying
from k8snetlab.policies.world import HTTP, World, in_force, policies_of, world
from k8snetlab.trace.owners import at
from k8snetlab.wording import counted

MOST = 10
"""Sentences on what is closed; of more policies it is only said how many they are."""
TRIED = 100
"""Pods that are looked at for an example of what is refused."""
FEW = 3


class _Group(msgspec.Struct, frozen=True):
    """Pods that the same NetworkPolicies isolate in one direction; or to which the same ClusterNetworkPolicies deny
    something in it."""

    direction: Direction
    policies: tuple[Key, ...]
    pods: tuple[End, ...]

    @property
    def tiered(self) -> bool:
        return not self.policies[0][0]


class Policed:
    """Of a snapshot; what many paths share is worked out once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._world: World | None = world(snapshot) if in_force(snapshot) else None
        self._held: dict[str, End] = {}
        for one in self._world.pods if self._world else ():
            if not one.host:
                self._held |= dict.fromkeys(one.addresses, one)

    def denied(self, source: Pod, targets: Iterable[tuple[str, int]], protocol: str) -> Mapping[str, str]:
        """Which policies forbid `source` to reach which of the pods at (address, port): their titles, by "ip:port".
        `protocol` is tcp or udp; of others policies say nothing."""
        if self._world is None or protocol not in ("tcp", "udp"):
            return {}
        resolved = self._world.resolved
        asking = resolved.pods.get(source.key)
        found: dict[str, str] = {}
        for address, port in targets if asking else ():
            target = self._held.get(address)
            if target is None or asking is None:
                continue
            version = 4 if family_of(address) == "ipv4" else 6
            verdict = allowed(resolved, asking, target, (protocol.upper(), port), version)
            if not verdict.allowed:
                found[end(address, port)] = self._titles(verdict)
        return found

    def forbidden(self) -> Iterator[tuple[Key, Key]]:
        """Pods of which one may not reach the other, for each set of policies an example on one node and one on two: a
        packet tells whether they are kept."""
        whole = self._world
        for group in _groups(whole)[:MOST] if whole else ():
            for near in (True, False):
                refused = _refused(whole, group, near) if whole else None
                if refused and refused[0].key and refused[1].key:
                    yield refused[0].key, refused[1].key

    def _titles(self, verdict: Verdict) -> str:
        held = policies_of(self._snapshot)
        return " and ".join(title(held[key]) for key in denying(verdict) if key in held)


def closed(snapshot: Snapshot) -> Iterator[Finding]:
    """A sentence for each set of policies that pods are isolated by, in each direction."""
    if not in_force(snapshot):
        return
    whole = world(snapshot)
    groups = _groups(whole)
    yield from (_closed(whole, one) for one in groups[:MOST])
    if len(groups) > MOST:
        yield _rest(snapshot, len(groups) - MOST)


def _groups(whole: World) -> list[_Group]:
    found: dict[tuple[Direction, tuple[Key, ...]], list[End]] = {}
    for pod in whole.pods:
        isolation = whole.resolved.of(pod.key) if pod.key else OPEN
        for direction, applied in isolation.sides:
            keys = tuple(one.policy.key for one in applied or ())
            if pod.key and not pod.host and whole.resolved.calico_of(pod.key):
                asked = tuple(in_direction(whole.resolved, pod.key, direction))
                keys = tuple(one.key if isinstance(one, CalicoPolicy) else one.policy.key for one in asked)
            denying = tuple(_denying(whole, pod, direction, isolated=bool(keys)))
            for some in filter(None, (denying, keys)):
                found.setdefault((direction, some), []).append(pod)
    return [_Group(direction, keys, tuple(pods)) for (direction, keys), pods in found.items()]


def _denying(whole: World, pod: End, direction: Direction, *, isolated: bool) -> Iterator[Key]:
    """The ClusterNetworkPolicies that deny it something; those of tier Baseline only where no NetworkPolicy decides."""
    if pod.key and not pod.host:
        last = () if isolated else whole.resolved.tier(pod.key, "Baseline", direction)
        for one in (*whole.resolved.tier(pod.key, "Admin", direction), *last):
            if any(rule.action == "Deny" for rule in one.rules):
                yield one.policy.key


def _closed(whole: World, group: _Group) -> Finding:
    held, keys, pods = policies_of(whole.snapshot), group.policies, group.pods
    written = [f"{named(key)}{f' ({held[key].source})' if held[key].source else ''}" for key in keys]
    policies = " and ".join(written[:FEW]) + (f" and {len(keys) - FEW} more" if len(keys) > FEW else "")
    names = ", ".join(pod.name for pod in pods[:FEW]) + (f" and {len(pods) - FEW} more" if len(pods) > FEW else "")
    many, inward = "s" * (len(pods) > 1), group.direction == "ingress"
    does = ("take in" if many else "takes in") if inward else ("send" if many else "sends")
    said = f"only what NetworkPolicy {policies} {'allows' if len(keys) == 1 else 'allow'}"
    if any(map(is_calico, keys)):
        said = f"only what {policies} {'allows' if len(keys) == 1 else 'allow in this order'}"
    if group.tiered:
        said = f"not all: ClusterNetworkPolicy {policies} {'denies' if len(keys) == 1 else 'deny'} some of it"
    example, show = "", f"k8snetlab policy explain {_short(pods[0])}"
    if refused := _refused(whole, group):
        source, target, (protocol, number) = refused
        port = f"{number}" + ("" if protocol == "TCP" else f"/{protocol}")
        asking = _is_dns(whole, target) and protocol == "UDP"
        dns = "; it may not even ask for names: " if asking else "; refused is for example "
        example = f"{dns}{source.name} to {target.name}:{port}"
        show = f"k8snetlab policy why {_short(source)} pod/{_short(target)}:{port}"
    return Finding(
        kind="networkpolicy",
        fault="closed",
        node="",
        object=", ".join(map(named, keys)),
        message=f"pod{many} {names} {does} {said}{example}",
        consequence=f"what it does not allow is {_refusal(whole.snapshot)}",
        show=show,
        owner=f"{title(held[keys[0]])}{at(held[keys[0]])}",
    )


def _refused(whole: World, group: _Group, near: bool | None = None) -> tuple[End, End, tuple[str, int]] | None:
    """Two pods of which one may not reach the other, and a port that the other declares. `near`: on one node, or on
    two; None where that does not matter."""
    pod = group.pods[0]
    servers = [other for other in whole.pods if _is_dns(whole, other)] if group.direction == "egress" else []
    for other in (*servers, *whole.pods[:TRIED]):
        if near is not None and (other.host or near != (other.node == pod.node)):
            continue
        source, target = (other, pod) if group.direction == "ingress" else (pod, other)
        asked = ("UDP", DNS) if other in servers else _port(whole, target)
        verdict = allowed(whole.resolved, source, target, asked)
        decision = verdict.ingress if group.direction == "ingress" else verdict.egress
        tiered = decision.why == "denied" and not is_calico(decision.isolated_by[0])
        if not decision.allowed and group.tiered == tiered:
            return source, target, asked
    return None


def _is_dns(whole: World, pod: End) -> bool:
    """Whether it is one of the cluster's DNS."""
    found = whole.snapshot.all(Pod).get(pod.key) if pod.key else None
    return found is not None and DNS_PODS.items() <= found.metadata.labels.items()


def _short(pod: End) -> str:
    return pod.name.removeprefix("default/")


def _port(whole: World, pod: End) -> tuple[str, int]:
    """The first that it declares."""
    found = whole.snapshot.all(Pod).get(pod.key) if pod.key else None
    ports = iter(found.spec.serving_ports if found else ())
    return next(((p.protocol, p.containerPort) for p in ports), HTTP)


def _refusal(snapshot: Snapshot) -> str:
    if snapshot.lab.spec.network.calico:
        return "dropped (DROP): who asks hears nothing"
    return "refused at once (REJECT)"


def _rest(snapshot: Snapshot, number: int) -> Finding:
    return Finding(
        kind="networkpolicy",
        fault="closed",
        node="",
        object="NetworkPolicies",
        message=f"NetworkPolicies close pods in {counted(number, 'way')} more: `k8snetlab policy matrix` shows them",
        consequence=f"what they do not allow is {_refusal(snapshot)}",
        show="k8snetlab policy matrix",
    )
