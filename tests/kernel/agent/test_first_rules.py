"""The first rules of a node are worked out for a while: what has come meanwhile is written with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from k8snetlab.agent.additions import Owner
from k8snetlab.agent.proxy import ProxyPart
from k8snetlab.agent.steps import Steps
from k8snetlab.agent.table_part import RuleSets
from k8snetlab.agent.tables import NodeTables
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.kernel import iptables
from k8snetlab.kernel.iptables import Iptables
from k8snetlab.render.proxy import Shared
from k8snetlab.testing.services import NODE1, endpoint, lab, node, service, slice_of

Make = Callable[..., str]


def test_a_service_that_comes_while_rules_are_worked_out_is_written_at_once(namespace: Make, tmp_path: Path) -> None:
    begun = Snapshot.of(
        [node("node1", NODE1), lab(podCIDR="10.244.0.0/16"), service("one"), slice_of("one", endpoint("10.244.1.5"))]
    )
    more = (service("two", clusterIPs=["10.96.0.11"]), slice_of("two", endpoint("10.244.1.6")))
    newest = [begun]

    class Slow(ProxyPart):
        asked = 0

        def want(self, snapshot: Snapshot, rules: RuleSets) -> None:
            self.asked += 1
            super().want(snapshot, rules)
            newest[0] = begun.changed([(type(obj), obj.key, obj) for obj in more], 2)

    made: list[Slow] = []

    def make(opened: Iptables) -> Slow:
        left = tmp_path / "left"
        made.append(Slow("kube-proxy", "node1", opened, Shared(), counters=lambda: False, left=left))
        return made[-1]

    own = namespace()
    locks = tmp_path / "locks"
    locks.mkdir()
    tables = NodeTables(cast(Owner, None), locks, {"kube-proxy": make}, Steps(lambda: newest[0]))
    tables.sync(begun, own, lambda _: (), trusting=False)
    held = iptables.open(own, "ipv4", iptables.variant("auto"), tmp_path / "lock").save()
    rules = [rule for chain in held.values() for rule in chain]
    assert any("10.96.0.11" in rule for rule in rules) and any("10.244.1.5:" in rule for rule in rules)
    assert made[0].asked == 2
    tables.sync(newest[0], own, lambda _: (), trusting=True)
    assert made[0].asked == 3, "later it is asked once each time"
    tables.forget()
