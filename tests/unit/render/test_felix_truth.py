"""Every policy of tests/policies_cases as Felix' rules and sets: what becomes of packets on their way through both
nodes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from policycases import Case, calico_cases, cases
from policywalk import NODES, is_ipv6, world, wrong

from k8snetlab.api.core import Pod
from k8snetlab.api.lab import Network
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import cali
from k8snetlab.dataplane.rules import ChainKey, Rules
from k8snetlab.dataplane.sets import IPSet, by_name
from k8snetlab.iptables.matching import Host, Packet
from k8snetlab.render import calico
from k8snetlab.trace.tracer import trace

CASES = [*cases(), *calico_cases()]


class Plane:
    """One node's rules and sets of one family."""

    def __init__(self, snapshot: Snapshot, name: str, six: bool) -> None:
        plane = calico.render(snapshot, name)
        rules = plane.rules[six]
        hooks: dict[ChainKey, Rules] = {}
        for hook in rules.hooks:
            before = hooks.get(ChainKey(hook.table, hook.chain), ())
            hooks[ChainKey(hook.table, hook.chain)] = (hook.rule, *before) if hook.prepend else (*before, hook.rule)
        self.chains: Mapping[ChainKey, Rules] = {**rules.chains, **hooks}
        self.sets: Mapping[str, IPSet] = by_name(plane.sets)
        self.own = NODES[name]

    def passes(self, source: str, target: str, port: str, arrives: str, leaves: str) -> bool:
        number, _, protocol = port.partition("/")
        host = Host(self.own, lambda dst: leaves, sets=self.sets)
        packet = Packet(source, target, protocol.lower(), int(number), in_interface=arrives)
        outcomes = trace(self.chains, packet, host, {ChainKey("filter", "FORWARD"): "DROP"})
        return all(outcome.verdict == "sent" for outcome in outcomes)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_packets_pass_the_rules_as_the_table_says(case: Case) -> None:
    """FORWARD drops: what passes is accepted by a policy or a profile."""
    snapshot = world(case, Network(backend="calico"))
    planes = {name: Plane(snapshot, name, is_ipv6(snapshot)) for name in NODES}

    def passes(source: Pod, target: Pod, port: str) -> bool:
        start, end = source.spec.nodeName, target.spec.nodeName
        ends = source.ips[0], target.ips[0], port
        into, out = cali(*source.key), cali(*target.key)
        if start == end:
            return planes[start].passes(*ends, into, out)
        return planes[start].passes(*ends, into, "eth0") and planes[end].passes(*ends, "eth0", out)

    assert wrong(case, snapshot, passes) == []
