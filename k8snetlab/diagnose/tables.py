"""Findings on what a namespace holds: sysctls, addresses, routes, neighbours, forwarding entries.

Each operation that would bring the namespace to what is desired is explained here, not executed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from k8snetlab.dataplane import delta, names
from k8snetlab.dataplane.families import network
from k8snetlab.dataplane.links import Address, Bridge, Device, Ipip, Veth, Vxlan
from k8snetlab.dataplane.names import ETH0
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import Item, ItemOperation, Operation, SysctlOperation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.dataplane.view import RouteEntry
from k8snetlab.diagnose.finding import Finding, Where
from k8snetlab.diagnose.links import Explanation, Links, Names

_SYSCTLS = {
    "forward": "{place} passes on no packet: pods reach neither other nodes nor, through it, Services",
    "bridge-nf-call": (
        "a pod that asks a Service for an endpoint on its own node hears nothing: the answer crosses cni0 without "
        "being translated back; and no NetworkPolicy is asked between pods of one node"
    ),
    "rp_filter": "packets that come by another device than answers would leave by are dropped",
    "route_localnet": "NodePorts do not answer on 127.0.0.1",
    "app_solicit": "the kernel asks nobody where pods of other nodes are: first packets to them are lost",
    "disable_ipv6": "devices come up more slowly, and answer IPv6 that nobody expects",
    "be_liberal": "conntrack drops TCP segments that it takes for out of window",
}


def drift(
    where: Where, desired: Netns, actual: Netns, names: Names, entries: Iterable[RouteEntry] = ()
) -> Iterator[Finding]:
    """A finding for each thing in which `actual` is not `desired`; `entries` are routes of every kind, as of a View."""
    explain, links = _Entries(where, desired, actual, names), Links(where, desired, actual, names)
    explain.entries = tuple(entries)
    present = {link.name for link in actual.links}
    # A device that others bring is taken for present, so that what is to stand on it is reported too.
    absent = [replace(d, up=False) for d in desired.links if isinstance(d, Device) and d.name not in present]
    actual = replace(actual, links=(*actual.links, *absent))
    recreated: dict[str, Operation] = {}
    for operation in delta.diff(desired, actual):
        match operation:
            case SysctlOperation():
                yield explain.sysctl(operation)
            case ItemOperation(verb="del", item=Bridge() | Veth() | Vxlan() as link) if explain.wanted(link.name):
                recreated[link.name] = operation
            case ItemOperation(item=Bridge() | Veth() | Vxlan() | Ipip() | Device() as link):
                yield links.link(operation, link, recreated.get(link.name))
            case ItemOperation():
                yield from explain.entry(operation, operation.item)


class _Entries(Explanation):
    """Explains operations on sysctls and on what stands on devices."""

    entries: tuple[RouteEntry, ...] = ()

    # --- sysctls ----------------------------------------------------------------------------------------------------

    def sysctl(self, operation: SysctlOperation) -> Finding:
        key, have = operation.key, self.actual.sysctls.get(operation.key)
        consequence = next(
            (text for part, text in _SYSCTLS.items() if part in key), "the node does not behave as a node does"
        )
        wrong = f"{key} is {have}, not {operation.value}" if have is not None else f"there is no {key}"
        return Finding(
            kind="sysctl",
            fault="wrong" if have is not None else "missing",
            node=self.where.node,
            object=key,
            message=f"{self.where.place}: {wrong}",
            consequence=consequence.format(place=self.where.place),
            show=f"ip netns exec {self.where.netns} sysctl {key}",
            mend=str(operation),
            device=_device(key),
            netns=self.where.netns,
        )

    # --- what stands on devices -------------------------------------------------------------------------------------

    def entry(self, operation: ItemOperation, item: Item) -> Iterator[Finding]:
        match item:
            case Address():
                yield from self._address(operation, item)
            case Route():
                if operation.verb == "del" or item not in self.actual.routes:
                    yield self._route(operation, item)
            case Neighbour():
                if operation.verb == "del" or item not in self.actual.neighbours:
                    yield self._neighbour(operation, item)
            case FdbEntry():
                if operation.verb == "del" or item not in self.actual.fdb:
                    yield self._fdb(operation, item)

    def _address(self, operation: ItemOperation, item: Address) -> Iterator[Finding]:
        held = next((a for a in self.actual.addresses if (a.dev, a.address) == (item.dev, item.address)), None)
        known = any((a.dev, a.address) == (item.dev, item.address) for a in self.desired.addresses)
        if held == item or (operation.verb == "del" and known):
            return  # its device has another fault, or it goes only to come again
        what = f"address {item.address} on {item.dev}"
        consequence = self._without_address(item)
        if operation.verb == "del":
            fault, message, consequence = "foreign", f"{what} should not be there", f"{self.where.place} answers for it"
        elif held is None:
            fault, message = "missing", f"{what} is missing"
        elif not held.connected:
            fault, message = "wrong", f"{what} has lost the kernel's route to its network"
        else:
            fault, message = "wrong", f"{what} has another broadcast address"
        mend = str(operation)
        if fault == "wrong":
            mend = f"{ItemOperation('del', self.where.netns, item)}\n{mend}"
        yield Finding(
            kind="address",
            fault=fault,
            node=self.where.node,
            object=item.address,
            message=f"{self.where.place}: {message}",
            consequence=consequence,
            show=f"ip -n {self.where.netns} addr show dev {item.dev}",
            mend=mend,
            device=item.dev,
            netns=self.where.netns,
        )

    def _without_address(self, item: Address) -> str:
        place = self.where.place
        if self.where.kind == "pod":
            return f"nobody reaches {place}, and it reaches nobody"
        if item.dev == ETH0:
            return f"{place} reaches no other node"
        if any(isinstance(link, Bridge) and link.name == item.dev for link in self.desired.links):
            return f"pods of {place} have lost their gateway: nothing of theirs leaves the node"
        return f"{place}'s own packets to pods of other nodes have no proper source"

    def _route(self, operation: ItemOperation, item: Route) -> Finding:
        held = next((r for r in self.actual.routes if r.key == item.key), None)
        same = (e for e in self.entries if _destination(e) == _normal(item) and e.table == "main")
        other = next((e for e in same if e.kind not in ("unicast", "local")), None)
        six = " -6" if "::" in _normal(item) else ""
        what = f"route {item.dst}"
        if operation.verb == "del":
            fault, message = "foreign", f"route {item.words()} should not be there"
        elif held is not None:
            fault, message = "wrong", f"{what} is {_way(held)}, not {_way(item)}"
        elif other is not None:
            fault, message = "wrong", f"{what} is a {other.kind}, not {_way(item)}"
        else:
            fault, message = "missing", f"{what} {_way(item)} is missing"
        return Finding(
            kind="route",
            fault=fault,
            node=self.where.node,
            object=item.dst if item.dst != "default" or not six else "::/0",
            message=f"{self.where.place}: {message}",
            consequence=self._astray(item, fault, held, other),
            show=f"ip -n {self.where.netns}{six} route show {item.dst}",
            mend=str(operation),
            owner=self.names.owners.of_route(RouteEntry(_normal(item), dev=item.dev, via=item.via), self.where.netns),
            device=item.dev,
            netns=self.where.netns,
        )

    def _astray(self, item: Route, fault: str, held: Route | None, other: RouteEntry | None) -> str:
        packets = f"packets to {item.dst}" if item.dst != "default" else "packets to everything beyond"
        if fault == "foreign":
            return f"{packets} take it instead of the lab's own route"
        if other is not None:
            return f"{packets} end in {self.where.place}"
        if held is not None:
            return f"{packets} go to {held.via or held.dev or 'several next hops'} and not where they belong"
        if item.dst == "default":
            return f"{self.where.place} reaches nothing that it has no other route to, Services' addresses among it"
        return f"{packets} leave by the default route or not at all"

    def _neighbour(self, operation: ItemOperation, item: Neighbour) -> Finding:
        held = next((n for n in self.actual.neighbours if n.key == item.key), None)
        packets = self._carried({item.dst}, item.dst)
        if operation.verb == "del":
            fault, message = "foreign", f"neighbour {item.dst} dev {item.dev} is at {item.lladdr} by nobody's order"
            consequence = f"frames for {item.dst} go to {item.lladdr}, whoever has the address"
        elif held is None or not held.lladdr:
            fault, message = "missing", f"neighbour {item.dst} → {item.lladdr} is missing"
            consequence = f"{packets} are dropped at {item.dev}: nobody says which MAC they go to"
        elif held.lladdr != item.lladdr:
            fault, message = "wrong", f"neighbour {item.dst} is at {held.lladdr}, not {item.lladdr}"
            consequence = f"{packets} go to a MAC that is not the one of the tunnel's other end"
        else:
            fault, message = "wrong", f"neighbour {item.dst} is {held.state}, not {item.state}"
            consequence = f"{packets} stop when it is forgotten"
        return Finding(
            kind="neighbour",
            fault=fault,
            node=self.where.node,
            object=item.dst,
            message=f"{self.where.place}: {message}",
            consequence=consequence,
            show=f"ip -n {self.where.netns} neigh show {item.dst} dev {item.dev}",
            mend=str(operation),
            owner=self.names.owners.of_address(item.dst),
            device=item.dev,
            netns=self.where.netns,
        )

    def _fdb(self, operation: ItemOperation, item: FdbEntry) -> Finding:
        held = next((f for f in self.actual.fdb if f.key == item.key), None)
        packets = self._carried({n.dst for n in self.desired.neighbours if n.lladdr == item.lladdr}, item.lladdr)
        if operation.verb == "del":
            fault, message = "foreign", f"FDB entry {item.lladdr} → {item.dst} of {item.dev} should not be there"
            consequence = f"frames for {item.lladdr} go to {item.dst}"
        elif held is None:
            fault, message = "missing", f"FDB entry {item.lladdr} → {item.dst} is missing"
            consequence = f"{packets} are dropped at {item.dev}"
        else:
            fault, message = "wrong", f"FDB entry {item.lladdr} leads to {held.dst}, not {item.dst}"
            consequence = f"{packets} are sent to {held.dst}, where no tunnel waits for them"
        return Finding(
            kind="fdb",
            fault=fault,
            node=self.where.node,
            object=item.lladdr,
            message=f"{self.where.place}: {message}",
            consequence=consequence,
            show=f"bridge -n {self.where.netns} fdb show dev {item.dev}",
            mend=str(operation),
            owner=self.names.owners.of_address(item.dst),
            device=item.dev,
            netns=self.where.netns,
        )

    def _carried(self, gateways: set[str], otherwise: str) -> str:
        """The packets that need the tunnel's end behind any of the addresses `gateways`."""
        subnets = [route.dst for route in self.desired.routes if route.via in gateways]
        return f"cross-node packets to {', '.join(subnets or sorted(gateways) or [otherwise])}"


def _device(key: str) -> str:
    """eth0 in net.ipv6.conf.eth0.accept_dad; "" where the key is about no device."""
    parts = key.split(".")
    own = len(parts) == 5 and parts[3] not in ("all", "default")
    return parts[3].replace("/", ".") if own else ""


def _normal(route: Route) -> str:
    if route.dst != "default":
        return str(network(route.dst))
    return "::/0" if ":" in route.via + route.src else "0.0.0.0/0"


def _destination(entry: RouteEntry) -> str:
    return str(network(entry.dst))


def _way(route: Route) -> str:
    return route.words().partition(" ")[2] or "one of several next hops"


def duplicates(
    held: Mapping[str, Netns], wanted: Mapping[str, Netns], places: Mapping[str, Where]
) -> Iterator[Finding]:
    """Addresses in two namespaces. `held` and `wanted` are what each namespace has and should have, by name."""
    homes: dict[str, list[tuple[str, Address]]] = {}
    for netns, state in held.items():
        for address in state.addresses:
            plain = address.address.partition("/")[0]
            if address.dev not in ("lo", names.NODELOCALDNS) and not plain.startswith("fe80:"):
                homes.setdefault(plain, []).append((netns, address))
    for plain, holders in homes.items():
        if len({netns for netns, _ in holders}) < 2:
            continue
        rightful = [n for n, a in holders if any(w.address.partition("/")[0] == plain for w in wanted[n].addresses)]
        for netns, address in holders:
            if netns in rightful[:1]:
                continue
            where, other = places[netns], places[rightful[0]] if rightful else None
            whose = f"the one of {other.place}" if other else "the address of another place too"
            mend = ItemOperation("del", netns, address)
            yield Finding(
                kind="address",
                fault="duplicate",
                node=where.node,
                object=plain,
                message=f"{where.place}: {address.dev} has {plain}, {whose}",
                consequence=f"packets to {plain} reach now one, now the other: whoever answers first",
                show=f"ip -n {netns} addr show dev {address.dev}",
                mend=str(mend),
                netns=netns,
                device=address.dev,
            )
