"""Walks a packet and its answer from namespace to namespace, by what the kernel holds.

Pure: namespaces are values. Source: the order of Linux's ip_input, ip_forward, br_netfilter and vxlan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from k8snetlab.dataplane.families import end, same_family
from k8snetlab.dataplane.packet import IPIP
from k8snetlab.dataplane.view import Interface, RouteEntry, View, Views
from k8snetlab.trace.filtering import Passed, passages
from k8snetlab.trace.listener import no_listener
from k8snetlab.trace.owners import Owners
from k8snetlab.trace.segment import Segments
from k8snetlab.trace.tracer import ALL, Followed
from k8snetlab.trace.trip import Trip
from k8snetlab.trace.way import Carried, Decision, Flow, Way

MAX_HOPS = 200
"""Devices on the way there and back: from rack to rack there are 76. Each takes some three of Python's 1,000 calls."""
VXLAN_OVERHEAD = {False: 50, True: 70}
"""Octets that the outer headers take: with IPv4, with IPv6 underneath."""
IPIP_OVERHEAD = 20


def predict(views: Views, owners: Owners, origin: str, target: Flow, followed: Followed = ALL) -> tuple[Way, ...]:
    """Every way that a packet from namespace `origin` can take, the likeliest first; their probabilities add up to 1.

    `target` may leave `src` "": the kernel's choice is made then. `followed` says which ways out of each
    namespace's rules are followed.
    """
    view = views[origin]
    route, _ = view.route(target.dst)
    flow = target if target.src or route is None else replace(target, src=view.source(route, target.dst))
    ways = _Walk(views, owners, followed).send(Trip(origin, flow), view, flow)
    return tuple(sorted(ways, key=lambda way: -way.probability))


class Frame(NamedTuple):
    """A frame for `mac` at a bridge; `port` is the name of the port it came in by, "" for one that the machine itself
    sends."""

    view: View
    bridge: Interface
    mac: str
    flow: Flow
    port: str = ""


class _Walk:
    def __init__(self, views: Views, owners: Owners, followed: Followed) -> None:
        self.views, self.owners, self.segments = views, owners, Segments(views, owners)
        self.followed = followed

    def _passages(
        self, trip: Trip, view: View, flow: Flow, arrived: str = "", *, bridged: bool = False
    ) -> Iterator[Passed]:
        return passages(
            view,
            self.owners,
            flow,
            trip.tracked,
            arrived=arrived,
            bridged=bridged,
            followed=self.followed,
        )

    # --- the network layer ------------------------------------------------------------------------------------------

    def send(self, trip: Trip, view: View, flow: Flow) -> Iterator[Way]:
        """A packet of the namespace's own: a process's, the kernel's answer, or a tunnel's outer one."""
        route, trip = self._route(trip, view, flow.dst)
        if route is None or route.kind not in ("unicast", "local"):
            what = f"the route is {route.kind}" if route else f"no route to {flow.dst}"
            yield trip.stop(view, flow, "unreachable", f"{what} in {view.place}")
            return
        for passed in self._passages(trip, view, flow):
            on = trip.after(passed).note(*passed.before)
            if passed.verdict in ("dropped", "rejected"):
                yield on.refuse(view, passed)
                continue
            if view.owns(passed.routed):
                lo = view.interfaces.get("lo")
                if lo is None or not lo.up:
                    yield on.stop(view, passed.flow, "lost", f"lo is down in {view.place}")
                    continue
                on = on.note(*passed.after).appear(view, lo, "out", passed.flow).appear(view, lo, "in", passed.flow)
                yield from self._deliver(on, view, passed.flow)
                continue
            again: RouteEntry | None = route
            if passed.routed != flow.dst:
                again, on = self._route(on, view, passed.routed)
            yield from self._transmit(on.note(*passed.after), view, passed.flow, again)

    def _input(self, trip: Trip, view: View, device: Interface, flow: Flow) -> Iterator[Way]:
        for passed in self._passages(trip, view, flow, device.name):
            yield from self._routed(trip.after(passed).note(*passed.before), view, device, flow, passed)

    def _routed(self, trip: Trip, view: View, device: Interface, flow: Flow, passed: Passed) -> Iterator[Way]:
        """After PREROUTING: is the packet believed, is it for this namespace, and where does it go?"""
        if passed.unrouted:
            yield trip.refuse(view, passed)
            return
        if doubt := self._disbelieved(view, device, flow.src):
            yield trip.stop(view, flow, "lost", doubt)
            return
        if view.owns(passed.routed):
            if passed.verdict in ("dropped", "rejected"):
                yield trip.refuse(view, passed)
            else:
                yield from self._deliver(trip.note(*passed.after), view, passed.flow)
            return
        if not view.forwards(passed.routed):
            yield trip.stop(view, flow, "lost", f"forwarding is off in {view.place}")
            return
        if not view.forwards_from(device.name, passed.routed):
            yield trip.stop(view, flow, "lost", f"forwarding is off in {view.place} for what comes by {device.name}")
            return
        route, trip = self._route(trip, view, passed.routed)
        if route is None or route.kind not in ("unicast", "blackhole"):
            what = f"the route is {route.kind}" if route else f"no route to {passed.routed}"
            yield trip.stop(view, flow, "unreachable", f"{what} in {view.place}")
        elif route.kind == "blackhole":
            yield trip.stop(view, flow, "lost", f"the route is a blackhole in {view.place}")
        elif passed.verdict in ("dropped", "rejected"):
            yield trip.refuse(view, passed)
        else:
            yield from self._transmit(trip.note(*passed.after), view, passed.flow, route)

    def _disbelieved(self, view: View, device: Interface, src: str) -> str:
        """Why a packet from `src` that comes in by `device` is not taken (martian source, rp_filter), or "". IPv4 only:
        IPv6 has no such check."""
        if ":" in src:
            return ""
        if view.owns(src) and device.kind != "loopback":
            return f"{view.place} has the address {src} itself and takes none from outside (martian source)"
        key = "net.ipv4.conf.{}.rp_filter"
        mode = max(int(view.sysctl(key.format(name))) for name in ("all", device.name.replace(".", "/")))
        if not mode:
            return ""
        back, _ = view.route(src)
        if back is None or (mode == 1 and device.name not in back.devices):
            where = f"the way to {src} is by {', '.join(sorted(back.devices))}" if back else f"there is no way to {src}"
            return f"rp_filter={mode} in {view.place}: it came by {device.name}, and {where}"
        return ""

    def _route(self, trip: Trip, view: View, dst: str) -> tuple[RouteEntry | None, Trip]:
        route, losers = view.route(dst)
        if route is None:
            return None, trip
        lost = tuple(r.words() for r in losers)
        text = f"{dst} by {route.words()}"
        return route, trip.note(Decision("route", text, route.words(), self.owners.of_route(route, view.netns), lost))

    def _deliver(self, trip: Trip, view: View, flow: Flow) -> Iterator[Way]:
        if flow.inner:
            yield from self._decapsulate(trip, view, flow, flow.inner)
            return
        if trip.turn is not None:
            yield trip.come_back(view, flow)
            return
        if flow.protocol == "sctp" and not view.sctp:
            reason = f"the kernel of {view.place} has no SCTP, and says so by ICMP (protocol unreachable)"
            yield trip.arrive(view, Decision("stop", reason), flow).end("unreachable", reason)
            return
        refusal = flow.protocol != "icmp" and not view.listens(flow.protocol, flow.dst, flow.dport)
        why = no_listener(view, flow.protocol, flow.dst, flow.dport) if refusal else ""
        text = why or f"delivered to {end(flow.dst, flow.dport)}"
        decision = Decision("deliver", f"{text} in {view.place}", owner=self.owners.of_address(flow.dst))
        trip = trip.arrive(view, decision, flow, why)
        if refusal and flow.protocol == "udp":
            yield trip.end("refused", f"{why} in {view.place}")
            return
        yield from self.send(trip, view, flow.turned())

    # --- tunnels ----------------------------------------------------------------------------------------------------

    def _encapsulate(self, trip: Trip, view: View, tunnel: Interface, mac: str, flow: Flow) -> Iterator[Way]:
        remote, decision = self.segments.far_end(view, tunnel, mac, flow.dst)
        if not remote:
            yield trip.stop(view, flow, "lost", f"{view.place}: {decision.text}")
            return
        if tunnel.local and not view.owns(tunnel.local):
            reason = f"{view.place}: {tunnel.name} sends from {tunnel.local}, which {view.place} does not have"
            yield trip.stop(view, flow, "lost", reason)
            return
        outer = Flow(tunnel.local, remote, "udp", 0, tunnel.port, Carried(flow, mac, tunnel.vni))
        under, _ = view.route(remote)
        device = view.interfaces.get(under.dev) if under else None
        room = device.mtu - VXLAN_OVERHEAD[":" in remote] if device else 0
        text = f"{tunnel.local} → {remote} udp {tunnel.port}, VNI {tunnel.vni}; {room} octets are left for the packet"
        trip = trip.note(decision, Decision("encapsulate", text, owner=self.owners.of_tunnel()))
        yield from self.send(trip, view, outer)

    def _into_ipip(self, trip: Trip, view: View, hop: str, flow: Flow) -> Iterator[Way]:
        """Into a packet to the next hop itself: such a tunnel has neither neighbours nor forwarding entries."""
        under, _ = view.route(hop)
        source = view.source(under, hop) if under else ""
        device = view.interfaces.get(under.dev) if under else None
        room = device.mtu - IPIP_OVERHEAD if device else 0
        text = f"{source} → {hop} IP protocol {IPIP}, IP in IP; {room} octets are left for the packet"
        trip = trip.note(Decision("encapsulate", text, owner=self.owners.of_tunnel()))
        yield from self.send(trip, view, Flow(source, hop, IPIP, 0, 0, Carried(flow, "", 0)))

    def _out_of_ipip(self, trip: Trip, view: View, flow: Flow, carried: Carried) -> Iterator[Way]:
        tunnels = [i for i in view.interfaces.values() if i.kind == "ipip"]
        tunnel = next((i for i in tunnels if i.up), None)
        if tunnel is None:
            why = f"{' and '.join(i.name for i in tunnels)} is down" if tunnels else "it has no tunl0"
            yield trip.stop(view, flow, "lost", f"{view.place} takes no IP in IP: {why}")
            return
        trip = trip.note(Decision("decapsulate", f"{tunnel.name} takes {carried.flow}", owner=self.owners.of_tunnel()))
        yield from self._input(trip.appear(view, tunnel, "in", carried.flow), view, tunnel, carried.flow)

    def _decapsulate(self, trip: Trip, view: View, flow: Flow, carried: Carried) -> Iterator[Way]:
        if flow.protocol == IPIP:
            yield from self._out_of_ipip(trip, view, flow, carried)
            return
        tunnels = (i for i in view.interfaces.values() if i.kind == "vxlan" and i.up and i.port == flow.dport)
        ends = [i for i in tunnels if not i.local or same_family(i.local, flow.dst)]
        tunnel = next((i for i in ends if i.vni == carried.vni), None)
        if tunnel is None:
            what = f"VNI {carried.vni}" if ends else f"UDP port {flow.dport}"
            down = [i.name for i in view.interfaces.values() if (i.kind, i.vni, i.up) == ("vxlan", carried.vni, False)]
            but = f": {' and '.join(down)} is down" if down else ""
            yield trip.stop(view, flow, "lost", f"{view.place} has no tunnel for {what}{but}")
            return
        text = f"{tunnel.name} takes VNI {carried.vni}: {carried.flow}"
        trip = trip.note(Decision("decapsulate", text, owner=self.owners.of_tunnel()))
        trip = trip.appear(view, tunnel, "in", carried.flow)
        if carried.mac != tunnel.mac:
            reason = f"{view.place}: the inner frame is for {carried.mac}, and {tunnel.name} is {tunnel.mac}"
            yield trip.stop(view, carried.flow, "lost", reason)
            return
        yield from self._input(trip, view, tunnel, carried.flow)

    # --- the link layer ---------------------------------------------------------------------------------------------

    def _transmit(self, trip: Trip, view: View, flow: Flow, route: RouteEntry | None) -> Iterator[Way]:
        if route is not None and route.hops:
            for way, share in route.ways:
                chosen = Decision("route", f"{flow.dst} by one of {len(route.hops)} next hops: {way.words()}")
                yield from self._transmit(trip.after_choice(share).note(chosen), view, flow, way)
            return
        device = view.interfaces.get(route.dev) if route else None
        if route is None or device is None:
            yield trip.stop(view, flow, "unreachable", f"no route to {flow.dst} in {view.place}")
            return
        if not (device.up and device.running):
            what = "has no carrier" if device.up else "is down"
            yield trip.stop(view, flow, "lost", f"{view.place}: {device.name} {what}")
            return
        if trip.was_at((view.netns, device.name, "out"), flow):
            reason = f"the packet goes in circles, again through {view.place}, until its hop limit is used up"
            # An address that is translated on every round is never translated back as often: no ICMP error returns.
            same = (flow.src, flow.dst) == (trip.asked.src, trip.asked.dst)
            yield trip.stop(view, flow, "unreachable" if same else "lost", reason)
            return
        yield from self._onto(trip, view, device, route.via or flow.dst, flow)

    def _onto(self, trip: Trip, view: View, device: Interface, hop: str, flow: Flow) -> Iterator[Way]:
        """Out by a device, to the next hop."""
        if device.kind == "ipip":
            yield from self._into_ipip(trip.appear(view, device, "out", flow), view, hop, flow)
            return
        mac, decision = self.segments.neighbour(view, device, hop)
        trip = trip.note(decision)
        if not mac:
            yield trip.stop(view, flow, "lost", f"{view.place}: {decision.text}")
            return
        trip = trip.appear(view, device, "out", flow)
        if device.beyond and not device.peer:
            device, mac = self._across(device, hop, flow, mac)
        if device.kind == "bridge":
            yield from self._switch(trip, Frame(view, device, mac, flow))
        elif device.kind == "vxlan":
            yield from self._encapsulate(trip, view, device, mac, flow)
        else:
            yield from self._cable(trip, view, device, mac, flow)

    def _across(self, device: Interface, hop: str, flow: Flow, mac: str) -> tuple[Interface, str]:
        """The machine's device as if a cable led to the machine that is meant. Routers between them are nobody's to
        read: what they are given, they are believed to deliver."""
        peer = device.beyond.get(hop) or device.beyond.get(flow.dst)
        end = self.views[peer[0]].interfaces.get(peer[1]) if peer else None
        return replace(device, peer=peer), end.mac if end and hop not in device.beyond else mac

    def _cable(self, trip: Trip, view: View, device: Interface, mac: str, flow: Flow) -> Iterator[Way]:
        """To the other end of a veth."""
        other = self.views[device.peer[0]] if device.peer else None
        arrived = other.interfaces.get(device.peer[1]) if other and device.peer else None
        if other is None or arrived is None:
            yield trip.stop(view, flow, "lost", f"{view.place}: {device.name} leads out of the lab")
            return
        if len(trip.hops) > MAX_HOPS:
            yield trip.stop(view, flow, "lost", "the packet goes in circles")
            return
        trip = trip.appear(other, arrived, "in", flow)
        if arrived.master:
            yield from self._bridge(trip, other, arrived, mac, flow)
        elif mac != arrived.mac:
            reason = f"{other.place}: the frame is for {mac}, and {arrived.name} is {arrived.mac}"
            yield trip.stop(other, flow, "lost", reason)
        else:
            yield from self._input(trip, other, arrived, flow)

    def _bridge(self, trip: Trip, view: View, port: Interface, mac: str, flow: Flow) -> Iterator[Way]:
        """A frame comes in by a bridge port; br_netfilter may show it to iptables before the bridge decides."""
        bridge = view.interfaces[port.master]
        known = view.port(bridge.name, mac)
        ours = mac == bridge.mac or bool(known and known.permanent)
        if not bridge.up:
            yield trip.stop(view, flow, "lost", f"{view.place}: {bridge.name} is down")
        elif not view.filters_bridged(flow.dst):
            if ours:
                yield from self._input(trip.appear(view, bridge, "in", flow), view, bridge, flow)
            else:
                yield from self._switch(trip, Frame(view, bridge, mac, flow, port.name))
        else:
            for passed in self._passages(trip, view, flow, bridge.name, bridged=True):
                on = trip.after(passed).note(*passed.before)
                yield from self._bridged(on, Frame(view, bridge, mac if not ours else "", flow, port.name), passed)

    def _bridged(self, trip: Trip, frame: Frame, passed: Passed) -> Iterator[Way]:
        """`mac` is "" for a frame to the bridge itself. One whose destination changed goes where its route says: back
        over the bridge if it leads there, else up."""
        view, bridge, mac, flow, _ = frame
        route, _ = view.route(passed.routed)
        changed = passed.routed != flow.dst
        across = bool(route and route.kind == "unicast" and route.dev == bridge.name)
        if passed.unrouted:
            yield trip.refuse(view, passed)
        elif (changed and not across) or (not changed and not mac):
            turned = replace(flow, dst=passed.routed, dport=passed.flow.dport if changed else flow.dport)
            yield from self._routed(trip.appear(view, bridge, "in", turned), view, bridge, flow, passed)
        elif passed.verdict in ("dropped", "rejected"):
            yield trip.refuse(view, passed)
        elif not changed:
            yield from self._switch(trip.note(*passed.after), frame._replace(flow=passed.flow))
        else:
            assert route is not None
            _, trip = self._route(trip, view, passed.routed)
            for way, share in route.ways:
                mac, decision = self.segments.neighbour(view, bridge, way.via or passed.routed)
                on = trip.after_choice(share).note(decision, *passed.after)
                yield from self._switch(on, frame._replace(mac=mac, flow=passed.flow))

    def _switch(self, trip: Trip, frame: Frame) -> Iterator[Way]:
        view, bridge, mac, flow, came_by = frame
        port, decision = self.segments.port_of(view, bridge.name, mac, flow.dst)
        if decision.what == "flood":
            trip = trip.flood(view, bridge)
        trip = trip.note(decision)
        if port is None:
            yield trip.stop(view, flow, "lost", f"{view.place}: {decision.text}")
        elif port.name == came_by and not port.hairpin:
            reason = f"{view.place}: hairpin is off on {port.name}, so the frame may not leave where it came in"
            yield trip.stop(view, flow, "lost", reason)
        elif not (port.up and port.running):
            yield trip.stop(view, flow, "lost", f"{view.place}: {port.name} is down or without carrier")
        else:
            yield from self._cable(trip.appear(view, port, "out", flow), view, port, mac, flow)
