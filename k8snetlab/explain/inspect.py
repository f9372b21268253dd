"""What nodes and pods hold now, read from the kernel and explained: rules as a tree, tables line by line. Blocking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain

from k8snetlab.api.core import Node, Service
from k8snetlab.api.machines import interface_of, other_machines
from k8snetlab.api.selection import is_proxied_by_guest
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster import nearby
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, pick
from k8snetlab.dataplane.names import KUBE_EXT, KUBE_FW, KUBE_SVC, KUBE_SVL, KUBE_XLB
from k8snetlab.dataplane.netns import Role
from k8snetlab.dataplane.rules import Family
from k8snetlab.diagnose.wanted import Wanted
from k8snetlab.errors import InputError, NotFoundError
from k8snetlab.explain import daemons
from k8snetlab.explain.places import Place
from k8snetlab.explain.tables import TABLES, Reader, joined
from k8snetlab.kernel import connections, iptables, listing
from k8snetlab.messages.rules import Chains, RulesDifference, RuleTree
from k8snetlab.messages.tables import Row, Table, TableList, TableName
from k8snetlab.render.proxy import ports_of
from k8snetlab.render.uplink import UPLINK
from k8snetlab.state.paths import LabPaths
from k8snetlab.trace import branches
from k8snetlab.trace.directory import Directory

# --- rules ------------------------------------------------------------------------------------------------------------


def rules(snapshot: Snapshot, paths: LabPaths, node: str, service: str, family: Family, *, here: str = "") -> RuleTree:
    """The tree of the Service "name" or "namespace/name", or the whole frame where `service` is ""; `here`
    as for `held`. Raises NotFoundError."""
    node = node or next((name for _, name in snapshot.all(Node)), "")
    wanted = _service(snapshot, service) if service else None
    found = held(snapshot, paths, node, family, here)
    known = Directory.of(snapshot).known
    if wanted:
        own = _own_chains(snapshot, wanted, family)
        tree = branches.of_service(found.rules, found.counters, _title(wanted), own, known)
    else:
        tree = branches.whole(found.rules, found.counters, known)
    proxy = "external" if is_proxied_by_guest(snapshot, node) else "iptables"
    return RuleTree(node, _title(wanted) if wanted else "", family, found.variant, tree, proxy)


def difference(snapshot: Snapshot, sides: tuple[Chains, Chains], service: str, family: Family) -> RulesDifference:
    """Of two nodes' chains: all, or those of the Service. Raises NotFoundError."""
    wanted = _service(snapshot, service) if service else None
    one, other = sides
    title = _title(wanted) if wanted else ""
    found = branches.differences(one.rules, other.rules, Directory.of(snapshot).known, title)
    return RulesDifference("", title, family, one.variant, (one.node, other.node), found)


def _title(service: Service) -> str:
    return f"{service.namespace}/{service.name}"


def held(snapshot: Snapshot, paths: LabPaths, node: str, family: Family, here: str = "") -> Chains:
    """What a node of this machine holds now; `here` is the node that the machine is, "" where nodes are namespaces.

    Raises NotFoundError, also for a node that is another machine.
    """
    if other_machines([snapshot.node(node)], here):
        raise NotFoundError(f"node {node} is another machine, and this one is {here}", "ask that machine's daemon")
    variant = iptables.variant(snapshot.lab.spec.proxy.iptables)
    netns = names.namespace_of(snapshot.lab.name, node, snapshot.lab.spec.machines)
    told = iptables.counted(netns, family, variant, paths.xtables_locks / node)
    return Chains.of(node, variant, told.chains, told.counters)


def _service(snapshot: Snapshot, name: str) -> Service:
    """The Service "name" or "namespace/name"; without a namespace the one in default, else the only one."""
    namespace, _, short = name.removeprefix("service/").removeprefix("svc/").rpartition("/")
    found = [s for s in snapshot.all(Service).values() if s.name == short and namespace in ("", s.namespace)]
    found = [s for s in found if s.namespace == (namespace or "default")] or found
    if not found:
        plain = name.removeprefix("service/").removeprefix("svc/")
        known = nearby.hint(snapshot, plain, (Service,), "`k8snetlab get services -A` lists them")
        raise NotFoundError(f"service {name!r} not found", known)
    if len(found) > 1:
        several = ", ".join(_title(s) for s in found)
        raise InputError(f"several Services are called {short!r}", f"choose one: {several}")
    return found[0]


def _own_chains(snapshot: Snapshot, service: Service, family: Family) -> list[str]:
    """The names that the Service's own chains have where it has them, the first ones first."""
    ports = ports_of(service, family, classic=snapshot.lab.spec.proxy.layout == "classic")
    prefixes = (KUBE_EXT, KUBE_XLB, KUBE_FW, KUBE_SVC, KUBE_SVL)
    return [port.chain(prefix) for port in ports for prefix in prefixes]


# --- tables -----------------------------------------------------------------------------------------------------------


def tables(snapshot: Snapshot, place: Place, name: str = "", paths: LabPaths | None = None) -> TableList:
    """One table of a node or pod, or all; with `paths` routing daemons are asked why they hold their routes. Raises
    NotFoundError, InputError."""
    if name and name not in TABLES:
        raise InputError(f"{name!r} is no table", f"tables: {', '.join(TABLES)}")
    wanted = [table for table in TABLES if name in ("", table)]
    there = _Tables(snapshot, place, paths)
    with ThreadPoolExecutor(len(wanted)) as programs:  # to wait for each alone takes longer than they work
        found = list(programs.map(lambda one: tuple(there.of(one)), wanted))
    return TableList(place.name, place.kind, place.netns, tuple(chain.from_iterable(found)))


class _Tables:
    """The tables of one namespace."""

    def __init__(self, snapshot: Snapshot, place: Place, paths: LabPaths | None) -> None:
        lab, node = snapshot.lab, snapshot.get(Node, place.node)
        role: Role = "pod"
        own = names.namespace_of(lab.name, place.node, lab.spec.machines)
        if place.kind in ("node", "router", "outside") or place.netns == own:
            role = "node" if place.node else "router" if place.kind == "router" else "outside"
        self._netns, self._role = place.netns, role
        self._there = [] if names.is_host(place.netns) else ["-n", place.netns]
        home = names.node_netns(lab.name, place.node) if role == "node" else place.netns
        wanted = Wanted(snapshot)(home)
        uplink = (interface_of(node) if node else "") or UPLINK
        asked = place.node if role == "node" else place.name if role == "router" else ""
        self._reasons = partial(daemons.reasons_of, snapshot, paths, asked) if paths and asked else dict[str, str]
        self._reader = Reader(lab, Directory.of(snapshot), role, uplink, wanted)
        self._families = [family for family in FAMILIES if pick(lab.spec.underlay.cidr, family)]

    def of(self, name: TableName) -> Iterator[Table]:
        match name:
            case "routes":
                self._reader.reasons = self._reasons()
                for family in self._families:
                    yield self._lines(name, self._ip(family, "route", "show"), self._reader.route)
            case "neigh":
                for family in self._families:
                    yield self._lines(name, self._ip(family, "neigh", "show"), self._reader.neighbour)
            case "links":
                command = ["ip", *self._there, "-d", "addr", "show"]
                found = listing.objects(self._netns, ["ip", "-d", "-j", "addr", "show"])
                yield Table(name, " ".join(command), tuple(self._reader.link(link) for link in found))
            case "fdb":
                yield from self._forwarding()
            case "conntrack":
                for family in self._families:
                    yield self._connections(family)

    def _ip(self, family: Family, *words: str) -> list[str]:
        return ["ip", *(("-6",) if family == "ipv6" else ("-4",)), *words]

    def _lines(self, name: TableName, argv: list[str], explain: Callable[[str], Row]) -> Table:
        typed = [argv[0], *self._there, *(word for word in argv[1:] if word != "-4")]
        return Table(name, " ".join(typed), tuple(explain(line) for line in joined(listing.lines(self._netns, argv))))

    def _forwarding(self) -> Iterator[Table]:
        """Those of tunnels, then those of bridges less the multicast groups that every device listens to ("self")."""
        kinds = listing.kinds(self._netns)
        for kind, which, but in (("vxlan", "dev", ""), ("bridge", "br", "self")):
            for dev in (name for name, held in kinds.items() if held == kind):
                words = ["fdb", "show", which, dev]
                found = listing.lines(self._netns, ["bridge", *words])
                rows = [self._reader.forwarding(line, dev) for line in found if not but or but not in line.split()]
                typed = ["bridge", *self._there, *words, *(("|", "grep", "-v", but) if but else ())]
                yield Table("fdb", " ".join(typed), tuple(rows))

    def _connections(self, family: Family) -> Table:
        found = connections.entries(self._netns, family)
        rows = tuple(self._reader.connection(entry) for entry in found)
        listed = "conntrack -L" + (" -f ipv6" if family == "ipv6" else "")
        there = [] if names.is_host(self._netns) else ["ip", "netns", "exec", self._netns]
        return Table("conntrack", " ".join([*there, listed]), rows)
