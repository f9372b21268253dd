"""The lab's namespaces as the kernel has them, on this machine and on others, for one IP family. Blocking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from functools import partial

from msgspec.structs import replace

from k8snetlab.addons.announcers import announcers
from k8snetlab.api import topology
from k8snetlab.api.addressing import split
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.machines import interface_of, is_machine
from k8snetlab.api.pools import tunnel_addresses
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import network
from k8snetlab.dataplane.rules import Family
from k8snetlab.dataplane.view import Interface, View
from k8snetlab.diagnose.finding import Where
from k8snetlab.errors import DaemonError
from k8snetlab.kernel import iptables, netns
from k8snetlab.kernel.packets import Watch
from k8snetlab.kernel.survey import survey
from k8snetlab.messages.watch import WatchSeen
from k8snetlab.peers.remote import RemoteKernels
from k8snetlab.render.pods import sandbox_name
from k8snetlab.state.paths import LabPaths


class Namespaces:
    """The lab's namespaces, each read once, when it is first asked for. `places` are those that there should be.

    A namespace goes by one name on all machines: that of a node that is a machine is LAB.NODE here, though for its own
    daemon it is "". `remote` reads those of other machines; without it, and in a lab of namespaces, all are read here.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        paths: LabPaths,
        family: Family,
        here: str = "",
        remote: RemoteKernels | None = None,
        *,
        counted: bool = True,
    ) -> None:
        """`counted`: with the packets that each rule has seen."""
        lab, self._counted = snapshot.lab, counted
        self._here, self._remote = names.node_netns(lab.name, here) if here else "", remote
        self._lab, self._family, self._locks = lab.name, family, paths.xtables_locks
        self._variant = iptables.variant(lab.spec.proxy.iptables)
        self._views: dict[str, View] = {}
        self._coming: dict[str, Future[View]] = {}
        self._homes: dict[str, str] = {}
        self.places: dict[str, Where] = {}
        for where, addresses in _places(snapshot):
            self.places[where.netns] = where
            self._homes |= dict.fromkeys(addresses, where.netns)
        self._announced: dict[str, set[str]] = {}
        if lab.spec.loadBalancer.mode == "l2":
            for address, nodes in announcers(paths.addons, (node.name for node in snapshot.all(Node).values())).items():
                self._homes[address] = names.node_netns(lab.name, nodes[0])
                self._announced.setdefault(self._homes[address], set()).add(address)
        self._by_node: dict[str, list[Where]] = {}
        for where in self.places.values():
            self._by_node.setdefault(where.node, []).append(where)
        self._ends: dict[str, tuple[str, str]] = {}
        for node in filter(is_machine, snapshot.all(Node).values()):
            card = (names.node_netns(lab.name, node.name), interface_of(node))
            self._ends |= dict.fromkeys(node.addresses, card)

    def __getitem__(self, namespace: str) -> View:
        name = self.name_of(namespace)
        if name not in self._views:
            coming = self._coming.pop(name, None)
            self._views[name] = coming.result() if coming else self._survey(name)
        return self._views[name]

    def ahead(self, namespace: str, several: Executor) -> None:
        """Begins to read it, before it is asked for."""
        name = self.name_of(namespace)
        if name not in self._views:
            self._coming[name] = several.submit(self._survey, name)

    def node_of(self, namespace: str) -> str:
        """The other machine, by its node, that a namespace is on; "" of one of this machine."""
        node = self.places[namespace].node if namespace in self.places else ""
        return node if self._here and names.node_netns(self._lab, node) != self._here else ""

    def name_of(self, namespace: str) -> str:
        """The name here of a namespace of this machine."""
        return self._here if names.is_host(namespace) else namespace

    def own_name(self, namespace: str) -> str:
        """What this machine's kernel knows a namespace of its own by."""
        return names.HOST_NETNS if namespace == self._here else namespace

    def _survey(self, namespace: str) -> View:
        where = self.places[namespace]
        if node := self.node_of(namespace):
            if self._remote is None:
                raise DaemonError(
                    f"{where.place} is on {node}, another machine: only this one's daemon could ask for it"
                )
            return self._remote.survey(node, namespace, self._family)
        lock, others = self._locks / where.place.replace("/", "."), map(self.own_name, self._beyond(where))
        view = survey(
            self.own_name(namespace),
            self._family,
            self._variant,
            partial(iptables.counted if self._counted else iptables.rules, lockfile=lock),
            place=where.place,
            kind=where.kind,
            others=others,
        )
        if self._announced:
            view = replace(view, announced=frozenset(self._announced.get(namespace, ())))
        if not self._here:
            return view
        held = {name: self._cabled(namespace, interface) for name, interface in view.interfaces.items()}
        return replace(view, netns=namespace, interfaces=held)

    def _cabled(self, namespace: str, interface: Interface) -> Interface:
        if interface.peer:
            return replace(interface, peer=(self.name_of(interface.peer[0]), interface.peer[1]))
        wired = any(end == (namespace, interface.name) for end in self._ends.values())
        beyond = {address: end for address, end in self._ends.items() if end[0] != namespace}
        return replace(interface, beyond=beyond) if wired else interface

    def home(self, address: str) -> str | None:
        return self._homes.get(address)

    def _beyond(self, where: Where) -> Iterator[str]:
        """Where cables lead: from a pod or the outside host to its node or router, from those anywhere; where they
        should lead comes first."""
        beyond = ("node", names.ROUTER) if where.kind in ("pod", names.OUTSIDE) else None
        for node in dict.fromkeys((where.node, names.ROUTER, *self._by_node)):
            for other in self._by_node.get(node, ()):
                known = beyond is None or other.kind in beyond
                if known and other is not where and not self.node_of(other.netns):
                    yield other.netns

    @property
    def read(self) -> Mapping[str, View]:
        """Those that were read so far."""
        return self._views

    # --- what passes in them ----------------------------------------------------------------------------------------

    def present(self, namespaces: Iterable[str]) -> list[str]:
        """Those of this machine that are there, as its kernel knows them."""
        own = [self.own_name(n) for n in namespaces if not self.node_of(n)]
        return [n for n in own if netns.exists(n)]

    def seen(self, watch: Watch) -> WatchSeen:
        """What `watch` has seen, by the names that namespaces have on all machines."""
        frames = [f._replace(netns=self.name_of(f.netns)) for f in watch.frames()]
        return WatchSeen(tuple(frames), tuple(c._replace(netns=self.name_of(c.netns)) for c in watch.connections()))


def _places(snapshot: Snapshot) -> Iterator[tuple[Where, tuple[str, ...]]]:
    """The namespaces that there should be, each with the addresses that are said to be in it."""
    lab = snapshot.lab
    if not lab.spec.machines:
        outside = tuple(part.partition("/")[0] for part in split(lab.spec.underlay.outside))
        for name, addresses in ((names.ROUTER, ()), (names.OUTSIDE, outside)):
            yield Where(names.node_netns(lab.name, name), name, name, names.ROUTER), addresses
        for name in topology.routers(lab.spec.underlay)[1:]:
            held = tuple(end.address for end in topology.of(lab, name))
            yield Where(names.node_netns(lab.name, name), name, names.ROUTER, names.ROUTER), held
        for host in lab.spec.hosts:
            netns = names.node_netns(lab.name, host.name)
            yield Where(netns, host.name, names.OUTSIDE, names.ROUTER), host.addresses
    for node in snapshot.all(Node).values():
        tunnels = (
            *(str(network(cidr).network_address) for cidr in node.podCIDRs),
            *tunnel_addresses(node),
        )
        own = names.node_netns(lab.name, node.name)
        yield Where(own, node.name, "node", node.name), (*node.addresses, *tunnels)
    for pod in snapshot.all(Pod).values():
        if pod.ips and not pod.spec.hostNetwork and not pod.ended:
            yield Where(sandbox_name(lab, pod), pod.short_name, "pod", pod.spec.nodeName), pod.ips
