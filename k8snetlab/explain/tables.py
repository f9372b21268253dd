"""Who put a line into a namespace's tables, and what it does: routes, neighbours, forwarding entries, devices,
connections."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from k8snetlab.api.lab import Lab
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, family_of, network, pick
from k8snetlab.dataplane.names import ETH0
from k8snetlab.dataplane.netns import Role
from k8snetlab.dataplane.routing import FELIX as PROTOCOL
from k8snetlab.kernel.connections import Entry
from k8snetlab.messages.tables import Row, TableName
from k8snetlab.render.calico import PORT as CALICOS_PORT
from k8snetlab.render.uplink import UPLINK
from k8snetlab.trace.directory import Directory
from k8snetlab.trace.owners import UNNAMED, Line

TABLES: tuple[TableName, ...] = ("links", "routes", "neigh", "fdb", "conntrack")
NOBODY, MACHINE = "nobody", "machine"
KERNEL, FLANNEL, CNI, LAB = "kernel", "flannel", "CNI bridge", "k8snetlab"
CALICO, FELIX = "Calico CNI", "Felix"

ENDING = {
    "blackhole": "dropped here, and nobody is told",
    "unreachable": "refused here",
    "prohibit": "refused here",
    "throw": "not looked for in this table",
}
"""Kinds of routes that lead nowhere, as `ip route` writes them before the destination."""

STATES = {
    "PERMANENT": "put in for good, never asked for",
    "REACHABLE": "it answered lately",
    "STALE": "it has not been heard of lately, and is asked again when it is used",
    "DELAY": "it is about to be asked again",
    "PROBE": "it is being asked again",
    "INCOMPLETE": "it is being asked for",
    "FAILED": "nobody answered",
    "NOARP": "no question is needed",
}


class Reader:
    """Explains lines of one namespace of the lab: that of a node or pod, of the router or of the host outside.

    `uplink` is the device by which the node reaches the others. `wanted` are the routes that the lab brings here;
    without it a route is known by its destination and protocol alone.
    """

    def __init__(
        self,
        lab: Lab,
        directory: Directory,
        role: Role,
        uplink: str = UPLINK,
        wanted: Container[Line] | None = None,
    ) -> None:
        self._lab, self._directory, self._role, self._uplink, self._wanted = lab, directory, role, uplink, wanted
        self._foreign = MACHINE if lab.spec.machines and role == "node" else NOBODY
        flannels = tuple(names.vxlan_device(lab.spec.network.vni, family) for family in FAMILIES)
        self._tunnels = (names.TUNL0, names.VXLAN_CALICO) if lab.spec.network.calico else flannels
        self._network = FELIX if lab.spec.network.calico else FLANNEL

    reasons: Mapping[str, str] = {}
    """Why its routing daemon holds a route, by destination."""

    @property
    def _vxlan_port(self) -> int:
        return CALICOS_PORT if self._lab.spec.network.calico else self._lab.spec.network.port

    # --- routes ---

    def route(self, line: str) -> Row:
        """A line of `ip route show`."""
        words = _Words(line)
        dst, via, dev = words.first, words.after("via"), words.after("dev")
        if dst in ENDING and len(words.all) > 1:
            return self._ending(line, words)
        what, hop = self._directory.what(dst), " or ".join(map(self._directory.named, words.all_after("via") or [""]))
        if words.after("proto") == "kernel":
            because = f", because {dev} has the address {words.after('src')}" if words.after("src") else ""
            return Row(line, KERNEL, f"{what or dst}: directly on {dev}{because}")
        if not self._is_wanted(dst, via, dev, words.after("proto")):
            by = f", by {words.after('proto')}" if words.after("proto") else ""
            learned = bool(self._lab.spec.protocol) and words.after("proto") == self._lab.spec.protocol
            why = self.reasons.get("0.0.0.0/0" if dst == "default" else dst if "/" in dst else f"{dst}/32", "")
            heard = f"{', which told of it' if via else ''}{f'; {why}' if why else ''}"
            author = (
                "BIRD, by BGP" if self._role == "router" and self._lab.spec.network.calico else self._lab.spec.author
            )
            owner, told = (author, heard) if learned else (self._foreign, by)
            return Row(line, owner, f"{what or dst}: {f'to {hop}' if via else f'directly on {dev}'}{told}")
        row = self._calico(line, words, what, hop) if self._lab.spec.network.calico else None
        return row or self._brought(line, words, what, hop)

    def _brought(self, line: str, words: _Words, what: str, hop: str) -> Row:
        """A route that the lab brought."""
        dst, via, dev = words.first, words.after("via"), words.after("dev")
        if self._role in ("router", "outside"):
            if dst == "default" or what.startswith("link "):
                return Row(line, LAB, f"{what or 'everything else'}: to {hop}, as the lab has it: by the cheapest way")
            owner = LAB if what else NOBODY
            return Row(line, owner, f"{what or dst}: to {hop}, as a load balancer or BGP would lead it")
        if self._role == "pod":
            known = dst == "default" or what == "the pod network"
            meant = "everything else" if dst == "default" else what or dst
            return Row(line, CNI if known else NOBODY, f"{meant}: to the node, {hop}")
        if dst == "default":
            return Row(line, MACHINE if self._foreign == MACHINE else LAB, f"everything else: to {hop}")
        if dev in self._tunnels and what == "the pod network":
            return Row(line, FLANNEL, "pods of all other nodes: into the tunnel; each address needs a neighbour entry")
        if dev in self._tunnels and what.startswith("pods of "):
            onlink = "; onlink, because no device here has that network" if "onlink" in words.all else ""
            return Row(line, FLANNEL, f"{what}: into the tunnel, to {hop}{onlink}")
        if what.startswith("pods of "):
            return Row(line, FLANNEL, f"{what}: straight to {hop}, without a tunnel")
        return Row(line, self._foreign, f"{what or dst}: {f'to {hop}' if via else f'directly on {dev}'}")

    def _ending(self, line: str, words: _Words) -> Row:
        """A route that leads nowhere."""
        what = self._directory.what(words.all[1]) or words.all[1]
        if (author := self._block(words)) and what.startswith("pods of "):
            return Row(line, author, f"{what}: addresses of the block that no pod has are dropped here")
        return Row(line, self._foreign, f"{what}: {ENDING[words.first]}")

    def _block(self, words: _Words) -> str:
        """Who made the blackhole of a block of Calico's; "" where neither of its programs did."""
        by = words.after("proto") if self._lab.spec.network.calico and words.first == "blackhole" else ""
        return FELIX if by == str(PROTOCOL) else self._lab.spec.author if by and by == self._lab.spec.protocol else ""

    def _calico(self, line: str, words: _Words, what: str, hop: str) -> Row | None:
        """A route that Calico's CNI plugin or Felix made."""
        dst, via, dev = words.first, words.after("via"), words.after("dev")
        if self._role == "pod":
            if dst == "default":
                return Row(line, CALICO, f"everything else: to {via}, which no device has: the node answers for it")
            return Row(line, CALICO, f"{dst}: directly on {dev}, whose other end answers for any address (proxy_arp)")
        if dev in self._directory.ports:
            return Row(line, CALICO, f"{what or dst}: directly on {dev}")
        if dev in (names.VXLAN_CALICO, names.TUNL0):
            return Row(line, FELIX, f"{what or dst}: into the tunnel, to {hop}; onlink, as no device has that network")
        if words.after("proto") == str(PROTOCOL):
            return Row(line, FELIX, f"{what or dst}: straight to {hop}, without a tunnel")
        return None

    def _is_wanted(self, dst: str, via: str, dev: str, protocol: str) -> bool:
        """Whether the lab brought the line, and no routing daemon or person another one to the same place."""
        felix = protocol == str(PROTOCOL) and self._lab.spec.network.calico
        if not felix and protocol not in ("", *UNNAMED):
            return False
        if self._wanted is None:
            return True
        cidr = ("::/0" if ":" in via else "0.0.0.0/0") if dst == "default" else str(network(dst))
        return (cidr, via, dev) in self._wanted

    # --- neighbours ---

    def neighbour(self, line: str) -> Row:
        """A line of `ip neigh show`."""
        words = _Words(line)
        address, dev, mac, state = words.first, words.after("dev"), words.after("lladdr"), words.all[-1]
        what = self._directory.what(address) or address
        if dev not in self._tunnels:
            return Row(line, KERNEL, f"{what}, on {dev}: {STATES.get(state, state)}")
        holder = self._directory.macs.get(mac, "")
        if not holder:
            meaning = f"{what}: no VTEP of this lab has the MAC {mac}" if mac else f"{what}: {STATES.get(state, state)}"
            return Row(line, self._network if not mac else NOBODY, meaning)
        wrong = _node_of(what) not in ("", _node_of(holder))
        lives = f"{what}: its own MAC" if what == holder else f"{what}: the MAC of {holder}"
        meaning = f"{lives}, {STATES.get(state, state)}"
        return Row(line, NOBODY if wrong else self._network, meaning + (": that is another node" if wrong else ""))

    # --- forwarding entries ---

    def forwarding(self, line: str, dev: str) -> Row:
        """A line of `bridge fdb show dev DEV` of a tunnel, or of `bridge fdb show br DEV`."""
        words = _Words(line)
        mac, dst, port = words.first, words.after("dst"), words.after("dev") or dev
        if dst:
            return self._tunnelled(line, mac, dst)
        if int(mac[:2], 16) & 1:
            return Row(line, KERNEL, f"a multicast group that {port} listens to")
        if "permanent" in words.all:
            behind = self._directory.ports.get(port)
            return Row(line, KERNEL, f"{port}'s own address{f' (the port to {behind})' if behind else ''}")
        holder = self._directory.macs.get(mac, "a MAC that nobody here has")
        return Row(line, KERNEL, f"learned: {holder} is behind {port}")

    def _tunnelled(self, line: str, mac: str, dst: str) -> Row:
        holder, node = self._directory.macs.get(mac, ""), self._directory.nodes.get(dst, "")
        outer = f"UDP {self._lab.spec.network.port} to {self._directory.named(dst)}"
        if not holder or not node:
            missing = "no VTEP of this lab has that MAC" if not holder else "no node has that address"
            return Row(line, NOBODY, f"frames for {holder or mac} leave inside {outer}: {missing}")
        wrong = _node_of(holder) != node
        meaning = f"frames for {holder} leave inside {outer}" + (": that is another node" if wrong else "")
        return Row(line, NOBODY if wrong else self._network, meaning)

    # --- devices ---

    def link(self, found: Mapping[str, Any]) -> Row:
        """One object of `ip -d -j addr show`; the line is a shorter one than ip's."""
        name, info = found["ifname"], found.get("linkinfo", {})
        kind, data = info.get("info_kind", ""), info.get("info_data", {})
        addresses = [f"{a['local']}/{a['prefixlen']}" for a in found.get("addr_info", ()) if a.get("scope") != "link"]
        parts = [name, "UP" if "UP" in found.get("flags", ()) else "DOWN", f"mtu {found.get('mtu')}"]
        parts += [found["address"]] if found.get("address") and name != "lo" else []
        parts += [f"master {found['master']}"] if found.get("master") else []
        if kind == "vxlan":
            local = data.get("local") or data.get("local6", "")
            parts.append(f"vxlan id {data.get('id')} local {local} dev {data.get('link')} dstport {data.get('port')}")
        elif kind == "veth" and info.get("info_slave_data", {}).get("hairpin"):
            parts.append("hairpin on")
        return Row(" ".join([*parts, *addresses]), *self._device(name, kind))

    def _device(self, name: str, kind: str) -> tuple[str, str]:
        """Owner and meaning of a device."""
        behind = self._directory.ports.get(name)
        if name == "lo":
            return KERNEL, "loopback"
        calico = self._lab.spec.network.calico
        if behind:
            return CALICO if calico else CNI, f"the node's end of the veth pair to {behind}"
        if name in self._tunnels:
            return self._tunnel(name)
        if name == names.BRIDGE and kind == "bridge":
            return CNI, "the bridge that joins this node's pods; its address is their gateway"
        if name == names.UNDERLAY_BRIDGE and self._role == "router":
            return LAB, "the network that the nodes stand in; its address is the router's"
        if self._role == "router" and kind == "veth":
            return LAB, f"the router's port to {name}"
        if name == ETH0 and self._role == "pod":
            return CALICO if calico else CNI, "the pod's end of the veth pair to its node"
        if self._foreign == MACHINE:
            return MACHINE, "the card towards the other nodes" if name == self._uplink else "the machine's own"
        if name == UPLINK:
            return LAB, "the node's card" if self._role == "node" else "the card towards the router"
        return NOBODY, "neither the lab nor the kernel made it"

    def _tunnel(self, name: str) -> tuple[str, str]:
        if name != names.TUNL0:
            packets = f"what is routed here leaves in UDP packets by {self._uplink}"
            return self._network, f"the VXLAN tunnel endpoint (VTEP): {packets}"
        if self._role == "node" and any(pool.tunnel == "ipip" for pool in self._lab.spec.network.ipPools):
            into = f"what is routed here leaves in other packets by {self._uplink}"
            return self._network, f"the tunnel of IP in IP: {into}"
        return KERNEL, "every namespace has it, where the kernel knows IP in IP"

    # --- connections ---

    def connection(self, entry: Entry) -> Row:
        """A connection of conntrack, with what Service rules and masquerade made of it."""
        asked, answers = entry.original, entry.reply
        if entry.protocol == "udp" and asked.dport == self._vxlan_port:
            tunnelled = f"VXLAN packets from {self._end(asked.src)} to {self._end(asked.dst)}"
            return Row(entry.words(), KERNEL, f"{tunnelled}; those of the other direction count as another connection")
        text = f"{self._end(asked.src)} calls {self._end(asked.dst, asked.dport)}"
        if (answers.src, answers.sport) != (asked.dst, asked.dport):
            text += f"; translated to {self._end(answers.src, answers.sport)}"
        if answers.dst != asked.src:
            text += f"; masqueraded, so that {self._end(answers.dst)} is seen as the client"
        return Row(entry.words(), KERNEL, text + ("" if entry.replied else "; no answer so far"))

    def _end(self, address: str, port: int = 0) -> str:
        where = f"[{address}]" if ":" in address and port else address
        what = self._directory.what(address) or self._directory.what(self._subnet(address))
        return f"{where}{f':{port}' if port else ''}{f' ({what})' if what else ''}"

    def _subnet(self, address: str) -> str:
        """The outside network's CIDR where the address lies in it, else ""."""
        outside = pick(self._lab.spec.underlay.outside, family_of(address))
        if not outside:
            return ""
        cidr = network(outside)
        return str(cidr) if network(address).network_address in cidr else ""


class _Words:
    """A line of iproute2: words, of which some name the next."""

    def __init__(self, line: str) -> None:
        self.all = line.split()
        self.first = self.all[0]

    def after(self, word: str) -> str:
        """The word after `word`, "" where there is none."""
        place = self.all.index(word) + 1 if word in self.all[1:] else 0
        return self.all[place] if 0 < place < len(self.all) else ""

    def all_after(self, word: str) -> list[str]:
        """The words after each `word`."""
        return [after for one, after in itertools.pairwise(self.all) if one == word]


def joined(lines: Iterable[str]) -> Iterator[str]:
    """Routes of several next hops, which ip prints one to a line, each as one line."""
    held: list[str] = []
    for line in lines:
        if held and line.startswith("nexthop "):
            held[-1] += f" {line}"
        else:
            held.append(line)
    yield from held


def _node_of(what: str) -> str:
    """The node that a thing of the directory is on: "node2's VTEP", "pod default/client on node2"."""
    if "'s " in what:
        return what.partition("'s ")[0]
    return what.rpartition(" on ")[2] if " on " in what else ""
