"""ClusterNetworkPolicies as chains: what becomes of packets is what the truth tables say, and nothing else changes."""

from __future__ import annotations

import msgspec
import pytest
from policycases import Case, cases

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.lab import Lab, LabSpec
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.api.scheme import BY_KIND
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.dataplane.sets import by_name
from k8snetlab.iptables.matching import Host, Packet
from k8snetlab.render.netpol import names, node
from k8snetlab.trace.tracer import trace

TIERS = [case for case in cases() if any(one["kind"] == "ClusterNetworkPolicy" for one in case.objects)]


def snapshot_of(case: Case) -> Snapshot:
    lab = Lab(metadata=ObjectMeta(name="l"), spec=LabSpec(podCIDR="10.0.0.0/8,fd00::/16", serviceCIDR="10.96.0.0/12"))
    objects: list[Object] = [lab, Node(metadata=ObjectMeta(name="node1"))]
    for one in case.objects:
        obj = with_defaults(msgspec.convert(one, BY_KIND[one["kind"]].type), "")
        if isinstance(obj, Pod):
            obj = msgspec.structs.replace(obj, spec=msgspec.structs.replace(obj.spec, nodeName="node1"))
        objects.append(obj)
    return Snapshot.of(objects)


@pytest.mark.parametrize("case", TIERS, ids=[case.name for case in TIERS])
def test_packets_fare_as_the_table_says(case: Case) -> None:
    snapshot = snapshot_of(case)
    plane = node.render(snapshot, "node1")
    sets, address = by_name(plane.sets), {"/".join(key): pod.ips[0] for key, pod in snapshot.all(Pod).items()}
    six = ":" in next(iter(address.values()))
    (rules,) = (one for one in plane.rules if (one.family == "ipv6") == six)
    chains = {**rules.chains, **{ChainKey(h.table, h.chain): (h.rule,) for h in rules.hooks}}
    here = Host(("10.9.0.1",), lambda dst: "cni0", sets=sets)
    wrong = []
    for (source, target, at), allowed in case.allowed.items():
        port, _, protocol = at.partition("/")
        ends = (address[source], address[target])
        packet = Packet(*ends, protocol.lower(), int(port), in_interface="cni0", state="NEW", bridged=True)
        (outcome,) = trace(chains, packet, here)
        if source != target and (outcome.verdict == "sent") != allowed:
            wrong.append((source, target, at, outcome.verdict))
    assert not wrong


def test_names_that_run_into_each_other_are_two_chains() -> None:
    """`bc` of namespace `a` and `c` of namespace `ab`."""
    for one, other in (
        (names.pod_chain("a", "bc"), names.pod_chain("ab", "c")),
        (names.policy_chain("a", "bc", "ingress", "ipv4"), names.policy_chain("ab", "c", "ingress", "ipv4")),
        (names.target_set("a", "bc", "ingress", "ipv4"), names.target_set("ab", "c", "ingress", "ipv4")),
        (names.port_set("a", "b", "egress", 1, 11, "ipv4"), names.port_set("a", "b", "egress", 11, 1, "ipv4")),
        (names.target_set("", "p", "ingress", "ipv4"), names.target_set("p", "", "ingress", "ipv4")),
    ):
        assert one != other
