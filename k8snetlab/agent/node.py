"""The agent of one node: flannel, kube-proxy and the CNI plugins in one sync loop.

An agent is synchronous and knows nothing of the daemon: it takes a snapshot, and brings the kernel to it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from k8snetlab.agent.namespaces import NamespaceKeeper, Owner
from k8snetlab.agent.rules import RulesKeeper
from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.netns import NodeDataplane
from k8snetlab.dataplane.rules import Family, RuleSet
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
        """Deletes the router and the outside host."""
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
        self._flannel: dict[Family, tuple[RuleSet, ...]] = {}
        self._chosen: iptables.Variant = "nft"

    @property
    def variant(self) -> str:
        """The iptables variant in use, "" before the first sync."""
        return self._chosen if self._rules else ""

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
        """Brings the kernel to the snapshot. Raises KernelError; what was done by then stays and is found again.

        A node that is no longer in the snapshot is left as it is: `remove` is about to be called.
        """
        if snapshot.get(Node, self.name) is None:
            return Report()
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
        if snapshot.get(Node, self.name) is None:
            return []
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
        chosen = iptables.variant(snapshot.lab.spec.proxy.iptables)
        if chosen != self._chosen:
            self._rules.clear()
            self._chosen = chosen
        return sum(
            self._sync_family(snapshot, desired, family)
            for family in FAMILIES
            if pick(snapshot.lab.spec.podCIDR, family)
        )

    def _sync_family(self, snapshot: Snapshot, desired: NodeDataplane, family: Family) -> int:
        old, delta = self._proxy.get(family), None
        if old is None:
            proxy = ProxyRules.build(snapshot, self.name, family, shared=self._shared)
        else:
            proxy, delta = old.update(snapshot)
        flannel = tuple(ruleset for ruleset in desired.rules if ruleset.family == family)
        keeper = self._rules.get(family)
        if keeper is None or flannel != self._flannel.get(family):
            delta = None
        if keeper is None:
            namespace = desired.node.name
            table = iptables.open(namespace, family, self._chosen, self._locks / namespace)
            keeper = self._rules[family] = RulesKeeper(table)
        self._proxy[family], self._flannel[family] = proxy, flannel
        return keeper.sync((*flannel, proxy.ruleset), delta)
