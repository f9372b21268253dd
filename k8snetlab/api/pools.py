"""Calico's pools of addresses, and what of them a node holds: its blocks, and the address of its tunnel.

Calico keeps blocks in objects of its own (/calico/ipam/v2 in its store). Here a Node's annotation names those that it
has claimed; its address and that of its tunnel are in the annotations that Calico gives a Node as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from k8snetlab.api.addressing import split
from k8snetlab.api.calico_selector import parse
from k8snetlab.api.core import Node
from k8snetlab.api.lab import IPPool, Lab, Tunnel
from k8snetlab.api.meta import Labels
from k8snetlab.dataplane.families import host, network, parsed, pick
from k8snetlab.dataplane.names import TUNL0, VXLAN_CALICO

PREFIX = "projectcalico.org/"
IPV4_ADDRESS = f"{PREFIX}IPv4Address"
"""Annotation of a Node: its address and the length of its network."""
VXLAN_ADDRESS = f"{PREFIX}IPv4VXLANTunnelAddr"
"""Annotation of a Node: the address of vxlan.calico."""
IPIP_ADDRESS = f"{PREFIX}IPv4IPIPTunnelAddr"
"""Annotation of a Node: the address of tunl0."""
AS_NUMBER, CLUSTER_ID = f"{PREFIX}ASNumber", f"{PREFIX}RouteReflectorClusterID"
"""Annotations of a Node: its autonomous system, where it is not the lab's, and of what cluster it is a reflector."""
TUNNELS: Mapping[Tunnel, str] = {"ipip": IPIP_ADDRESS, "vxlan": VXLAN_ADDRESS}
"""The annotations of both, by what the tunnel speaks."""
DEVICES: Mapping[Tunnel, str] = {"ipip": TUNL0, "vxlan": VXLAN_CALICO}
BLOCKS = "k8snetlab/ipam-blocks"
"""Annotation of a Node: the blocks that it has claimed, separated by commas."""
BORROWED = "k8snetlab/ipam-borrowed"
"""Annotation of a Node: the addresses that its pods and tunnels have of other nodes' blocks."""
MOST = 20
"""Blocks of one node (Calico's maxBlocksPerHost)."""
DEFAULT_POOL = "default-ipv4-ippool"
OVERHEAD: Mapping[Tunnel, int] = {"": 0, "ipip": 20, "vxlan": 50}
"""Octets that a tunnel's headers take."""


def pools(lab: Lab) -> tuple[IPPool, ...]:
    """Those of the lab, each with a name; none where Calico is not its network."""
    network = lab.spec.network
    if not network.calico:
        return ()
    given = network.ipPools or (IPPool(cidr=pick(lab.spec.podCIDR, "ipv4"), natOutgoing=True),)
    return tuple(
        pool if pool.name else replace(pool, name=DEFAULT_POOL if not number else f"ippool-{number + 1}")
        for number, pool in enumerate(given)
    )


def blocks_of(node: Node) -> tuple[str, ...]:
    """The blocks that it has claimed, in the order in which it did."""
    return tuple(split(node.metadata.annotations.get(BLOCKS, "")))


def borrowed_by(node: Node) -> tuple[str, ...]:
    return tuple(split(node.metadata.annotations.get(BORROWED, "")))


def subnets_of(node: Node) -> tuple[str, ...]:
    """What pods of the node have addresses of: its subnets, or its blocks."""
    return node.podCIDRs or blocks_of(node)


def led_to(node: Node) -> tuple[str, ...]:
    """What others have a route to the node for: `subnets_of` it, and each borrowed address."""
    return (*subnets_of(node), *map(host, () if node.podCIDRs else borrowed_by(node)))


def nodes_led_to(nodes: Iterable[Node]) -> Mapping[str, str]:
    """The names of the nodes by the networks that lead to them (`led_to`)."""
    return {network: node.name for node in nodes for network in led_to(node)}


def tunnel_address(node: Node, tunnel: Tunnel = "vxlan") -> str:
    """Of vxlan.calico, or tunl0; "" where the node has none."""
    return node.metadata.annotations.get(TUNNELS[tunnel], "")


def tunnel_addresses(node: Node) -> dict[str, str]:
    """Those of a node's tunnels, with their devices."""
    return {address: DEVICES[tunnel] for tunnel in TUNNELS if (address := tunnel_address(node, tunnel))}


def overhead(lab_pools: tuple[IPPool, ...]) -> int:
    """Octets that tunnels take from the underlay's MTU."""
    return max((OVERHEAD[pool.tunnel] for pool in lab_pools), default=0)


def pool_of(lab: Lab, address: str) -> IPPool | None:
    """The pool that an address is of."""
    found = pools(lab) if address and ":" not in address else ()
    return next((pool for pool in found if parsed(address) in network(pool.cidr)), None)


def unhidden(lab: Lab, address: str) -> IPPool | None:
    """The pool of a pod whose own address is seen outside, where nobody knows the way back to it; else None."""
    pool = pool_of(lab, address)
    return pool if pool and not pool.natOutgoing else None


def kept(annotations: Mapping[str, str]) -> dict[str, str]:
    """Without what is Calico's."""
    return {key: value for key, value in annotations.items() if not key.startswith((PREFIX, "k8snetlab/ipam-"))}


# --- nodeSelector ---------------------------------------------------------------------------------------------------


def selects(selector: str, labels: Labels) -> bool:
    """Whether one of Calico's selectors does. Raises ValueError where it cannot be read."""
    return parse(selector).matches(labels)
