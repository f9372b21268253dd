"""BIRD's configuration of one node with Calico: what confd makes of Calico's templates, in the words of BIRD 2.

Source: Calico confd/etc/calico/confd/templates (bird.cfg.template, bird_aggr.cfg.template, bird_ipam.cfg.template) and
confd/pkg/backends/calico. Calico's own BIRD is a fork of 1.6; BIRD 2 has channels.

With `timers: textbook` they are Calico's, as are `persist` and graceful restart, by which routes outlive the daemon.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api import pools
from k8snetlab.api.lab import IPPool, Lab
from k8snetlab.dataplane.families import network, pick
from k8snetlab.dataplane.names import CALI, TUNL0
from k8snetlab.dataplane.routing import FELIX
from k8snetlab.render.blocks import Holder, by_felix

CALICOS = "connect delay time 2; connect retry time 5; error wait time 5,30;"
"""The timers of its template."""
FAST, CALMER = (3, 1), (9, 3)
"""Seconds of hold and keepalive."""
CALM = 10
"""With more neighbours than this a node is calmer."""


def configuration(lab: Lab, own: Holder, others: Iterable[Holder]) -> str:
    """The file of a node. Every value in it was read as an address or a number before."""
    given = pools.pools(lab)
    others = tuple(others)
    lines = [
        *_aggregation(lab, own),
        *_exports(given),
        *_programming(lab, given),
        "",
        f"router id {own.address};",
        "log stderr all;",
        "",
        *_devices(lab),
        "",
        *_template(lab, own, len(others)),
    ]
    for other in others:
        lines += ["", *_peer(own, other)]
    return "\n".join(lines) + "\n"


def protocol_of(address: str) -> str:
    """The name of the session with another node of the mesh."""
    return f"Mesh_{address.replace('.', '_').replace(':', '_')}"


def _aggregation(lab: Lab, own: Holder) -> Iterator[str]:
    """bird_aggr.cfg: each block as one route, which goes nowhere where no pod's route is longer."""
    told = [held for held in own.blocks if held.pool.tunnel != "vxlan"]
    blocks = [held.cidr for held in told]
    if made := [held.cidr for held in told if not by_felix(lab, held.pool)]:
        yield "protocol static {"
        yield "  ipv4;"
        yield from (f"  route {cidr} blackhole;" for cidr in made)
        yield "}"
        yield ""
    yield "# What is in a block of this node is told of as that block, and not by itself."
    yield "function calico_aggr()"
    yield "{"
    for cidr in blocks:
        yield f"  if (net = {cidr}) then {{ accept; }}"
        yield f"  if (net ~ {cidr}) then {{ reject; }}"
    yield "}"


def _exports(given: Iterable[IPPool]) -> Iterator[str]:
    """bird_ipam.cfg: to other nodes go addresses of pools, but for those whose routes Felix makes."""
    yield ""
    yield "function calico_export_to_bgp_peers(bool internal_peer)"
    yield "{"
    for pool in given:
        if pool.tunnel == "vxlan":
            yield f"  if (net ~ {network(pool.cidr)}) then {{ reject; }}  # VXLAN: Felix makes its routes"
    yield "  calico_aggr();"
    for pool in given:
        if pool.tunnel != "vxlan":
            yield f"  if (net ~ {network(pool.cidr)}) then {{ accept; }}"
    yield "}"


def _programming(lab: Lab, given: Iterable[IPPool]) -> Iterator[str]:
    """With an IPIP pool routes of other nodes lead into tunl0, which has no network: hence onlink."""
    link = pick(lab.spec.underlay.cidr, "ipv4")
    yield ""
    yield "filter calico_kernel_programming"
    yield "{"
    yield "  if (source = RTS_DEVICE) then { reject; }"
    for pool in given:
        inside = f"net ~ {network(pool.cidr)}"
        if by_felix(lab, pool):
            yield f"  if ({inside}) then {{ reject; }}"
        elif pool.tunnel == "ipip":
            near = f" && !(bgp_next_hop ~ {link})" if pool.mode == "CrossSubnet" and link else ""
            into = f'ifname = "{TUNL0}"; gw = bgp_next_hop; onlink = true; accept;'
            yield f"  if ({inside} && source = RTS_BGP{near}) then {{ {into} }}"
    yield "  accept;"
    yield "}"


def _devices(lab: Lab) -> Iterator[str]:
    """Metric 0 is what the fork writes, where BIRD 2 has 32."""
    learned = "all"
    if any(by_felix(lab, pool) and pool.tunnel == "ipip" for pool in pools.pools(lab)):
        learned = f"filter {{ if (krt_source = {FELIX}) then reject; accept; }}"  # told to others, they would go around
    channel = f"import {learned}; export filter calico_kernel_programming;"
    kernel = f"learn; metric 0; scan time 2; merge paths on; ipv4 {{ {channel} }};"
    textbook = lab.spec.network.routing.timers == "textbook"
    yield f"protocol kernel {{ {'persist; graceful restart; ' if textbook else ''}{kernel} }}"
    yield "protocol device { scan time 2; }"
    yield f'protocol direct {{ ipv4; interface -"{CALI}*", -"kube-ipvs*", "*"; }}'


def _template(lab: Lab, own: Holder, peers: int) -> Iterator[str]:
    yield "template bgp bgp_template {"
    yield f"  local {own.address} as {lab.spec.network.routing.asNumber};"
    yield "  multihop;"
    if lab.spec.network.routing.timers == "textbook":
        yield f"  graceful restart; {CALICOS}"
    else:
        hold, keepalive = CALMER if peers > CALM else FAST
        yield "  connect delay time 1; connect retry time 1; error wait time 1, 5;"
        yield f"  hold time {hold}; keepalive time {keepalive};"
    yield "  ipv4 {"
    yield "    gateway recursive; import all; add paths on;"
    yield "    export filter { calico_export_to_bgp_peers(true); reject; };"
    yield "  };"
    yield f"  neighbor as {lab.spec.network.routing.asNumber};"
    yield "}"


def _peer(own: Holder, other: Holder) -> Iterator[str]:
    """One of the two waits for the other: the one whose address, as text, is less."""
    yield f"# For peer /host/{other.name}/ip_addr_v4"
    yield f"protocol bgp {protocol_of(other.address)} from bgp_template {{"
    yield f"  neighbor {other.address};"
    if other.address > own.address:
        yield "  passive on;  # Mesh is unidirectional, peer will connect to us."
    yield "}"
