"""Blocks of Calico's pools that two nodes have, and what routes of blocks were left behind.

Either way two nodes tell others of one block (projectcalico/calico#6486, #6867): each of them drops what is for the
other's pods, and all others send it to both in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api import pools
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.selection import pods_by_node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import network, parsed, same_family
from k8snetlab.dataplane.names import node_netns
from k8snetlab.dataplane.routing import FELIX
from k8snetlab.dataplane.view import RouteEntry
from k8snetlab.diagnose.finding import Finding, Where


def twice(snapshot: Snapshot) -> Iterator[Finding]:
    """A finding for each block that several nodes have claimed, on the one that uses it least."""
    claims: dict[str, list[Node]] = {}
    for node in snapshot.all(Node).values() if snapshot.lab.spec.network.calico else ():
        for block in pools.blocks_of(node):
            claims.setdefault(block, []).append(node)
    for block, nodes in claims.items():
        if len(nodes) < 2:
            continue
        wrong = min(nodes, key=lambda node: _used(snapshot, node, block))
        others = " and ".join(node.name for node in nodes if node is not wrong)
        left = ",".join(one for one in pools.blocks_of(wrong) if one != block)
        yield Finding(
            kind="route",
            fault="twice",
            node=wrong.name,
            object=block,
            message=f"{wrong.name}: block {block} is its own, and that of {others} too: each tells others of it",
            consequence=f"what {wrong.name} sends to {others}'s pods in it ends in its blackhole, and other nodes send "
            "to both in turn",
            show="k8snetlab calicoctl ipam check",
            mend=f"kubectl annotate --overwrite node {wrong.name} {pools.BLOCKS}={left}",
            netns=node_netns(snapshot.lab.name, wrong.name),
        )


def _used(snapshot: Snapshot, node: Node, block: str) -> int:
    """How many addresses of a block are those of a node's pods and tunnels."""
    pods = [ip for pod in snapshot.select(Pod, pods_by_node, node.name).values() for ip in pod.ips]
    whole = network(block)
    return sum(same_family(block, ip) and parsed(ip) in whole for ip in (*pods, *pools.tunnel_addresses(node)))


def leaked(snapshot: Snapshot, where: Where, entries: Iterable[RouteEntry]) -> Iterator[Finding]:
    """A node's routes that lead what is for pods to nowhere, and that none of Calico's programs has made: of a block
    that it had once. BIRD takes them for its node's, and tells others of them."""
    lab = snapshot.lab
    if not lab.spec.network.calico:
        return
    made = (lab.spec.protocol, str(FELIX))
    holders = {block: node.name for node in snapshot.all(Node).values() for block in pools.blocks_of(node)}
    for entry in entries:
        if entry.kind == "unicast" or entry.table != "main" or entry.kernel or entry.protocol in made:
            continue
        if not any(same_family(pool.cidr, entry.dst) and _is_inside(entry.dst, pool.cidr) for pool in pools.pools(lab)):
            continue
        holder = holders.get(str(network(entry.dst)), "no node")
        whose = f"{holder}'s" if holder != where.node else "its own, and has a blackhole"
        yield Finding(
            kind="route",
            fault="leaked",
            node=where.node,
            object=str(network(entry.dst)),
            message=f"{where.place}: a {entry.kind} for {entry.dst} was left behind; that block is {whose}",
            consequence=f"packets to its pods end in {where.place}, and BIRD tells others that they are there",
            show=f"ip -n {where.netns} route show {entry.dst}",
            mend=f"ip -n {where.netns} route del {entry.kind} {entry.dst}",
            netns=where.netns,
        )


def _is_inside(dst: str, cidr: str) -> bool:
    return network(dst).subnet_of(network(cidr))  # type: ignore[arg-type]
