"""What calicoctl prints of a cluster, in its words and columns.

Source: Calico calicoctl/calicoctl/commands (node/status.go, ipam/show.go, ipam/check.go) and resourcemgr.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from k8snetlab.api import pools
from k8snetlab.api.addressing import parse_network
from k8snetlab.api.bgp import BGP, BGPPeer
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.lab import IPPool, Lab
from k8snetlab.api.reserved import Reserved, reserved
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import host, network, parsed
from k8snetlab.messages.routing import RoutingNode

DEFAULT_AS = 64512
Row = Sequence[str]


def status(node: RoutingNode | None) -> str:
    """`node status`; None where a node runs no BIRD. Of one that does not answer it is not said what runs there."""
    if node is None:
        return (
            "Calico process is running.\n\nINFO: BIRDv4 process: 'bird' is not running (all pools have a vxlanMode).\n"
        )
    if node.problem:
        return f"{node.problem}\n"
    rows = [
        (
            one.address,
            one.kind,
            "up" if one.established else "start",
            one.since[:8],
            f"{one.state} {one.info}".strip(),
        )
        for one in node.neighbours
    ]
    peers = boxed(("PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO"), rows) if rows else "No IPv4 peers found.\n"
    return f"Calico process is running.\n\nIPv4 BGP status\n{peers}\nIPv6 BGP status\nNo IPv6 peers found.\n"


class Cluster:
    """What calicoctl reads of its store."""

    def __init__(self, lab: Lab, nodes: Iterable[Node], pods: Iterable[Pod]) -> None:
        self.lab, self.nodes = lab, tuple(nodes)
        self.pods = tuple(pod for pod in pods if pod.ips and not pod.spec.hostNetwork)

    # --- get ---

    def get(self, kind: str, wide: bool) -> str:
        """A table of `ippool`, `node`, `wep`, `bgppeer` or `bgpconfig`."""
        titles, rows = {
            "ippool": self._ippools,
            "node": self._nodes,
            "wep": self._endpoints,
            "bgppeer": self._peers,
            "bgpconfig": self._configuration,
        }[kind](wide)
        return spaced(titles, rows)

    def _ippools(self, wide: bool) -> tuple[Row, list[Row]]:
        if not wide:
            return ("NAME", "CIDR", "SELECTOR"), [(p.name, _cidr(p), p.nodeSelector) for p in pools.pools(self.lab)]
        titles = ("NAME", "CIDR", "NAT", "IPIPMODE", "VXLANMODE", "DISABLED", "DISABLEBGPEXPORT", "SELECTOR")
        return (*titles, "ASSIGNMENTMODE"), [
            (
                p.name,
                _cidr(p),
                _said(p.natOutgoing),
                p.ipipMode,
                p.vxlanMode,
                "false",
                "false",
                p.nodeSelector,
                "Automatic",
            )
            for p in pools.pools(self.lab)
        ]

    def _nodes(self, wide: bool) -> tuple[Row, list[Row]]:
        if not wide:
            return ("NAME",), [(node.name,) for node in self.nodes]
        number = f"({self.lab.spec.network.routing.asNumber})"
        told = ((node.name, node.metadata.annotations) for node in self.nodes)
        return ("NAME", "ASN", "IPV4", "IPV6"), [
            (name, given.get(pools.AS_NUMBER, number), given.get(pools.IPV4_ADDRESS, ""), "") for name, given in told
        ]

    def _endpoints(self, wide: bool) -> tuple[Row, list[Row]]:
        titles = ("WORKLOAD", "NODE", "NETWORKS", "INTERFACE")
        rows: list[Row] = []
        for pod in sorted(self.pods, key=lambda pod: pod.key):
            node, device = pod.spec.nodeName, names.cali(pod.namespace, pod.name)
            row = (pod.name, node, ",".join(map(host, pod.ips)), device)
            profiles = f"kns.{pod.namespace},ksa.{pod.namespace}.{pod.spec.serviceAccountName or 'default'}"
            rows.append((endpoint(node, pod.name), *row, profiles, "") if wide else row)
        if wide:
            return ("NAME", *titles, "PROFILES", "NATS"), rows
        return titles, rows

    def _peers(self, _: bool) -> tuple[Row, list[Row]]:
        """An AS of 0 is, as there, that of the peers themselves."""
        return ("NAME", "PEERIP", "NODE", "ASN"), [
            (name, peer.peerIP, peer.nodeSelector or peer.node or "(global)", str(peer.asNumber or 0))
            for name, peer in self._named_peers()
        ]

    def _named_peers(self) -> Iterator[tuple[str, BGPPeer]]:
        for number, peer in enumerate(self.lab.spec.network.bgp.peers, 1):
            yield peer.name or f"peer-{number}", peer

    def _configuration(self, _: bool) -> tuple[Row, list[Row]]:
        """There is one where something is not the default."""
        mesh = self.lab.spec.network.bgp.nodeToNodeMeshEnabled
        number = self.lab.spec.network.routing.asNumber
        rows: list[Row] = [("default", "Info", _said(mesh), str(number))] if self._is_configured else []
        return ("NAME", "LOGSEVERITY", "MESHENABLED", "ASNUMBER"), rows

    @property
    def _is_configured(self) -> bool:
        bgp = replace(self.lab.spec.network.bgp, peers=())
        return self.lab.spec.network.routing.asNumber != DEFAULT_AS or bgp != BGP()

    def resources(self, kind: str) -> Mapping[str, object]:
        """`get -o yaml` of pools, nodes, peers and the configuration of BGP."""
        name, specs = {
            "ippool": ("IPPool", self._pool_specs),
            "node": ("Node", self._node_specs),
            "bgppeer": ("BGPPeer", self._peer_specs),
            "bgpconfig": ("BGPConfiguration", self._configuration_specs),
        }[kind]
        made = [*specs()]
        items = [
            {"apiVersion": "projectcalico.org/v3", "kind": name, "metadata": {"name": named}, "spec": spec}
            for named, spec in made
        ]
        return {"apiVersion": "projectcalico.org/v3", "items": items, "kind": f"{name}List", "metadata": {}}

    def _pool_specs(self) -> Iterator[tuple[str, object]]:
        for pool in pools.pools(self.lab):
            yield (
                pool.name,
                {
                    "allowedUses": ["Workload", "Tunnel"],
                    "assignmentMode": "Automatic",
                    "blockSize": pool.blockSize,
                    "cidr": _cidr(pool),
                    "ipipMode": pool.ipipMode,
                    "natOutgoing": pool.natOutgoing,
                    "nodeSelector": pool.nodeSelector,
                    "vxlanMode": pool.vxlanMode,
                },
            )

    def _peer_specs(self) -> Iterator[tuple[str, object]]:
        for name, peer in self._named_peers():
            yield name, {key: value for key, value in msgspec.to_builtins(peer).items() if key != "name"}

    def _configuration_specs(self) -> Iterator[tuple[str, object]]:
        if self._is_configured:
            told = msgspec.to_builtins(replace(self.lab.spec.network.bgp, peers=()))
            yield "default", {"asNumber": self.lab.spec.network.routing.asNumber, "logSeverityScreen": "Info", **told}

    def _node_specs(self) -> Iterator[tuple[str, object]]:
        for node in self.nodes:
            given = node.metadata.annotations
            told: dict[str, object] = {"ipv4Address": given.get(pools.IPV4_ADDRESS, "")}
            if number := given.get(pools.AS_NUMBER):
                told["asNumber"] = int(number)
            if cluster := given.get(pools.CLUSTER_ID):
                told["routeReflectorClusterID"] = cluster
            spec: dict[str, object] = {
                "addresses": [{"address": address, "type": "InternalIP"} for address in node.addresses],
                "bgp": told,
                "orchRefs": [{"nodeName": node.name, "orchestrator": "k8s"}],
            }
            if tunnel := pools.tunnel_address(node, "ipip"):
                told["ipv4IPIPTunnelAddr"] = tunnel
            if tunnel := pools.tunnel_address(node):
                spec["ipv4VXLANTunnelAddr"] = tunnel
                spec["vxlanTunnelMACAddr"] = names.felix_mac(node.name)
            yield node.name, spec

    # --- ipam ---

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """(CIDR, node) of each, in order."""
        found = [(block, node.name) for node in self.nodes for block in pools.blocks_of(node)]
        return sorted(found, key=lambda one: (int(parse_network(one[0]).network_address), one[1]))

    @property
    def tunnels(self) -> dict[str, str]:
        return {address: node.name for node in self.nodes for address in pools.tunnel_addresses(node)}

    @property
    def allocated(self) -> list[str]:
        """Of pods and tunnels."""
        return [*(ip for pod in self.pods for ip in pod.ips), *self.tunnels]

    def show(self, with_blocks: bool) -> str:
        """`ipam show`."""
        rows: list[Row] = []
        for pool in pools.pools(self.lab):
            rows.append(("IP Pool", _cidr(pool), *self._share(_cidr(pool))))
            if with_blocks:
                mine = [block for block, _ in self.blocks if _inside(block, pool)]
                rows += [("Block", block, *self._share(block)) for block in dict.fromkeys(mine)]
        return boxed(("GROUPING", "CIDR", "IPS TOTAL", "IPS IN USE", "IPS FREE"), rows, right=(2,))

    def _share(self, cidr: str) -> Row:
        total = network(cidr).num_addresses
        used = sum(parsed(ip) in network(cidr) for ip in self.allocated)
        used += sum(_within(leaked, cidr) for leaked in map(reserved, self.nodes))
        return (str(total), f"{used} ({used / total:.0%})", f"{total - used} ({(total - used) / total:.0%})")

    def show_ip(self, ip: str) -> str:
        """`ipam show --ip`."""
        for pod in self.pods:
            if ip in pod.ips:
                told = {"namespace": pod.namespace, "node": pod.spec.nodeName, "pod": pod.name}
                return _attributes(ip, {**told, "timestamp": pod.metadata.creationTimestamp or ""})
        for node in self.nodes:
            if device := pools.tunnel_addresses(node).get(ip):
                kind = "ipipTunnelAddress" if device == names.TUNL0 else "vxlanTunnelAddress"
                return _attributes(ip, {"node": node.name, "type": kind})
        return f"IP {ip} is not currently assigned\n"

    def check(self) -> tuple[str, int]:
        """`ipam check`, and how many problems it found: blocks that two nodes have, addresses of two workloads, of no
        pool, of no block, and those that are kept for nobody."""
        blocks, given = self.blocks, pools.pools(self.lab)
        twice = sorted(block for block, count in Counter(block for block, _ in blocks).items() if count > 1)
        shared = sorted(ip for ip, count in Counter(self.allocated).items() if count > 1)
        leaked = sum(leaked.size for leaked in map(reserved, self.nodes))
        homeless = [ip for ip in self.allocated if pools.pool_of(self.lab, ip) is None]
        held = [network(block) for block, _ in blocks]
        lost = [ip for ip in self.allocated if ip not in homeless and not any(parsed(ip) in block for block in held)]
        lines = ["Checking IPAM for inconsistencies...", "", "Loading all IPAM blocks..."]
        lines += [f"Found {len(blocks)} IPAM blocks."]
        lines += [f" IPAM block {block} affinity=host:{node}:" for block, node in blocks]
        lines += [f"IPAM blocks record {len(self.allocated) + leaked} allocations.", "", "Loading all IPAM pools..."]
        lines += [*(f"  {_cidr(pool)}" for pool in given), f"Found {len(given)} active IP pools.", ""]
        lines += ["Loading all nodes.", f"Found {len(self.tunnels)} node tunnel IPs.", ""]
        workloads = len(self.allocated) - len(self.tunnels)
        lines += ["Loading all workload endpoints.", f"Found {workloads} workload IPs."]
        lines += [f"Workloads and nodes are using {len(set(self.allocated))} IPs.", ""]
        lines += [f"IPAM block {block} has an affinity to more than one node." for block in twice]
        lines += [f"{ip} is in use by more than one workload." for ip in shared]
        lines += ["Scanning for IPs that are allocated but not actually in use..."]
        lines += [f"Found {leaked} IPs that are allocated in IPAM but not actually in use."]
        lines += ["Scanning for IPs that are in use by a workload or node but not allocated in IPAM..."]
        lines += [f"Found {len(homeless)} in-use IPs that are not in active IP pools."]
        said = "in-use IPs that are in active IP pools but have no corresponding IPAM allocation."
        problems = len(twice) + len(shared) + leaked + len(homeless) + len(lost)
        lines += [f"Found {len(lost)} {said}", "", f"Check complete; found {problems} problems."]
        return "\n".join(lines) + "\n", problems


def endpoint(node: str, pod: str) -> str:
    """The name of a pod's WorkloadEndpoint: dashes inside its parts are doubled."""
    return f"{node.replace('-', '--')}-k8s-{pod.replace('-', '--')}-eth0"


def _cidr(pool: IPPool) -> str:
    return str(network(pool.cidr))


def _said(value: bool) -> str:
    return str(value).lower()


def _inside(block: str, pool: IPPool) -> bool:
    return network(block).network_address in network(pool.cidr)


def _within(leaked: Reserved, cidr: str) -> int:
    """How many of the addresses are in the network."""
    whole = network(cidr)
    first, last = int(whole.network_address), int(whole.broadcast_address)
    ranges = [(int(low), int(high)) for low, high in leaked.ranges if low.version == whole.version]
    return sum(max(0, min(high, last) - max(low, first) + 1) for low, high in ranges)


def _attributes(ip: str, told: Mapping[str, str]) -> str:
    lines = [f"IP {ip} is in use", "Attributes:", *(f"  {key}: {value}" for key, value in sorted(told.items()))]
    return "\n".join(lines) + "\n"


def spaced(titles: Row, rows: Sequence[Row]) -> str:
    """Columns, three spaces apart, as `calicoctl get` prints them."""
    widths = [max(len(row[at]) for row in (titles, *rows)) for at in range(len(titles))]
    lines = (
        "".join(f"{cell:<{width + 3}}" for cell, width in zip(row, widths, strict=True)) for row in (titles, *rows)
    )
    return "".join(f"{line}\n" for line in lines)


def boxed(titles: Row, rows: Sequence[Row], right: Sequence[int] = ()) -> str:
    """A table with lines around it, its titles in the middle of their columns."""
    widths = [max(len(row[at]) for row in (titles, *rows)) for at in range(len(titles))]
    rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    head = "|".join(["", *(f" {title:^{width}} " for title, width in zip(titles, widths, strict=True)), ""])
    body = [
        "|".join(["", *(f" {cell:{'>' if at in right else '<'}{widths[at]}} " for at, cell in enumerate(row)), ""])
        for row in rows
    ]
    return "\n".join([rule, head, rule, *body, rule]) + "\n"
