"""The operations that lead a namespace from its actual state to the desired one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

import msgspec

from k8snetlab.dataplane.links import Address, Bridge, Device, Ipip, Link, Veth, Vxlan
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import Item, ItemOperation, Operation, SysctlOperation
from k8snetlab.dataplane.resolution import Resolutions
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route


def diff(desired: Netns, actual: Netns, previous: Netns | None = None) -> list[Operation]:
    """The operations that make `actual` hold all of `desired`, in an order in which the kernel accepts them.

    What `actual` holds beyond that is left alone, unless it is ours and stale: an entry of `previous` (what this agent
    desired before), or, where `previous` is None (an agent that adopts), one on a device that `desired.owned` names,
    or a route into `desired.networks`. Routes of daemons are stale where those were ours, and are no more.
    New before old: a tunnel, route, neighbour or FDB entry that is no longer wanted goes when its successor stands.
    A device of the kind `Device` that is not there yet is left out, with all that stands on it.
    An entry with which a miss was answered is as good as desired, in the form in which it would be answered now.
    """
    ns = desired.name
    links = _links(desired, actual)
    desired = _with_answers(desired, actual, links.made)
    previous = _with_answers(previous, actual) if previous else None
    early, late = _stale(desired, actual, previous, links.made)
    fresh = links.made | links.readdressed | _wrong_broadcast(desired, actual)
    return [
        *(ItemOperation("del", ns, item) for item in early),
        *_sysctls(desired, actual, links),
        *links.operations,
        *_sysctls_of_made(desired, links),
        *_addresses(desired, actual, links),
        # The FDB entry first, then the neighbour, then the route: at no time does a route lead to an address that
        # cannot be resolved (flannel's order is neighbour, FDB, route; but a packet queued on an L3 miss is lost
        # without the FDB entry).
        *_missing(ns, desired.fdb, actual.fdb, fresh, links.usable),
        *_missing(ns, desired.neighbours, actual.neighbours, fresh, links.usable),
        *_missing(ns, desired.routes, actual.routes, fresh, links.usable),
        *(ItemOperation("del", ns, item) for item in late),
    ]


class _Links(NamedTuple):
    operations: list[Operation]
    made: set[str]
    """Devices to create again: nothing stands on them."""
    readdressed: set[str]
    """Devices whose MAC changes: the kernel forgets their neighbours."""
    usable: set[str]
    """Devices that exist when the operations are done."""


def _links(desired: Netns, actual: Netns) -> _Links:
    plan: list[Operation] = []
    present = {link.name: link for link in actual.links}
    made: set[str] = set()
    readdressed: set[str] = set()
    for link in sorted(desired.links, key=lambda link: _RANK[type(link)]):
        have = present.get(link.name)
        if isinstance(link, Vxlan) and link.dev in made and have is not None:
            have = None  # it went with the device it stood on
        elif have is not None and _must_recreate(link, have):
            plan.append(ItemOperation("del", desired.name, have))
            have = None
        if have is None:
            if isinstance(link, Device):
                continue
            made.add(link.name)
            plan += [ItemOperation("del", desired.name, rival) for rival in _rivals(link, desired, actual)]
            plan.append(ItemOperation("add", desired.name, link))
        elif not _satisfied(link, have) or (isinstance(link, Veth) and link.master in made):
            if link.mac and link.mac != have.mac:
                readdressed.add(link.name)
            elif link.mac:  # giving a device the MAC it has makes the kernel forget the device's neighbours
                link = msgspec.structs.replace(link, mac="")
            plan.append(ItemOperation("set", desired.name, link))
    return _Links(plan, made, readdressed, set(present) | made)


_RANK: dict[object, int] = {Device: 0, Bridge: 1, Vxlan: 2, Ipip: 2, Veth: 3}
"""Devices and bridges before what is plugged into them or stands on them."""


def _rivals(want: Link, desired: Netns, actual: Netns) -> list[Link]:
    """Tunnels that have the VNI and port of a new one: ours under another name. On a machine they may be others'."""
    if is_host(desired.name) or not isinstance(want, Vxlan):
        return []
    others = [link for link in actual.links if isinstance(link, Vxlan) and link.name != want.name]
    wanted = {link.name for link in desired.links}
    return [link for link in others if (link.vni, link.port) == (want.vni, want.port) and link.name not in wanted]


def _must_recreate(want: Link, have: Link) -> bool:
    """Whether a device differs in what only its creation can set."""
    if isinstance(want, Device):
        return False
    if type(want) is not type(have):
        return True
    if isinstance(want, Vxlan) and isinstance(have, Vxlan):
        fixed = ("vni", "local", "dev", "port", "learning", "l2miss", "l3miss")
        return any(getattr(want, f) != getattr(have, f) for f in fixed)
    return False


def _satisfied(want: Link, have: Link) -> bool:
    if want.up != have.up or (want.mtu and want.mtu != have.mtu):
        return False
    if want.mac and want.mac != have.mac:
        return False
    if isinstance(want, Veth) and isinstance(have, Veth):
        return want.master == have.master and want.hairpin == have.hairpin
    if isinstance(want, Bridge) and isinstance(have, Bridge):
        return want.snooping == have.snooping
    return True


def _sysctls(desired: Netns, actual: Netns, links: _Links) -> Iterator[Operation]:
    """Those of the namespace, with which its devices start out, and of devices that are there, before they come up."""
    for key, value in desired.sysctls.items():
        device = device_of_sysctl(key)
        if actual.sysctls.get(key) != value and (not device or device in links.usable - links.made):
            yield SysctlOperation(desired.name, key, value)


def _sysctls_of_made(desired: Netns, links: _Links) -> Iterator[Operation]:
    for key, value in desired.sysctls.items():
        if device_of_sysctl(key) in links.made:
            yield SysctlOperation(desired.name, key, value)


def device_of_sysctl(key: str) -> str:
    """flannel.1 in net.ipv4.conf.flannel/1.forwarding; "" where the key is about no device."""
    parts = key.split(".")
    if len(parts) == 5 and parts[2] in ("conf", "neigh") and parts[3] not in ("all", "default"):
        return parts[3].replace("/", ".")
    return ""


def _addresses(desired: Netns, actual: Netns, links: _Links) -> Iterator[Operation]:
    for dev in sorted(_wrong_broadcast(desired, actual) - links.made):
        wanted = {address.address: address for address in desired.addresses if address.dev == dev}
        for have in actual.addresses:
            if have.dev == dev and wanted.get(have.address, have) != have:
                yield ItemOperation("del", desired.name, have)
    for operation in _missing(desired.name, desired.addresses, actual.addresses, links.made, links.usable):
        yield msgspec.structs.replace(operation, verb="add")


def _wrong_broadcast(desired: Netns, actual: Netns) -> set[str]:
    """Devices with an address to delete and add again: the kernel cannot change its broadcast address."""
    wanted = {_identity(address): address for address in desired.addresses}
    return {have.dev for have in actual.addresses if wanted.get(_identity(have), have) != have}


def _with_answers(state: Netns, actual: Netns, made: Iterable[str] = ()) -> Netns:
    """`state` with those entries of `actual` that its resolutions answer misses with; a device made anew has none."""
    if not state.resolutions:
        return state
    known = Resolutions(state.resolutions)
    neighbours = [known.neighbour(have) for have in actual.neighbours if have.lladdr and have.dev not in made]
    fdb = [known.fdb(have) for have in actual.fdb if have.dev not in made]
    return msgspec.structs.replace(
        state,
        neighbours=(*state.neighbours, *filter(None, neighbours)),
        fdb=(*state.fdb, *filter(None, fdb)),
    )


def _missing(
    ns: str, desired: Iterable[Item], actual: Iterable[Item], fresh: set[str], usable: set[str]
) -> Iterator[ItemOperation]:
    held = set(actual)
    held |= {msgspec.structs.replace(item, dev="") for item in held if isinstance(item, Route)}
    for item in desired:
        device = _device(item)
        if (item not in held or device in fresh) and (not device or device in usable):
            yield ItemOperation("replace", ns, item)


def _device(item: Item) -> str:
    match item:
        case Address() | Route() | Neighbour() | FdbEntry():
            return item.dev
        case _:
            return item.name


def _stale(desired: Netns, actual: Netns, previous: Netns | None, made: set[str]) -> tuple[list[Item], list[Item]]:
    """What is ours and no longer wanted: that which goes first (addresses and veths, to make room), and the rest.

    What stood on a device goes with it.
    """
    kept: set[object] = {_identity(item) for item in _items(desired)} | {("link", x.name) for x in desired.links}
    held = {_identity(item): item for item in _items(actual)}
    given_up = (previous is None or previous.learns) and not desired.learns
    learned = {_identity(r): r for r in actual.learned if given_up and _inside(r, desired.networks)}
    held = learned | held
    if previous is not None:
        unwanted = {_identity(item) for item in _items(previous)}.union(learned) - kept
        stale = [item for identity, item in held.items() if identity in unwanted]
    else:
        devices = set(desired.owned)
        answered = {resolution.dev for resolution in desired.resolutions}
        stale = [
            item
            for identity, item in held.items()
            if identity not in kept
            and (_inside(item, desired.networks) or (_device(item) in devices and not _kernel_made(item, answered)))
        ]
    doomed = made | {item.name for item in stale if isinstance(item, Bridge | Veth | Vxlan)}
    links = [item for item in stale if isinstance(item, Bridge | Veth | Vxlan | Ipip)]
    rest = [item for item in stale if item not in links and _device(item) not in doomed]
    early: list[Item] = [item for item in [*rest, *links] if isinstance(item, Address | Veth)]
    return early, [item for item in [*rest, *links] if not isinstance(item, Address | Veth)]


def _inside(item: Item, networks: Iterable[str]) -> bool:
    """Whether the route leads into one of the networks."""
    if not isinstance(item, Route) or item.dst == "default":
        return False
    return any(_within(ip_network(item.dst), ip_network(whole)) for whole in networks)


def _within(part: IPv4Network | IPv6Network, whole: IPv4Network | IPv6Network) -> bool:
    return part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type]


def _kernel_made(item: Item, answered: set[str]) -> bool:
    """Entries that come and go by themselves: link-local addresses, resolved neighbours.

    On the devices `answered`, neighbours are what misses were answered with.
    """
    if isinstance(item, Address):
        return item.address.startswith("fe80:")
    if isinstance(item, Neighbour):
        return item.state != "PERMANENT" and not (item.dev in answered and item.lladdr)
    return False


def _items(state: Netns) -> list[Item]:
    """A tunnel of IP in IP that is down is as good as none."""
    links: list[Item] = [
        link for link in state.links if not isinstance(link, Device) and (link.up or not isinstance(link, Ipip))
    ]
    return [*state.routes, *state.neighbours, *state.fdb, *state.addresses, *links]


def _identity(item: Item) -> object:
    """The entry's identity to the kernel: one with the same identity is replaced in place, never deleted."""
    match item:
        case Route() | Neighbour() | FdbEntry():
            return (type(item), item.key)
        case Address():
            return (Address, item.dev, item.address)
        case _:
            return ("link", item.name)
