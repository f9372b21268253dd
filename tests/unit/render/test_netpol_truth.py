"""Every policy of tests/policies_cases as rules and sets: what becomes of a packet on its way through both nodes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from policycases import Case, cases
from policywalk import NODES, is_ipv6, world, wrong

from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import ChainKey, Rules
from k8snetlab.dataplane.sets import IPSet, by_name
from k8snetlab.iptables.matching import Host, Packet
from k8snetlab.render.netpol import node
from k8snetlab.trace.tracer import trace

CASES = list(cases())


class Plane:
    """One node's rules and sets of one family."""

    def __init__(self, snapshot: Snapshot, name: str, six: bool) -> None:
        plane = node.render(snapshot, name)
        rules = plane.rules[six]
        hooks = {ChainKey(hook.table, hook.chain): (hook.rule,) for hook in rules.hooks}
        self.chains: Mapping[ChainKey, Rules] = {**rules.chains, **hooks}
        self.sets: Mapping[str, IPSet] = by_name(plane.sets)
        self.own = NODES[name]

    def passes(self, source: str, target: str, port: str, arrives: str, leaves: str) -> bool:
        number, _, protocol = port.partition("/")
        host = Host(self.own, lambda dst: leaves, sets=self.sets)
        bridged = arrives == leaves == "cni0"
        packet = Packet(source, target, protocol.lower(), int(number), in_interface=arrives, bridged=bridged)
        return all(outcome.verdict == "sent" for outcome in trace(self.chains, packet, host))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_packets_pass_the_rules_as_the_table_says(case: Case) -> None:
    snapshot = world(case)
    planes = {name: Plane(snapshot, name, is_ipv6(snapshot)) for name in NODES}

    def passes(source: Pod, target: Pod, port: str) -> bool:
        start, end = source.spec.nodeName, target.spec.nodeName
        ends = source.ips[0], target.ips[0], port
        if start == end:
            return planes[start].passes(*ends, "cni0", "cni0")
        return planes[start].passes(*ends, "cni0", "flannel.1") and planes[end].passes(*ends, "flannel.1", "cni0")

    assert wrong(case, snapshot, passes) == []
