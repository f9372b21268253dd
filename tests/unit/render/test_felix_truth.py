"""Every policy of tests/policies_cases as Felix' rules and sets: what becomes of packets on their way through both
nodes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from policycases import Case, calico_cases, cases

from k8snetlab.api.core import Node, NodeSpec, Pod
from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.lab import Lab, LabSpec, Network
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.scheme import resource_of_kind
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import cali
from k8snetlab.dataplane.rules import ChainKey, Rules
from k8snetlab.dataplane.sets import IPSet, by_name
from k8snetlab.iptables.matching import Host, Packet
from k8snetlab.policies.resolve import resolved
from k8snetlab.render import calico
from k8snetlab.trace.tracer import trace

CASES = [*cases(), *calico_cases()]
NODES = {"node1": ("192.168.0.21", "fd00::21"), "node2": ("192.168.0.22", "fd00::22")}
PLACE = {"a": "node1", "b": "node1", "c": "node2"}


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


def world(case: Case) -> Snapshot:
    spec = LabSpec(podCIDR="10.0.0.0/8,fd00::/16", network=Network(backend="calico"))
    lab = Lab(metadata=ObjectMeta(name="l"), spec=spec)
    types = [(one, resource_of_kind(one["apiVersion"], one["kind"])) for one in case.objects]
    objects = [with_defaults(msgspec.convert(one, found.type), "") for one, found in types if found is not None]
    placed = [
        msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, nodeName=PLACE[one.name]))
        if isinstance(one, Pod)
        else one
        for one in objects
    ]
    return Snapshot.of([lab, *(Node(metadata=ObjectMeta(name=name), spec=NodeSpec()) for name in NODES), *placed])


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_packets_pass_the_rules_as_the_table_says(case: Case) -> None:
    """FORWARD drops: what passes is accepted by a policy or a profile."""
    snapshot = world(case)
    pods = {f"{pod.namespace}/{pod.name}": pod for pod in snapshot.all(Pod).values()}
    six = ":" in next(iter(pods.values())).ips[0]
    planes = {name: Plane(snapshot, name, six) for name in NODES}
    found = resolved(snapshot)
    judged = {"/".join(key) for key in (*found.by_pod, *found.calico_by_pod)}
    wrong = []
    for (source, target, port), allowed in case.allowed.items():
        if source == target:
            continue  # it never leaves its namespace
        if not judged & {source, target} and (port != case.ports[0] or len(case.ports) > 1):
            continue  # of pairs that no policy is about, those of the small tables are enough
        start, end = (pods[one].spec.nodeName for one in (source, target))
        ends = pods[source].ips[0], pods[target].ips[0], port
        into, out = (cali(*pods[one].key) for one in (source, target))
        if start == end:
            passes = planes[start].passes(*ends, into, out)
        else:
            passes = planes[start].passes(*ends, into, "eth0") and planes[end].passes(*ends, "eth0", out)
        if passes != allowed:
            wrong.append((source, target, port, allowed))
    assert wrong == []
