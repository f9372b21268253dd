"""NetworkPolicies that cannot mean what they say: a port's name that no pod has, a way out without names."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import Pod, Service
from k8snetlab.api.networking import NetworkPolicy
from k8snetlab.api.problems import title
from k8snetlab.api.selection import pods_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose.about import about
from k8snetlab.diagnose.finding import Finding
from k8snetlab.dns import addon
from k8snetlab.policies.shapes import End, NamedPort, Policy
from k8snetlab.policies.verdict import allowed
from k8snetlab.policies.world import World, in_force, world

QUERY = ("UDP", 53)


def unmeant(snapshot: Snapshot) -> Iterator[Finding]:
    """Of policies that select pods. One that lets nothing out at all is meant so."""
    if not in_force(snapshot):
        return
    whole = world(snapshot)
    servers = [*_servers(whole)]
    for key, written in snapshot.all(NetworkPolicy).items():
        policy = whole.resolved.policies.get(key)
        if policy is None or not policy.selected:
            continue
        yield from _nobodys_ports(policy, written)
        if servers and policy.egress:
            yield from _without_names(whole, policy, written, servers)


def _nobodys_ports(policy: Policy, written: NetworkPolicy) -> Iterator[Finding]:
    for rule in (*(policy.ingress or ()), *(policy.egress or ())):
        for port in rule.ports or ():
            if isinstance(port, NamedPort) and not port.numbers:
                yield about(
                    written,
                    fault="port",
                    message=f"{title(written)} allows the {port.protocol} port {port.name}, which no pod has that it "
                    "could lead to",
                    consequence="that rule allows nothing: what it was to let pass is refused",
                    show=f"k8snetlab policy lint && kubectl get networkpolicy {written.name} -n {written.namespace} "
                    "-o yaml",
                    mend="# the number of the port, or a name that the pods have; then `k8snetlab apply -f`",
                )


def _without_names(whole: World, policy: Policy, written: NetworkPolicy, servers: list[End]) -> Iterator[Finding]:
    pods = whole.snapshot.all(Pod)
    for key, source in policy.selected.items():
        pod = pods.get(key)
        if pod is None or source.host or pod.spec.dnsPolicy not in ("ClusterFirst", "ClusterFirstWithHostNet"):
            continue
        if not any(allowed(whole.resolved, source, server, QUERY).egress.allowed for server in servers):
            yield about(
                written,
                fault="dns",
                message=f"{title(written)} lets pod {source.name} out, and not to the servers of names (UDP 53 of "
                f"{addon.NAMESPACE}/{addon.SERVICE})",
                consequence="no name is found there: programs fail with `Temporary failure in name resolution`",
                show=f"k8snetlab policy why {source.name} pod/{servers[0].name}:53/UDP",
                mend="# an egress rule to kube-system, port 53 of UDP and TCP; then `k8snetlab apply -f`",
            )
            return


def _servers(whole: World) -> Iterator[End]:
    service = whole.snapshot.get(Service, addon.SERVICE, addon.NAMESPACE)
    held = {end.key: end for end in whole.pods if end.key}
    for pod in pods_of(service, whole.snapshot) if service else ():
        if pod.key in held:
            yield held[pod.key]
