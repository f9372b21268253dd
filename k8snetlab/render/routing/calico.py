"""BIRD's configuration of one node with Calico: what confd makes of Calico's templates, in the words of BIRD 2.

Source: Calico confd/etc/calico/confd/templates (bird.cfg.template, bird_aggr.cfg.template, bird_ipam.cfg.template) and
confd/pkg/backends/calico. Calico's own BIRD is a fork of 1.6; BIRD 2 has channels.

With `timers: textbook` they are Calico's, as are `persist` and graceful restart, by which routes outlive the daemon.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api import bgp_routers, pools
from k8snetlab.api.bgp import BGP
from k8snetlab.api.lab import IPPool, Lab
from k8snetlab.api.peerings import Peering, busiest, peerings
from k8snetlab.dataplane.families import network
from k8snetlab.dataplane.names import CALI, TUNL0
from k8snetlab.dataplane.routing import FELIX
from k8snetlab.render.blocks import Holder, by_felix
from k8snetlab.render.routing import timers

CALICOS = "connect delay time 2; connect retry time 5; error wait time 5,30;"
"""The timers of its template."""


def configuration(lab: Lab, own: Holder, everybody: Iterable[Holder]) -> str:
    """The file of a node, one of `everybody`. Every value in it was read as an address or a number before."""
    given, members, bgp = pools.pools(lab), [one.bgp for one in everybody], lab.spec.network.bgp
    lines = [
        *_aggregation(lab, own),
        *_exports(given, bgp),
        *_programming(lab, own, given),
        "",
        f"router id {own.address};",
        "log stderr all;",
        "",
        *_devices(lab),
        "",
        *_template(lab, own, busiest(bgp, members)),
    ]
    for session in peerings(bgp, members, own.bgp, bgp_routers.members(lab)):
        lines += ["", *_peer(own, session)]
    return "\n".join(lines) + "\n"


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


def _exports(given: Iterable[IPPool], bgp: BGP) -> Iterator[str]:
    """bird_ipam.cfg: to other nodes go addresses of pools, but for those whose routes Felix makes."""
    yield ""
    yield "function apply_communities()"
    yield "{"
    values = {one.name: one.value for one in bgp.communities}
    for told in bgp.prefixAdvertisements:
        added = " ".join(_added(values.get(one, one)) for one in told.communities)
        yield f"  if (net ~ {network(told.cidr)}) then {{ {added} }}"
    yield "}"
    yield ""
    yield "function calico_export_to_bgp_peers(bool internal_peer)"
    yield "{"
    for pool in given:
        if pool.tunnel == "vxlan":
            yield f"  if (net ~ {network(pool.cidr)}) then {{ reject; }}  # VXLAN: Felix makes its routes"
    yield "  apply_communities();"
    yield "  calico_aggr();"
    for pool in given:
        if pool.tunnel != "vxlan":
            yield f"  if (net ~ {network(pool.cidr)}) then {{ accept; }}"
    yield "}"


def _added(value: str) -> str:
    parts = [int(part) for part in value.split(":")]
    attribute = "bgp_community" if len(parts) == 2 else "bgp_large_community"
    return f"{attribute}.add(({', '.join(map(str, parts))}));"


def _programming(lab: Lab, own: Holder, given: Iterable[IPPool]) -> Iterator[str]:
    """With an IPIP pool routes of other nodes lead into tunl0, which has no network: hence onlink."""
    yield ""
    yield "filter calico_kernel_programming"
    yield "{"
    yield "  if (source = RTS_DEVICE) then { reject; }"
    for pool in given:
        inside = f"net ~ {network(pool.cidr)}"
        if by_felix(lab, pool):
            yield f"  if ({inside}) then {{ reject; }}"
        elif pool.tunnel == "ipip":
            near = f" && !(bgp_next_hop ~ {own.link})" if pool.mode == "CrossSubnet" and own.link else ""
            into = f'onlink = true; ifname = "{TUNL0}"; gw = bgp_next_hop; accept;'
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
    yield timers.DEVICES
    yield f'protocol direct {{ ipv4; interface -"{CALI}*", -"kube-ipvs*", "*"; }}'


def _template(lab: Lab, own: Holder, peers: int) -> Iterator[str]:
    """`peers`: of the node with the most, as the shorter of two hold times counts."""
    yield "template bgp bgp_template {"
    yield f"  local {own.address} as {own.bgp.asNumber};"
    yield "  multihop;"
    if lab.spec.network.routing.timers == "textbook":
        yield f"  graceful restart; {CALICOS}"
    else:
        hold, keepalive = timers.hold(peers)
        yield "  connect delay time 1; connect retry time 1; error wait time 1, 5;"
        yield f"  hold time {hold}; keepalive time {keepalive};"
    yield "  ipv4 {"
    yield "    gateway recursive; import all; add paths on;"
    yield "    export filter { calico_export_to_bgp_peers(true); reject; };"
    yield "  };"
    yield "}"


def _peer(own: Holder, session: Peering) -> Iterator[str]:
    mesh = session.kind == "node-to-node mesh"
    yield f"# For peer {f'/host/{session.name}/ip_addr_v4' if mesh else session.name}"
    yield f"protocol bgp {session.protocol} from bgp_template {{"
    yield f"  neighbor {session.address} as {session.asNumber};"
    if session.client:
        yield f"  rr client; rr cluster id {own.bgp.cluster};"
    if session.passive:
        yield "  passive on;  # Mesh is unidirectional, peer will connect to us."
    if session.allows:
        yield f"  allow local as {session.allows};"
    if session.asNumber != own.bgp.asNumber:
        keep = "next hop keep; " if session.keeps else ""
        yield f"  ipv4 {{ {keep}export filter {{ calico_export_to_bgp_peers(false); reject; }}; }};"
    yield "}"
