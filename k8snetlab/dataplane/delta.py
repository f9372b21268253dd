"""Desired against actual: the operations that lead from one state of a namespace to another."""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.dataplane.links import Address, Bridge, Device, Link, Veth, Vxlan
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import Item, ItemOperation, Operation, SysctlOperation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route


def diff(desired: Netns, actual: Netns, previous: Netns | None = None) -> list[Operation]:
    """The operations that make `actual` hold all of `desired`, in an order in which the kernel accepts them.

    What `actual` holds beyond that is left alone, unless it is ours and stale: an entry of `previous` (what this agent
    desired before), or, where `previous` is None (an agent that adopts), one on a device that `desired.owned` names.
    """
    ns = desired.name
    stale = _stale(desired, actual, previous)
    plan: list[Operation] = []
    plan += [ItemOperation("del", ns, item) for item in stale if not isinstance(item, Bridge | Veth | Vxlan)]
    plan += [ItemOperation("del", ns, item) for item in stale if isinstance(item, Bridge | Veth | Vxlan)]
    recreated = set()
    present = {link.name: link for link in actual.links}
    for link in _in_order(desired.links):
        have = present.get(link.name)
        if have is not None and _must_recreate(link, have):
            plan.append(ItemOperation("del", ns, have))
            have = None
        if have is None:
            if isinstance(link, Device):
                continue
            recreated.add(link.name)
            plan.append(ItemOperation("add", ns, link))
        elif not _satisfied(link, have):
            plan.append(ItemOperation("set", ns, link))
    plan += [
        SysctlOperation(ns, key, value) for key, value in desired.sysctls.items() if actual.sysctls.get(key) != value
    ]
    usable = set(present) | recreated
    plan += _missing(ns, "add", desired.addresses, actual.addresses, recreated, usable)
    # The FDB entry first, then the neighbour, then the route: at no time does a route lead to an address that cannot
    # be resolved (flannel's order is neighbour, FDB, route; a packet queued on an L3 miss is lost without the FDB entry).
    plan += _missing(ns, "replace", desired.fdb, actual.fdb, recreated, usable)
    plan += _missing(ns, "replace", desired.neighbours, actual.neighbours, recreated, usable)
    plan += _missing(ns, "replace", desired.routes, actual.routes, recreated, usable)
    return plan


def _in_order(links: Iterable[Link]) -> list[Link]:
    """Devices and bridges before what is plugged into them or stands on them."""
    rank = {Device: 0, Bridge: 1, Vxlan: 2, Veth: 3}
    return sorted(links, key=lambda link: rank[type(link)])


def _must_recreate(want: Link, have: Link) -> bool:
    """Whether a device differs in what can only be given at its creation."""
    if isinstance(want, Device):
        return False
    if type(want) is not type(have):
        return True
    if isinstance(want, Vxlan) and isinstance(have, Vxlan):
        fixed = ("vni", "local", "dev", "port", "learning", "l2miss", "l3miss")
        return any(getattr(want, f) != getattr(have, f) for f in fixed)
    return False


def _satisfied(want: Link, have: Link) -> bool:
    if not have.up or (want.mtu and want.mtu != have.mtu):
        return False
    if want.mac and want.mac != have.mac:
        return False
    if isinstance(want, Veth) and isinstance(have, Veth):
        return want.master == have.master and want.hairpin == have.hairpin
    return True


def _missing(
    ns: str, verb: str, desired: Iterable[Item], actual: Iterable[Item], recreated: set[str], usable: set[str]
) -> list[Operation]:
    held = set(actual)
    return [
        ItemOperation(verb, ns, item)  # type: ignore[arg-type]
        for item in desired
        if (item not in held or _device(item) in recreated) and (not _device(item) or _device(item) in usable)
    ]


def _device(item: Item) -> str:
    match item:
        case Address() | Route() | Neighbour() | FdbEntry():
            return item.dev
        case _:
            return item.name


def _stale(desired: Netns, actual: Netns, previous: Netns | None) -> list[Item]:
    """Entries of ours in `actual` that `desired` no longer wants and that no desired entry replaces in place."""
    kept: set[object] = {_identity(item) for item in _items(desired)}
    if previous is not None:
        ours = set(map(_identity, _items(previous)))
        return [item for item in _items(actual) if _identity(item) in ours and _identity(item) not in kept]
    devices = set(desired.owned)
    return [
        item
        for item in _items(actual)
        if _device(item) in devices and _identity(item) not in kept and not _kernel_made(item)
    ]


def _kernel_made(item: Item) -> bool:
    """Entries that come and go by themselves: link-local addresses, resolved neighbours."""
    if isinstance(item, Address):
        return item.address.startswith("fe80:")
    if isinstance(item, Neighbour):
        return item.state != "PERMANENT"
    return False


def _items(state: Netns) -> list[Item]:
    links: list[Item] = [link for link in state.links if not isinstance(link, Device)]
    return [*state.routes, *state.neighbours, *state.fdb, *state.addresses, *links]


def _identity(item: Item) -> object:
    """What the kernel tells entries apart by: an entry with the same identity is replaced in place, never deleted."""
    match item:
        case Route() | Neighbour() | FdbEntry():
            return (type(item), item.key)
        case Address():
            return (Address, item.dev, item.address)
        case _:
            return ("link", item.name)
