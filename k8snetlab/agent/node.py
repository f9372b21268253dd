"""The agent of one node: flannel, kube-proxy and the CNI plugins in one sync loop.

An agent is synchronous and knows nothing of the daemon: it takes a snapshot, and brings the kernel to it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from k8snetlab.agent.namespaces import NamespaceKeeper, Owner
from k8snetlab.agent.rules import RulesKeeper
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.netns import NodeDataplane
from k8snetlab.dataplane.rules import Family
from k8snetlab.kernel import iptables
from k8snetlab.kernel.watch import Monitor
from k8snetlab.render import node as render_node
from k8snetlab.render import underlay
from k8snetlab.render.families import FAMILIES, pick
from k8snetlab.render.proxy import ProxyRules, Shared


class Report(msgspec.Struct, frozen=True):
    """What a sync did: the number of operations and chains executed, and the sandboxes that had to be made again."""

    operations: int = 0
    recreated: tuple[str, ...] = ()


class RouterAgent:
    """Keeps the underlay: the router's namespace and the outside host's."""

    name = "router"

    def __init__(self, owner: Owner) -> None:
        self._keeper = NamespaceKeeper(owner)

    @property
    def monitors(self) -> dict[str, Monitor]:
        return self._keeper.monitors

    def mark(self, namespace: str) -> None:
        self._keeper.mark(namespace)

    def suspect(self) -> None:
        self._keeper.mark_all()

    def rules_changed(self) -> bool:
        return False

    def prepare(self, snapshot: Snapshot) -> None:
        """Makes the router's and the outside host's namespaces, empty."""
        desired = underlay.render(snapshot)
        self._keeper.prepare((desired.node, *desired.pods))

    def sync(self, snapshot: Snapshot) -> Report:
        desired = underlay.render(snapshot)
        return Report(len(self._keeper.sync(desired.node, desired.pods)))

    def drift(self, snapshot: Snapshot) -> list[str]:
        desired = underlay.render(snapshot)
        return [str(operation) for operation in self._keeper.drift(desired.node, desired.pods)]

    def close(self) -> None:
        self._keeper.close()

    def remove(self) -> None:
        self._keeper.remove(list(self._keeper.monitors))


class NodeAgent:
    """Keeps one node's namespace, its pods' sandboxes and its iptables."""

    def __init__(self, name: str, owner: Owner, locks: Path, shared: Shared | None = None) -> None:
        self.name = name
        self._keeper = NamespaceKeeper(owner)
        self._locks = locks
        self._shared = shared or Shared()
        self._rules: dict[Family, RulesKeeper] = {}
        self._proxy: dict[Family, ProxyRules] = {}
        self.variant = ""

    @property
    def monitors(self) -> dict[str, Monitor]:
        return self._keeper.monitors

    def mark(self, namespace: str) -> None:
        self._keeper.mark(namespace)

    def suspect(self) -> None:
        """Whatever is remembered of the kernel may be wrong: read everything at the next sync."""
        self._keeper.mark_all()
        for keeper in self._rules.values():
            keeper.suspect()

    def rules_changed(self) -> bool:
        return any(keeper.foreign_change() for keeper in self._rules.values())

    def prepare(self, snapshot: Snapshot) -> None:
        """Makes the node's own namespace, empty, so that the router can plug its cable in."""
        self._keeper.prepare((render_node.render(snapshot, self.name).node,))

    def sync(self, snapshot: Snapshot) -> Report:
        """Brings the kernel to the snapshot. Raises KernelError; what was done by then stays and is found again."""
        desired = render_node.render(snapshot, self.name)
        count = len(self._keeper.sync(desired.node, desired.pods))
        recreated = tuple(self._keeper.recreated)
        self._keeper.recreated.clear()
        if desired.node.name in recreated:
            self._rules.clear()
        count += self._sync_rules(snapshot, desired)
        return Report(count, recreated)

    def drift(self, snapshot: Snapshot) -> list[str]:
        """What differs from what is desired, as the commands that would mend it."""
        desired = render_node.render(snapshot, self.name)
        lines = [str(operation) for operation in self._keeper.drift(desired.node, desired.pods)]
        for keeper in self._rules.values():
            lines += keeper.drift()
        return lines

    def close(self) -> None:
        """Lets go of the kernel without changing it."""
        self._keeper.close()
        self._rules.clear()

    def remove(self) -> None:
        """Deletes the node and its pods."""
        names = list(self._keeper.monitors)
        self._rules.clear()
        self._keeper.remove(names)

    def _sync_rules(self, snapshot: Snapshot, desired: NodeDataplane) -> int:
        variant = iptables.variant(snapshot.lab.spec.proxy.iptables)
        if variant != self.variant:
            self._rules.clear()
            self.variant = variant
        count = 0
        for family in FAMILIES:
            if not pick(snapshot.lab.spec.podCIDR, family):
                continue
            keeper = self._keeper_of(desired.node.name, family)
            for ruleset in desired.rules:
                if ruleset.family == family:
                    count += keeper.sync("flannel", ruleset, None)
            old = self._proxy.get(family)
            if old is None:
                new, delta = ProxyRules.build(snapshot, self.name, family, shared=self._shared), None
            else:
                new, delta = old.update(snapshot)
            self._proxy[family] = new
            count += keeper.sync("kube-proxy", new.ruleset, delta)
        return count

    def _keeper_of(self, namespace: str, family: Family) -> RulesKeeper:
        keeper = self._rules.get(family)
        if keeper is None:
            table = iptables.open(namespace, family, self.variant, self._locks / namespace)
            keeper = self._rules[family] = RulesKeeper(table, family)
        return keeper
