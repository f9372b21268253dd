"""FRR's configuration of one node, in IPv4: zebra, which brings routes into the kernel, and the protocol's own daemon.

Source: FRR's documentation (zebra, ospfd, ripd). A node's file names none of its neighbours: the
protocols find them by multicast, so that a node that comes or goes changes no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from k8snetlab.api.lab import Lab
from k8snetlab.dataplane.families import pick
from k8snetlab.dataplane.names import BRIDGE
from k8snetlab.render.routing.speakers import Attached, Speaker
from k8snetlab.render.routing.speakers import bfd as bfd_pace

ZEBRA, BFDD = "zebra", "bfdd"
PROFILE = "lab"
"""BFD's, by which the protocol's daemon asks for its intervals."""
DAEMONS: Mapping[str, str] = {"ospf": "ospfd", "rip": "ripd"}
"""By protocol."""


def zebra(lab: Lab, speaker: Speaker) -> str:
    """zebra's file. The host outside takes routes to pods alone into its kernel.

    Without nexthop groups `ip route` shows routes as books print them; without link-detect the subnet of a node that
    has no pod yet is announced, too: its bridge has no carrier.
    """
    taken = (
        f"ip prefix-list pods permit {pick(lab.spec.podCIDR, 'ipv4')} le 32",
        "route-map pods permit 10",
        " match ip address prefix-list pods",
        "exit",
        f"ip protocol {lab.spec.network.backend} route-map pods",
    )
    lines = ("no zebra nexthop kernel enable", f"interface {BRIDGE}", " no link-detect", "exit")
    return _file(speaker, (*lines, *(taken if speaker.beyond else ())))


def bfd(speaker: Speaker) -> str:
    """bfdd's file."""
    every, times = bfd_pace(speaker)
    paced = (f"  detect-multiplier {times}", f"  receive-interval {every}", f"  transmit-interval {every}")
    return _file(speaker, ("bfd", f" profile {PROFILE}", *paced, " exit", "exit"))


def configuration(lab: Lab, speaker: Speaker) -> str:
    """The file of the protocol's daemon."""
    return _file(speaker, _PROTOCOLS[lab.spec.network.backend](lab, speaker))


def _file(speaker: Speaker, lines: Iterator[str] | tuple[str, ...]) -> str:
    return "\n".join((f"hostname {speaker.name}", "log stdout", *lines)) + "\n"


def _on_device(lab: Lab, link: Attached) -> Iterator[str]:
    """What OSPF is told of one."""
    routing = lab.spec.network.routing
    yield f"interface {link.device}"
    if link.cost:
        yield f" ip ospf cost {link.cost}"
    if routing.password:
        yield " ip ospf authentication message-digest"
        yield f" ip ospf message-digest-key 1 md5 {routing.password}"
    if routing.bfd:
        yield " ip ospf bfd"
        yield f" ip ospf bfd profile {PROFILE}"
    if routing.timers == "fast":
        yield f" ip ospf network {'point-to-point' if link.pair else 'point-to-multipoint'}"
        yield " ip ospf dead-interval minimal hello-multiplier 4"


def _ospf(lab: Lab, speaker: Speaker) -> Iterator[str]:
    for link in speaker.devices:
        yield from _on_device(lab, link)
    yield "router ospf"
    yield f" ospf router-id {speaker.address}"
    if not lab.spec.underlay.links:
        yield " maximum-paths 1"  # on one link a second way is a detour by another node
    if lab.spec.network.routing.timers == "fast":
        yield " timers throttle spf 0 50 500"
        yield " timers throttle lsa all 0"
        yield " timers lsa min-arrival 0"
    yield f" passive-interface {BRIDGE}"
    for link in speaker.devices:
        yield f" network {link.network} area 0"
    if speaker.first:
        yield " default-information originate always"
    if speaker.subnet:
        yield f" network {speaker.subnet} area 0"


def _rip(lab: Lab, speaker: Speaker) -> Iterator[str]:
    if password := lab.spec.network.routing.password:
        yield from ("key chain lab", " key 1", f"  key-string {password}", " exit", "exit")
        for link in speaker.devices:
            yield f"interface {link.device}"
            yield " ip rip authentication mode md5"
            yield " ip rip authentication key-chain lab"
    yield "router rip"
    yield " version 2"
    if lab.spec.network.routing.timers == "fast":
        yield " timers basic 5 15 5"
    for link in speaker.devices:
        yield f" network {link.device}"
    if speaker.first:
        yield " default-information originate"
    if lab.spec.underlay.links:
        yield " allow-ecmp"
    yield f" network {BRIDGE}"
    yield f" passive-interface {BRIDGE}"


_PROTOCOLS = {"ospf": _ospf, "rip": _rip}
