"""One network namespace and everything in it that the lab cares for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from k8snetlab.dataplane.links import Address, Link, Vxlan
from k8snetlab.dataplane.resolution import Resolution
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.dataplane.rules import RuleSet
from k8snetlab.dataplane.sets import IPSet

Role = Literal["node", "pod", "router", "outside"]


class Netns(msgspec.Struct, frozen=True):
    """A namespace as desired, or as read from the kernel: both have this shape, so that `delta.diff` can compare them.

    `name` is what `ip netns exec` takes; `names.HOST_NETNS` of a real machine that is a node. `uid` is
    that of the Node or Pod it is for: one of another uid is another namespace, even of the same name.
    `sysctls` maps "net.ipv4.ip_forward" to "1". `owned` names the devices whose routes and permanent neighbour and FDB
    entries are all ours, so that leftovers on them are stale; so are those of routes into `networks`. `learned` are
    routes that routing daemons made; where the namespace `learns` they are nobody else's business. With `resolutions` a
    miss is answered by an entry that nobody desires; it may be there, but only as it would be answered now.
    """

    name: str
    hostname: str = ""
    role: Role = "node"
    sysctls: Mapping[str, str] = {}
    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    fdb: tuple[FdbEntry, ...] = ()
    owned: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    learned: tuple[Route, ...] = ()
    learns: bool = False
    uid: str = ""

    @property
    def asking(self) -> frozenset[str]:
        """The devices that raise misses."""
        return frozenset(link.name for link in self.links if isinstance(link, Vxlan) and link.l2miss)


class NodeDataplane(msgspec.Struct, frozen=True):
    """All that one node's agent makes: the node's namespace, its iptables rules and the ipsets that they look into,
    and a namespace for each pod on it.

    The lab's own `router` (the underlay's bridge) with its `outside` host is one of these too.
    """

    node: Netns
    rules: tuple[RuleSet, ...] = ()
    pods: tuple[Netns, ...] = ()
    sets: tuple[IPSet, ...] = ()


def joined(parts: Iterable[NodeDataplane]) -> NodeDataplane:
    """The sum of what several want of one node: name, hostname, role and uid are the first one's, all else is put
    together in their order. Of two that set the same sysctl the later one counts.
    """
    parts = tuple(parts)
    nodes = [part.node for part in parts]
    node = msgspec.structs.replace(
        nodes[0],
        sysctls={key: value for one in nodes for key, value in one.sysctls.items()},
        links=tuple(x for one in nodes for x in one.links),
        addresses=tuple(x for one in nodes for x in one.addresses),
        routes=tuple(x for one in nodes for x in one.routes),
        neighbours=tuple(x for one in nodes for x in one.neighbours),
        fdb=tuple(x for one in nodes for x in one.fdb),
        owned=tuple(x for one in nodes for x in one.owned),
        networks=tuple(x for one in nodes for x in one.networks),
        resolutions=tuple(x for one in nodes for x in one.resolutions),
        learns=any(one.learns for one in nodes),
    )
    rules = tuple(x for part in parts for x in part.rules)
    sets = tuple(x for part in parts for x in part.sets)
    return NodeDataplane(node, rules, tuple(x for part in parts for x in part.pods), sets)
