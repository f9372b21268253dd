"""What of Calico's pools each node holds, for whoever makes routes to that."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k8snetlab.api import pools, topology
from k8snetlab.api.core import Node
from k8snetlab.api.lab import IPPool, Lab
from k8snetlab.api.peerings import Member
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import host, network, parsed, pick


class Held(msgspec.Struct, frozen=True):
    """A block, or an address of another node's block with its length of 32, and the pool that it is of."""

    cidr: str
    pool: IPPool


class Holder(msgspec.Struct, frozen=True):
    """A node, with its address and the network that this is of ("" for none), its blocks, the addresses that its pods
    have of others' blocks, the addresses of its tunnels, and what BGP knows of it."""

    name: str
    address: str
    link: str
    blocks: tuple[Held, ...]
    borrowed: tuple[Held, ...]
    vxlan: str
    ipip: str
    bgp: Member

    def is_beside(self, other: Holder) -> bool:
        """Whether the other's address is of the network of its own: Calico asks for no more (its "subnet")."""
        return bool(self.link) and parsed(other.address) in network(self.link)

    @property
    def led_to(self) -> tuple[Held, ...]:
        """All that other nodes have a route to this one for."""
        return (*self.blocks, *self.borrowed)


def holders(snapshot: Snapshot) -> dict[str, Holder]:
    """By name, all nodes that have an address; none where Calico is not the network."""
    given = pools.pools(snapshot.lab)
    if not given:
        return {}
    return {
        node.name: Holder(
            node.name,
            address,
            topology.network_of(snapshot.lab.spec.underlay, node.name),
            tuple(_held(pools.blocks_of(node), given)),
            tuple(_held(map(host, pools.borrowed_by(node)), given)),
            pools.tunnel_address(node),
            pools.tunnel_address(node, "ipip"),
            _member(snapshot.lab, node, address),
        )
        for node in snapshot.all(Node).values()
        if (address := pick(node.addresses, "ipv4")) and node.network_available
    }


def _member(lab: Lab, node: Node, address: str) -> Member:
    told = node.metadata.annotations
    number = int(told.get(pools.AS_NUMBER, lab.spec.network.routing.asNumber))
    return Member(node.name, address, node.metadata.labels, number, told.get(pools.CLUSTER_ID, ""))


def _held(cidrs: Iterator[str] | tuple[str, ...] | map[str], given: tuple[IPPool, ...]) -> Iterator[Held]:
    for cidr in cidrs:
        base = network(cidr).network_address
        if pool := next((pool for pool in given if base in network(pool.cidr)), None):
            yield Held(cidr, pool)


def by_felix(lab: Lab, pool: IPPool) -> bool:
    """Whether Felix makes the routes of a pool, else BIRD does."""
    return pool.tunnel == "vxlan" or (pool.tunnel == "ipip" and lab.spec.network.routing.routes == "current")


def tunnelled(pool: IPPool, own: Holder, other: Holder) -> bool:
    """Whether what a node sends to another one's pods of the pool is carried in other packets."""
    return pool.mode == "Always" or (pool.mode == "CrossSubnet" and not own.is_beside(other))
