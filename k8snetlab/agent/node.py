"""The agent of one node: flannel, kube-proxy and the CNI plugins in one sync loop.

An agent is synchronous and knows nothing of the daemon: it takes a snapshot, and brings the kernel to it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from k8snetlab.agent import journal, removal
from k8snetlab.agent.additions import AddedAddresses, AddedCounters, AddedRules, Owner
from k8snetlab.agent.misses import MissResponder
from k8snetlab.agent.namespaces import NamespaceKeeper
from k8snetlab.agent.proxy import KubeProxy
from k8snetlab.agent.variants import OtherVariant
from k8snetlab.api.addressing import split
from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import HealthWork
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, pick
from k8snetlab.dataplane.links import Veth
from k8snetlab.dataplane.netns import NodeDataplane
from k8snetlab.dataplane.rules import ChainKey, Family, RuleDelta
from k8snetlab.errors import KernelError
from k8snetlab.kernel import iptables, netns, nfacct
from k8snetlab.kernel.monitors import Monitors
from k8snetlab.render import node as render_node
from k8snetlab.render import underlay
from k8snetlab.render.pods import Sandboxes
from k8snetlab.render.proxy import COUNTERS, Shared


class Report(msgspec.Struct, frozen=True):
    """What a sync did: the number of operations and chains executed, and the sandboxes that had to be made again.

    `failure` is what the kernel refused while all else is done; `warnings` are a sentence each.
    """

    operations: int = 0
    recreated: tuple[str, ...] = ()
    failure: KernelError | None = None
    warnings: tuple[str, ...] = ()
    unplugged: bool = False
    """The cable to the router is cut: its agent is to plug it in again."""


class RouterAgent:
    """Keeps the underlay: the router's namespace and the outside host's."""

    name = "router"

    def __init__(self, owner: Owner) -> None:
        self._keeper = NamespaceKeeper(owner, names.ROUTER)

    @property
    def monitors(self) -> Monitors:
        return self._keeper.monitors

    def mark(self, namespace: str) -> None:
        self._keeper.mark(namespace)

    def suspect(self) -> None:
        self._keeper.mark_all()

    def noticed_change(self) -> bool:
        changed = [self._keeper.sysctls_changed(name) for name in self._keeper.monitors]
        return self._keeper.moved() or any(changed) or bool(self._keeper.lacking)

    def prepare(self, snapshot: Snapshot) -> None:
        """Makes the router's and the outside host's namespaces, empty."""
        desired = underlay.render(snapshot)
        self._keeper.prepare((desired.node, *desired.pods))

    def sync(self, snapshot: Snapshot, trusting: bool = False) -> Report:
        """Cables to nodes whose namespaces are still to be made are left to the sync that follows their making."""
        desired = underlay.render(snapshot)
        cables = tuple(
            link for link in desired.node.links if not isinstance(link, Veth) or netns.exists(link.peer_netns)
        )
        self._keeper.prepare((desired.node, *desired.pods))
        try:
            return Report(self._keeper.sync(msgspec.structs.replace(desired.node, links=cables), desired.pods))
        finally:
            self._keeper.recreated.clear()

    def drift(self, snapshot: Snapshot) -> list[str]:
        desired = underlay.render(snapshot)
        return [str(operation) for operation in self._keeper.drift(desired.node, desired.pods)]

    def pause(self) -> None:
        """Nothing goes on by itself here."""

    def resume(self) -> None:
        """As `pause`."""

    def close(self) -> None:
        self._keeper.close()

    def remove(self) -> None:
        """Deletes the router and the outside host."""
        self._keeper.remove({*self._keeper.monitors, *self._keeper.owned()})


class NodeAgent:
    """Keeps one node's namespace, its pods' sandboxes and its iptables."""

    def __init__(
        self,
        name: str,
        owner: Owner,
        locks: Path,
        shared: Shared | None = None,
        misses: MissResponder | None = None,
    ) -> None:
        self.name = name
        self._owner = owner
        self._keeper = NamespaceKeeper(owner, name)
        self._misses = misses or MissResponder()
        self._locks = locks
        self._shared = shared or Shared()
        self._sandboxes = Sandboxes()
        self._namespace = ""
        self._proxies: dict[Family, KubeProxy] = {}
        self._chosen: iptables.Variant = "nft"
        self._other: OtherVariant | None = None
        self.health: HealthWork | None = None
        """What the node's healthCheckNodePorts answer since the last sync."""

    @property
    def variant(self) -> str:
        """The iptables variant in use, "" before the first sync."""
        return self._chosen if self._proxies else ""

    @property
    def monitors(self) -> Monitors:
        return self._keeper.monitors

    def mark(self, namespace: str) -> None:
        self._keeper.mark(namespace)

    def suspect(self) -> None:
        """Whatever is remembered of the kernel may be wrong: read everything at the next sync."""
        self._keeper.mark_all()
        for proxy in self._proxies.values():
            proxy.suspect()

    def noticed_change(self) -> bool:
        """Looks at what no event tells of: whether names still stand for the namespaces that were made, rules of either
        variant, and the node's sysctls."""
        return (
            self._keeper.moved()
            or bool(self._keeper.lacking)
            or self._keeper.sysctls_changed(self._namespace)
            or any(proxy.foreign_change() for proxy in self._proxies.values())
            or (self._other is not None and self._other.changed())
        )

    def prepare(self, snapshot: Snapshot) -> None:
        """Makes the node's own namespace, empty, so that the router can plug its cable in."""
        self._keeper.prepare((render_node.render(snapshot, self.name, self._sandboxes).node,))

    def sync(self, snapshot: Snapshot, trusting: bool = False) -> Report:
        """Brings the kernel to the snapshot. Raises KernelError; what was done by then stays and is found again.

        `trusting` that nobody else has changed rules, they are not looked at where none is to be written.
        A node that is no longer in the snapshot is left as it is: `remove` is about to be called.
        """
        if snapshot.get(Node, self.name) is None:
            return Report()
        desired = render_node.render(snapshot, self.name, self._sandboxes)
        self._keeper.prepare((desired.node, *desired.pods))
        self._misses.attend(self.name, desired.node)
        count, refused = 0, None
        try:
            count = self._keeper.sync(desired.node, desired.pods)
        except KernelError as error:
            refused = error
        recreated = tuple(self._keeper.recreated)
        self._keeper.recreated.clear()
        unplugged = not {desired.node.name}.isdisjoint({*recreated, *self._keeper.lacking})
        if desired.node.name in recreated:
            self._forget_rules()
        self._namespace = desired.node.name
        count += self._sync_rules(snapshot, desired, trusting)
        failure = refused or next((proxy.failure for proxy in self._proxies.values() if proxy.failure), None)
        return Report(count, recreated, failure, self._other.warnings if self._other else (), unplugged)

    def drift(self, snapshot: Snapshot) -> list[str]:
        """What differs from what is desired, as the commands that would mend it."""
        if snapshot.get(Node, self.name) is None:
            return []
        desired = render_node.render(snapshot, self.name, self._sandboxes)
        lines = [str(operation) for operation in self._keeper.drift(desired.node, desired.pods)]
        if desired.node.name in self._keeper.lacking:
            lines += [str(operation) for operation in underlay.plugging(snapshot, self.name)]
        for proxy in self._proxies.values():
            lines += proxy.drift()
        return lines

    def pause(self) -> None:
        """Misses are not answered either."""
        self._misses.mute(self.name)

    def resume(self) -> None:
        self._misses.unmute(self.name)

    def close(self) -> None:
        """Lets go of the kernel without changing it."""
        self._misses.leave(self.name)
        self._keeper.close()
        self._forget_rules()

    def remove(self) -> None:
        """Deletes the node and its pods; a machine that was the node is as it was before."""
        self._misses.leave(self.name)
        self._forget_rules()
        self._keeper.remove({*self._keeper.monitors, *self._keeper.owned()})
        removal.remove(self._owner.additions)
        self._owner.release_additions()

    def _forget_rules(self) -> None:
        self._proxies.clear()
        self._other = None

    def _sync_rules(self, snapshot: Snapshot, desired: NodeDataplane, trusting: bool) -> int:
        chosen = iptables.variant(snapshot.lab.spec.proxy.iptables)
        if chosen != self._chosen:
            self._forget_rules()
            self._chosen = chosen
        families = [family for family in FAMILIES if pick(snapshot.lab.spec.podCIDR, family)]
        if not self._namespace:
            self._note_rules(snapshot.lab)
        for family in families:
            if family not in self._proxies:
                counters = self._has_counters(family)
                self._proxies[family] = KubeProxy(self.name, self._iptables(family), self._shared, counters)
        count = sum(
            self._proxies[family].sync(snapshot, tuple(r for r in desired.rules if r.family == family), trusting)
            for family in families
        )
        if self._other is None:
            self._other = OtherVariant(self._namespace, chosen, self._locks / self._namespace)
            if self._namespace or self._noted(self._other.variant):
                self._other.clear()
            self._other.look()
        elif not trusting and self._other.changed():
            self._other.look()
        checks = {port: check for proxy in reversed(self._proxies.values()) for port, check in proxy.checks.items()}
        self.health = HealthWork(
            self._namespace,
            {port: (check.status, msgspec.json.encode(check.body).decode()) for port, check in checks.items()},
            addresses=tuple(address for proxy in self._proxies.values() for address in proxy.addresses),
        )
        return count

    def _iptables(self, family: Family) -> iptables.Iptables:
        return iptables.open(self._namespace, family, self._chosen, self._locks / self._namespace)

    def _note_rules(self, lab: Lab) -> None:
        """Before rules are written into the machine's own namespace."""
        if not self._noted(self._chosen):
            self._owner.own_additions([journal.of_rules(self._chosen)])
        networks = tuple(split(f"{lab.spec.podCIDR},{lab.spec.serviceCIDR}"))
        if (addresses := AddedAddresses(networks)) not in self._owner.additions:
            self._owner.own_additions([addresses])

    def _noted(self, variant: iptables.Variant) -> bool:
        return any(isinstance(one, AddedRules) and one.variant == variant for one in self._owner.additions)

    def _has_counters(self, family: Family) -> bool:
        """Makes kube-proxy's nfacct counters, where kernel and iptables have what it takes."""
        if not self._namespace and (missing := tuple(sorted({*COUNTERS} - nfacct.held("")))):
            self._owner.own_additions([AddedCounters(missing)])
        if not nfacct.ensure(self._namespace, COUNTERS):
            return False
        table, chain = self._iptables(family), ChainKey("filter", "KUBE-PROXY-NFACCT")
        try:
            table.apply(RuleDelta(family, {chain: (f"-m nfacct --nfacct-name {COUNTERS[0]}",)}))
            table.apply(RuleDelta(family, {}, (chain,)))
        except KernelError:
            return False
        return True
