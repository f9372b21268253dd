"""The agent of the underlay: the router's namespace and those of hosts outside."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from k8snetlab.agent import links as link_settings
from k8snetlab.agent.addons import AddOns
from k8snetlab.agent.balancing import LoadBalancers
from k8snetlab.agent.concern import Concern
from k8snetlab.agent.links import LinkSettings
from k8snetlab.agent.namespaces import NamespaceKeeper
from k8snetlab.agent.protocol import Make, Manager, Surroundings
from k8snetlab.agent.report import Report
from k8snetlab.agent.routing import Routing
from k8snetlab.agent.team import Team
from k8snetlab.api import topology
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import HealthWork
from k8snetlab.dataplane import names
from k8snetlab.dataplane.holds import NONE, Holds
from k8snetlab.dataplane.links import Veth
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dns import addon
from k8snetlab.kernel import netns
from k8snetlab.kernel.monitors import Monitors
from k8snetlab.messages.status import ManagerStatus
from k8snetlab.render import underlay

MANAGERS: Mapping[str, Make] = {
    "add-ons": AddOns,
    "routing": Routing,
    "load-balancers": LoadBalancers,
    "links": LinkSettings,
}

OF_ANY: Mapping[str, Make] = {"add-ons": AddOns, "routing": Routing, "links": LinkSettings}
"""Those of any router of an underlay with several links."""


def _beyond(snapshot: Snapshot) -> tuple[str, ...]:
    """The host outside, where it has a routing daemon."""
    return (names.OUTSIDE,) if topology.is_beyond_told(snapshot.lab.spec) else ()


class RouterAgent:
    """As a node's agent, with managers for add-ons, for the routes that routing daemons make, and for the addresses of
    load balancers."""

    name = names.ROUTER
    variant = ""
    health: HealthWork | None = None

    def __init__(self, around: Surroundings) -> None:
        self._keeper = NamespaceKeeper(around.owner, names.ROUTER)
        self._around = around
        self._team = Team(names.ROUTER, [make(name, None, around) for name, make in MANAGERS.items()])
        self._held: Holds = NONE
        self._lowered: Holds = NONE
        self._others: dict[str, tuple[Manager, ...]] = {}
        """Managers of the routers beside the first, by their names."""
        self._concern = Concern()
        self.without: frozenset[str] = frozenset()
        """Namespaces of nodes without power: no cable leads to them."""

    @property
    def statuses(self) -> tuple[ManagerStatus, ...]:
        return self._team.statuses

    @property
    def monitors(self) -> Monitors:
        return self._keeper.known.monitors

    def mark(self, namespace: str) -> None:
        self._keeper.known.mark(namespace)

    def leaves_learned(self, namespace: str) -> bool:
        """As `Known.leaves_learned`."""
        return self._keeper.known.leaves_learned(namespace)

    @property
    def lacks(self) -> int:
        """The routes of daemons that it waits for."""
        return sum(manager.lacks for manager in self._team.managers)

    def suspect(self) -> None:
        self._keeper.known.mark_all()
        self._team.each(lambda manager: manager.suspect())

    def noticed_change(self) -> bool:
        changed = [self._keeper.known.sysctls_changed(name) for name in self._keeper.known.monitors]
        noticed = self._team.noticed()
        return noticed or self._keeper.known.moved() or any(changed) or bool(self._keeper.known.lacking)

    def hold(self, held: Holds) -> None:
        """As `NodeAgent.hold`."""
        self._held = held
        self._keeper.known.hold(held | self._lowered)

    def _lower(self, snapshot: Snapshot) -> None:
        """Leaves the devices alone that are to be down, and no others that were."""
        lab = snapshot.lab
        routers = topology.routers(lab.spec.underlay)
        found = (link_settings.holds(snapshot, one, names.node_netns(lab.name, one)) for one in routers)
        if (lowered := frozenset().union(*found)) != self._lowered:
            self._lowered = lowered
            self._keeper.known.hold(self._held | lowered)

    def untouched(self) -> dict[str, Netns]:
        """As `Known.untouched`."""
        return self._keeper.known.untouched()

    def prepare(self, snapshot: Snapshot) -> None:
        """Makes the router's and the outside host's namespaces, empty."""
        desired = underlay.render(snapshot)
        self._keeper.prepare((desired.node, *desired.pods))

    def sync(self, snapshot: Snapshot, trusting: bool = False) -> Report:
        """Cables to nodes whose namespaces are still to be made are left to the sync that follows their making."""
        read = self._concern.begin(snapshot)
        desired = underlay.render(read)
        own = {state.name for state in desired.pods}
        links = tuple(
            link
            for link in desired.node.links
            if not isinstance(link, Veth) or link.peer_netns in own or self._takes(link.peer_netns)
        )
        before = self._team.begin()
        self._lower(read)
        self._meet((*topology.routers(read.lab.spec.underlay)[1:], *_beyond(read)))
        self._keeper.prepare((desired.node, *desired.pods))
        try:
            count = self._keeper.sync(msgspec.structs.replace(desired.node, links=links), desired.pods)
            beyond = names.node_netns(read.lab.name, names.OUTSIDE)
            self.health = HealthWork(beyond, {}, names=addon.outside(read.lab))
        except Exception:
            self._team.resume_with(before)
            raise
        recreated = tuple(self._keeper.known.recreated)
        self._keeper.known.recreated.clear()  # not before they are reported: their names are to be answered again
        self._team.all(lambda manager: manager.settled(read, names.node_netns(read.lab.name, manager.node)))
        report = self._team.report(count, recreated=recreated)
        report = msgspec.structs.replace(report, pending=tuple(dict.fromkeys(report.pending)))
        if not report.failure:
            self._concern.end(read)
        return report

    def _meet(self, routers: tuple[str, ...]) -> None:
        """Has managers for these routers, and for no others beside the first."""
        if routers == tuple(self._others):
            return
        gone = [manager for name, known in self._others.items() if name not in routers for manager in known]
        self._others = {name: self._others.get(name) or self._managers(name) for name in routers}
        own = [one for one in self._team.managers if one.node == names.ROUTER]
        self._team = Team(names.ROUTER, [*own, *(one for known in self._others.values() for one in known)])
        Team(names.ROUTER, gone).each(lambda manager: manager.remove())

    def _managers(self, name: str) -> tuple[Manager, ...]:
        around = self._around.of(name)
        return tuple(make(f"{kind} of {name}", None, around) for kind, make in OF_ANY.items())

    def concerned(self, snapshot: Snapshot, looking: bool = False) -> bool:
        """As a node's agent's; who makes a node's namespace has the router sync."""
        return self._keeper.known.has_news(looking) or self._concern.touches(snapshot)

    def drift(self, snapshot: Snapshot) -> list[str]:
        desired = underlay.render(snapshot)
        links = [one for one in desired.node.links if not isinstance(one, Veth) or one.peer_netns not in self.without]
        node = msgspec.structs.replace(desired.node, links=tuple(links))
        return [str(operation) for operation in self._keeper.drift(node, desired.pods)]

    def _takes(self, namespace: str) -> bool:
        return namespace not in self.without and netns.exists(namespace)

    def pause(self) -> None:
        self._team.each(lambda manager: manager.pause())

    def resume(self) -> None:
        self._team.each(lambda manager: manager.resume())

    def close(self) -> None:
        self._team.each(lambda manager: manager.close())
        self._keeper.close()

    def remove(self) -> None:
        """Deletes the router and the outside host."""
        self._team.each(lambda manager: manager.remove())
        self._keeper.remove({*self._keeper.known.monitors, *self._keeper.owned()})
