"""The world of a case of tests/policies_cases on two nodes, and which packets go another way than its table says.

x/a and x/b are on one node, so that what passes between them stays there.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from policycases import Case

from k8snetlab.api.core import Node, NodeSpec, Pod
from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.lab import Lab, LabSpec, Network
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.scheme import resource_of_kind
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.policies.resolve import resolved

NODES = {"node1": ("192.168.0.21", "fd00::21"), "node2": ("192.168.0.22", "fd00::22")}
PLACE = {"a": "node1", "b": "node1", "c": "node2"}
"""The node of each pod, by its name."""
Passes = Callable[[Pod, Pod, str], bool]
"""Whether a packet from one pod reaches another at a port, as "80/TCP"."""


def world(case: Case, network: Network | None = None) -> Snapshot:
    spec = LabSpec(podCIDR="10.0.0.0/8,fd00::/16", network=network or Network())
    types = [(one, resource_of_kind(one["apiVersion"], one["kind"])) for one in case.objects]
    objects = [with_defaults(msgspec.convert(one, found.type), "") for one, found in types if found is not None]
    placed = [
        msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, nodeName=PLACE[one.name]))
        if isinstance(one, Pod)
        else one
        for one in objects
    ]
    assert len(objects) == len(case.objects), "all kinds are known"
    nodes = (Node(metadata=ObjectMeta(name=name), spec=NodeSpec()) for name in NODES)
    return Snapshot.of([Lab(metadata=ObjectMeta(name="l"), spec=spec), *nodes, *placed])


def is_ipv6(snapshot: Snapshot) -> bool:
    return ":" in next(iter(snapshot.all(Pod).values())).ips[0]


def wrong(case: Case, snapshot: Snapshot, passes: Passes) -> list[tuple[str, str, str, bool]]:
    """Source, target and port of those packets, and whether the table allows them."""
    pods = {f"{pod.namespace}/{pod.name}": pod for pod in snapshot.all(Pod).values()}
    found = resolved(snapshot)
    judged = {"/".join(key) for key in (*found.by_pod, *found.calico_by_pod)}
    differ = []
    for (source, target, port), allowed in case.allowed.items():
        if source == target:
            continue  # it never leaves its namespace
        if not judged & {source, target} and (port != case.ports[0] or len(case.ports) > 1):
            continue  # of pairs that no policy is about, those of the small tables are enough
        if passes(pods[source], pods[target], port) != allowed:
            differ.append((source, target, port, allowed))
    return differ
