"""Addresses for pods, as Calico's IPAM gives them: nodes claim blocks of the pools, pods get the next address of one.

Source: libcalico-go lib/ipam (ipam.go: autoAssign, ipam_block_reader_writer.go: findUsableBlock, ipam_block.go). All
addresses of a block are given, its first and last too. A node takes from its own blocks, then claims one more, up to
20, then takes an address of another node's block, unless `strictAffinity`. Calico begins to look for a free block at a
place that it makes of the node's name; here it is the first one of the pool. Addresses that were freed wait until all
others of the block had their turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from msgspec.structs import replace

from k8snetlab.api import pools
from k8snetlab.api.addressing import split
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.defaults import expanded_nodes
from k8snetlab.api.lab import IPPool, Lab, Tunnel
from k8snetlab.api.reading import LAST_RESERVED
from k8snetlab.api.reserved import Reserved, reserved
from k8snetlab.api.selection import pods_by_ip
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.controllers.changes import Answer, active, each, put
from k8snetlab.controllers.ipam import addressed, refused, without_address

NO_POOL = "no configured Calico pools for node {}"
FULL = "failed to request IPv4 addresses: Assigned 0 out of 1 requested IPv4 addresses; {}"
STRICT = "No more free affine blocks and strict affinity enabled"
EXHAUSTED = "No free addresses in any pool"


def reconcile(now: Snapshot, before: Snapshot | None) -> Iterator[Answer]:
    if not now.lab.spec.network.calico:
        return
    pods = now.changes(Pod, before)
    moved = bool(now.changes(Lab, before)) or any(_moved(name, now, before) for _, name in now.changes(Node, before))
    waiting = {name: [*now.select(Pod, without_address, name).values()] for _, name in now.all(Node)}
    borrowing = any(pools.borrowed_by(node) for node in now.all(Node).values())
    if not moved and not (pods and (borrowing or any(waiting.values()))):
        return
    space = Space(now)
    if moved:
        for pod in space.misplaced():
            waiting.setdefault(pod.spec.nodeName, []).append(pod)
    nodes = [node for node in now.all(Node).values() if moved or borrowing or waiting[node.name]]
    yield from each(nodes, lambda node: _give(space, node, waiting[node.name]), lambda node: node)


def _moved(name: str, now: Snapshot, before: Snapshot | None) -> bool:
    """Whether a node came, went or became another one to pools."""
    new, old = now.get(Node, name), before.get(Node, name) if before else None
    if new is None or old is None:
        return True
    return (new.addresses, new.metadata.labels, _own(new)) != (old.addresses, old.metadata.labels, _own(old))


def _own(node: Node) -> tuple[object, ...]:
    return pools.blocks_of(node), tuple(pools.tunnel_addresses(node)), reserved(node)


def _give(space: Space, node: Node, waiting: Iterable[Pod]) -> Iterator[Answer]:
    space.settle(node)
    for pod in waiting:
        if pod.spec.hostNetwork:
            yield from addressed(pod, node.addresses, node)
        elif ip := space.take(node):
            yield from addressed(pod, (ip,), node)
        else:
            yield from refused(pod, space.why_none(node))
    annotations = space.annotations(node)
    if annotations != node.metadata.annotations:
        yield put(replace(node, metadata=replace(node.metadata, annotations=annotations)))


class Space:
    """The pools of a lab, and who holds what of them. It changes with each address that it gives."""

    def __init__(self, now: Snapshot) -> None:
        self._now = now
        lab = now.lab
        self._strict = lab.spec.network.strictAffinity
        self._pools = [(pool, IPv4Network(pool.cidr, strict=False)) for pool in pools.pools(lab)]
        self.held: dict[IPv4Network, str] = {}
        """Blocks, each with the node that has claimed it."""
        self._last: dict[IPv4Network, int] = {}
        """The offset of the address given last of each block."""
        self._taken: set[str] = set()
        """Addresses of tunnels, and those given since."""
        self._tunnels: dict[tuple[str, Tunnel], str] = {}
        """By node, and by what the tunnel speaks."""
        self._given: dict[str, list[str]] = {}
        """Addresses of pods, by node."""
        self._leaked: list[Reserved] = []
        self._moving: set[Key] = set()
        nodes = now.all(Node)
        for entry in expanded_nodes(lab.spec):
            if ("", entry.name) in nodes:
                self._claim(entry.name, entry.blocks)
        fixed = {*self.held}
        self._twice: dict[str, list[str]] = {}
        """Blocks that a node's annotation has beside another's: nobody takes them from it, as in Calico."""
        for node in nodes.values():
            self._claim(node.name, pools.blocks_of(node))
            self._twice[node.name] = [
                text
                for text in pools.blocks_of(node)
                if (block := _block(text)) in self.held and self.held[block] != node.name and block not in fixed
            ]
            self._taken |= {*pools.tunnel_addresses(node)}
            self._leaked += [leaked] if (leaked := reserved(node)).ranges else []
            for address in split(node.metadata.annotations.get(LAST_RESERVED, "")):
                if block := self._block_of(address):
                    self._last[block] = int(IPv4Address(address)) - int(block.network_address)

    def misplaced(self) -> list[Pod]:
        """Pods whose addresses are of no pool, or of no node."""
        pods = [pod for pod in self._now.all(Pod).values() if pod.ips and active(pod)]
        found = [pod for pod in pods if self._is_misplaced(pod)]
        self._moving = {pod.key for pod in found}
        for pod in pods:
            if not pod.spec.hostNetwork and pod.key not in self._moving and self._block_of(pod.ips[0]) is None:
                self._adopt(pod)
        return found

    def _adopt(self, pod: Pod) -> None:
        """Its node claims the block that its address is of: of another backend, or of a node that has gone."""
        if pool := self._pool_of(pod.ips[0]):
            self._claim(pod.spec.nodeName, (str(IPv4Network((pod.ips[0], pool.blockSize), strict=False)),))

    def _is_misplaced(self, pod: Pod) -> bool:
        if pod.spec.hostNetwork:
            node = self._now.get(Node, pod.spec.nodeName)
            return node is not None and pod.ips != node.addresses
        return len(pod.ips) > 1 or self._pool_of(pod.ips[0]) is None

    def settle(self, node: Node) -> None:
        """Gives the node's tunnels addresses, and takes back those of tunnels that are no more."""
        for tunnel in pools.TUNNELS:
            held = pools.tunnel_address(node, tunnel)
            mine = [pool for pool, _ in self._pools if pool.tunnel == tunnel and self._allows(pool, node)]
            pool = self._pool_of(held) if self._block_of(held) is not None else None
            keeps = pool is not None and pool in mine
            self._tunnels[node.name, tunnel] = held if keeps else self._take(node, mine) if mine else ""

    def take(self, node: Node) -> str:
        """The next address for a pod of the node; "" where there is none."""
        ip = self._take(node, [pool for pool, _ in self._pools if self._allows(pool, node)])
        self._given.setdefault(node.name, []).append(ip)
        return ip

    def why_none(self, node: Node) -> str:
        if not any(self._allows(pool, node) for pool, _ in self._pools):
            return NO_POOL.format(node.name)
        return FULL.format(STRICT if self._strict else EXHAUSTED)

    def annotations(self, node: Node) -> dict[str, str]:
        """The node's, as they are to be."""
        mine = [block for block, owner in self.held.items() if owner == node.name]
        last = [str(block[self._last[block]]) for block in mine if block in self._last]
        borrowed = [ip for ip in self._borrowed(node) if self._block_of(ip) not in mine]
        borrowed = list(dict.fromkeys(borrowed))
        found = dict(node.metadata.annotations)
        told = {
            pools.BLOCKS: ",".join((*map(str, mine), *self._twice.get(node.name, ()))),
            pools.BORROWED: ",".join(borrowed),
            LAST_RESERVED: ",".join(last),
            **{key: self._tunnels.get((node.name, tunnel), "") for tunnel, key in pools.TUNNELS.items()},
        }
        for key, value in told.items():
            if value:
                found[key] = value
            else:
                found.pop(key, None)
        return found

    def _borrowed(self, node: Node) -> list[str]:
        """Addresses of its tunnels, those of pods that it had of other nodes' blocks, and those that it was given."""
        tunnels = (self._tunnels.get((node.name, tunnel), "") for tunnel in pools.TUNNELS)
        had = [*filter(None, tunnels), *(ip for ip in pools.borrowed_by(node) if self._is_pods(ip, node))]
        return [*had, *(ip for ip in self._given.get(node.name, ()) if ip and ip not in had)]

    def _is_pods(self, ip: str, node: Node) -> bool:
        held = self._now.select(Pod, pods_by_ip, ip).values()
        return any(pod.spec.nodeName == node.name and pod.key not in self._moving for pod in held)

    def _allows(self, pool: IPPool, node: Node) -> bool:
        return pools.selects(pool.nodeSelector, node.metadata.labels)

    def _claim(self, node: str, blocks: Iterable[str]) -> None:
        """Those that are blocks of a pool, and nobody's yet."""
        for block in filter(None, map(_block, blocks)):
            if any(block.prefixlen == pool.blockSize and block.subnet_of(cidr) for pool, cidr in self._pools):
                self.held.setdefault(block, node)

    def _pool_of(self, address: str) -> IPPool | None:
        try:
            ip = IPv4Address(address)
        except ValueError:
            return None
        return next((pool for pool, cidr in self._pools if ip in cidr), None)

    def _block_of(self, address: str) -> IPv4Network | None:
        """The one that holds it, where a node has claimed that."""
        if (pool := self._pool_of(address)) is None:
            return None
        block = IPv4Network((address, pool.blockSize), strict=False)
        return block if block in self.held else None

    def _take(self, node: Node, allowed: list[IPPool]) -> str:
        own = [block for block, owner in self.held.items() if owner == node.name]
        for block in own:
            if self._of_any(block, allowed) and (ip := self._next(block)):
                return ip
        if len(own) < pools.MOST and (free := self._free(allowed)):
            self.held[free] = node.name
            return self._next(free)
        if self._strict:
            return ""
        others = [theirs for theirs, owner in self.held.items() if owner != node.name and self._of_any(theirs, allowed)]
        return next((ip for theirs in others if (ip := self._next(theirs))), "")

    def _of_any(self, block: IPv4Network, allowed: list[IPPool]) -> bool:
        return any(pool in allowed and block.subnet_of(cidr) for pool, cidr in self._pools)

    def _free(self, allowed: list[IPPool]) -> IPv4Network | None:
        """The first block that nobody has claimed, and that has an address left."""
        for pool, cidr in self._pools:
            if pool in allowed:
                for block in cidr.subnets(new_prefix=pool.blockSize):
                    if block not in self.held and self._offset(block) is not None:
                        return block
        return None

    def _next(self, block: IPv4Network) -> str:
        """ "" where all are in use."""
        offset = self._offset(block)
        if offset is None:
            return ""
        self._last[block] = offset
        ip = str(block[offset])
        self._taken.add(ip)
        return ip

    def _offset(self, block: IPv4Network) -> int | None:
        first = self._last.get(block, -1) + 1
        size = block.num_addresses
        return next((n for n in (*range(first, size), *range(first)) if not self._is_used(str(block[n % size]))), None)

    def _is_used(self, ip: str) -> bool:
        if ip in self._taken or any(leaked.until(IPv4Address(ip)) is not None for leaked in self._leaked):
            return True
        held = self._now.select(Pod, pods_by_ip, ip)
        return any(key not in self._moving for key in held)


def _block(text: str) -> IPv4Network | None:
    """None for what is no network."""
    try:
        return IPv4Network(text)
    except ValueError:
        return None
