"""What a namespace holds when it has just been made and a veth leads to it: nobody needs to read it."""

from __future__ import annotations

from typing import NamedTuple

from k8snetlab.dataplane import delta
from k8snetlab.dataplane.links import Device, Veth
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import Operation, SysctlOperation

_IPV6_OFF = "net.ipv6.conf.{}.disable_ipv6"


class Birth(NamedTuple):
    """`before` is done while the namespace has only lo, `after` once the veth's other end is there."""

    before: tuple[SysctlOperation, ...]
    after: tuple[Operation, ...]


def birth(state: Netns, cable: Veth) -> Birth:
    """What leads from a new namespace to `state`; `cable.peer` is born in it with its MTU and MAC."""
    inherited = _inherited(state)
    end = Device(cable.peer, cable.mtu, cable.peer_mac, up=False)
    plan = delta.diff(state, Netns(state.name, sysctls=inherited, links=(Device("lo", up=False), end)))
    early = tuple(step for step in plan if isinstance(step, SysctlOperation) and not delta.device_of_sysctl(step.key))
    return Birth(early, tuple(step for step in plan if step not in early))


def _inherited(state: Netns) -> dict[str, str]:
    """The sysctls of `state` that follow from others of it, which are set first.

    A device begins with the values of `default`; `all.disable_ipv6` sets that of `default` too. Sources:
    net/ipv6/addrconf.c (ipv6_add_dev, addrconf_disable_ipv6), net/ipv4/devinet.c (inetdev_init).
    """
    wanted, found = state.sysctls, {}
    for key, value in wanted.items():
        device = delta.device_of_sysctl(key)
        if device and wanted.get(key.replace(f".{device.replace('.', '/')}.", ".default.")) == value:
            found[key] = value
    every, default = _IPV6_OFF.format("all"), _IPV6_OFF.format("default")
    if every in wanted and wanted.get(default) == wanted[every]:
        found[default] = wanted[default]
    return found
