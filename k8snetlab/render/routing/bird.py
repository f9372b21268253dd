"""BIRD 2's configuration of one node.

Source: the BIRD 2.0 User's Guide. BGP is a mesh: a session between any two nodes of one autonomous system. Names of
protocols are those that Calico's confd writes: Node_, and the neighbour's address with _ for its dots and colons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, ip_address

import msgspec

from k8snetlab.api import topology
from k8snetlab.api.lab import Lab
from k8snetlab.dataplane.families import family_of, pick
from k8snetlab.dataplane.names import BRIDGE, OUTSIDE, ROUTER
from k8snetlab.dataplane.rules import Family
from k8snetlab.render.routing.speakers import Speaker, bfd
from k8snetlab.render.routing.timers import DEVICES, hold

BGP_TIMERS = "connect delay time 1; connect retry time 1; error wait time 1, 5; hold time {}; keepalive time {};"
OSPF_SECONDS = (1.0, 3.0)
"""Of hello and dead, when they are fast."""
OSPF_TIMERS = "type broadcast; hello 1; dead 3; wait 2; retransmit 2;"
RIP_TIMERS = "update time 1; timeout time 3; garbage time 3;"


class Services(msgspec.Struct, frozen=True):
    """Addresses of load balancers, as networks: those that a node tells the router of, and, on the router, the pool
    that they are of."""

    told: Mapping[Family, tuple[str, ...]] = {}
    pool: tuple[str, ...] = ()


NONE = Services()


def configuration(lab: Lab, speakers: Sequence[Speaker], services: Services = NONE) -> str:
    """The file of a node that is each of `speakers` in one family. Every value in it was read as an address or a
    number before."""
    channels = ["ipv4" if one.family == "ipv4" else "ipv6" for one in speakers]
    write = _PROTOCOLS[lab.spec.spoken]
    lines = [
        "log stderr all;",
        f"router id {identity([one.address for one in speakers])};",
        "",
        DEVICES,
        _direct(speakers[0], channels),
        *(_bfd(speakers) if lab.spec.network.routing.bfd else ()),
        *(_kernel(lab, one, channel, services) for one, channel in zip(speakers, channels, strict=True)),
    ]
    for one, channel in zip(speakers, channels, strict=True):
        lines += ["", *_told(channel, services.told.get(one.family, ())), *(_outside(channel) if one.first else ())]
        lines += write(lab, one, channel)
    return "\n".join(lines) + "\n"


def protocol_of(address: str) -> str:
    """The name of the session with a neighbour."""
    return f"Node_{address.replace('.', '_').replace(':', '_')}"


def identity(addresses: Sequence[str]) -> str:
    """The router id of a node with these addresses: that of IPv4; for one without, a number of that form made of its
    IPv6 address."""
    if four := next((one for one in addresses if family_of(one) == "ipv4"), ""):
        return four
    return str(IPv4Address(int(ip_address(addresses[0])) & 0x7FFFFFFF | 1))


def _direct(speaker: Speaker, channels: Iterable[str]) -> str:
    """The networks of the node's own devices: known, so that nobody else's word on them counts."""
    devices = ", ".join(f'"{name}"' for name in (BRIDGE, *(link.device for link in speaker.devices)))
    return f"protocol direct {{ {''.join(f'{channel}; ' for channel in channels)}interface {devices}; }}"


def _kernel(lab: Lab, speaker: Speaker, channel: str, services: Services) -> str:
    """Into the kernel goes what leads to pods and, on the router, to Services: by all ways that are as good."""
    pool = [cidr for cidr in services.pool if family_of(cidr) == speaker.family]
    wanted = ", ".join(f"{cidr}+" for cidr in (pick(lab.spec.podCIDR, speaker.family), *pool))
    if lab.spec.underlay.links and not speaker.beyond:
        wanted += f", {pick(lab.spec.underlay.cidr, speaker.family)}+, 0.0.0.0/0"
    known = f"source != RTS_DEVICE && source != RTS_STATIC && net ~ [ {wanted} ]"
    merged = "merge paths on; " if pool or lab.spec.underlay.links else ""
    return f"protocol kernel {{ {merged}{channel} {{ import none; export where {known}; }}; }}"


def _bfd(speakers: Sequence[Speaker]) -> Iterator[str]:
    every, times = max(map(bfd, speakers))
    pace = f"min rx interval {every} ms; min tx interval {every} ms; multiplier {times};"
    yield f'protocol bfd {{ interface "*" {{ {pace} }}; }}'


def _outside(channel: str) -> Iterator[str]:
    """The first router's way to everything else, for all others: known to BIRD alone here, too."""
    yield "protocol static outside {"
    yield f"  {channel};"
    yield "  route 0.0.0.0/0 blackhole;"
    yield "}"


def _told(channel: str, addresses: Sequence[str]) -> Iterator[str]:
    """They are on no device: known to BIRD alone, which tells of them and brings them into no kernel."""
    if addresses:
        yield f"protocol static services_{channel} {{"
        yield f"  {channel};"
        yield from (f"  route {address} blackhole;" for address in addresses)
        yield "}"


def _bgp(lab: Lab, speaker: Speaker, channel: str) -> Iterator[str]:
    routing = lab.spec.network.routing
    template = f"nodes_{channel}"
    yield f"template bgp {template} {{"
    several = bool(lab.spec.underlay.links) or topology.is_beyond_told(lab.spec)
    if not several:
        yield f"  local {speaker.address} as {speaker.number};"
    yield "  direct;"
    if routing.timers == "fast":
        yield f"  {BGP_TIMERS.format(*hold(len(speaker.neighbours)))}"
    if routing.bfd:
        yield "  bfd on;"
    if routing.password:
        yield f'  password "{routing.password}";'
    pods = f'source = RTS_DEVICE && ifname = "{BRIDGE}"' if lab.spec.network.routed else "false"
    told = 'source != RTS_STATIC || proto = "outside"' if not speaker.subnet and lab.spec.underlay.links else pods
    told = "false" if speaker.beyond else told
    yield f"  {channel} {{ import all; export where {told}; next hop self; }};"
    yield "}"
    for other in speaker.neighbours:
        yield f"protocol bgp {protocol_of(other.address)} from {template} {{"
        if several:
            yield f"  local {other.own} as {speaker.number};"
        yield f"  neighbor {other.address} as {other.number};"
        if other.number != speaker.number and speaker.subnet:
            yield "  allow local as 1;"  # all nodes are of one autonomous system
        if other.name == OUTSIDE:
            yield f"  {channel} {{ import none; export where source = RTS_BGP; }};"
        if other.name == ROUTER and lab.spec.loadBalancer.mode == "bgp":
            yield f'  {channel} {{ export where ({pods}) || proto = "services_{channel}"; }};'
        yield "}"


def _signed(lab: Lab) -> str:
    """Of a device, by OSPF or RIP."""
    password = lab.spec.network.routing.password
    return f'authentication cryptographic; password "{password}" {{ algorithm keyed md5; }}; ' if password else ""


def _watched(lab: Lab) -> str:
    """Of a device, by BFD."""
    return "bfd on; " if lab.spec.network.routing.bfd else ""


def _ospf(lab: Lab, speaker: Speaker, channel: str) -> Iterator[str]:
    timers = f"{OSPF_TIMERS} " if lab.spec.network.routing.timers == "fast" else "type broadcast; "
    told = 'where proto = "outside"' if speaker.first else "none"
    yield f"protocol ospf {'v2' if channel == 'ipv4' else 'v3'} ospf_{channel} {{"
    yield f"  {channel} {{ import all; export {told}; }};"
    yield "  area 0 {"
    for link in speaker.devices:
        cost = f"cost {link.cost}; " if link.cost else ""
        kind = timers.replace("type broadcast", "type ptp") if link.pair else timers
        yield f'    interface "{link.device}" {{ {kind}{cost}{_watched(lab)}{_signed(lab)}}};'
    if speaker.subnet:
        # Of the bridge only its address would be announced while no pod is on it.
        yield f"    stubnet {speaker.subnet};"
    yield "  };"
    yield "}"


def _rip(lab: Lab, speaker: Speaker, channel: str) -> Iterator[str]:
    version = "version 2; " if channel == "ipv4" else ""
    timers = f"{RIP_TIMERS} " if lab.spec.network.routing.timers == "fast" else ""
    yield f"protocol rip{'' if channel == 'ipv4' else ' ng'} rip_{channel} {{"
    told = f'source = RTS_RIP || ifname = "{BRIDGE}"'
    if lab.spec.underlay.links:
        told = "source = RTS_RIP || source = RTS_DEVICE" + (' || proto = "outside"' if speaker.first else "")
    yield f"  {channel} {{ import all; export where {told}; }};"
    for link in speaker.devices:
        yield f'  interface "{link.device}" {{ {version}{timers}{_watched(lab)}{_signed(lab)}}};'
    yield "}"


_PROTOCOLS = {"bgp": _bgp, "ospf": _ospf, "rip": _rip}
