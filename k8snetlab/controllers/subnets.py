"""Which pod subnets a node gets: flannel's subnet manager's choice.

Source: flannel pkg/subnet/etcd/local_manager.go (tryAcquireLease, allocateSubnet). It takes one of the first 100 free
subnets at random, so that fewer races are lost; here it is the first, and a node that loses a race chooses again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api.addressing import IPNetwork, SubnetRange, free_subnet, parse_networks
from k8snetlab.api.core import Node
from k8snetlab.api.defaults import expanded_nodes
from k8snetlab.api.leases import SubnetLease
from k8snetlab.api.snapshot import Snapshot


def own_leases(snapshot: Snapshot, name: str, addresses: Iterable[str], leases: Iterable[SubnetLease]) -> list[str]:
    """The keys of leases that the node `name` at `addresses` holds, or held when it had another address.

    A lease of a subnet that another node names as its own is that node's, whoever has its address now.
    """
    node = snapshot.get(Node, name)
    known = {*addresses, *(node.addresses if node else ())}
    others = _of_others(snapshot, name)
    return [
        lease.key for lease in leases if known.intersection(lease.addresses) and not _overlap(lease.subnets, others)
    ]


def choose(snapshot: Snapshot, name: str, own: Iterable[str], leases: Iterable[SubnetLease]) -> list[IPNetwork] | None:
    """A pod subnet of each family for the node `name`; None when one has none left.

    In each family that is the subnet that the Lab gives it, else one that it holds a lease of (`own`, keys), else the
    one it had before, else the first that is free. Nodes whose leases have ended keep theirs: they may come back.
    """
    lab, node = snapshot.lab, snapshot.get(Node, name)
    own = set(own)
    mine = [lease for lease in leases if lease.key in own]
    taken = [subnet for lease in leases if lease.key not in own for subnet in lease.subnets]
    taken += _of_others(snapshot, name)
    entries = {entry.name: parse_networks(entry.podCIDR) for entry in expanded_nodes(lab.spec)}
    fixed = entries.pop(name, [])
    taken += [subnet for subnets in entries.values() for subnet in subnets]
    had = [subnet for cidr in node.podCIDRs for subnet in parse_networks(cidr)] if node else []
    chosen = []
    for whole in parse_networks(lab.spec.podCIDR):
        subnets = lab.spec.network.subnets(whole)
        given = [subnet for subnet in fixed if subnet.version == whole.version]
        kept = _usable(subnets, [*(s for lease in mine for s in lease.subnets), *had], taken)
        subnet = given[0] if given else next(kept, None) or free_subnet(subnets, taken)
        if subnet is None:
            return None
        chosen.append(subnet)
    return chosen


def _of_others(snapshot: Snapshot, name: str) -> list[IPNetwork]:
    nodes = snapshot.all(Node).values()
    return [subnet for node in nodes if node.name != name for cidr in node.podCIDRs for subnet in parse_networks(cidr)]


def _usable(subnets: SubnetRange, candidates: Iterable[IPNetwork], taken: Iterable[IPNetwork]) -> Iterator[IPNetwork]:
    return (candidate for candidate in candidates if subnets.has(candidate) and not _overlap([candidate], taken))


def _overlap(some: Iterable[IPNetwork], others: Iterable[IPNetwork]) -> bool:
    others = list(others)
    return any(one.version == other.version and one.overlaps(other) for one in some for other in others)
