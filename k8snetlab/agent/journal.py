"""Tells, before a plan is executed in the machine's own namespace, what it adds there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from k8snetlab.agent.additions import AddedDevice, AddedRoute, AddedRules, Addition, ChangedSysctl, devices
from k8snetlab.dataplane.links import Bridge, Vxlan
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import ItemOperation, Operation, SysctlOperation
from k8snetlab.dataplane.routing import Route
from k8snetlab.errors import AlreadyExistsError
from k8snetlab.kernel import nftables, sysctl
from k8snetlab.kernel.iptables import Variant
from k8snetlab.kernel.read import read

FORWARDING = {
    "net.ipv4.ip_forward": "net.ipv4.conf.*.forwarding",
    "net.ipv6.conf.all.forwarding": "net.ipv6.conf.*.forwarding",
}
"""What the kernel sets to the same value when one of these is written (inet_forward_change, addrconf_fixup_forwarding);
IPv4's turns the acceptance of redirects the other way as well."""
REDIRECTS = "net.ipv4.conf.all.accept_redirects"
ADVERTISEMENTS = "net.ipv6.conf.*.accept_ra"


def careful(plan: Sequence[Operation]) -> list[Operation]:
    """The plan, for a machine that learns its IPv6 routes from router advertisements (accept_ra 1): one that forwards
    would take no more of them, and forget its default route, unless accept_ra is 2 beforehand."""
    forwards = SysctlOperation(HOST_NETNS, "net.ipv6.conf.all.forwarding", "1")
    if forwards not in plan:
        return list(plan)
    listening = [key for key, value in sysctl.matching(HOST_NETNS, ADVERTISEMENTS).items() if value == "1"]
    listening = [key for key in listening if key.split(".")[3] not in ("all", "default", "lo")]
    return [*(SysctlOperation(HOST_NETNS, key, "2") for key in listening), *plan]


def of_plan(plan: Sequence[Operation], desired: Netns, known: Sequence[Addition]) -> list[Addition]:
    """What executing the plan, which leads to `desired`, would add to the machine beyond what is `known`.

    Raises AlreadyExistsError where the plan would change what is not the lab's.
    """
    items = [operation for operation in plan if isinstance(operation, ItemOperation)]
    made = tuple(dict.fromkeys(op.item.name for op in items if isinstance(op.item, Bridge | Vxlan)))
    own = {*devices(known), *made}
    routes = [op.item for op in items if isinstance(op.item, Route) and op.verb == "replace" and op.item.dev not in own]
    added: list[Addition] = [AddedDevice(name) for name in made if AddedDevice(name) not in known]
    added += [addition for route in routes if (addition := AddedRoute(route.dst, route.dev)) not in known]
    if added:
        _refuse_unmanaged(read(HOST_NETNS), added, routes, devices(known))
    sysctls = dict(desired.sysctls) | {op.key: op.value for op in plan if isinstance(op, SysctlOperation)}
    added += [
        change
        for key, value in sysctls.items()
        if not any(f".{device.replace('.', '/')}." in key for device in own)
        for change in _changed(key, value, known)
    ]
    return added


def of_rules(variant: Variant) -> AddedRules:
    """What is noted before the first rule is written."""
    if variant == "legacy":
        return AddedRules(variant)
    tables, chains = nftables.read(HOST_NETNS)
    return AddedRules(variant, tables, tuple((chain.table, chain.name) for chain in chains))


def _changed(key: str, value: str, known: Sequence[Addition]) -> Iterator[ChangedSysctl]:
    """One that has its value already is noted too: others may change it yet, and the lab then changes it back."""
    if any(isinstance(one, ChangedSysctl) and one.key == key for one in known):
        return
    before, along = sysctl.read(HOST_NETNS, [key]).get(key), {}
    if before is None:
        return
    if key in FORWARDING:
        along = sysctl.matching(HOST_NETNS, FORWARDING[key])
        along |= sysctl.read(HOST_NETNS, [REDIRECTS]) if key == "net.ipv4.ip_forward" else {}
        along.pop(key, None)
    yield ChangedSysctl(key, before, value, along)


def _refuse_unmanaged(actual: Netns, added: Sequence[Addition], routes: Sequence[Route], own: Collection[str]) -> None:
    """`own` are the lab's devices: a route by one of them (by the tunnel, when the backend changes) is its own, too."""
    for link in actual.links:
        if AddedDevice(link.name) in added:
            raise AlreadyExistsError(
                f"the device {link.name} exists on this machine and is not this lab's",
                f"`ip -d link show {link.name}` tells what it is; delete it, or use a machine of its own",
            )
    fresh = {route.key for route in routes if AddedRoute(route.dst, route.dev) in added}
    for held in actual.routes:
        if held.key in fresh and held.dev not in own:
            raise AlreadyExistsError(
                f"the route {held.words()} exists on this machine and is not this lab's",
                f"`ip route del {held.dst}`, or give the lab another podCIDR",
            )
