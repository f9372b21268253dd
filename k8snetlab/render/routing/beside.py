"""BIRD's configuration of a router that Calico's nodes have as a peer.

Nodes are told of pods' blocks alone. Routers tell each other of their links as well, and the first of the way to the
outside: so each finds the way to a node that is the next hop of a block. With several links a router believes of a node
what leads to that node itself: it hears of all others by themselves, or by other routers.
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api import topology
from k8snetlab.api.lab import Lab
from k8snetlab.dataplane.families import pick
from k8snetlab.render.routing.bird import BGP_TIMERS, protocol_of
from k8snetlab.render.routing.speakers import Neighbour, Speaker
from k8snetlab.render.routing.timers import DEVICES, hold


def configuration(lab: Lab, own: Speaker) -> str:
    """The file of a router. Every value in it was read as an address or a number before."""
    devices = ", ".join(f'"{link.device}"' for link in own.devices)
    pods = f"net ~ [ {pick(lab.spec.podCIDR, 'ipv4')}+ ]"
    links = bool(lab.spec.underlay.links)
    known = f"net ~ [ {pick(lab.spec.podCIDR, 'ipv4')}+, {pick(lab.spec.underlay.cidr, 'ipv4')}+, 0.0.0.0/0 ]"
    lines = [
        "log stderr all;",
        f"router id {own.address};",
        "",
        DEVICES,
        f"protocol direct {{ ipv4; interface {devices}; }}",
        "protocol kernel {",
        f"  merge paths on; ipv4 {{ import none; export where source = RTS_BGP && {known if links else pods}; }};",
        "}",
    ]
    if own.first:
        lines += ["protocol static outside {", "  ipv4;", "  route 0.0.0.0/0 blackhole;", "}"]
    timers = _timers(lab, own)
    if links:
        told = 'source != RTS_STATIC || proto = "outside"'
        lines += ["", "template bgp routers {", "  direct;", *timers]
        lines += [f"  ipv4 {{ import all; export where {told}; next hop self; }};", "}"]
    told = f"source = RTS_BGP && {pods}"
    lines += ["", "template bgp nodes {", *timers]
    believed = f"{pods} && bgp_next_hop = from" if links else pods
    lines += [f"  ipv4 {{ gateway recursive; import where {believed}; export where {told}; }};", "}"]
    routers = topology.routers(lab.spec.underlay)
    for other in own.neighbours:
        lines += ["", *_peer(own, other, other.name in routers)]
    return "\n".join(lines) + "\n"


def _timers(lab: Lab, own: Speaker) -> tuple[str, ...]:
    if lab.spec.network.routing.timers == "textbook":
        return ()
    return (f"  {BGP_TIMERS.format(*hold(len(own.neighbours)))}",)


def _peer(own: Speaker, other: Neighbour, is_router: bool) -> Iterator[str]:
    yield f"protocol bgp {protocol_of(other.address)} from {'routers' if is_router else 'nodes'} {{"
    yield f"  local {other.own} as {own.number};"
    yield f"  neighbor {other.address} as {other.number};"
    if not is_router:
        yield f"  {'direct' if other.near else 'multihop'};"
    yield "}"
