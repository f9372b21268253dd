"""One link-layer segment: who answers for an address, and where a bridge or a tunnel sends a frame."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.dataplane.view import Interface, View, Views
from k8snetlab.trace.owners import NOBODY, Owners
from k8snetlab.trace.way import Decision


class Segments:
    """The link-layer segments of all namespaces, and who is on which."""

    def __init__(self, views: Views, owners: Owners) -> None:
        self.views, self.owners = views, owners

    def neighbour(self, view: View, dev: Interface, address: str) -> tuple[str, Decision]:
        """The MAC that a frame for `address` gets, "" when none can be found out."""
        entry, owner = view.neighbour(dev.name, address), self.owners.of_address(address)
        if entry and entry.usable:
            text = f"{address} is at {entry.lladdr} ({entry.state.lower()})"
            return entry.lladdr, Decision("neighbour", text, entry.words(), owner)
        if dev.kind == "vxlan":
            mac = _vtep(self.views, address, dev) if dev.asks else ""
            if mac:
                text = f"no entry for {address}: the agent is asked (l3 miss) and says {mac}"
                return mac, Decision("neighbour", text, owner=owner)
            return "", Decision("neighbour", f"no neighbour entry for {address} on {dev.name}, and nobody can be asked")
        mac = _answers(self.views, view, dev, address)
        if mac:
            text = f"no entry yet: who has {address} is asked, and {mac} answers"
            return mac, Decision("neighbour", text, owner=owner)
        return "", Decision("neighbour", f"nobody on {dev.name} answers for {address}")

    def port_of(self, view: View, bridge: str, mac: str, dst: str) -> tuple[Interface | None, Decision]:
        """The port that a frame for `mac` leaves by; what = "flood" when the bridge does not know and tries all."""
        entry, owner = view.port(bridge, mac), self.owners.of_address(dst)
        owner = "the kernel, which learns" if owner == NOBODY else owner
        if entry and entry.dev in view.interfaces and entry.dev != bridge:
            text = f"{bridge} sends to port {entry.dev}"
            return view.interfaces[entry.dev], Decision("port", text, entry.words(), owner)
        home = self.views.home(dst)
        ports = [i for i in view.interfaces.values() if i.master == bridge and i.peer]
        for port in sorted(ports, key=lambda p: p.peer is None or p.peer[0] != home):
            assert port.peer is not None
            station = self.views[port.peer[0]].interfaces.get(port.peer[1])
            if station and mac in _macs(self.views[port.peer[0]], station):
                text = f"{bridge} has to learn where {mac} is, or flood: {port.name} leads there"
                return port, Decision("flood", text, owner=owner)
        return None, Decision("flood", f"{bridge} does not know {mac} and floods; nobody takes it")

    def far_end(self, view: View, tunnel: Interface, mac: str, dst: str) -> tuple[str, Decision]:
        """The underlay address that a tunnel sends frames for `mac` to, "" when none can be found out."""
        entry = view.tunnel(tunnel.name, mac)
        remote = entry.dst if entry else _resolved(self.views, tunnel, mac, dst)
        if not remote:
            return "", Decision("fdb", f"{tunnel.name} has no FDB entry for {mac}, so it does not know where to send")
        text = f"{mac} is behind {remote}" + ("" if entry else " (l2 miss: the agent says)")
        return remote, Decision("fdb", text, entry.words() if entry else "", self.owners.of_address(remote))


def _answers(views: Views, view: View, dev: Interface, address: str) -> str:
    """The MAC of the station on `dev`'s segment that holds `address`."""
    for netns, name in _stations(views, view, dev, address):
        other = views[netns]
        device = other.interfaces.get(name)
        if device and device.up and (address in other.own or address in other.announced):
            return other.interfaces[device.master].mac if device.master else device.mac
    return _on_behalf(views, dev, address)


def _on_behalf(views: Views, dev: Interface, address: str) -> str:
    """The MAC of the other end of a cable, where it answers for addresses that its namespace routes by other devices
    (proxy_arp; the kernel's arp_process)."""
    other = views[dev.peer[0]] if dev.peer and ":" not in address else None
    end = other.interfaces.get(dev.peer[1]) if other and dev.peer else None
    if other is None or end is None or not end.up or end.master:
        return ""
    keys = (f"net.ipv4.conf.{name}.proxy_arp" for name in ("all", end.name.replace(".", "/")))
    if all(other.sysctl(key) == "0" for key in keys) or not other.forwards_from(end.name, address):
        return ""
    route, _ = other.route(address)
    away = route is not None and route.kind == "unicast" and end.name not in route.devices
    return end.mac if away else ""


def _stations(views: Views, view: View, dev: Interface, address: str) -> Iterator[tuple[str, str]]:
    """The devices worth asking: the other end of a cable and, beyond bridges, where the address should be."""
    home = views.home(address)
    bridges = [(view, dev.name)] if dev.kind == "bridge" else []
    if address in dev.beyond:
        yield dev.beyond[address]
    if dev.peer:
        yield dev.peer
        other = views[dev.peer[0]]
        end = other.interfaces.get(dev.peer[1])
        if end and end.master:
            bridges.append((other, end.master))
    for at, bridge in bridges:
        for port in at.interfaces.values():
            if port.master == bridge and port.peer and port.peer[0] == home and port.running:
                yield port.peer


def _vtep(views: Views, address: str, dev: Interface) -> str:
    """The MAC of the tunnel's end on the node that holds `address`, or that the pod with it is plugged into."""
    home = views.home(address)
    if home is None:
        return ""
    if views[home].kind == "pod":
        home = next((i.peer[0] for i in views[home].interfaces.values() if i.peer), home)
    end = views[home].interfaces.get(dev.name)
    return end.mac if end and end.kind == "vxlan" else ""


def _resolved(views: Views, tunnel: Interface, mac: str, dst: str) -> str:
    """The agent's answer: the address of the tunnel's end with this MAC, on the node of `dst`."""
    home = views.home(dst) if tunnel.asks else None
    nodes = {home} | {i.peer[0] for i in views[home].interfaces.values() if i.peer} if home else set()
    ends = (i for n in nodes if n for i in views[n].interfaces.values() if i.kind == "vxlan")
    return next((i.local for i in ends if i.mac == mac), "")


def _macs(view: View, station: Interface) -> set[str]:
    return {station.mac} | ({view.interfaces[station.master].mac} if station.master in view.interfaces else set())
